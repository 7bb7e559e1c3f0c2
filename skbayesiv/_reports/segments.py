"""For whom: effects of segments, alone and pooled, and whom to treat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skbayesiv._columns import treatment_position
from skbayesiv._data.moments import Moments
from skbayesiv._honesty.evidence import Evidence
from skbayesiv._linear.equation import Equation
from skbayesiv._models.history.likelihoods import WEAK_F
from skbayesiv._models.history.meta_analysis import Heterogeneity, cochran_q
from skbayesiv._reports.experiment_chances import check_one_cost, check_rope
from skbayesiv._reports.meta_analysis import EffectSummary
from skbayesiv._typing import Array
from skbayesiv.diagnostics import cragg_donald
from skbayesiv.diagnostics._report import Block, Pairs, Paragraph, Part, Report, Table

QUANTILES = {"2.5%": 0.025, "97.5%": 0.975}
PRINTED = 30  # segments, half of them with the largest effects and half with the smallest
NAMED = 10
POLICIES = ("treat all", "treat segments above cost", "treat none")
DESCRIPTIVE = (
    "Differences between segments are descriptive, unless the segments were set before the "
    "experiment."
)


def effects_table(est: Any) -> pd.DataFrame:
    """Effects by segment of a fitted estimator."""
    posterior = est.idata_.posterior
    draws = posterior["beta_t"].to_numpy()
    draws = draws.reshape(-1, *draws.shape[2:])
    low, high = np.quantile(draws, list(QUANTILES.values()), axis=0)
    rows = np.array([own.weight for own in est._design.moments])
    columns = {
        "rows": np.repeat(rows[:, None], draws.shape[2], axis=1),
        "first_stage": est._first_stages,
        "effect": draws.mean(axis=0),
        "sd": draws.std(axis=0),
        "2.5%": low,
        "97.5%": high,
        "p_positive": (draws > 0.0).mean(axis=0),
    }
    index = pd.Index(est.segments_, name="segment")
    treatments = list(est.moments_.columns.treatments)
    if len(treatments) > 1:
        index = pd.MultiIndex.from_product([index, treatments], names=["segment", "treatment"])
    return pd.DataFrame({name: value.ravel() for name, value in columns.items()}, index=index)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class SegmentReport(Report):
    """For whom one treatment works: effects of segments, each alone and pooled with the others.

    Attributes
    ----------
    treatment, given : str
        What the effect is of, and which covariates there were.
    table : DataFrame
        By segment: `rows` (sum of weights), `first_stage` (as in `effects_`), `F` (of the first
        stage, with errors of one variance; with several treatments Cragg and Donald's), `alone`
        and `alone sd` (2SLS of the segment and its standard error), `effect`, `sd`, `2.5%` and
        `97.5%` (posterior, given all segments), `shrinkage` (posterior mean of the population's
        share, ``se^2 / (se^2 + sigma_t_bar^2)``: 0 is the segment alone, 1 the population alone),
        `P(effect > cost)` (without a cost `P(effect > 0)`) and `P(best)` (of the largest effect of
        all). Segments that identify no effect of their own have neither `F` nor `alone`.
    effect : EffectSummary
        Average over the compliers of all segments.
    mean_effect : EffectSummary
        Of beta_t_bar, the mean of the population of segments, large and small alike.
    sigma_median, sigma_lower, sigma_upper : float
        Spread of the effects: median and 95% interval of sigma_t_bar.
    heterogeneity : Heterogeneity
        Cochran's Q of the segments' own 2SLS effects.
    cost : float or None
        Of one unit of the treatment, in units of the outcome.
    rope : tuple of float or None
        Differences from the compliers' average that do not matter.
    one_effect : float or None
        Posterior probability that every segment's effect is within `rope` of that average; None
        without `rope`.
    within : float or None
        Expected share of the compliers whose segment's effect is.
    policies : DataFrame
        Whom to treat: `expected gain` of each policy by complier, net of the cost, and `expected
        loss` against who would be treated if the effects were known. Compliers are shared out by
        rows times first stage.
    slopes : DataFrame or None
        Posterior of delta, by which effects vary with the covariates of segments; None without any.
    silent : dict
        Why segments identify no effect of their own. They have the population's.
    weak : tuple
        Segments with an F below 10: they lean on the population.
    """

    treatment: str
    given: str
    table: pd.DataFrame
    effect: EffectSummary
    mean_effect: EffectSummary
    sigma_median: float
    sigma_lower: float
    sigma_upper: float
    heterogeneity: Heterogeneity
    cost: float | None
    rope: tuple[float, float] | None
    one_effect: float | None
    within: float | None
    policies: pd.DataFrame
    slopes: pd.DataFrame | None
    silent: dict[Any, str]
    weak: tuple[Any, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row for each segment: `table`.

        Returns
        -------
        pandas.DataFrame
        """
        return self.table

    def _blocks(self) -> Iterator[Block]:
        yield (Pairs(tuple(self._lines().items())),)
        yield tuple(self._segments())
        yield (Table(self.policies, "%.4g"),)
        if self.slopes is not None:
            yield (Table(self.slopes, "%.4g"),)
        if named := tuple(map(Paragraph, self._named())):
            yield named
        yield (Paragraph(DESCRIPTIVE),)

    def _lines(self) -> dict[str, str]:
        interval = f"[{self.sigma_lower:.4g}, {self.sigma_upper:.4g}]"
        lines = {
            "effect of": f"{self.treatment}  ({self.given})",
            "average over compliers": str(self.effect),
            "mean of segments": str(self.mean_effect),
            "spread of effects": f"median {self.sigma_median:.4g} {interval}",
            "Cochran's Q": str(self.heterogeneity).replace("experiments", "segments"),
        }
        if self.rope is not None:
            low, high = self.rope
            lines["one effect for all"] = (
                f"P = {self.one_effect:.2g} that all are within [{low:.4g}, {high:.4g}] of the "
                f"average; {self.within:.0%} of the compliers are"
            )
        return lines if self.cost is None else lines | {"cost": f"{self.cost:.4g}"}

    def _segments(self) -> Iterator[Part]:
        """Table of the segments, or of those at both ends."""
        shown, left = self.table, len(self.table) - PRINTED
        if left > 0:
            by_effect = shown.sort_values("effect", ascending=False, kind="stable")
            half = PRINTED // 2
            shown = pd.concat([by_effect.head(half), by_effect.tail(half)])
        rows = [f"{rows:,.0f}" for rows in shown["rows"]]
        yield Table(shown.assign(rows=rows), "%.4g", missing="")
        if left > 0:
            yield Paragraph(
                f"The {half} largest and the {half} smallest effects; {left} segments between them "
                "are left out, to_frame() has all."
            )

    def _named(self) -> Iterator[str]:
        """What is said of segments that tell little or nothing by themselves."""
        if self.silent:
            reasons = [f"{label} ({reason})" for label, reason in self.silent.items()]
            yield f"No effect of their own, the population's instead: {_some(reasons, '; ')}."
        if self.weak:
            names = [str(label) for label in self.weak]
            yield f"F below {WEAK_F:g}, lean on the population: {_some(names, ', ')}."


def segment_report(est: Any, cost: Any, rope: Any, treatment: Any) -> SegmentReport:
    """Build the report for one treatment of a fitted estimator.

    Parameters
    ----------
    est : HierarchicalBayesianIV
        Fitted, with segments.
    cost : float or None
    rope : float, (low, high) or None
    treatment : int or str
    """
    columns, posterior = est.moments_.columns, est.idata_.posterior
    k = treatment_position(treatment, columns.treatments)
    cost, rope = check_one_cost(cost), check_rope(rope)
    effects, average, mean, sigma = (
        posterior[name].to_numpy()[..., k].reshape(-1, *posterior[name].shape[2:-1])
        for name in ("beta_t", "effect", "beta_t_bar", "sigma_t_bar")
    )
    low, median, high = np.quantile(sigma, [0.025, 0.5, 0.975])
    share = compliers(est, k)
    table = _table(est, k, effects, sigma, cost)
    near = None
    if rope is not None:
        apart = effects - average[:, None]
        near = (apart > rope[0]) & (apart < rope[1])
    return SegmentReport(
        treatment=columns.treatments[k],
        given=columns.given,
        table=table,
        effect=EffectSummary.from_draws(average),
        mean_effect=EffectSummary.from_draws(mean),
        sigma_median=float(median),
        sigma_lower=float(low),
        sigma_upper=float(high),
        heterogeneity=cochran_q(table["alone"].to_numpy(), table["alone sd"].to_numpy()),
        cost=cost,
        rope=rope,
        one_effect=None if near is None else float(near.all(axis=1).mean()),
        within=None if near is None else float(near.mean(axis=0) @ share),
        policies=_policies(effects - (cost or 0.0), share),
        slopes=_slopes(posterior, k),
        silent=dict(est.silent_segments_),
        weak=tuple(table.index[table["F"] < WEAK_F]),
    )


def compliers(est: Any, treatment: int) -> Array:
    """Share of each segment in the compliers, (G,): rows times first stage."""
    rows = np.array([own.weight for own in est._design.moments])
    weight = rows * est._strengths[:, treatment]
    return np.asarray(weight / weight.sum())


def first_stage_f(moments: Moments, *, fit_intercept: bool) -> float:
    """F of a segment's first stage; with several treatments Cragg and Donald's."""
    found = Evidence.of(Equation.from_moments(moments, fit_intercept=fit_intercept))
    if found is None:
        return np.nan
    return found.classical_f if found.design.n_treatments == 1 else cragg_donald(found.design).f


def _table(est: Any, k: int, effects: Array, sigma: Array, cost: float | None) -> pd.DataFrame:
    """Rows of the segments, given draws of their effects (N, G) and of sigma_t_bar (N,)."""
    design, (alone, errors) = est._design, (each[:, k] for each in est._model.two_stage())
    low, high = np.quantile(effects, list(QUANTILES.values()), axis=0)
    f, variance = np.full(len(alone), np.nan), errors**2
    for g in design.speaking:
        f[g] = first_stage_f(design.moments[g], fit_intercept=est.fit_intercept)
    shrinkage = [np.mean(v / (v + sigma**2)) for v in variance]
    best = np.bincount(effects.argmax(axis=1), minlength=len(alone)) / len(effects)
    columns = {
        "rows": [own.weight for own in design.moments],
        "first_stage": est._first_stages[:, k],
        "F": f,
        "alone": alone,
        "alone sd": errors,
        "effect": effects.mean(axis=0),
        "sd": effects.std(axis=0),
        "2.5%": low,
        "97.5%": high,
        "shrinkage": np.where(np.isnan(alone), 1.0, shrinkage),
        f"P(effect > {0 if cost is None else 'cost'})": (effects > (cost or 0.0)).mean(axis=0),
        "P(best)": best,
    }
    return pd.DataFrame(columns, index=pd.Index(est.segments_, name="segment"))


def _policies(net: Array, share: Array) -> pd.DataFrame:
    """Gains and losses by complier, given draws (N, G) of the effects less the cost."""
    mean = net.mean(axis=0)
    treated = np.stack([np.ones(len(mean)), mean > 0.0, np.zeros(len(mean))])
    gain = (treated * mean) @ share
    known = np.maximum(net, 0.0).mean(axis=0) @ share
    columns = {"expected gain": gain, "expected loss": known - gain}
    return pd.DataFrame(columns, index=pd.Index(POLICIES, name="policy"))


def _slopes(posterior: Any, k: int) -> pd.DataFrame | None:
    """Posterior of delta by covariate."""
    if "delta" not in posterior:
        return None
    delta = posterior["delta"]
    draws = delta.to_numpy()[..., k].reshape(-1, delta.sizes["segment_covariate"])
    low, high = np.quantile(draws, list(QUANTILES.values()), axis=0)
    columns = {"mean": draws.mean(axis=0), "sd": draws.std(axis=0), "2.5%": low, "97.5%": high}
    index = pd.Index(delta["segment_covariate"].to_numpy(), name="segment covariate")
    return pd.DataFrame(columns, index=index)


def _some(names: list[str], separator: str) -> str:
    rest = len(names) - NAMED
    more = f"{separator}and {rest} more" if rest > 0 else ""
    return separator.join(names[:NAMED]) + more
