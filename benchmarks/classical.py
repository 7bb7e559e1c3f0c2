"""TwoStageLS against plain NumPy and other packages, errors of the same kind, the runs alternating.

Rivals that compute robust errors stand beside ours with robust errors, those that compute
classical ones (statsmodels, ivmodels) beside ours with classical ones. `NumPy` is what a careful
person would write: four matrix products, the residuals, and the sum of the scores' outer products.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from measure import Figure, alternating, seconds

from skbayesiv import BayesianIV, Moments, TwoStageLS
from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.roles import Roles
from skbayesiv._data.rows import read_rows

type Run = Callable[[], object]
ANGRIST_KRUEGER = (329_509, 10, 30)  # rows, covariates and instruments of their table V


@dataclass(frozen=True)
class Rows:
    """Covariates (n, P), treatment, outcome and instruments (n, Q)."""

    x: np.ndarray
    t: np.ndarray
    y: np.ndarray
    z: np.ndarray

    @property
    def one(self) -> np.ndarray:
        """The constant."""
        return np.ones((len(self.y), 1))


def simulated(n: int, p: int, q: int) -> Rows:
    """Rows with unequal variances."""
    rng = np.random.default_rng(0)
    x, z, taste = rng.normal(size=(n, p)), rng.normal(size=(n, q)), rng.normal(size=n)
    t = z.sum(axis=1) + x.sum(axis=1) + taste
    y = t + x.sum(axis=1) + taste + rng.normal(size=n) * (1.0 + np.abs(z[:, 0]))
    return Rows(x, t, y, z)


def ours(rows: Rows, **params: Any) -> Run:
    """This package."""
    return lambda: TwoStageLS(**params).fit(rows.x, rows.t, rows.y, z=rows.z)


def with_numpy(rows: Rows) -> Run:
    """Plain NumPy with robust errors: the floor."""

    def run() -> np.ndarray:
        x = np.column_stack([rows.one, rows.x, rows.t])
        z = np.column_stack([rows.one, rows.x, rows.z])
        zx = z.T @ x
        p = np.linalg.solve(z.T @ z, zx)
        bread = np.linalg.inv(p.T @ zx)
        error = rows.y - x @ (bread @ p.T @ (z.T @ rows.y))
        scores = z * error[:, None]
        root = bread @ p.T
        return root @ (scores.T @ scores) @ root.T

    return run


def with_linearmodels(rows: Rows, model: str = "IV2SLS") -> Run:
    """linearmodels with robust errors."""
    from linearmodels import iv

    exogenous = np.column_stack([rows.one, rows.x])
    return lambda: getattr(iv, model)(rows.y, exogenous, rows.t, rows.z).fit().std_errors


def with_pyfixest(rows: Rows) -> Run:
    """pyfixest with robust errors."""
    import pyfixest

    x = {f"x{j}": column for j, column in enumerate(rows.x.T)}
    z = {f"z{j}": column for j, column in enumerate(rows.z.T)}
    frame = pd.DataFrame({"y": rows.y, "t": rows.t} | x | z)
    formula = f"y ~ {' + '.join(x)} | t ~ {' + '.join(z)}"
    return lambda: pyfixest.feols(formula, frame, vcov="HC1").se()


def with_statsmodels(rows: Rows) -> Run:
    """statsmodels with classical errors."""
    from statsmodels.sandbox.regression.gmm import IV2SLS

    x = np.column_stack([rows.one, rows.x, rows.t])
    z = np.column_stack([rows.one, rows.x, rows.z])
    return lambda: IV2SLS(rows.y, x, z).fit().bse


def with_ivmodels(rows: Rows) -> Run:
    """ivmodels with classical errors."""
    from ivmodels import KClass

    def run() -> object:
        model = KClass("tsls").fit(X=rows.t[:, None], y=rows.y, Z=rows.z, C=rows.x)
        return model.coef_

    return run


ROBUST = {"NumPy": with_numpy, "linearmodels": with_linearmodels, "pyfixest": with_pyfixest}
CLASSICAL = {"statsmodels": with_statsmodels, "ivmodels": with_ivmodels}


def installed(rivals: dict[str, Callable[[Rows], Run]]) -> dict[str, Callable[[Rows], Run]]:
    """Those that are at hand; NumPy always is."""
    return {name: run for name, run in rivals.items() if importlib.util.find_spec(name.lower())}


def compare(what: str, own: Run, rivals: dict[str, Run], repeat: int) -> Iterator[Figure]:
    """One line for each rival, in whose turn ours runs too."""
    for name, rival in rivals.items():
        mine, theirs = alternating(own, rival, repeat=repeat)
        yield Figure(what, f"{mine:.4f} s", f"{name} {theirs:.4f} s", f"{mine / theirs:.3f} x")


def bench_two_stage(repeat: int) -> Iterator[Figure]:
    """Fits to rows with three covariates, just and over-identified."""
    for n in (10**4, 10**6, 10**7):
        for q in (1, 4):
            rows = simulated(n, 3, q)
            what = f"2SLS, n = {n:,}, {q} instrument{'s' * (q > 1)}"
            for kind, rivals in (("robust", ROBUST), ("unadjusted", CLASSICAL)):
                runs = {name: make(rows) for name, make in installed(rivals).items()}
                own = ours(rows, cov_type=kind)
                times = {10**4: 10 * repeat, 10**6: repeat}.get(n, 1)
                yield from compare(f"{what}, {kind} errors", own, runs, times)


def bench_wide(repeat: int) -> Iterator[Figure]:
    """The size of Angrist and Krueger's data, with 30 instruments."""
    n, p, q = ANGRIST_KRUEGER
    rows = simulated(n, p, q)
    what = f"n = {n:,}, {p} covariates, {q} instruments, robust"
    fast = {"NumPy": with_numpy(rows)}
    yield from compare(f"2SLS, {what}", ours(rows), fast, repeat)
    yield from compare(f"2SLS, {what}", ours(rows), {"linearmodels": with_linearmodels(rows)}, 1)
    liml = {"linearmodels": with_linearmodels(rows, "IVLIML")}
    yield from compare(f"LIML, {what}", ours(rows, method="liml"), liml, 1)
    est = ours(rows)()
    assert isinstance(est, TwoStageLS)
    yield from compare(f"summary() with all diagnostics, {what}", est.summary, fast, repeat)
    yield from _gmm(rows, repeat)


