"""
For whom? Effects of segments, pooled
=====================================

An experiment ran in twenty countries, most of them small. Each country alone is noise, and one
effect for all hides what differs. The effects share a population: large countries keep their own,
small ones lean on the others. The data are simulated, so that the truth is known.
"""

# %%

import numpy as np
import pandas as pd

from skbayesiv import HierarchicalBayesianIV, TwoStageLS
from skbayesiv.datasets import make_segments
from skbayesiv.plotting import SegmentForestDisplay

sim = make_segments(20, 6000, effect=1.0, effect_sd=0.4, random_state=1)
est = HierarchicalBayesianIV(random_state=0)
est.fit(None, sim.t, sim.y, z=sim.z, segments=sim.segments)
est.effects_.round(2).head()

# %%
# Each country alone (orange) and pooled (blue). The grey band is where the effect in one more
# country would lie, and the line is the average over all compliers.

SegmentForestDisplay.from_estimator(est)

# %%
# How far off are they? The root of the mean squared error over the countries, which only a
# simulation can tell:

alone = est.segment_report().table["alone"]
one = TwoStageLS().fit(pd.get_dummies(sim.segments, drop_first=True), sim.t, sim.y, z=sim.z)
answers = {"each alone": alone, "one for all": one.effect_, "pooled": est.effects_["effect"]}
for name, effects in answers.items():
    error = np.sqrt(np.mean((effects - sim.effects) ** 2))
    print(f"{name:12} {error:.2f}")

# %%
# Whom to treat, if one treatment costs 0.8? The report has the probability that a country's
# effect is worth it, what three policies gain and lose by complier, and by how much effects differ.

report = est.segment_report(cost=0.8, rope=0.2)
print(report)

# %%
# What predicts an effect
# -----------------------
#
# Effects may go with what is known of a country. Here one unit of income adds 0.5.

sim = make_segments(20, 6000, slope=0.5, effect_sd=0.1, random_state=2)
with_income = HierarchicalBayesianIV(segment_covariates=sim.segment_covariates, random_state=0)
with_income.fit(None, sim.t, sim.y, z=sim.z, segments=sim.segments)
print(with_income.segment_report().slopes.round(2))

# %%
# One country can be asked as if it were an experiment of its own: for its effect given
# all others, its predictions, its pictures.

country = with_income.segment("s07")
print(f"{country.effect_:.2f}, in truth {sim.effects['s07']:.2f}")
