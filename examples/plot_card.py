"""
Several instruments and covariates: the return to schooling
===========================================================

Card (1995) asked what a year of schooling does to wages. Schooling is not assigned: those who stay
in school differ from those who do not. Growing up near a college makes schooling cheaper, and is
used as an instrument, given where and how someone grew up.

The data come with linearmodels.
"""

# %%

from linearmodels.datasets import card

from skbayesiv import BayesianIV, TwoStageLS
from skbayesiv.diagnostics import anderson_rubin_confidence_set, instrument_strength
from skbayesiv.plotting import (
    CausalDiagramDisplay,
    EffectDisplay,
    FirstStageDisplay,
    PriorSensitivityDisplay,
)

data = card.load()
covariates = ["exper", "expersq", "black", "smsa", "south", "smsa66"]
covariates += [f"reg66{k}" for k in range(2, 10)]
X, t, y = data[covariates], data["educ"], data["lwage"]
one, two = data["nearc4"], data[["nearc2", "nearc4"]]

# %%
# One instrument, then two.

one_fit = TwoStageLS().fit(X, t, y, z=one)
two_fit = TwoStageLS().fit(X, t, y, z=two)
print(one_fit.summary().table.loc["educ"].round(4).to_string(), "\n")
print(two_fit.summary().table.loc["educ"].round(4).to_string())

# %%

CausalDiagramDisplay.from_estimator(two_fit, unobserved="ability, family")

# %%
# First stage and reduced form through the treatment as the two instruments predict it, net of the
# covariates: its first-stage slope is one, and its reduced-form slope is the 2SLS estimate.

FirstStageDisplay.from_estimator(two_fit, X, t, y, z=two)

# %%
# The instruments are not strong. An interval that does not lean on their strength is wider than the
# classical one:

print(instrument_strength(y, t, two, X))
print(anderson_rubin_confidence_set(y, t, two, X))

# %%
# The Bayesian model with its defaults: all priors are scaled by the data, and the spread of the
# first stage's coefficients is learnt, for instruments may be weak.

bayes = BayesianIV(random_state=0).fit(X, t, y, z=two)
bayes.summary(["beta_t", "beta_z", "sigma"], round_to=4)

# %%

EffectDisplay.from_estimator(bayes, two_stage=two_fit)

# %%
# With weak instruments the prior of the error correlation matters; here the likelihood carries it.

PriorSensitivityDisplay.from_estimator(bayes)
