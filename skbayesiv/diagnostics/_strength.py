"""All that a reader of an instrumental-variables table looks for, in one block."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from skbayesiv._equation import Equation

from ._anderson_rubin import anderson_rubin, anderson_rubin_confidence_set
from ._confidence_set import ConfidenceSet
from ._effective_f import TAU, EffectiveF, effective_f
from ._exogeneity import wu_hausman
from ._first_stage import FirstStage, first_stage
from ._fitted import Fitted
from ._overidentification import hansen_j, sargan, wooldridge_overid
from ._partial import Partialled, partial_out
from ._rank import CraggDonald, KleibergenPaap, cragg_donald, kleibergen_paap
from ._results import HypothesisTest
from ._tf import TFInterval, tf_interval

if TYPE_CHECKING:
    import pandas as pd

_AT = TAU.index(0.10)


@dataclass(frozen=True)
class Entry:
    """One line of the block: a name, its numbers, and how they are printed."""

    name: str
    text: str
    value: float = np.nan
    dof: float = np.nan
    p_value: float = np.nan
    critical_value: float = np.nan
    lower: float = np.nan
    upper: float = np.nan


@dataclass(frozen=True, eq=False, repr=False)
class InstrumentStrength:
    """Strength of the instruments, inference that does not need it, and tests of the model.

    What does not apply is None, such as the effective F of several treatments.

    Attributes
    ----------
    treatments : tuple of str
    errors : {"robust", "clustered", "classical"}
        What the statistics allow for; classical only when there are no rows.
    level : float
        Of `anderson_rubin`.
    first_stage : FirstStage
    cragg_donald : CraggDonald
    kleibergen_paap : KleibergenPaap or None
    effective_f : EffectiveF or None
    anderson_rubin : ConfidenceSet or None
        Effects that the Anderson-Rubin test does not reject, for one treatment.
    no_effect : HypothesisTest
        Anderson-Rubin test that all effects are zero.
    tf : TFInterval or None
        For one treatment and one instrument.
    wu_hausman : HypothesisTest or None
    overidentification : tuple of HypothesisTest
        With more instruments than treatments, Hansen's J and Wooldridge's test, or Sargan's when
        classical.
    failed : dict of str to str
        Statistics that could not be computed, and why.
    """

    treatments: tuple[str, ...]
    errors: str
    level: float
    first_stage: FirstStage
    cragg_donald: CraggDonald
    kleibergen_paap: KleibergenPaap | None
    effective_f: EffectiveF | None
    anderson_rubin: ConfidenceSet | None
    no_effect: HypothesisTest | None
    tf: TFInterval | None
    wu_hausman: HypothesisTest | None
    overidentification: tuple[HypothesisTest, ...]
    failed: dict[str, str]

    @property
    def critical_value(self) -> float | None:
        """What the effective F must exceed: a bias above 10% of the worst case, size 5%."""
        return None if self.effective_f is None else self.effective_f.critical_values[_AT]

    @property
    def weak(self) -> bool | None:
        """Whether the effective F lies below its critical value; None if it does not apply."""
        return (
            None
            if self.effective_f is None
            else self.effective_f.f < self.effective_f.critical_values[_AT]
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row for each statistic; columns value, dof, p_value, critical_value, lower, upper.

        The ends of a confidence set of several pieces are those of its hull.
        """
        import pandas as pd

        rows = [asdict(entry) for entry in self._entries()]
        return pd.DataFrame(rows).drop(columns="text").set_index("name")

    def __str__(self) -> str:
        entries = list(self._entries())
        width = max(len(entry.name) for entry in entries) + 2
        lines = [f"{entry.name:<{width}}{entry.text}" for entry in entries]
        return "\n".join([self._title(), *lines])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(
            f"<tr><th>{escape(entry.name)}</th><td>{escape(entry.text)}</td></tr>"
            for entry in self._entries()
        )
        return f"<p>{escape(self._title())}</p><table>{rows}</table>"

    def _title(self) -> str:
        allowed = {
            "robust": "robust to heteroskedasticity",
            "clustered": "robust to clusters",
            "classical": "assuming equal error variances: no rows at hand",
        }
        return f"Instruments ({allowed[self.errors]})"

    def _entries(self) -> Iterator[Entry]:
        yield from self._first_stage_entries()
        yield from self._inference_entries()
        for test in (self.wu_hausman, *self.overidentification):
            if test is not None:
                yield _test_entry(test)
        for name, why in self.failed.items():
            yield Entry(name, f"not computed: {why}")

    def _first_stage_entries(self) -> Iterator[Entry]:
        if self.effective_f is not None:
            f, critical = self.effective_f.f, self.effective_f.critical_values[_AT]
            text = f"{_f(f)}, {'below' if self.weak else 'above'} its critical value {critical:.1f}"
            yield Entry("effective F", text, f, critical_value=critical)
        stage = self.first_stage
        for k, treatment in enumerate(self.treatments):
            of = f" of {treatment}" if len(self.treatments) > 1 else ""
            f, p = float(stage.f[k]), float(stage.p_value[k])
            kind = "classical" if self.errors == "classical" else "robust"
            yield Entry(f"first-stage F{of}, {kind}", _f(f), f, stage.dof, p)
            r2 = float(stage.partial_r2[k])
            yield Entry(f"partial R2{of}", f"{r2:.4g}", r2)
        rank = self.cragg_donald
        yield Entry("Cragg-Donald F", _f(rank.f), rank.f, rank.dof, rank.p_value)
        if self.kleibergen_paap is not None:
            kp = self.kleibergen_paap
            yield Entry("Kleibergen-Paap F", _f(kp.f), kp.f, kp.dof, kp.p_value_wald)

    def _inference_entries(self) -> Iterator[Entry]:
        if self.anderson_rubin is not None:
            yield _set_entry(f"Anderson-Rubin {self.level:.4g}", self.anderson_rubin)
        if self.no_effect is not None:
            yield _test_entry(self.no_effect, "Anderson-Rubin test")
        if self.tf is not None:
            yield _set_entry(f"tF {self.tf.interval.level:.4g}", self.tf.interval)


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
        Of the Anderson-Rubin confidence set; the tF interval has 0.95.

    Returns
    -------
    InstrumentStrength

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.diagnostics import instrument_strength
    >>> z = np.tile([0, 1], 50)
    >>> t = z * (np.arange(100) % 3 > 0)
    >>> y = 2.0 * t + np.arange(100) % 7
    >>> instrument_strength(y, t, z)
    Instruments (robust to heteroskedasticity)
    effective F            97.06, above its critical value 23.1
    first-stage F, robust  97.06
    partial R2             0.4925
    Cragg-Donald F         95.12
    Kleibergen-Paap F      95.12
    Anderson-Rubin 0.95    [0.803959, 3.2421]
    Anderson-Rubin test    chi2(1) = 9.782, p = 0.001762 (null: the effect is 0)
    tF 0.95                [0.82675, 3.23386]
    Wu-Hausman             chi2(1) = 0.04659, p = 0.8291 (null: the treatments are exogenous)
    """
    names = y.moments_.columns.treatments if hasattr(y, "moments_") else None
    p = partial_out(
        y, t, z, X, sample_weight=sample_weight, clusters=clusters, fit_intercept=fit_intercept
    )
    k = p.n_treatments
    return _strength(p, names or tuple(f"t{i}" for i in range(k)), level, debiased)


def strength_of_rows(
    rows: Equation, *, level: float = 0.95, debiased: bool = False
) -> InstrumentStrength:
    """All statistics that apply to the rows of an equation, or to rows made up from moments."""
    return _strength(partial_rows(rows), rows.columns.treatments, level, debiased)


def partial_rows(rows: Equation) -> Partialled:
    """Rows with the covariates partialled out."""
    return replace(partial_out(**rows.design), classical_only=rows.classical_only)


def _strength(
    p: Partialled, names: tuple[str, ...], level: float, debiased: bool
) -> InstrumentStrength:
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

    overid: tuple[tuple[str, Callable[..., HypothesisTest]], ...] = (("Sargan", sargan),)
    if robust:
        overid = (("Hansen J", hansen_j), ("Wooldridge score", wooldridge_overid))
    tests = [attempt(over, name, function) for name, function in overid]
    return InstrumentStrength(
        treatments=names,
        errors="classical" if not robust else "robust" if p.clusters is None else "clustered",
        level=level,
        first_stage=first_stage(p, **options),
        cragg_donald=cragg_donald(p),
        kleibergen_paap=attempt(robust, "Kleibergen-Paap F", kleibergen_paap),
        effective_f=attempt(one, "effective F", effective_f, **options),
        anderson_rubin=attempt(
            one, "Anderson-Rubin set", anderson_rubin_confidence_set, level=level, **options
        ),
        no_effect=attempt(True, "Anderson-Rubin", anderson_rubin, **options),
        tf=attempt(just, "tF", tf_interval, **options),
        wu_hausman=attempt(True, "Wu-Hausman", wu_hausman, **options),
        overidentification=tuple(test for test in tests if test is not None),
        failed=failed,
    )


def _f(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _test_entry(test: HypothesisTest, name: str = "") -> Entry:
    text = str(test).partition(": ")[2]
    return Entry(name or test.name, text, test.statistic, test.dof, test.p_value)


def _set_entry(name: str, value: ConfidenceSet) -> Entry:
    if not value.intervals:
        return Entry(name, str(value))
    return Entry(name, str(value), lower=value.intervals[0][0], upper=value.intervals[-1][1])
