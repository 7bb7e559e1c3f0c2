"""
Learning from earlier experiments
=================================

The same kind of push was tested before. Earlier effects say something of this one, unless this
one is different. Three cases: a history that fits, one that does not, and a cautious prior.
"""

# %%

import warnings

import pandas as pd

from skbayesiv import BayesianIV, HierarchicalBayesianIV
from skbayesiv.datasets import make_noncompliance
from skbayesiv.exceptions import PriorDataConflictWarning
from skbayesiv.plotting import EffectComparisonDisplay, EffectForestDisplay, PriorPosteriorDisplay

sim = make_noncompliance(120, effect=1.0, as_frame=True, random_state=3)
weeks = pd.Index(["spring", "summer", "autumn", "winter"])
errors = pd.Series([0.25, 0.3, 0.25, 0.35], index=weeks)
alone = BayesianIV(random_state=0).fit(sim.X, sim.t, sim.y, z=sim.z)

# %%
# A history that fits
# -------------------

fits = HierarchicalBayesianIV(
    pd.Series([0.8, 1.1, 1.3, 0.9], index=weeks), errors, random_state=0
).fit_moments(alone.moments_)
EffectForestDisplay.from_estimator(fits)

# %%

print(fits.borrowing())

# %%
# The prior of the effect is what the history predicts for a new experiment:

PriorPosteriorDisplay.from_estimator(fits, ["beta_t"])

# %%
# A history that does not
# -----------------------
#
# Effects of three, and now one: the fit warns. The estimate is pulled towards the history, though
# not far, since the model also learns that effects differ.

far = pd.Series([2.8, 3.1, 3.3, 2.9], index=weeks)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", PriorDataConflictWarning)
    misled = HierarchicalBayesianIV(far, errors, random_state=0).fit_moments(alone.moments_)
print(caught[0].message)

# %%
# ``robust_weight`` is the prior probability that this effect has nothing to do with the earlier
# ones. The data then decide.

with warnings.catch_warnings():
    warnings.simplefilter("ignore", PriorDataConflictWarning)
    robust = HierarchicalBayesianIV(far, errors, robust_weight=0.2, random_state=0).fit_moments(
        alone.moments_
    )
print(f"probability of belonging with the others: {robust.exchangeable_probability_:.2f}")

# %%

EffectComparisonDisplay.from_estimators(
    {
        "Alone": alone,
        "A history that fits": fits,
        "A history that does not": misled,
        "The same, with robust_weight=0.2": robust,
    }
)
