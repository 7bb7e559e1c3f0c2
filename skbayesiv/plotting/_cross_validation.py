"""Scores of a cross-validated search over prior scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from skbayesiv._typing import Array
from skbayesiv.plotting._display import PALETTE, Display, foreground, legend_beside, quiet
from skbayesiv.plotting._fitted import FittedSearch

MAX_CURVES = len(PALETTE)


@dataclass(frozen=True, eq=False)
class ScoreCurve:
    """Scores over one parameter, the others held.

    Attributes
    ----------
    name : str
        Values of the other parameters; empty if there are none.
    values : ndarray of shape (V,)
    mean, std_error : ndarray of shape (V,)
        Over the folds.
    """

    name: str
    values: Array
    mean: Array
    std_error: Array


@dataclass(eq=False, repr=False)
class CrossValidationDisplay(Display):
    """Mean held-out score over the values of a parameter.

    Parameters
    ----------
    parameter : str
    curves : tuple of ScoreCurve
        One for each combination of the other parameters.
    best : float
        Value with the highest mean score.
    n_splits : int
    scoring : str
        What the score is.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.plotting import CrossValidationDisplay
    >>> results = {
    ...     "params": [{"beta_t_scale": 0.5}, {"beta_t_scale": 5.0}],
    ...     "split0_test_score": np.array([-4.93, -4.90]),
    ...     "split1_test_score": np.array([-4.91, -4.89]),
    ... }
    >>> CrossValidationDisplay.from_results(results, "beta_t_scale").best
    5.0
    """

    parameter: str
    curves: tuple[ScoreCurve, ...]
    best: float
    n_splits: int
    scoring: str = "score"

    @classmethod
    def from_search(
        cls,
        search: FittedSearch,
        parameter: str | None = None,
        *,
        scoring: str = "held-out score",
        ax: Any = None,
    ) -> Self:
        """Draw a fitted GridSearchCV or RandomizedSearchCV.

        Parameters
        ----------
        search : fitted search
        parameter : str, optional
            Name of the parameter on the axis; by default the first numeric one.
        scoring : str
            What the score is, for the label.
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        CrossValidationDisplay
        """
        return cls.from_results(search.cv_results_, parameter, scoring=scoring, ax=ax)

    @classmethod
    def from_results(
        cls,
        results: Mapping[str, Any],
        parameter: str | None = None,
        *,
        scoring: str = "held-out score",
        ax: Any = None,
    ) -> Self:
        """Draw a table of results.

        Parameters
        ----------
        results : dict
            As `cv_results_`.
        parameter, scoring, ax
            As in `from_search`.

        Returns
        -------
        CrossValidationDisplay
        """
        candidates = list(results["params"])
        splits = [key for key in results if key.startswith("split") and key.endswith("test_score")]
        scores = np.array([results[key] for key in splits], dtype=float)
        if not np.isfinite(scores).all():
            raise ValueError("results must have a finite score for every fold; some fits failed.")
        name = parameter or _first_numeric(candidates)
        curves = _curves(candidates, scores, name)
        best = float(candidates[int(scores.mean(axis=0).argmax())][name])
        return cls(name, curves, best, len(splits), scoring).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        self : object
        """
        ax = self._start(ax, (8.5, 4.0))
        for curve, color in zip(self.curves, PALETTE, strict=False):
            name = curve.name or "mean and standard error"
            ax.errorbar(
                curve.values,
                curve.mean,
                yerr=curve.std_error,
                fmt="o-",
                color=color,
                capsize=4,
                label=name,
            )
        ax.axvline(self.best, color=foreground(), ls="--", lw=1, label=f"best: {self.best:g}")
        values = self.curves[0].values
        if (values > 0).all() and values.max() >= 10 * values.min():
            ax.set_xscale("log")
            ax.set_xticks(values, [f"{value:g}" for value in values])
            ax.minorticks_off()
        ax.set_xlabel(self.parameter)
        ax.set_ylabel(f"{self.scoring}\n(mean of {self.n_splits} folds)")
        ax.set_title(f"Cross-validation over {self.parameter}")
        quiet(ax)
        legend_beside(ax)
        return self


def _is_number(value: Any) -> bool:
    return np.isscalar(value) and not isinstance(value, (str, bool))


def _first_numeric(candidates: list[dict[str, Any]]) -> str:
    for name in candidates[0]:
        if all(_is_number(candidate.get(name)) for candidate in candidates):
            return name
    raise ValueError(f"parameter must be numeric; got none among {sorted(candidates[0])}.")


def _curves(candidates: list[dict[str, Any]], scores: Array, name: str) -> tuple[ScoreCurve, ...]:
    groups: dict[str, list[int]] = {}
    for i, candidate in enumerate(candidates):
        if not _is_number(candidate.get(name)):
            raise ValueError(f"parameter {name!r} must be a number in every candidate.")
        rest = ", ".join(f"{key}={value}" for key, value in candidate.items() if key != name)
        groups.setdefault(rest, []).append(i)
    if len(groups) > MAX_CURVES:
        raise ValueError(
            f"results must leave at most {MAX_CURVES} combinations of the parameters other than "
            f"{name!r}; got {len(groups)}."
        )
    curves = []
    for rest, members in groups.items():
        ordered = sorted(members, key=[c[name] for c in candidates].__getitem__)
        chosen = scores[:, ordered]
        error = chosen.std(axis=0, ddof=min(1, len(scores) - 1)) / np.sqrt(len(scores))
        values = np.array([candidates[i][name] for i in ordered], dtype=float)
        curves.append(ScoreCurve(rest, values, chosen.mean(axis=0), error))
    return tuple(curves)
