"""Are rows and columns enough for the model? Asked of the moments, whatever they came from.

There is one cut-off: a column is explained by others if they leave less than `COLLINEAR` of its sum
of squares, about its mean when there is a constant.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skbayesiv._columns import Columns
from skbayesiv._data.moments import Moments
from skbayesiv._data.standardised import in_own_units
from skbayesiv._typing import Array

COLLINEAR = 1e-8
TINY = 1e-290
ZERO = 1e-10  # a mean this small beside a column's first values is zero
TREATMENT_WITHOUT_ERROR = (
    " A joint model of y and t needs one. If an exogenous t is its own instrument, or everybody "
    "complied, make it a column of X; else use TwoStageLS, or likelihood='gmm'."
)


def check_identified(moments: Moments, *, fit_intercept: bool = True, proper: bool = False) -> None:
    """Raise unless rows and columns suffice for the first stage and the outcome's equation.

    `proper` says that the covariates' coefficients have proper priors, so that one which is zero
    in all rows, such as a rare indicator in some of the folds, has a posterior too.
    """
    columns = moments.columns
    q, k = len(columns.instruments), len(columns.treatments)
    check_sums_finite(moments)
    check_order(columns)
    if not fit_intercept:
        check_sums_finite(moments.about(np.zeros_like(moments.shift)))
    _check_rows(moments, len(columns.covariates) + q + int(fit_intercept) if k else 2)
    if not k:
        return
    _check_varies(moments, fit_intercept, proper=proper)
    cosines = _cosines(moments, fit_intercept)
    if _all_stand_alone(cosines):
        return
    for argument, where in (("z", columns.z), ("t", columns.t)):
        index = [*range(columns.x.stop), *range(where.start, where.stop)]
        nothing = [at for at in index[: columns.x.stop] if proper and cosines[at, at] == 0.0]
        for at in [at for at in explained(cosines, index) if at not in nothing][:1]:
            others = [columns.names[i] for i in index[: index.index(at)]]
            name = "X" if at < columns.x.stop else argument
            raise collinear_error(name, columns.names[at], others, fit_intercept=fit_intercept)


def check_order(columns: Columns) -> None:
    """Raise unless there are treatments with the instruments, and not more of them."""
    q, k = len(columns.instruments), len(columns.treatments)
    if q and not k:
        raise ValueError(
            "t must be given with z: an instrumental-variable fit needs both; got "
            f"{list(columns.instruments)} without treatments."
        )
    if q < k:
        raise ValueError(
            f"z must have at least as many columns as t ({k}); got {q}: "
            f"{list(columns.instruments)}."
        )


def check_errors(moments: Moments, *, fit_intercept: bool = True, joint: bool) -> None:
    """Raise if columns fit y or, in a joint model, t exactly in more rows than columns.

    There is no posterior then: the likelihood grows without bound as the variance of the outcome's
    error given t and z goes to 0, and that of a joint model as the errors' covariance becomes
    singular, which a treatment does whose error is a combination of those before it.
    """
    columns = moments.columns
    index = [*range(len(columns.names))]
    dependent = explained(_cosines(moments, fit_intercept), index)
    first = columns.t.start if joint else columns.y
    without = [at for at in dependent if at >= first]
    n_columns = len(index) - len(dependent) + int(fit_intercept)
    if not columns.treatments or not without or moments.weight <= n_columns:
        return
    at = without[0]
    argument, name = ("y" if at == columns.y else "t"), columns.names[at]
    if fit_intercept and moments.spread[at] == 0.0:
        raise constant_error(argument, name, moments.mean[at])
    raise ValueError(
        f"{argument} must have an error: column {name!r} is a linear combination of "
        f"{'the constant and ' if fit_intercept else ''}{list(columns.names[:at])}, to "
        f"{COLLINEAR:g} of its variance.{'' if at == columns.y else TREATMENT_WITHOUT_ERROR}"
    )


def without_effect(moments: Moments, *, fit_intercept: bool = True) -> str:
    """Why rows do not identify an effect when all coefficients have proper priors, or nothing.

    Covariates may be constant or linearly dependent then, and instruments may explain a treatment.
    """
    c, names = moments.columns, moments.columns.names
    if moments.n_rows < 2:
        return f"it has {moments.n_rows} row{'s' * (not moments.n_rows)}"
    constant = moments.spread == 0.0
    cosines = _cosines(moments, fit_intercept)
    x, t, z = (range(part.start, part.stop) for part in (c.x, c.t, c.z))
    by_x = explained(cosines, [*x, *t])
    dependent = explained(cosines, [*range(len(names))])
    for at in t:
        if at in by_x:
            return f"{names[at]} {_why(moments, constant, at)}"
    if sum(at not in dependent for at in z) < len(t):
        at = next(at for at in z if at in dependent)
        return f"{names[at]} {_why(moments, constant, at)}"
    if c.y in dependent:
        reason = _why(moments, constant, c.y) if constant[c.y] else "has no error"
        return f"{names[c.y]} {reason}"
    return ""


def _why(moments: Moments, constant: NDArray[np.bool_], at: int) -> str:
    if constant[at]:
        return f"is {moments.mean[at]:.6g} in all its rows"
    return "does not vary given the columns before it"


def explained_treatments(moments: Moments, *, fit_intercept: bool = True) -> list[int]:
    """Treatments that are linear combinations of instruments, covariates and those before them."""
    index = [*range(moments.columns.y)]
    found = explained(_cosines(moments, fit_intercept), index)
    return [at for at in found if at >= moments.columns.t.start]


def full_rank(moments: Moments, *, fit_intercept: bool = True) -> bool:
    """Whether no covariate is a linear combination of the others (and the constant)."""
    index = [*range(moments.columns.x.stop)]
    return not explained(_cosines(moments, fit_intercept), index)


def explained(cosines: Array, index: list[int]) -> list[int]:
    """Those of the columns that are linear combinations of others before them (Gram-Schmidt)."""
    residual, found = cosines[np.ix_(index, index)].copy(), []
    if _all_stand_alone(residual):
        return []
    for j, column in enumerate(index):
        pivot = residual[j, j]
        if pivot < COLLINEAR:
            found.append(column)
        else:
            residual -= np.outer(residual[:, j], residual[j]) / pivot
    return found


def _all_stand_alone(cosines: Array) -> bool:
    """Whether none is explained: the squared diagonal of Cholesky's factor is what is left."""
    try:
        root = np.linalg.cholesky(cosines)
    except np.linalg.LinAlgError:
        return False
    return bool((np.diag(root) ** 2 >= COLLINEAR).all())


