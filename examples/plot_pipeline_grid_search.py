"""
A pipeline, and a grid search over prior scales
===============================================

In column mode the treatment and the instruments are columns of X, named once. Nothing else need be
passed, so the estimator fits in pipelines and searches.
"""

# %%

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skbayesiv import BayesianIV
from skbayesiv.datasets import make_noncompliance
from skbayesiv.metrics import log_predictive_density_scorer
from skbayesiv.plotting import CrossValidationDisplay

sim = make_noncompliance(400, effect=0.4, n_covariates=1, compliance=0.5, random_state=0)
country = np.random.default_rng(0).choice(["AT", "CH", "DE"], 400)
frame = pd.DataFrame(
    {"opened": sim.t, "assigned": sim.z, "tenure": sim.X[:, 0], "country": country}
)
frame.head()

# %%
# Prepare the covariates, and let the treatment and the assignment through under their names.

prepare = ColumnTransformer(
    [
        ("keep", "passthrough", ["opened", "assigned"]),
        ("scale", StandardScaler(), ["tenure"]),
        ("levels", OneHotEncoder(drop="first", sparse_output=False), ["country"]),
    ],
    verbose_feature_names_out=False,
).set_output(transform="pandas")
est = BayesianIV(treatment="opened", instruments="assigned", draws=500, tune=500, random_state=0)
model = make_pipeline(prepare, est).fit(frame, sim.y)
print(f"effect {model[-1].effect_:.2f}, 95% interval {model[-1].effect_interval().round(2)}")

# %%
# How wide should the effect's prior be? Score each candidate by the held-out joint density of the
# outcome and the treatment. (R² at the observed treatment would prefer a biased effect: see
# :doc:`/scoring`.)

search = GridSearchCV(
    model,
    {"bayesianiv__beta_t_scale": [0.03, 0.1, 0.3, 1.0, 3.0, 10.0]},
    scoring=log_predictive_density_scorer,
    cv=4,
).fit(frame, sim.y)
CrossValidationDisplay.from_search(search, scoring="held-out log density")

# %%
# Beyond a point wider priors score the same: the data outweigh them. The score says which priors
# are too narrow; it cannot choose among those that are wide enough.

results = pd.DataFrame(search.cv_results_)
results[["param_bayesianiv__beta_t_scale", "mean_test_score", "std_test_score"]].round(4)
