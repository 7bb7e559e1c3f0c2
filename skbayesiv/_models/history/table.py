"""Earlier experiments -> frozen :class:`History`: effects, standard errors, hyper-priors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from skbayesiv._columns import column_names
from skbayesiv._data.arrays import as_numbers
from skbayesiv._models.history.likelihoods import WEAK_F, EffectLikelihood, nearly_normal
from skbayesiv._models.history.sums import Earlier, earlier_experiments
from skbayesiv._models.parts.priors import PriorRow, check_range, finite_or_auto, positive_or_auto
from skbayesiv._models.parts.scales import SCALE_PRIORS
from skbayesiv._typing import Array

LARGE = 1e50
SHOWN = 5


@dataclass(frozen=True, eq=False)
class History:
    """Earlier effects and the hyper-priors, for J experiments and K treatments.

    Attributes
    ----------
    effects, std_errors : ndarray of shape (J, K)
        Not a number where an experiment did not measure a treatment.
    names, treatments : tuple of str
    loc, scale : ndarray of shape (K,)
        Normal prior of beta_t_bar.
    sigma_scale : ndarray of shape (K,)
        Scale of sigma_t_bar's prior.
    kind : {"half-cauchy", "half-normal", "half-t"}
    likelihoods : tuple of EffectLikelihood or None
        What each experiment says of its effect, where it is known better than as a normal; only
        of one treatment.
    first_stage_f : ndarray of shape (J,), optional
        Of the others, not a number where it is not known.
    """

    effects: Array
    std_errors: Array
    names: tuple[str, ...]
    treatments: tuple[str, ...]
    loc: Array
    scale: Array
    sigma_scale: Array
    kind: str
    likelihoods: tuple[EffectLikelihood | None, ...] = ()
    first_stage_f: Array | None = None

    @property
    def n_experiments(self) -> int:
        """J."""
        return len(self.names)

    @cached_property
    def earlier(self) -> tuple[Earlier, ...]:
        """What the experiments say of each treatment's effect, about `loc`."""
        columns = zip((self.effects - self.loc).T, self.std_errors.T, strict=True)
        return tuple(earlier_experiments(b, s) for b, s in columns)

    @cached_property
    def carried(self) -> tuple[int, ...]:
        """Experiments whose effect and standard error say less than their likelihoods."""
        return tuple(
            j
            for j, own in enumerate(self.likelihoods)
            if own is not None and not nearly_normal(own, self.n_experiments)
        )

    @property
    def weak(self) -> list[str]:
        """Experiments whose first stage is known to be weak."""
        f = (
            np.full(self.n_experiments, np.nan)
            if self.first_stage_f is None
            else self.first_stage_f
        )
        own = self.likelihoods or (None,) * self.n_experiments
        known = [one.f if one is not None else f for one, f in zip(own, f, strict=True)]
        return [name for name, f in zip(self.names, known, strict=True) if f < WEAK_F]

    @property
    def misjudged(self) -> list[str]:
        """Weak ones of which no likelihood is known, so that they pass for normal."""
        carried = {self.names[j] for j in self.carried}
        return [name for name in self.weak if name not in carried]

    def parameters(self) -> dict[str, Any]:
        """Parameters of an estimator that give this history again, in numbers."""
        one = len(self.treatments) == 1
        hyper = {
            "beta_t_bar_loc": self.loc,
            "beta_t_bar_scale": self.scale,
            "sigma_t_bar_scale": self.sigma_scale,
        }
        own = zip(self.names, self.likelihoods, strict=False)
        none = np.full(self.n_experiments, np.nan)
        return {
            "effects": self.effects,
            "std_errors": self.std_errors,
            "likelihoods": {name: value for name, value in own if value is not None},
            "first_stage_f": none if self.first_stage_f is None else self.first_stage_f,
            **{name: float(value[0]) if one else value for name, value in hyper.items()},
        }

    def without(self, j: int) -> History:
        """All experiments but one, under the same hyper-priors."""
        return replace(
            self,
            effects=np.delete(self.effects, j, axis=0),
            std_errors=np.delete(self.std_errors, j, axis=0),
            names=self.names[:j] + self.names[j + 1 :],
            likelihoods=self.likelihoods[:j] + self.likelihoods[j + 1 :],
            first_stage_f=None if self.first_stage_f is None else np.delete(self.first_stage_f, j),
        )

    def priors(self, robust_weight: float) -> dict[str, PriorRow]:
        """Priors by parameter; the effect is exchangeable but with probability `robust_weight`."""
        out: dict[str, PriorRow] = {}
        share = f" with probability {1 - robust_weight:g}" if robust_weight else ""
        label = SCALE_PRIORS[self.kind].label
        for k, name in enumerate(self.treatments):
            out[f"beta_t_bar[{name}]"] = PriorRow("Normal", self.loc[k], self.scale[k])
            out[f"sigma_t_bar[{name}]"] = PriorRow(label, 0.0, self.sigma_scale[k])
            near = f"Normal(beta_t_bar, sigma_t_bar){share}"
            out[f"beta_t[{name}]"] = PriorRow(near, np.nan, np.nan)
        return out

    def in_units(self, unit: Array) -> History:
        """All effects divided by units of shape (K,)."""
        names = ("effects", "std_errors", "loc", "scale", "sigma_scale")
        divided: dict[str, Any] = {name: getattr(self, name) / unit for name in names}
        return replace(self, **divided)


