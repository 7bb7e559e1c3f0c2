"""
Weak instruments
================

When assignment hardly moves the treatment, the ratio of two small numbers says little. What do the
estimators do then? The true effect is 1, and the errors are strongly correlated.
"""

# %%

import numpy as np
import pandas as pd

from skbayesiv import BayesianIV, TwoStageLS
from skbayesiv.datasets import make_noncompliance
from skbayesiv.diagnostics import anderson_rubin_confidence_set, first_stage
from skbayesiv.plotting import EffectComparisonDisplay, FirstStageDisplay, PriorPosteriorDisplay

sim = make_noncompliance(
    300,
    effect=1.0,
    compliance=0.15,
    confounding=0.8,
    binary_treatment=False,
    as_frame=True,
    random_state=5,
)
X, t, y, z = sim.X, sim.t, sim.y, sim.z
print(f"first-stage F: {first_stage(y, t, z).f[0]:.1f}")

# %%

FirstStageDisplay.from_data(X, t, y, z=z)

# %%
# The classical interval is symmetric and short, and the fit warns that it is not to be trusted.
# Inverting the Anderson-Rubin test gives a set that covers whatever the strength of the instrument:
# here two rays, for large effects of either sign fit as well.

two_stage = TwoStageLS().fit(X, t, y, z=z)
print("2SLS          ", two_stage.conf_int().loc["t"].round(2).tolist())
print("Anderson-Rubin", anderson_rubin_confidence_set(y, t, z))

# %%
# With a weak instrument the Bayesian interval depends on the priors of the error correlation and of
# the first stage, not on that of the effect. LKJ(2) says that strong confounding is unlikely, and
# pays for it here: its 90% interval misses the true effect of 1. The default, a learnt first stage
# and LKJ(1/2), says how little is known, and so does "regression", a wide normal prior of the
# regression of one error on the other.

fits = {
    "LKJ(2), fixed": BayesianIV(lkj_eta=2.0, beta_z_scale="auto", random_state=0),
    "LKJ(1), fixed": BayesianIV(lkj_eta=1.0, beta_z_scale="auto", random_state=0),
    "the default": BayesianIV(random_state=0),
    'sigma_prior="regression"': BayesianIV(sigma_prior="regression", random_state=0),
}
fits = {name: est.fit(X, t, y, z=z) for name, est in fits.items()}
rows = {name: [est.effect_, *est.effect_interval(level=0.9)] for name, est in fits.items()}
pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "5%", "95%"]).round(2)

# %%

display = EffectComparisonDisplay.from_estimators(fits, two_stage=None)
display.axes_[0].set_xlim(np.quantile(display.displays[-1].posterior.draws, [0.005, 0.995]))

# %%
# The posterior of the correlation is wide, and leans on its prior.

PriorPosteriorDisplay.from_estimator(fits["the default"], ["beta_t", "corr"])
