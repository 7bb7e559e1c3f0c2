"""
From a fitted estimator to PyMC
===============================

The estimator integrates the coefficients out. ``to_pymc`` states the same model row by row, as a
textbook does, with the posterior's names: to look at, to intervene on, to simulate from.
"""

# %%

import numpy as np
import pymc as pm

from skbayesiv import BayesianIV
from skbayesiv.datasets import make_noncompliance
from skbayesiv.plotting import EffectDisplay

sim = make_noncompliance(300, effect=1.0, as_frame=True, random_state=0)
est = BayesianIV(draws=500, random_state=0).fit(sim.X, sim.t, sim.y, z=sim.z)
model = est.to_pymc()
print(pm.model_to_mermaid(model))

# %%
# The log density of the two statements differs by one constant; a test of the package holds them
# together. Here PyMC draws outcomes from the estimator's posterior.

drawn = pm.sample_posterior_predictive(
    est.idata_,
    model=model,
    freeze_vars=["intercept_y", "intercept_t", "cov"],
    random_seed=0,
    progressbar=False,
)
simulated = drawn.posterior_predictive["y_t"].sel(equation="y")
print(f"mean outcome: data {sim.y.mean():.3f}, simulated {float(simulated.mean()):.3f}")

# %%
# An intervention: give the treatment to everyone, or to no one. The difference is the effect.

means = []
for value in (1.0, 0.0):
    treated = pm.do(model, {"t": np.full((300, 1), value)})
    after = pm.sample_posterior_predictive(
        est.idata_,
        model=treated,
        freeze_vars=["intercept_y", "intercept_t", "cov"],
        random_seed=0,
        progressbar=False,
    )
    means.append(after.posterior_predictive["y_t"].sel(equation="y").mean("row"))
difference = (means[0] - means[1]).to_numpy()
EffectDisplay.from_draws(difference, label="mean outcome, all treated less none treated")
