"""Conditional likelihood ratio under errors of one variance, and the effects that it accepts.

With C the coefficients of (v, t) on whitened instruments and W the covariance of a row of it, the
test that the effect is b depends on the 2 x 2 matrix of Q_S, Q_ST and Q_T (Andrews, Moreira and
Stock 2006). Its trace and its determinant do not depend on b: its roots are those of
|C'C - l W| = 0, and

    Q_S = d'd / s2(b),    LR = Q_S - l_min,    Q_T = l_max - LR,                          (1)

the first of which is the Anderson-Rubin statistic. So p is a function of Q_S alone, and it falls as
Q_S rises: the effects accepted are those of an Anderson-Rubin test with another critical value
(Mikusheva 2010).
"""

from __future__ import annotations

from math import inf

import numpy as np
from scipy import linalg, optimize, stats

from skbayesiv._typing import Array
from skbayesiv.diagnostics._conditional_law import p_values
from skbayesiv.diagnostics._inversion import Pieces, accepted_effects
from skbayesiv.diagnostics._partial import Partialled
from skbayesiv.diagnostics._reduced_form import (
    ReducedForm,
    about_effect,
    quadratic_form,
    reduced_form,
)


def ratio_and_strength(p: Partialled, effect: Array, *, debiased: bool) -> tuple[float, float]:
    """LR and Q_T of equation (1)."""
    form = reduced_form(p, robust=False, debiased=debiased)
    least, most = _roots(form)
    about = about_effect(p, form, effect)
    statistic = quadratic_form(about.coef[:, 0], about.cov[0, 0])
    ratio = max(statistic - least, 0.0)
    return ratio, most if most == inf else max(most - ratio, least)


def accepted_by_moreira(p: Partialled, level: float, *, debiased: bool) -> Pieces:
    """Effects of one treatment, less the centre, that the test accepts."""
    form = reduced_form(p, robust=False, debiased=debiased)
    critical = _critical_value(*_roots(form), level, p.n_instruments, form.dof_denominator)
    return [(-inf, inf)] if critical == inf else accepted_effects(form, critical)


def _roots(form: ReducedForm) -> tuple[float, float]:
    """l_min and l_max, from the roots of W relative to W + C'C, which lie between 0 and 1."""
    variance = form.cov[:, :, 0, 0]
    whole = variance + form.coef.T @ form.coef
    if whole[0, 0] <= 0.0:  # t explains y exactly
        below = variance[1, 1]
        return 0.0, float(whole[1, 1] / below - 1.0) if below > 0.0 else inf
    scale = np.sqrt(np.diag(whole))
    unit = np.outer(scale, scale)
    share = np.clip(linalg.eigh(variance / unit, whole / unit, eigvals_only=True), 0.0, 1.0)
    least = 0.0 if len(form.coef) == 1 else float(1.0 / share[1] - 1.0)
    return least, float(1.0 / share[0] - 1.0) if share[0] > 0.0 else inf


def _critical_value(least: float, most: float, level: float, q: int, dof: float | None) -> float:
    """Largest Q_S that is accepted; infinite if all are."""

    def excess(ratio: float) -> float:
        strength = max(most - ratio, least)
        return float(p_values(np.array(ratio), np.array(strength), q, dof)) - (1.0 - level)

    if most - least < inf and excess(most - least) >= 0.0:
        return inf
    upper = stats.chi2.ppf(level, q) if dof is None else q * stats.f.ppf(level, q, dof)
    upper = min(float(upper) * (1.0 + 1e-9), most - least)
    return least + float(optimize.brentq(excess, 0.0, upper, xtol=1e-300))
