"""What all displays share: figures, colours, legends."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

# Okabe and Ito's palette, told apart under all common forms of colour blindness. Of its eight
# colours these keep enough contrast on white and on black.
BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
SKY = "#56B4E9"
GREY = "#8C8C8C"
PALETTE = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY)

DASHES = ("--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))


class Display:
    """A figure's numbers, and how to draw them.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
        Set by `plot`.
    ax_ : matplotlib.axes.Axes
        The axes, or the main one of several.
    axes_ : tuple of matplotlib.axes.Axes
        All axes.
    """

    figure_: Any
    ax_: Any
    axes_: tuple[Any, ...]

    def _start(self, ax: Any, figsize: tuple[float, float]) -> Any:
        """One axes to draw on: the one given, or that of a new figure."""
        if ax is None:
            return self._start_many(None, 1, 1, figsize)[0]
        return self._start_many([ax], 1, 1, figsize)[0]

    def _start_many(
        self, axes: Any, n_rows: int, n_columns: int, figsize: tuple[float, float], **shared: Any
    ) -> tuple[Any, ...]:
        """Several axes, row by row: those given, or those of a new figure."""
        check_matplotlib_support(type(self).__name__)
        import matplotlib.pyplot as plt

        wanted = n_rows * n_columns
        if axes is None:
            _, grid = plt.subplots(
                n_rows, n_columns, figsize=figsize, layout="constrained", squeeze=False, **shared
            )
            axes = grid.ravel()
        axes = tuple(np.ravel(np.asarray(axes, dtype=object)))
        if len(axes) != wanted:
            raise ValueError(f"axes must be {wanted} axes; got {len(axes)}.")
        self.axes_ = axes
        self.ax_ = axes[0]
        self.figure_ = self.ax_.figure
        return axes


def foreground() -> str:
    """Colour of text and neutral lines in the current style, dark or light."""
    import matplotlib as mpl

    return str(mpl.rcParams["text.color"])


def legend_beside(ax: Any, title: str | None = None) -> None:
    """Put the legend to the right of the axes, where it covers nothing."""
    ax.legend(title=title, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)


def percent(level: float) -> str:
    """Format a probability, as in ``94%`` or ``99.5%``.

    Examples
    --------
    >>> percent(0.94), percent(0.995)
    ('94%', '99.5%')
    """
    return f"{100 * level:.4g}%"


def strip_y(ax: Any) -> None:
    """Drop the vertical axis of a density, whose height says nothing by itself."""
    ax.set_yticks([])
    ax.set_ylabel("density")
    quiet(ax)


def quiet(ax: Any) -> None:
    """Drop the frame above and to the right."""
    ax.spines[["top", "right"]].set_visible(False)