def collinear_error(
    argument: str, column: str, others: list[str], *, fit_intercept: bool
) -> ValueError:
    """Error that a column is explained by others."""
    return ValueError(
        f"{argument} must not be perfectly collinear: column {column!r} is a linear combination of "
        f"{'the constant and ' if fit_intercept else ''}{others}, to {COLLINEAR:g} of its "
        "sum of squares. Leave it out, or centre what powers and products are made of."
    )


def constant_error(argument: str, column: str, value: float) -> ValueError:
    """Error that a column is the same in all rows."""
    there = argument == "X" and value != 0.0
    why = " There is a constant already: leave the column out, or set fit_intercept=False."
    return ValueError(
        f"{argument} must vary: column {column!r} is constant at {value:.6g}.{why if there else ''}"
    )


def check_sums_finite(moments: Moments) -> None:
    """Raise if a sum is not finite, or has too few digits: squares over- and underflow."""
    if not np.isfinite(moments.weight):
        raise ValueError(f"sample_weight must have a finite sum; got {moments.weight}.")
    if 0.0 < moments.weight < TINY:
        raise ValueError(f"sample_weight must have a sum above {TINY:g}; got {moments.weight}.")
    with np.errstate(over="ignore", invalid="ignore"):
        own = np.isfinite(moments.shift + moments.total + np.diag(moments.scatter + moments.cross))
    finite = own if not own.all() else np.isfinite(moments.cross).all(axis=1)
    if not finite.all():
        names = [name for name, good in zip(moments.columns.names, finite, strict=True) if not good]
        raise ValueError(
            f"X, t, y and z must have finite sums of squares: those of {names} are not. Rescale "
            "the columns."
        )
    tiny = _underflows(moments)
    if tiny.any():
        names = [name for name, small in zip(moments.columns.names, tiny, strict=True) if small]
        raise ValueError(
            f"X, t, y and z must have sums of squares above {TINY:g}: those of {names} are "
            "smaller. Rescale the columns."
        )


def _underflows(moments: Moments) -> NDArray[np.bool_]:
    """Whether the squares of a column, which is not zero, are too small for all their digits."""
    square = np.diag(moments.cross)
    some = (square > 0.0) | (moments.total != 0.0)
    return some & (square < TINY * min(moments.weight, 1.0))


def _check_rows(moments: Moments, least: int) -> None:
    least = max(least, 2)
    if moments.n_rows < least:
        raise ValueError(
            f"X, t, y and z must have at least as many rows as the first stage has columns "
            f"({least}); got n_samples = {moments.n_rows}"
            + (" (1 sample)." if moments.n_rows == 1 else ".")
        )


def _check_varies(moments: Moments, fit_intercept: bool, *, proper: bool) -> None:
    columns, mean = moments.columns, moments.mean
    constant = moments.spread == 0.0
    if not constant.any():
        return
    for role, where in (("z", columns.z), ("t", columns.t), ("X", columns.x)):
        for i in range(where.start, where.stop):
            zero = abs(mean[i]) <= ZERO * abs(moments.shift[i])
            if constant[i] and (fit_intercept or zero) and not (zero and proper and role == "X"):
                raise constant_error(role, columns.names[i], 0.0 if zero else mean[i])


def _cosines(moments: Moments, fit_intercept: bool) -> Array:
    """Cosines of the angles between columns, centred if there is an intercept."""
    if fit_intercept:
        spread = moments.spread
        over = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0.0)
        return moments.scatter / moments.weight * over[:, None] * over
    cross = moments.about(np.zeros_like(moments.shift)).cross
    return in_own_units(cross)[1]
