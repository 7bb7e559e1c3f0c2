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
TINY = float(np.finfo(float).tiny)  # what is below loses digits, whoever computes it


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
    """Coefficients, intercept and standard errors, and what rounding allows of each."""

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


@dataclass(frozen=True)
class Solution:
    """A k-class estimate in scaled columns.

    `bread` is the inverse of D'((1 - k) I + k P)D, `fitted` is PD, and `loss` is what rounding is
    multiplied by: the condition of the instruments' sums of squares, and of the first stage's.
    """

    coef: np.ndarray
    bread: np.ndarray
    fitted: np.ndarray
    error: np.ndarray
    loss: float

    @classmethod
    def of(cls, y, d, z, kappa=1.0):
        """2SLS, which is least squares where z is d, or with another kappa LIML."""
        (qz, rz), (qd, rd) = orthogonalise(z), orthogonalise(d)
        if not (np.diag(rd) > 0).all():
            return None
        within = qz.T @ qd
        middle = kappa * within.T @ within + (1 - kappa) * np.eye(d.shape[1], dtype=LONG)
        pull = kappa * within.T @ (qz.T @ y) + (1 - kappa) * (qd.T @ y)
        stage = smallest(within.astype(float) @ rd.astype(float)) if d.shape[1] else 1.0
        if stage < 1e-7:
            return None
        inverse = invert(middle)
        coef = solve_upper(rd, inverse @ pull)
        root = solve_upper(rd, np.eye(d.shape[1], dtype=LONG))
        loss = 1 / max(smallest(rz), EPS) ** 2 / stage**2
        return cls(coef, root @ inverse @ root.T, qz @ (qz.T @ d), y - d @ coef, loss)


def invert(a):
    """Inverse of a small matrix in long double: Newton's steps from that in double."""
    out = np.linalg.inv(a.astype(float)).astype(LONG)
    for _ in range(3):
        out = out @ (2 * np.eye(len(a), dtype=LONG) - a @ out)
    return out


def liml_kappa(y, t, z, x):
    """Smallest root of |W0 - k W1|, and how much rounding it makes of rounding.

    With u an orthonormal basis of (t, y) less their regression on x and F'F its part in z,
    W0 = I and W1 = I - F'F.
    """
    if z.shape[1] == t.shape[1]:
        return LONG(1), 1.0
    q, _ = orthogonalise(np.column_stack([x, z]))
    table = np.column_stack([t, y])
    qx, qz = np.split(q, [x.shape[1]], axis=1)
    u, r = orthogonalise(table - qx @ (qx.T @ table))
    explained = np.linalg.svd((qz.T @ u).astype(float), compute_uv=False)
    size = explained.min() if z.shape[1] >= table.shape[1] else 0.0
    left = max(1 - size**2, EPS)
    return LONG(1 / left), 1 / max(smallest(r), EPS) ** 2 / left


def least_squares(
    y, t, z, x, *, liml=False, weight=None, clusters=None, from_sums=False, **options
):
    """Regression of y on (t, x) with instruments (z, x); without t and z it is least squares.

    Options are cov_type, fit_intercept and debiased. Without rows (`from_sums`) the errors'
    variance is a difference of sums, which loses half of the digits.
    """
    arrays = [y, t, z, x] + ([] if clusters is None else [cluster_codes(clusters)])
    weight, (y, t, z, x, *codes) = used(weight, *arrays)
    scaled = Scaled.of(np.column_stack([y, t, x, z]), weight, options["fit_intercept"])
    widths = np.cumsum([1, t.shape[1], x.shape[1]])
    sy, st, sx, sz = np.split(scaled.table, widths, axis=1)
    kappa, extra = liml_kappa(sy, st, sz, sx) if liml else (LONG(1), 1.0)
    found = Solution.of(sy[:, 0], np.column_stack([st, sx]), np.column_stack([sz, sx]), kappa)
    if found is None:
        return None
    slack = 200 * EPS * len(y)
    size = 1 + float(np.abs(found.coef).sum())
    if liml:  # its root comes from sums of squares, of which the error's is a share
        extra = max(extra, float((sy[:, 0] @ sy[:, 0]) / (found.error @ found.error)))
    off = slack * found.loss * extra * size
    noise = slack * size + off * len(found.coef)
    if from_sums:
        noise = max(noise, np.sqrt(slack) * size)
    cov, reach = covariance(found, weight, codes, options)
    std = np.sqrt(np.diag(cov))
    allowed = slack * found.loss * extra * std + noise * np.sqrt(np.diag(found.bread)) * reach
    sure = off < 1e-3 and found.loss * EPS < 1e-4
    return in_units(scaled, found, std, off, allowed, slack, sure, options["fit_intercept"])


def covariance(found, weight, codes, options):
    """Covariance of scaled coefficients, and what an error of the errors does to its root."""
    total, share = weight.sum(), weight / weight.sum()
    scores = found.fitted * found.error[:, None]
    root = np.sqrt(total)
    if codes:
        sums = np.zeros((codes[0].max() + 1, scores.shape[1]), dtype=LONG)
        np.add.at(sums, codes[0], scores)
        meat, reach = sums.T @ sums, 1.0
    elif options["cov_type"] == "unadjusted":
        variance = (found.error @ found.error) / total
        return _debiased(variance * found.bread, total, codes, options), float(1 / root)
    else:  # a row of weight w is w rows; columns and errors have its root as a factor
        meat = (scores / (share * total)[:, None]).T @ scores
        reach = 1 / np.sqrt(share.min()) / root
    cov = found.bread @ meat @ found.bread
    return _debiased(cov, total, codes, options), float(reach)


def _debiased(cov, total, codes, options):
    """The covariance with the small-sample factor, if asked for."""
    if not options["debiased"]:
        return cov
    dof = total - len(cov) - int(options["fit_intercept"])
    if not codes:
        return cov * total / dof
    groups = len(np.unique(codes[0]))
    return cov * (total - 1) / dof * groups / (groups - 1)


def in_units(scaled, found, std, off, allowed, slack, sure, fit_intercept):
    """The answer in the units of the columns, with its intercept."""
    n = 1 + len(found.coef)
    ratio, mean = scaled.length[0] / scaled.length[1:n], scaled.mean
    coef = found.coef * ratio
    parts = np.abs(mean[1:n] * coef).sum() + np.abs(mean[0]) + scaled.length[0]
    reach = off * np.abs(mean[1:n] * ratio).sum()
    return Answer(
        coef,
        mean[0] - mean[1:n] @ coef if fit_intercept else 0.0,
        std * ratio,
        off * ratio,
        float(slack * parts + reach),
        allowed * ratio,
        sure,
    )


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
    # A row that outweighs all others should be at the mean, which is off by its own rounding.
    lost = np.sqrt(total) * np.finfo(LONG).eps * np.abs(mean - first)
    length = np.sqrt(np.diag(scatter))
    allowed = slack * np.outer(length, length) + len(table) * TINY
    allowed = allowed + 4 * (np.outer(lost, lost) + np.outer(lost, length) + np.outer(length, lost))
    return total, mean, scatter, slack * (np.abs(mean) + length / np.sqrt(total)), allowed