class HistoryParameters(Protocol):
    """An estimator's parameters that a history is built from."""

    effects: Any
    std_errors: Any
    likelihoods: Any
    first_stage_f: Any
    beta_t_bar_loc: Any
    beta_t_bar_scale: Any
    sigma_t_bar_scale: Any
    sigma_t_bar_prior: str


def build_history(
    parameters: HistoryParameters,
    treatments: Sequence[str] | None = None,
    auto: tuple[Array, Array] | None = None,
) -> History | None:
    """History of an estimator, None without earlier effects; "auto" scales come from these.

    Parameters
    ----------
    parameters : HistoryParameters
    treatments : sequence of str, optional
        Those of the current experiment; by default those that `effects` names.
    auto : (scale, spread), each of shape (K,), optional
        "auto" scales of beta_t_bar and sigma_t_bar where others share the population, such as
        segments of the rows. There need be no earlier effects then.
    """
    if _is_empty(parameters.effects) and _is_empty(parameters.std_errors):
        if auto is None:
            return None
        assert treatments is not None
        none = np.empty((0, len(treatments)))
        return _history(parameters, none, none, (), tuple(treatments), auto)
    if treatments is not None and not len(treatments):
        raise ValueError(
            "effects must be None without a treatment, which they are effects of: pass t and z, or "
            "use BayesianIV."
        )
    b, s, names, treatments = read_history(parameters.effects, parameters.std_errors, treatments)
    unknown = [t for t, column in zip(treatments, b.T, strict=True) if np.isnan(column).all()]
    if unknown:
        raise ValueError(
            f"effects must measure every treatment in some experiment; got none for {unknown}."
        )
    return _history(parameters, b, s, names, treatments, auto or automatic_scales(b, s))


def _history(
    parameters: HistoryParameters,
    b: Array,
    s: Array,
    names: tuple[str, ...],
    treatments: tuple[str, ...],
    auto: tuple[Array, Array],
) -> History:
    """History of checked effects, with hyper-priors."""
    k = (len(treatments),)
    scale, spread = auto
    loc = finite_or_auto(parameters.beta_t_bar_loc, "beta_t_bar_loc", k, 0.0)
    width = positive_or_auto(parameters.beta_t_bar_scale, "beta_t_bar_scale", k, scale)
    apart = positive_or_auto(parameters.sigma_t_bar_scale, "sigma_t_bar_scale", k, spread)
    check_range(np.abs(loc), "beta_t_bar_loc", scale, zero=True)
    check_range(width, "beta_t_bar_scale", scale)
    check_range(apart, "sigma_t_bar_scale", spread)
    own = read_likelihoods(parameters.likelihoods, names, treatments)
    kind = parameters.sigma_t_bar_prior
    f = read_first_stage_f(parameters.first_stage_f, names)
    return History(b, s, names, treatments, loc, width, apart, kind, own, f)