def _gmm(rows: Rows, repeat: int) -> Iterator[Figure]:
    """The pass for fourth-order sums beside BLAS on the distinct products, and the whole fit."""
    data = read_rows(rows.x, rows.y, rows.t, rows.z, roles=Roles())
    f, e = FourthMoments.empty(data.columns).total.shape
    q = rows.z.shape[1]
    distinct = f * e - q * (q + 1) // 2
    block = np.random.default_rng(0).normal(size=(distinct, 1024))
    mine, blas = alternating(
        lambda: FourthMoments.from_data(data),
        lambda: [block @ block.T for _ in range(data.n_rows // 1024)],
        repeat=repeat,
    )
    what = f"fourth-order sums, {distinct} products, n = {data.n_rows:,}"
    yield Figure(what, f"{mine:.2f} s", f"BLAS alone {blas:.2f} s", f"{mine / blas:.2f} x")
    est = BayesianIV(likelihood="gmm", random_state=0)
    times = [seconds(lambda: est.fit(rows.x, rows.t, rows.y, z=rows.z)) for _ in range(2)]
    what = f'BayesianIV(likelihood="gmm"), {q} instruments, n = {data.n_rows:,}'
    yield Figure(what, f"{times[1]:.1f} s", f"with compilation {times[0]:.1f} s")


def bench_moments(repeat: int) -> Iterator[Figure]:
    """The pass over rows beside reading them, and beside one BLAS call for the whole table."""
    for n, p in ((10**7, 3), (10**7, 17), (10**6, 97)):
        rows = simulated(n, p, 1)
        for layout in ("C", "F"):
            x = np.asarray(rows.x, order=layout)
            data = read_rows(x, rows.y, rows.t, rows.z, roles=Roles())
            columns = np.column_stack([rows.x, rows.z, rows.t, rows.y])
            mine, blas = alternating(
                lambda data=data: Moments.from_data(data),
                lambda columns=columns: columns.T @ columns,
                repeat=repeat,
            )
            read = min(seconds(columns.sum) for _ in range(repeat))
            yield Figure(
                f"Moments, n = {n:,}, {p + 3} columns, X in {layout} order",
                f"{mine:.3f} s",
                f"one dsyrk {blas:.3f} s, reading {read:.3f} s",
                f"{mine / max(blas, read):.2f} x the larger",
            )
