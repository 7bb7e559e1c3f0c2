"""Every display, dark and light: nothing clipped, no text or legend over another."""

from __future__ import annotations

from itertools import combinations

import matplotlib.pyplot as plt
import pytest
from figures import DRAW
from matplotlib.text import Text

from skbayesiv import plotting


@pytest.fixture(params=["default", "dark_background"], scope="module")
def style(request):
    with plt.style.context(request.param):
        yield request.param


@pytest.fixture(params=DRAW, scope="module")
def figure(request, style):
    shown = DRAW[request.param](request.getfixturevalue)
    shown.figure_.canvas.draw()
    return shown.figure_


def boxes(named):
    """Name and box of each artist, in pixels."""
    return [(name, artist.get_window_extent()) for name, artist in named]


def overlap(one, other):
    """Whether two boxes share more than a pixel on both sides."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return width > 1 and height > 1


def undrawn_ticks(axis):
    """Tick labels that lie outside of the axes, or belong to axes that are off."""
    return {
        label
        for each in (axis.xaxis, axis.yaxis)
        for tick in each.get_major_ticks() + each.get_minor_ticks()
        for label in (tick.label1, tick.label2)
        if not (
            each.get_view_interval().min() <= tick.get_loc() <= each.get_view_interval().max()
            and axis.axison
        )
    }


def titles(figure):
    """Titles of the figure and of its axes."""
    found = [figure._suptitle] if figure._suptitle else []
    for axis in figure.axes:
        found += [axis.title, axis._left_title]
    return [(text.get_text(), text) for text in found if text.get_text()]


def axis_labels(figure):
    """Labels of the axes that are shown."""
    labels = [each.label for a in figure.axes if a.axison for each in (a.xaxis, a.yaxis)]
    return [(text.get_text(), text) for text in labels if text.get_text()]


def legends(figure):
    """Legends by their entries."""
    found = [a.get_legend() for a in figure.axes if a.axison and a.get_legend()]
    return [
        (tuple(t.get_text() for t in legend.get_texts()), legend)
        for legend in (*found, *figure.legends)
    ]


def test_nothing_is_clipped(figure):
    undrawn = {label for axis in figure.axes for label in undrawn_ticks(axis)}
    texts = [
        (text.get_text(), text)
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text not in undrawn
    ]
    frame = figure.bbox
    clipped = [
        (name, box)
        for name, box in boxes([*texts, *legends(figure)])
        if box.width
        and not (
            box.x0 >= -1 and box.y0 >= -1 and box.x1 <= frame.x1 + 1 and box.y1 <= frame.y1 + 1
        )
    ]
    assert clipped == []


def test_no_text_lies_over_another(figure):
    named = boxes([*titles(figure), *axis_labels(figure)])
    assert named, "a figure without any title or label"
    over = [(a, b) for (a, one), (b, other) in combinations(named, 2) if overlap(one, other)]
    over += [
        (entries, title)
        for entries, legend in boxes(legends(figure))
        for title, box in boxes(titles(figure))
        if overlap(legend, box)
    ]
    assert over == []


def test_every_display_is_drawn():
    assert {name.split(",")[0] for name in DRAW} == set(plotting.__all__)


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
