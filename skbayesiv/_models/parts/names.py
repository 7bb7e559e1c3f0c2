"""Names of the posterior's variables, their dimensions and the names along these."""

from __future__ import annotations

from skbayesiv._columns import Columns

DIMS = {
    "intercept_t": ("treatment",),
    "beta_t": ("treatment",),
    "beta_z": ("instrument", "treatment"),
    "beta_z_sd": ("treatment",),
    "gamma_y": ("covariate",),
    "gamma_t": ("covariate", "treatment"),
    "direct": ("instrument",),
    "sigma": ("equation",),
    "corr": ("equation", "equation_"),
    "cov": ("equation", "equation_"),
    "beta_t_bar": ("treatment",),
    "sigma_t_bar": ("treatment",),
    "delta": ("segment_covariate", "treatment"),
    "beta_j": ("experiment", "treatment"),
    "effect": ("treatment",),
}
Coords = dict[str, list[str]]


def coordinates(columns: Columns, experiments: tuple[str, ...] = ()) -> Coords:
    """Names along each dimension."""
    equations = [columns.outcome, *columns.treatments]
    left = ["1", *columns.covariates, *columns.instruments]
    regressed = [*columns.instruments, *columns.treatments, columns.outcome]
    return {
        "treatment": list(columns.treatments),
        "instrument": list(columns.instruments),
        "covariate": list(columns.covariates),
        "equation": equations,
        "equation_": equations,
        "experiment": list(experiments),
        "column": list(columns.names),
        "column_": list(columns.names),
        "left": left,
        "left_": left,
        "right": ["1", *regressed],
        "right_": ["1", *regressed],
        "regressed": regressed,
    }


def entry_name(name: str, index: tuple[int, ...], coords: Coords) -> str:
    """Names of one entry along the variable's dimensions, in brackets; empty for a number."""
    if not index:
        return ""
    dims = DIMS.get(name, ("treatment",))
    return "[" + ", ".join(coords[dim][i] for dim, i in zip(dims, index, strict=True)) + "]"
