"""What segments of the rows share: the prior of their effects, earlier experiments in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from skbayesiv._models.history.density import stack_earlier
from skbayesiv._models.history.draws import draw_population, log_hyper_priors
from skbayesiv._models.history.sums import Earlier
from skbayesiv._models.history.table import History
from skbayesiv._models.parts.priors import PriorRow, log_normal_density
from skbayesiv._models.parts.scales import SCALE_PRIORS
from skbayesiv._typing import Array, Codes, Values


@dataclass(frozen=True, eq=False)
class Population:
    """Prior beta_g ~ N(beta_t_bar + w_g' delta, sigma_t_bar^2) of the effects of G segments.

    Attributes
    ----------
    history : History
        Hyper-priors of beta_t_bar and sigma_t_bar, and earlier experiments of the same population,
        at the segments' mean covariates; there may be none.
    features : ndarray of shape (G, M)
        Covariates w_g of the segments, less `centre`.
    centre : ndarray of shape (M,)
        Their means over the segments, at which beta_t_bar is the mean effect.
    feature_names : tuple of str
    slope_scale : ndarray of shape (M, K)
        Standard deviations of delta's normal prior about zero.
    """

    history: History
    features: Array
    centre: Array
    feature_names: tuple[str, ...]
    slope_scale: Array

    @property
    def n_treatments(self) -> int:
        """K."""
        return len(self.history.treatments)

    def take(self, segments: Codes) -> Population:
        """Of some of the segments."""
        return replace(self, features=self.features[segments])

    def in_units(self, unit: Array) -> Population:
        """All effects divided by units of shape (K,)."""
        scaled = self.history.in_units(unit)
        return replace(self, history=scaled, slope_scale=self.slope_scale / unit)

    def mean(self, values: Values, features: Array | None = None) -> Array:
        """Prior means (N, G, K) of the segments' effects, or of others with (centred) features."""
        bar = values["beta_t_bar"][:, None]
        w = self.features if features is None else features
        if "delta" not in values:
            return np.repeat(bar, len(w), axis=1)
        return np.asarray(bar + w @ values["delta"])

    def log_prior(self, values: Values, beta_t: Array) -> Values:
        """Log prior densities (N,) of the effects (N, G, K) and of what they share."""
        sigma = values["sigma_t_bar"][:, None]
        each = log_normal_density(beta_t, self.mean(values), sigma, np)
        out = {"beta_t": each.sum(axis=(1, 2))} | log_hyper_priors(self.history, values)
        if "delta" in values:
            slopes = log_normal_density(values["delta"], 0.0, self.slope_scale, np)
            out["delta"] = slopes.sum(axis=(1, 2))
        return out

    def draw(self, n_draws: int, generator: np.random.Generator) -> Values:
        """Draws of beta_t_bar, sigma_t_bar and delta from their priors, the history given."""
        h, m = self.history, len(self.feature_names)
        if h.n_experiments:
            values = draw_population(h, n_draws, generator)
        else:
            shape = n_draws, self.n_treatments
            sigma = SCALE_PRIORS[h.kind].draw(h.sigma_scale, shape, generator)
            bar = h.loc + h.scale * generator.standard_normal(shape)
            values = {"beta_t_bar": bar, "sigma_t_bar": sigma}
        if m:
            noise = generator.standard_normal((n_draws, m, self.n_treatments))
            values["delta"] = self.slope_scale * noise
        return values

    def prior_table(self) -> dict[str, PriorRow]:
        """Priors by parameter."""
        rows = self.history.priors(0.0)
        if not self.feature_names:
            return rows
        rows = {
            name: row._replace(distribution="Normal(beta_t_bar + w'delta, sigma_t_bar)")
            if name.startswith("beta_t[")
            else row
            for name, row in rows.items()
        }
        for m, feature in enumerate(self.feature_names):
            for k, treatment in enumerate(self.history.treatments):
                scale = float(self.slope_scale[m, k])
                rows[f"delta[{feature}, {treatment}]"] = PriorRow("Normal", 0.0, scale)
        return rows


class PopulationArrays(NamedTuple):
    """Numbers of a population in standardised units; K treatments, M features."""

    loc: Any  # (K,)
    scale: Any  # (K,)
    sigma_scale: Any  # (K,)
    slope_scale: Any  # (M, K)
    features: Any  # (G, M), filled up
    earlier: Earlier  # K of them stacked


def population_arrays(population: Population, length: int) -> PopulationArrays:
    """Numbers of a population in standardised units, filled up to a number of segments."""
    h = population.history
    more = (0, length - len(population.features)), (0, 0)
    return PopulationArrays(
        loc=h.loc,
        scale=h.scale,
        sigma_scale=h.sigma_scale,
        slope_scale=population.slope_scale,
        features=np.pad(population.features, more),
        earlier=stack_earlier(h.earlier),
    )


def log_population(
    kind: str, bar: Any, log_sigma: Any, slopes: Any, arrays: PopulationArrays, xp: Any
) -> Any:
    """Log density of beta_t_bar, log sigma_t_bar and delta, and of the earlier experiments.

    Parameters
    ----------
    kind : {"half-cauchy", "half-normal", "half-t"}
    bar, log_sigma : lists of K entries
        Scalars or, under NumPy, arrays of draws.
    slopes : list of M lists of K entries
    """
    found = 0.0
    for k, (mean, log_sd) in enumerate(zip(bar, log_sigma, strict=True)):
        found = found + log_normal_density(mean, arrays.loc[k], arrays.scale[k], xp)
        spread = SCALE_PRIORS[kind].log_pdf(log_sd, arrays.sigma_scale[k], xp)
        found = found + spread + log_sd
        for m, row in enumerate(slopes):
            found = found + log_normal_density(row[k], 0.0, arrays.slope_scale[m, k], xp)
        past = arrays.earlier.of_treatment(k).sums(log_sd, xp)
        found = found + past.log_density(mean - arrays.loc[k])
    return found
