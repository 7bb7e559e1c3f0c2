"""The causal diagram of an instrumental-variable model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skbayesiv.plotting._display import BLUE, VERMILLION, Display, foreground
from skbayesiv.plotting._fitted import Fitted

MAX_NAMES = 3
SHORT = 12


@dataclass(frozen=True)
class Node:
    """A box of the diagram.

    Attributes
    ----------
    name : str
        Text in the box.
    role : {"instrument", "treatment", "outcome", "covariates", "unobserved"}
    x, y : float
        Position of its centre.
    """

    name: str
    role: str
    x: float
    y: float


@dataclass(eq=False, repr=False)
class CausalDiagramDisplay(Display):
    """Who acts on whom: instrument, treatment, outcome and what is not observed.

    Parameters
    ----------
    nodes : tuple of Node
    edges : tuple of (str, str)
        Roles, from cause to effect. An edge from instrument to outcome is the direct effect that
        `exclusion_scale` allows for.

    Attributes
    ----------
    source : str
        The diagram in the dot language.

    Examples
    --------
    >>> from skbayesiv.plotting import CausalDiagramDisplay
    >>> display = CausalDiagramDisplay.from_names(
    ...     instruments=["push assigned"],
    ...     treatments=["push delivered"],
    ...     outcome="in-app purchase",
    ...     unobserved="income",
    ... )
    >>> print(display.source)
    digraph {
      rankdir=LR
      instrument [label="push assigned"]
      treatment [label="push delivered"]
      outcome [label="in-app purchase"]
      unobserved [label="income" style=dashed]
      instrument -> treatment
      treatment -> outcome
      unobserved -> treatment [style=dashed]
      unobserved -> outcome [style=dashed]
    }
    """

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]

    @classmethod
    def from_names(
        cls,
        *,
        instruments: Sequence[str],
        treatments: Sequence[str],
        outcome: str,
        covariates: Sequence[str] = (),
        unobserved: str | None = "unobserved",
        direct: bool = False,
        ax: Any = None,
    ) -> Self:
        """Draw from names.

        Parameters
        ----------
        instruments, treatments : sequence of str
        outcome : str
        covariates : sequence of str, optional
        unobserved : str or None
            What is thought to move treatment and outcome but is not in the data; None leaves
            it out.
        direct : bool, default=False
            Whether the instruments may act on the outcome directly.
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        CausalDiagramDisplay
        """
        nodes = [
            Node(_join(instruments), "instrument", 0.0, 0.0),
            Node(_join(treatments), "treatment", 1.0, 0.0),
            Node(outcome, "outcome", 2.0, 0.0),
        ]
        edges = [("instrument", "treatment"), ("treatment", "outcome")]
        if covariates:
            nodes.append(Node(_join(covariates), "covariates", 1.5, -1.0))
            edges += [("covariates", "treatment"), ("covariates", "outcome")]
        if unobserved is not None:
            nodes.append(Node(unobserved, "unobserved", 1.5, 1.0))
            edges += [("unobserved", "treatment"), ("unobserved", "outcome")]
        if direct:
            edges.append(("instrument", "outcome"))
        return cls(tuple(nodes), tuple(edges)).plot(ax)

    @classmethod
    def from_estimator(
        cls, estimator: Fitted, *, unobserved: str | None = "unobserved", ax: Any = None
    ) -> Self:
        """Draw with the names that the estimator was fitted with.

        Parameters
        ----------
        estimator : fitted TwoStageLS, BayesianIV or HierarchicalBayesianIV
        unobserved : str or None
            As in `from_names`.
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        CausalDiagramDisplay
        """
        check_is_fitted(estimator)
        columns = estimator.moments_.columns
        return cls.from_names(
            instruments=columns.instruments,
            treatments=columns.treatments,
            outcome=columns.outcome,
            covariates=columns.covariates,
            unobserved=unobserved,
            direct=bool(np.any(getattr(estimator, "exclusion_scale", 0.0))),
            ax=ax,
        )

    @property
    def source(self) -> str:
        """The diagram in the dot language."""
        lines = ["digraph {", "  rankdir=LR"]
        for node in self.nodes:
            label = node.name.replace('"', r"\"").replace("\n", r"\n")
            dashed = " style=dashed" if node.role == "unobserved" else ""
            lines.append(f'  {node.role} [label="{label}"{dashed}]')
        for cause, effect in self.edges:
            dashed = " [style=dashed]" if _is_dashed(cause, effect) else ""
            lines.append(f"  {cause} -> {effect}{dashed}")
        return "\n".join([*lines, "}"])

    def to_graphviz(self) -> Any:
        """Return the diagram for graphviz, which must be installed.

        Returns
        -------
        graphviz.Source
        """
        return import_module("graphviz").Source(self.source)

    def plot(self, ax: Any = None) -> Self:
        """Draw with matplotlib.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        self : object
        """
        levels = {node.y for node in self.nodes}
        ax = self._start(ax, (8.5, 1.2 + 0.9 * len(levels)))
        ax.set_xlim(-0.45, 2.45)
        ax.set_ylim(min(levels) - 0.6, max(levels) + 0.6)
        ax.set_axis_off()
        boxes = {node.role: _draw_node(ax, node) for node in self.nodes}
        place = {node.role: (node.x, node.y) for node in self.nodes}
        for cause, effect in self.edges:
            _draw_edge(ax, place, boxes, cause, effect)
        ax.set_title("Causal diagram (dashed: not observed)")
        return self


def _join(names: Sequence[str]) -> str:
    shown = list(names)[:MAX_NAMES]
    rest = len(names) - len(shown)
    between = ", " if sum(map(len, shown)) <= SHORT else ",\n"
    return between.join([*shown, *([f"and {rest} more"] if rest else [])])


def _is_dashed(cause: str, effect: str) -> bool:
    return cause == "unobserved" or (cause, effect) == ("instrument", "outcome")


def _draw_node(ax: Any, node: Node) -> Any:
    hidden = node.role == "unobserved"
    color = {"instrument": BLUE, "unobserved": VERMILLION}.get(node.role, foreground())
    style = {
        "boxstyle": "round,pad=0.5",
        "fc": "none",
        "ec": color,
        "lw": 1.6,
        "ls": "--" if hidden else "-",
    }
    text = ax.text(node.x, node.y, node.name, ha="center", va="center", bbox=style)
    return text.get_bbox_patch()


def _draw_edge(
    ax: Any,
    place: dict[str, tuple[float, float]],
    boxes: dict[str, Any],
    cause: str,
    effect: str,
) -> None:
    dashed = _is_dashed(cause, effect)
    bend = 0.25 if (cause, effect) == ("instrument", "outcome") else 0.0
    ax.annotate(
        "",
        xy=place[effect],
        xytext=place[cause],
        arrowprops={
            "arrowstyle": "-|>",
            "color": VERMILLION if cause == "unobserved" else foreground(),
            "ls": "--" if dashed else "-",
            "lw": 1.6,
            "patchA": boxes[cause],
            "patchB": boxes[effect],
            "shrinkA": 2,
            "shrinkB": 2,
            "connectionstyle": f"arc3,rad={bend}",
        },
    )
