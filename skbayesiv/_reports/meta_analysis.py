"""Meta-analysis of the earlier experiments alone, as numbers and as a table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from skbayesiv._models.history.integrated import integrate
from skbayesiv._models.history.meta_analysis import Heterogeneity, Mixture, cochran_q
from skbayesiv._models.history.table import History
from skbayesiv._typing import Array
from skbayesiv.diagnostics._report import Block, Paragraph, Report, Table

COLUMNS = ["mean", "sd", "median", "2.5%", "97.5%"]


@dataclass(frozen=True, kw_only=True)
class EffectSummary:
    """A distribution of an effect in five numbers: mean, sd, median and 95% interval.

    With few earlier experiments and heavy-tailed priors a prediction may have no mean or an
    infinite sd; then `mean` is not a number and `sd` is infinite.
    """

    mean: float
    sd: float
    median: float
    lower: float
    upper: float

    @classmethod
    def from_draws(cls, draws: Array) -> EffectSummary:
        """Summarise draws of shape (N,)."""
        low, middle, high = np.quantile(draws, [0.025, 0.5, 0.975])
        return cls(
            mean=float(draws.mean()),
            sd=float(draws.std()),
            median=float(middle),
            lower=float(low),
            upper=float(high),
        )

    @classmethod
    def from_mixture(cls, mixture: Mixture) -> EffectSummary:
        """Summarise a mixture of normals."""
        mean, sd = mixture.moments()
        low, middle, high = (mixture.quantile(p) for p in (0.025, 0.5, 0.975))
        return cls(mean=mean, sd=sd, median=middle, lower=low, upper=high)

    def numbers(self) -> list[float]:
        """Row of a table with the columns `COLUMNS`."""
        return list(asdict(self).values())

    def __str__(self) -> str:
        interval = f"[{self.lower:.4g}, {self.upper:.4g}]"
        if math.isinf(self.sd):
            return f"median {self.median:.4g} {interval}"
        return f"{self.mean:.4g} ({self.sd:.3g}) {interval}"


@dataclass(frozen=True, eq=False, kw_only=True)
class TreatmentHistory:
    """The earlier experiments' account of one treatment.

    Attributes
    ----------
    name : str
        Of the treatment.
    mean_effect : EffectSummary
        Of beta_t_bar.
    predicted : EffectSummary
        Of the effect in a new experiment.
    sigma_median, sigma_lower, sigma_upper : float
        Median and 95% interval of sigma_t_bar. Its mean may be infinite.
    heterogeneity : Heterogeneity
        Cochran's Q.
    predictive : Mixture
        Distribution of the effect in a new experiment.
    """

    name: str
    mean_effect: EffectSummary
    predicted: EffectSummary
    sigma_median: float
    sigma_lower: float
    sigma_upper: float
    heterogeneity: Heterogeneity
    predictive: Mixture

    @classmethod
    def from_history(cls, history: History, k: int) -> TreatmentHistory:
        """Integrate the history of one treatment over sigma_t_bar."""
        grid = integrate(history, k)
        lower, median, upper = grid.sigma_quantile([0.025, 0.5, 0.975])
        return cls(
            name=history.treatments[k],
            mean_effect=EffectSummary.from_mixture(grid.beta_bar),
            predicted=EffectSummary.from_mixture(grid.predictive),
            sigma_median=float(median),
            sigma_lower=float(lower),
            sigma_upper=float(upper),
            heterogeneity=cochran_q(history.effects[:, k], history.std_errors[:, k]),
            predictive=grid.predictive,
        )

    def rows(self) -> dict[str, list[float]]:
        """Rows of a table: mean, sd, median, 2.5% and 97.5%."""
        spread = [math.nan, math.nan, self.sigma_median, self.sigma_lower, self.sigma_upper]
        return {
            "mean effect": self.mean_effect.numbers(),
            "new experiment": self.predicted.numbers(),
            "spread of effects": spread,
        }


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class MetaAnalysis(Report):
    """Random-effects meta-analysis of the earlier experiments, for each treatment.

    Attributes
    ----------
    treatments : tuple of TreatmentHistory
    n_experiments : int
    n_carried : int
        Of these, carried by the likelihoods of their effects: their instruments are too weak for
        an effect and a standard error to say as much.
    """

    treatments: tuple[TreatmentHistory, ...]
    n_experiments: int
    n_carried: int = 0

    @classmethod
    def from_history(cls, history: History) -> MetaAnalysis:
        """Integrate each treatment's history."""
        each = (TreatmentHistory.from_history(history, k) for k in range(len(history.loc)))
        return cls(
            treatments=tuple(each),
            n_experiments=history.n_experiments,
            n_carried=len(history.carried),
        )

    def to_frame(self) -> pd.DataFrame:
        """One row for each quantity and, with several, treatment.

        Returns
        -------
        pandas.DataFrame
            With columns mean, sd, median, 2.5% and 97.5%, in units of the effects.
        """
        several = len(self.treatments) > 1
        rows = {
            f"{name}[{item.name}]" if several else name: values
            for item in self.treatments
            for name, values in item.rows().items()
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS)

    def _blocks(self) -> Iterator[Block]:
        several = len(self.treatments) > 1
        tests = [
            f"Cochran's Q{f'[{item.name}]' if several else ''}: {item.heterogeneity}"
            for item in self.treatments
        ]
        carried = (
            f", {self.n_carried} by the likelihoods of their effects" if self.n_carried else ""
        )
        title = Paragraph(f"{self.n_experiments} earlier experiments{carried}")
        yield title, Table(self.to_frame(), "%.4g", missing=""), *map(Paragraph, tests)