def read_first_stage_f(value: Any, names: tuple[str, ...]) -> Array | None:
    """First-stage F of each experiment, matched by names where there are any."""
    if value is None:
        return None
    table = _read(value, "first_stage_f")
    if table.values.shape != (len(names), 1):
        raise ValueError(
            f"first_stage_f must have shape ({len(names)},), one for each experiment; got shape "
            f"{np.shape(value)}."
        )
    if table.rows is not None and set(names) & set(table.rows):
        table = table.order(list(names))
    f = table.values[:, 0]
    if (f < 0.0).any():
        raise ValueError(f"first_stage_f must be zero or positive, or NaN; got {f.min():g}.")
    return np.asarray(f)


def read_likelihoods(
    likelihoods: Any, names: Sequence[str], treatments: Sequence[str]
) -> tuple[EffectLikelihood | None, ...]:
    """Likelihoods in the experiments' order, None where there is none; empty without any."""
    if likelihoods is None or (isinstance(likelihoods, Mapping) and not likelihoods):
        return ()
    if not isinstance(likelihoods, Mapping):
        raise TypeError(
            "likelihoods must map names of experiments to their EffectLikelihood, as "
            f"from_estimators and fit_experiments give them; got {type(likelihoods).__name__}."
        )
    if len(treatments) > 1:
        raise ValueError(
            f"likelihoods must be None with several treatments, {list(treatments)}: a likelihood "
            "is of one effect."
        )
    given = {str(name): own for name, own in likelihoods.items()}
    wrong = [name for name, own in given.items() if not isinstance(own, EffectLikelihood)]
    if wrong:
        raise TypeError(
            "likelihoods must hold EffectLikelihood, as from_estimators and fit_experiments give "
            f"them; got {type(given[wrong[0]]).__name__} for {wrong[0]!r}."
        )
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ValueError(
            f"likelihoods must be of the experiments that effects names; got {some_of(unknown)}."
        )
    return tuple(given.get(name) for name in names)


