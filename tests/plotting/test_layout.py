"""Every display, dark and light: labelled, nothing clipped, no legend over a title or a panel."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from skbayesiv import plotting
from skbayesiv.datasets import make_noncompliance

RESULTS = {
    "params": [{"beta_t_scale": scale} for scale in (0.1, 1.0, 10.0)],
    "split0_test_score": np.array([-4.95, -4.90, -4.89]),
    "split1_test_score": np.array([-4.92, -4.88, -4.87]),
}
TABLE = pd.DataFrame(
    {"estimate": [3.3, 3.3], "lower": [1.9, -0.3], "upper": [4.7, 6.9]}, index=[0.0, 1.0]
)
NAMED_ROWS = {"EffectForestDisplay", "PriorSensitivityDisplay"}
UNLABELLED = {"CausalDiagramDisplay", "TraceDisplay"}


def draw_push(cls):
    return lambda get: cls.from_data(*get("frames")[:3], z=get("frames")[3])


def draw_simulated(cls):
    def draw(_):
        sim = make_noncompliance(
            500, n_covariates=2, n_instruments=2, binary_treatment=False, random_state=0
        )
        return cls.from_data(sim.X, sim.t, sim.y, z=sim.z)

    return draw


def draw_fitted(cls, which="base", **options):
    return lambda get: cls.from_estimator(get(which), **options)


DRAW = {
    "outcome": draw_push(plotting.OutcomeDisplay),
    "outcome, simulated": draw_simulated(plotting.OutcomeDisplay),
    "compliance": draw_push(plotting.ComplianceDisplay),
    "compliance, simulated": draw_simulated(plotting.ComplianceDisplay),
    "first stage": draw_push(plotting.FirstStageDisplay),
    "first stage, simulated": draw_simulated(plotting.FirstStageDisplay),
    "diagram": draw_fitted(plotting.CausalDiagramDisplay, unobserved="income"),
    "diagram, all edges": lambda _: plotting.CausalDiagramDisplay.from_names(
        instruments=["z0", "z1"],
        treatments=["t"],
        outcome="y",
        covariates=["age", "income", "region", "device"],
        direct=True,
    ),
    "effect": draw_fitted(plotting.EffectDisplay),
    "effect, history": draw_fitted(plotting.EffectDisplay, "hierarchical"),
    "correlation": draw_fitted(plotting.CorrelationDisplay),
    "errors": draw_fitted(plotting.ErrorDensityDisplay),
    "forest": draw_fitted(plotting.EffectForestDisplay, "hierarchical"),
    "comparison": lambda get: plotting.EffectComparisonDisplay.from_estimators(
        {"Alone": get("base"), "With history": get("hierarchical")}
    ),
    "exclusion": lambda _: plotting.ExclusionSensitivityDisplay.from_table(TABLE, level=0.95),
    "prior": draw_fitted(plotting.PriorPosteriorDisplay),
    "sensitivity": draw_fitted(plotting.PriorSensitivityDisplay, "hierarchical"),
    "search": lambda _: plotting.CrossValidationDisplay.from_results(RESULTS),
    "trace": draw_fitted(plotting.TraceDisplay, var_names=["beta_t", "beta_z"]),
}


@pytest.fixture(params=["default", "dark_background"])
def style(request):
    with plt.style.context(request.param):
        yield request.param


@pytest.fixture(params=DRAW)
def display(request, style):
    shown = DRAW[request.param](request.getfixturevalue)
    shown.figure_.canvas.draw()
    return shown


def boxes(artists):
    return [artist.get_window_extent() for artist in artists]


def overlap(one, other):
    """Whether two boxes share more than a pixel on both sides."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return width > 1 and height > 1


def test_layout(display):
    figure = display.figure_
    frame = figure.bbox
    texts = [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text.get_window_extent().width
    ]
    shown = [axis for axis in figure.axes if axis.axison]
    hidden_ticks = {
        label
        for axis in figure.axes
        for each in (axis.xaxis, axis.yaxis)
        for tick in each.get_major_ticks() + each.get_minor_ticks()
        for label in (tick.label1, tick.label2)
        if not (
            each.get_view_interval().min() <= tick.get_loc() <= each.get_view_interval().max()
            and axis.axison
        )
    }
    for text in set(texts) - hidden_ticks:
        box = text.get_window_extent()
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= frame.x1 + 1 and box.y1 <= frame.y1 + 1
        assert inside, f"clipped: {text.get_text()!r} at {box}"

    if type(display).__name__ not in UNLABELLED:
        assert any(axis.get_xlabel() for axis in display.axes_)
        assert type(display).__name__ in NAMED_ROWS or display.ax_.get_ylabel()

    titles = [axis.title for axis in figure.axes if axis.title.get_text()]
    titles += [figure._suptitle] if figure._suptitle else []
    legends = [axis.get_legend() for axis in shown if axis.get_legend()] + figure.legends
    for legend in boxes(legends):
        assert not any(overlap(legend, title) for title in boxes(titles))
    labels = [label for axis in shown for label in (axis.xaxis.label, axis.yaxis.label)]
    labels = [label for label in labels if label.get_text()]
    for i, one in enumerate(boxes([*titles, *labels])):
        assert not any(overlap(one, two) for two in boxes([*titles, *labels])[i + 1 :])


def test_every_display_is_drawn():
    drawn = {name.split(",")[0] for name in DRAW}
    assert len(drawn) == len(plotting.__all__)


def test_given_axes_are_used(base):
    _, ax = plt.subplots()
    display = plotting.EffectDisplay.from_estimator(base, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert display.plot(ax) is display


def test_wrong_number_of_axes(frames):
    X, t, y, z = frames
    _, ax = plt.subplots()
    with pytest.raises(ValueError, match="axes must be 2 axes; got 1"):
        plotting.OutcomeDisplay.from_data(X, t, y, z=z, ax=ax)
