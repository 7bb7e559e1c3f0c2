"""All that applies of this sub-package, computed from one design."""

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from skbayesiv._data.checks import check_level
from skbayesiv._linear.equation import Equation
from skbayesiv.diagnostics._anderson_rubin import anderson_rubin, anderson_rubin_confidence_set
from skbayesiv.diagnostics._conditional_likelihood_ratio import (
    conditional_likelihood_ratio_confidence_set,
)
from skbayesiv.diagnostics._effective_f import effective_f
from skbayesiv.diagnostics._exogeneity import wu_hausman
from skbayesiv.diagnostics._first_stage import first_stage
from skbayesiv.diagnostics._fitted import Fitted
from skbayesiv.diagnostics._overidentification import hansen_j, sargan, wooldridge_overid
from skbayesiv.diagnostics._partial import Partialled, partial_equation, partial_out
from skbayesiv.diagnostics._rank import cragg_donald, kleibergen_paap
from skbayesiv.diagnostics._results import HypothesisTest
from skbayesiv.diagnostics._strength_block import InstrumentStrength
from skbayesiv.diagnostics._tf import tf_interval


def instrument_strength(
    y: npt.ArrayLike | Fitted | Partialled,
    t: npt.ArrayLike | None = None,
    z: npt.ArrayLike | None = None,
    X: npt.ArrayLike | None = None,
    *,
    sample_weight: npt.ArrayLike | None = None,
    clusters: npt.ArrayLike | None = None,
    fit_intercept: bool = True,
    debiased: bool = False,
    level: float = 0.95,
) -> InstrumentStrength:
    """All statistics of this sub-package that apply.

    Parameters
    ----------
    y : array-like of shape (n_rows,), fitted estimator or Partialled
        Outcome.
        An estimator or a partialled design takes the place of all arrays.
    t : array-like of shape (n_rows,) or (n_rows, K)
        Treatments.
    z : array-like of shape (n_rows,) or (n_rows, Q)
        Instruments, Q >= K.
    X : array-like of shape (n_rows, P), optional
        Covariates, without a constant.
    sample_weight : array-like of shape (n_rows,), optional
        Frequency weights: weight 2 equals a row given twice.
    clusters : array-like of shape (n_rows,), optional
        Cluster labels.
    fit_intercept : bool, default=True
        Whether the covariates include a constant.
    debiased : bool, default=False
        Small-sample factors, and F instead of chi-square where the statistic has one.
    level : float, default=0.95
        Of the confidence sets of Anderson-Rubin and of the conditional likelihood ratio; the tF
        interval has 0.95.

    Returns
    -------
    InstrumentStrength

    References
    ----------
    Andrews, I., Stock, J. H. and Sun, L. (2019). Weak instruments in instrumental variables
    regression: theory and practice. Annual Review of Economics 11, 727-753.

    Staiger, D. and Stock, J. H. (1997). Instrumental variables regression with weak instruments.
    Econometrica 65, 557-586.

    Each function of this sub-package has its own.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.diagnostics import instrument_strength
    >>> z = np.tile([0, 1], 50)
    >>> t = z * (np.arange(100) % 3 > 0)
    >>> y = 2.0 * t + np.arange(100) % 7
    >>> instrument_strength(y, t, z)
    Instruments (robust to heteroskedasticity)
    effective F            97.06, above its critical value 23.1 (p = 1.119e-11)
    first-stage F, robust  97.06, p = 6.73e-23
    partial R2             0.4925
    Cragg-Donald F         95.12, p = 1.794e-22
    Kleibergen-Paap F      95.12, p = 6.73e-23
    Kleibergen-Paap LM     chi2(1) = 49.25, p = 2.249e-12 (null: under-identified)
    Anderson-Rubin 0.95    [0.778519, 3.26694]
    Anderson-Rubin test    chi2(1) = 8.91, p = 0.002835 (null: the effect is 0)
    tF 0.95                [0.82675, 3.23386]
    Wu-Hausman             chi2(1) = 0.04659, p = 0.8291 (null: the treatments are exogenous)
    """
    p = partial_out(
        y, t, z, X, sample_weight=sample_weight, clusters=clusters, fit_intercept=fit_intercept
    )
    return _strength(p, level, debiased)


def strength_of_rows(
    equation: Equation, *, level: float = 0.95, debiased: bool = False
) -> InstrumentStrength:
    """All statistics that apply to the rows of an equation, or to its moments."""
    return _strength(partial_equation(equation), level, debiased)


def _strength(p: Partialled, level: float, debiased: bool) -> InstrumentStrength:
    check_level(level)
    robust, one = not p.classical_only, p.n_treatments == 1
    just, over = one and p.n_instruments == 1, p.n_instruments > p.n_treatments
    options: dict[str, Any] = {"robust": robust, "debiased": debiased}
    failed: dict[str, str] = {}

    def attempt[R](applies: bool, name: str, function: Callable[..., R], **given: Any) -> R | None:
        """Result, or None where it does not apply or the data do not allow it."""
        if not applies:
            return None
        try:
            return function(p, **given)
        except ValueError as error:
            failed[name] = str(error)
            return None

    if robust:
        asked = ["two stage"] * over + ["exogeneity"] * p.any_scores
        p.read("reduced form", "treatments", *asked)
    overid: tuple[tuple[str, Callable[..., HypothesisTest]], ...] = (("Sargan", sargan),)
    if robust:
        overid = (("Hansen J", hansen_j), ("Wooldridge score", wooldridge_overid))
    tests = [attempt(over, name, function) for name, function in overid]
    return InstrumentStrength(
        treatments=p.treatments,
        errors="classical" if not robust else "robust" if p.n_clusters is None else "clustered",
        level=level,
        first_stage=attempt(True, "first stage", first_stage, **options),
        cragg_donald=cragg_donald(p),
        kleibergen_paap=attempt(robust, "Kleibergen-Paap F", kleibergen_paap),
        effective_f=attempt(one, "effective F", effective_f, **options),
        anderson_rubin=attempt(
            one, "Anderson-Rubin set", anderson_rubin_confidence_set, level=level, **options
        ),
        conditional_likelihood_ratio=attempt(
            one and over,
            "conditional LR set",
            conditional_likelihood_ratio_confidence_set,
            level=level,
            **options,
        ),
        no_effect=attempt(True, "Anderson-Rubin", anderson_rubin, **options),
        tf=attempt(just, "tF", tf_interval, **options),
        wu_hausman=attempt(True, "Wu-Hausman", wu_hausman, **options),
        overidentification=tuple(test for test in tests if test is not None),
        failed=failed,
    )