def _is_empty(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return not value.size
    return value is None or (hasattr(value, "__len__") and not len(value))


def read_history(
    effects: Any, std_errors: Any, treatments: Sequence[str] | None = None
) -> tuple[Array, Array, tuple[str, ...], tuple[str, ...]]:
    """Check earlier effects and errors and match them by their labels, where they have any.

    Returns
    -------
    effects, std_errors : ndarray of shape (J, K)
    names, treatments : tuple of str
    """
    for name, value in (("effects", effects), ("std_errors", std_errors)):
        if _is_empty(value):
            raise ValueError(f"effects and std_errors must be given together; {name} is missing.")
    b, s = _read(effects, "effects"), _read(std_errors, "std_errors")
    if b.values.shape != s.values.shape:
        raise ValueError(
            f"std_errors must have the shape of effects {b.values.shape}; got shape "
            f"{s.values.shape}."
        )
    if treatments is None:
        treatments = b.columns or column_names(None, "t", b.values.shape[1])
    b, s = (table.select(treatments) for table in (b, s))
    if b.rows is not None and s.rows is not None:
        s = s.order(b.rows)
    names = b.rows or s.rows or [str(j) for j in range(len(b.values))]
    _check_entries(b.values, s.values, names)
    return b.values, s.values, tuple(names), tuple(treatments)


@dataclass(frozen=True, eq=False)
class _Table:
    """Numbers of shape (J, K) with names of rows and columns, None where there are none."""

    name: str
    values: Array
    rows: list[str] | None
    columns: list[str] | None

    def select(self, treatments: Sequence[str]) -> _Table:
        """Put columns into the treatments' order; one column needs no name to be found."""
        width = self.values.shape[1]
        if width != len(treatments):
            found = width if self.columns is None else f"{width}, {self.columns}"
            raise ValueError(
                f"{self.name} must have one column for each treatment ({len(treatments)}, "
                f"{list(treatments)}); got {found}."
            )
        if self.columns is None or width == 1:
            return self
        if sorted(self.columns) != sorted(treatments):
            raise ValueError(
                f"Columns of {self.name} must be the treatments {list(treatments)}; got "
                f"{self.columns}."
            )
        at = [self.columns.index(name) for name in treatments]
        return _Table(self.name, self.values[:, at], self.rows, list(treatments))

    def order(self, rows: list[str]) -> _Table:
        """Put rows into an order given by their names."""
        assert self.rows is not None
        place = {name: j for j, name in enumerate(self.rows)}
        missing = [name for name in rows if name not in place]
        if missing:
            raise ValueError(
                f"{self.name} must be of the experiments that effects names; got none for "
                f"{some_of(missing)}."
            )
        at = [place[name] for name in rows]
        return _Table(self.name, self.values[at], rows, self.columns)


def _read(value: Any, name: str) -> _Table:
    array = np.asarray(as_numbers(value, name), dtype=float)
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} must have shape (J,) or (J, K); got shape {array.shape}.")
    index = getattr(value, "index", None)
    rows = None
    # A list's `index` is a method, and numbers from 0 name nothing.
    if index is not None and not callable(index) and list(index) != list(range(len(index))):
        rows = [str(label) for label in index]
        twice = [label for label, times in Counter(rows).items() if times > 1]
        if twice:
            raise ValueError(
                f"Names of experiments in {name} must differ; got {some_of(twice)} more than once."
            )
    columns = list(getattr(value, "columns", ()))
    named = bool(columns) and all(isinstance(column, str) for column in columns)
    return _Table(name, array.reshape(len(array), -1), rows, columns if named else None)


def _check_entries(b: Array, s: Array, names: Sequence[str]) -> None:
    apart = np.argwhere(np.isnan(b) != np.isnan(s))
    if len(apart):
        raise ValueError(
            "effects and std_errors must be missing (NaN) in the same places: an effect without "
            "its standard error, or the reverse, says nothing; they are not for "
            f"{some_of([names[j] for j, _ in apart])}."
        )
    known = (np.abs(b) < LARGE) & (s < LARGE) & (s > 1.0 / LARGE)
    good = np.isnan(b) | known
    found = [f"{names[j]}: {b[j, k]:g} ({s[j, k]:g})" for j, k in np.argwhere(~good)]
    if found:
        raise ValueError(
            "effects must be finite and std_errors positive and finite (or NaN where an experiment "
            f"did not measure a treatment), both below {LARGE:g}, std_errors above its inverse; "
            f"got {some_of(found)}."
        )


def some_of(values: Sequence[str]) -> str:
    """Return the first few of a list that may be long."""
    rest = len(values) - SHOWN
    return ", ".join(map(repr, values[:SHOWN])) + (f" and {rest} more" if rest > 0 else "")


def automatic_scales(effects: Array, errors: Array) -> tuple[Array, Array]:
    """Default scales of beta_t_bar and sigma_t_bar, in the units of the effects.

    With weights w_j = 1 / s_j^2, averages E under them and the typical squared error
    e = 1 / E[w], they are 2.5 (E[b^2] + e)^(1/2) and (Var[b] + e)^(1/2). Both are equivariant to
    the units, and an experiment that says nothing (s -> infinity) leaves them as they are.
    """
    known = ~np.isnan(effects)
    b, smallest = np.where(known, effects, 0.0), np.nanmin(errors, axis=0)
    precision = np.where(known, (smallest / np.where(known, errors, 1.0)) ** 2, 0.0)
    weight = precision / precision.sum(axis=0)
    error = smallest**2 / (weight * precision).sum(axis=0)
    centre = (weight * b).sum(axis=0)
    spread = (weight * (b - centre) ** 2).sum(axis=0) + error
    return 2.5 * np.sqrt((weight * b**2).sum(axis=0) + error), np.sqrt(spread)
