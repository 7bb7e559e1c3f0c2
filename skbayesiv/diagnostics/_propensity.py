"""Covariates and a binary assignment -> frozen propensity e(x) = P(z = 1 | x).

A statistic that depends on it has, beside its own influence, that of its estimation: with g the
weighted sum of b_i de_i / dgamma, b_i the derivative of row i's contribution by e_i, and psi_i the
influence of row i on gamma, it is g' psi_i (Newey and McFadden 1994, section 6). Both kinds of
propensity give it for all b at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.special import expit

from skbayesiv._typing import Array
from skbayesiv.diagnostics._row_design import RowDesign, distinct_rows

KINDS = ("auto", "cells", "logit")
ROWS_A_CELL = 20
_STEPS, _CONVERGED = 50, 1e-10
_CERTAIN = 1e-8
_WAY_OUT = (
    "There is no effect to compare in it: leave its rows out, or merge it with another; the "
    "effect is then that on the compliers who are left."
)


class Propensity(Protocol):
    """Probability of assignment given the covariates.

    Attributes
    ----------
    e : ndarray of shape (n,)
    kind : {"cells", "logit"}
    n_cells : int or None
        Number of cells, which cells have.
    """

    @property
    def e(self) -> Array: ...

    @property
    def kind(self) -> str: ...

    @property
    def n_cells(self) -> int | None: ...

    def influence(self, derivatives: Array) -> Array:
        """Influence (n, M) of the estimation on sums with these derivatives (n, M) by e."""


@dataclass(frozen=True, eq=False)
class Cells:
    """Share assigned in each cell of the covariates.

    Attributes
    ----------
    design : RowDesign
    d : ndarray of shape (n,)
        Assignment, 0 or 1.
    codes : ndarray of int of shape (n,)
    """

    design: RowDesign
    d: Array
    codes: Any
    kind: str = "cells"

    @property
    def sizes(self) -> Array:
        """Weight of each cell."""
        return np.bincount(self.codes, self.design.weight)

    @property
    def shares(self) -> Array:
        """Share assigned in each cell."""
        return np.bincount(self.codes, self.design.weight * self.d) / self.sizes

    @property
    def e(self) -> Array:
        """Share assigned in the cell of each row."""
        return self.shares[self.codes]

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.codes.max()) + 1

    def influence(self, derivatives: Array) -> Array:
        """Sum of b in the cell over its weight, times d - e."""
        weighted = derivatives * self.design.weight[:, None]
        sums = np.stack([np.bincount(self.codes, b) for b in weighted.T], axis=1)
        return np.asarray((sums / self.sizes[:, None])[self.codes] * (self.d - self.e)[:, None])

    def one_armed(self) -> int | None:
        """First cell whose rows are all assigned or all not, or None."""
        arms = np.bincount(2 * self.codes + (self.d > 0), minlength=2 * self.n_cells)
        lacking = np.flatnonzero(arms.reshape(-1, 2).min(axis=1) == 0)
        return int(lacking[0]) if len(lacking) else None

    def check(self, names: Sequence[str]) -> None:
        """Raise unless there are both arms in each cell."""
        cell = self.one_armed()
        if cell is None:
            return
        rows = np.flatnonzero(self.codes == cell)
        values = self.design.x[rows[0]]
        what = ", ".join(f"{n} = {v:g}" for n, v in zip(names, values, strict=True))
        side = "all" if self.d[rows[0]] > 0 else "none"
        raise ValueError(
            f"z must have both values in each cell of X: of the {len(rows)} rows with {what}, "
            f"{side} are assigned. {_WAY_OUT}"
        )


@dataclass(frozen=True, eq=False)
class Logit:
    """Logistic regression of assignment on (1, X).

    Attributes
    ----------
    design : RowDesign
    d : ndarray of shape (n,)
        Assignment, 0 or 1.
    e : ndarray of shape (n,)
    """

    design: RowDesign
    d: Array
    e: Array
    kind: str = "logit"
    n_cells: int | None = None

    @classmethod
    def fit(cls, design: RowDesign, d: Array) -> Logit:
        """Maximise the likelihood by Newton's steps."""
        basis, w = design.controls, design.weight
        coef = np.zeros(basis.shape[1])
        for _ in range(_STEPS):
            e = expit(basis @ coef)
            information = (basis * (w * e * (1.0 - e))[:, None]).T @ basis
            try:
                step = np.linalg.solve(information, basis.T @ (w * (d - e)))
            except np.linalg.LinAlgError:
                break
            coef = coef + step
            e = expit(basis @ coef)
            if min(e.min(), 1.0 - e.max()) < _CERTAIN:
                break
            if np.abs(basis @ step).max() < _CONVERGED:
                return cls(design, d, e)
        raise ValueError(
            "z must not be certain given X: the logistic regression of z on X finds rows that are "
            f"assigned with a probability of 0 or 1. {_WAY_OUT.replace('in it', 'there')}"
        )

    def influence(self, derivatives: Array) -> Array:
        """x' A^-1 g (d - e), A the information."""
        basis, spread = self.design.controls, self.design.weight * self.e * (1.0 - self.e)
        weighted = basis * spread[:, None]
        on_basis = np.linalg.solve(weighted.T @ basis, weighted.T @ derivatives)
        return np.asarray(basis @ on_basis * (self.d - self.e)[:, None])


def propensity(design: RowDesign, d: Array, kind: str) -> Propensity:
    """Cells where the covariates form few or (1, X) tells them all apart, or else a logit."""
    if not (isinstance(kind, str) and kind in KINDS):
        raise ValueError(f"propensity must be one of {list(KINDS)}; got {kind!r}.")
    names, rank = design.data.columns.covariates, design.controls.shape[1]
    few = max(int(design.n / ROWS_A_CELL), rank)
    most = design.data.n_rows if kind == "cells" else few
    codes = None if kind == "logit" else distinct_rows(design.x, most)
    if codes is None:
        return Logit.fit(design, d)
    cells = Cells(design, d, codes)
    if kind == "auto" and cells.n_cells > rank and cells.one_armed() is not None:
        return Logit.fit(design, d)
    cells.check(names)
    return cells
