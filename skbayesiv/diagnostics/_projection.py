"""Outcome and treatments on whitened instruments, and the scores that robust statistics need.

With (1, X) partialled out, Z = Z~ R with Z~'WZ~ = I (W the frequency weights), and v the residual
of y on t, whatever is linear in (v, t) is a function of

    C = Z~'W (v, t)                               coefficients, Q x D, D = 1 + K
    e = (v, t) - Z~ C                             residuals.

The outcome is taken as v = y - t'centre because coefficients of y lose digits when t nearly
explains it, and those of v do not; any y - t'b is v + t'(centre - b).
"""

from dataclasses import dataclass

import numpy as np

from skbayesiv._data.standardised import in_own_units
from skbayesiv._linear.units import Scores
from skbayesiv._typing import Array

SAME = 1e-12  # first-stage residuals of a combination of treatments this much smaller are none


@dataclass(frozen=True, eq=False)
class Projection:
    """Regression of (v, t) on whitened instruments, all of them contrasts of an equation.

    Attributes
    ----------
    root : ndarray of shape (Q, Q)
        Upper triangular R with Z = Z~ R.
    centre : ndarray of shape (K,)
        Least squares coefficients of y on t.
    coef : ndarray of shape (Q, D)
        Coefficients C, those of v first.
    instruments : ndarray of shape (1 + C, Q)
        Whitened instruments Z~.
    variables : ndarray of shape (1 + C, D)
        v and the treatments.
    second : ndarray of shape (D, D)
        Weighted sums of their products; those of v and t are zero.
    """

    root: Array
    centre: Array
    coef: Array
    instruments: Array
    variables: Array
    second: Array

    @classmethod
    def of(cls, contrasts: Array, second: Array, n_instruments: int) -> "Projection":
        """Project, given contrasts of (z, t, y) and the sums of their products."""
        scale, s = in_own_units(second)
        unit = contrasts / scale
        z, t = slice(0, n_instruments), slice(n_instruments, -1)
        root = np.linalg.cholesky(s[z, z]).T
        coef = np.linalg.solve(root.T, s[z, n_instruments:])
        centre = np.linalg.solve(s[t, t], s[t, -1])
        k = len(centre)
        turn = np.zeros((1 + k, 1 + k))  # from (t, y) to (v, t)
        turn[:k, 0], turn[k, 0], turn[:k, 1:] = -centre, 1.0, np.eye(k)
        own = np.append(scale[-1], scale[t])  # scales of v and t
        left = turn.T @ s[n_instruments:, n_instruments:] @ turn
        left[0, 1:] = left[1:, 0] = 0.0
        left[0, 0] = max(left[0, 0], 0.0)
        return cls(
            root=root * scale[z],
            centre=centre * scale[-1] / scale[t],
            coef=coef @ turn * own,
            instruments=np.linalg.solve(root.T, unit[:, z].T).T,
            variables=unit[:, n_instruments:] @ turn * own,
            second=left * np.outer(own, own),
        )

    @property
    def residuals(self) -> Array:
        """Contrasts of e, shape (1 + C, D)."""
        return np.asarray(self.variables - self.instruments @ self.coef)

    @property
    def two_stage(self) -> Array:
        """2SLS effects less the centre, shape (K,)."""
        outcome, treatments = self.coef[:, 0], self.coef[:, 1:]
        scale = np.sqrt(np.diag(self.second)[1:])
        return np.asarray(np.linalg.lstsq(treatments / scale, outcome, rcond=None)[0] / scale)

    def scores(self, name: str) -> Scores:
        """Scores of a statistic.

        "reduced form" has instruments and the residuals, then (v, t) themselves, whose scores have
        the effect's null imposed; "two stage" instruments and the residual of 2SLS; "treatments"
        instruments and treatments; "exogeneity" the part r of the first-stage residuals that is
        orthogonal to the treatments, and what t and r leave of the outcome.
        """
        outcome, treatments = self.variables[:, :1], self.variables[:, 1:]
        match name:
            case "reduced form":
                return Scores(self.instruments, np.hstack([self.residuals, self.variables]))
            case "two stage":
                return Scores(self.instruments, outcome - treatments @ self.two_stage[:, None])
            case "treatments":
                return Scores(self.instruments, treatments)
            case "exogeneity":
                return self._exogeneity()
        raise ValueError(name)

    def _exogeneity(self) -> Scores:
        scale, second = in_own_units(self.second)
        coef = self.coef / scale
        left = second - coef.T @ coef  # of the residuals
        on_t, gram = beside_treatments(left[1:, 1:], second[1:, 1:])
        unit = (self.variables / scale)[:, 1:]
        own = (self.residuals / scale)[:, 1:] - unit @ on_t
        error = self.variables[:, :1] / scale[0]
        error = error - own @ np.linalg.lstsq(gram, left[1:, :1], rcond=SAME)[0]
        return Scores(own, error * scale[0])


def beside_treatments(left: Array, treatments: Array) -> tuple[Array, Array]:
    """Regress the first-stage residuals on the treatments, all of shape (K, K).

    Parameters
    ----------
    left, treatments : ndarray
        Second moments of the residuals and of the treatments, whose product is `left` too.

    Returns
    -------
    on_t : ndarray
        Coefficients.
    gram : ndarray
        Second moments of what the treatments leave.
    """
    on_t = np.linalg.solve(treatments, left)
    return on_t, left - left @ on_t
