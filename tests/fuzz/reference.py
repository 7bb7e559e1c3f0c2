"""Plain numpy in long double: least squares and 2SLS, their covariance, moments.

Columns are centred and scaled first, and orthogonalised twice, so that what is lost is the
rounding of the data itself. Each answer comes with the error that double precision allows
whoever computes it from sums of squares: rounding times the condition numbers of these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EPS = float(np.finfo(float).eps)
LONG = np.longdouble


def orthogonalise(a):
    """Q and R of a table in long double, by Gram-Schmidt, twice."""
    q, r = a.copy(), np.eye(a.shape[1], dtype=LONG)
    for _ in range(2):
        step = np.zeros_like(r)
        for j in range(a.shape[1]):
            step[:j, j] = q[:, :j].T @ q[:, j]
            q[:, j] -= q[:, :j] @ step[:j, j]
            step[j, j] = np.sqrt(q[:, j] @ q[:, j])
            if step[j, j] > 0:
                q[:, j] /= step[j, j]
        r = step @ r
    return q, r


def solve_upper(r, b):
    """r^-1 b of an upper triangle."""
    out = np.zeros((len(r), *b.shape[1:]), dtype=LONG)
    for i in range(len(r) - 1, -1, -1):
        out[i] = (b[i] - r[i, i + 1 :] @ out[i + 1 :]) / r[i, i]
    return out


def smallest(r):
    """Smallest singular value of a triangle of about unit columns."""
    return float(np.linalg.svd(r.astype(float), compute_uv=False).min(initial=1.0))


@dataclass(frozen=True)
class Scaled:
    """Weighted columns, centred if there is an intercept, of unit length; and how to go back."""

    table: np.ndarray
    mean: np.ndarray
    length: np.ndarray

    @classmethod
    def of(cls, table, weight, fit_intercept):
        first = table[0].astype(LONG) if fit_intercept else LONG(0)
        table = table.astype(LONG) - first  # exact where columns have large means
        share = (weight / weight.sum())[:, None]
        mean = (share * table).sum(axis=0) * LONG(fit_intercept)
        table = np.sqrt(share) * (table - mean)
        length = np.sqrt((table**2).sum(axis=0))
        return cls(table / np.where(length > 0, length, LONG(1)), first + mean, length)


@dataclass(frozen=True)
class Answer:
    """Coefficients (regressors' order), intercept and covariance, and what rounding allows.

    `tolerance` is of each coefficient, `std_tolerance` of each standard error.
    """

    coef: np.ndarray
    intercept: float
    std_errors: np.ndarray
    tolerance: np.ndarray
    intercept_tolerance: float
    std_tolerance: np.ndarray
    is_certain: bool


def used(weight, *parts):
    """Rows with a weight, in long double, and the weights."""
    n = len(parts[0])
    weight = np.ones(n, dtype=LONG) if weight is None else np.asarray(weight).astype(LONG)
    keep = weight > 0
    return weight[keep], [np.asarray(part)[keep] for part in parts]


def cluster_codes(clusters):
    """Number of each label, whatever labels are."""
    seen = {}
    return np.array([seen.setdefault(repr(label), len(seen)) for label in clusters])


def least_squares(
    y,
    d,
    by,
    *,
    weight=None,
    clusters=None,
    cov_type="robust",
    fit_intercept=True,
    debiased=False,
    from_sums=False,
):
    """Regression of y on d with instruments `by` (as many or more; d itself is least squares)."""
    arrays = [y, d, by] + ([] if clusters is None else [cluster_codes(clusters)])
    weight, (y, d, by, *codes) = used(weight, *arrays)
    r = d.shape[1]
    all_of = Scaled.of(np.column_stack([y, d, by]), weight, fit_intercept)
    sy, sd, sz = np.split(all_of.table, [1, 1 + r], axis=1)
    qz, rz = orthogonalise(sz)
    fitted = qz @ (qz.T @ sd)
    qd, rd = orthogonalise(fitted)
    if r and not (np.diag(rd) > 0).all():
        return None
    b = solve_upper(rd, qd.T @ sy[:, 0])
    inverse = solve_upper(rd, np.eye(r, dtype=LONG))
    error = sy[:, 0] - sd @ b
    total = weight.sum()
    meat = _meat(cov_type, fitted, error, weight / total, total, codes)
    cov = inverse @ (inverse.T @ meat @ inverse) @ inverse.T
    if debiased:
        cov = cov * _factor(total, r + int(fit_intercept), codes)
    ratio = all_of.length[0] / all_of.length[1 : 1 + r]
    slack = 200 * EPS * len(y)
    gram, first = 1 / max(smallest(rz), EPS) ** 2, 1 / max(smallest(rd), EPS) ** 2
    size = float(np.abs(b).sum())
    off = slack * gram * first * (1 + size)
    noise = slack * (1 + size) + off * r
    std = np.sqrt(np.diag(cov))
    scale = np.sqrt(np.diag(inverse @ inverse.T) / total).astype(float)
    noise = max(noise, np.sqrt(slack) * (1 + size)) if from_sums else noise
    reach = _reach(cov_type, weight / total, total)
    coef = b * ratio
    shift = all_of.mean
    intercept = shift[0] - shift[1 : 1 + r] @ coef if fit_intercept else 0.0
    return Answer(
        coef,
        intercept,
        std * ratio,
        off * ratio,
        float(
            slack * (abs(shift[0]) + all_of.length[0] + np.abs(shift[1 : 1 + r] * coef).sum())
            + off * np.abs(shift[1 : 1 + r] * ratio).sum()
        ),
        (slack * gram * first * std + noise * scale * reach) * ratio,
        is_certain=bool(off < 1e-3 and gram * EPS < 1e-4 and first * EPS < 1e-4),
    )


def _meat(cov_type, fitted, error, share, total, codes):
    """Covariance of the scores, with columns of unit weighted mean square."""
    if cov_type == "unadjusted":
        return (error @ error) / total * np.eye(fitted.shape[1], dtype=LONG) @ (fitted.T @ fitted)
    scores = fitted * error[:, None]
    if codes:
        sums = np.zeros((codes[0].max() + 1, fitted.shape[1]), dtype=LONG)
        np.add.at(sums, codes[0], scores)
        return sums.T @ sums
    # A row of weight w is w rows: their scores are those of sqrt(w) d and sqrt(w) e over w.
    return (scores / (share * total)[:, None]).T @ scores


def _reach(cov_type, share, total):
    """How much more an error in some rows can do to a covariance than to the classical one."""
    by_type = {"unadjusted": 1.0, "clustered": np.sqrt(total), "robust": 1 / np.sqrt(share.min())}
    return float(by_type[cov_type])


def _factor(total, r, codes):
    if codes:
        groups = len(np.unique(codes[0]))
        return (total - 1) / (total - r) * groups / (groups - 1)
    return total / (total - r)


def moments(table, weight=None):
    """Weighted means and scatter, and the rounding they may have."""
    weight, (table,) = used(weight, table)
    total, first = weight.sum(), table[0].astype(LONG)
    table = table.astype(LONG) - first  # exact where columns have large means
    mean = (weight[:, None] * table).sum(axis=0) / total
    apart = np.sqrt(weight)[:, None] * (table - mean)
    mean = first + mean
    scatter = apart.T @ apart
    slack = 200 * EPS * len(table)
    length = np.sqrt(np.diag(scatter))
    allowed = slack * np.outer(length, length)
    return total, mean, scatter, slack * (np.abs(mean) + length / np.sqrt(total)), allowed
