"""PyMC's NUTS on a PyMC model: one chain after the other, from given points."""

from __future__ import annotations

from typing import Any

from skbayesiv._sampling.target import MAX_TREE_DEPTH, Settings
from skbayesiv._typing import Array

STATS = ("diverging", "tree_depth", "n_steps", "acceptance_rate", "energy", "lp", "step_size")


def run_nuts(model: Any, initial: list[dict[str, Array]], settings: Settings) -> Any:
    """Run PyMC's NUTS from one point for each chain; returns its tree."""
    import pymc as pm

    return pm.sample(
        settings.draws,
        tune=settings.tune,
        chains=settings.chains,
        cores=1,
        random_seed=settings.seed,
        nuts_sampler="pymc",
        nuts={"target_accept": settings.target_accept, "max_treedepth": MAX_TREE_DEPTH},
        init="adapt_diag",
        initvals=initial,
        progressbar=False,
        quiet=True,
        compute_convergence_checks=False,
        model=model,
    )


def statistics(tree: Any) -> dict[str, Array]:
    """Statistics of a run of PyMC's, in ArviZ's names."""
    return {name: tree.sample_stats[name].to_numpy() for name in STATS}
