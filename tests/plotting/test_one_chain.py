"""Displays of a single chain, with which there is nothing to compare it."""

from __future__ import annotations

import numpy as np
import pytest
from figures import DRAW


@pytest.mark.parametrize("name", DRAW)
def test_every_display_is_drawn(name, one_chain, request):
    display = DRAW[name](lambda which: one_chain.get(which) or request.getfixturevalue(which))
    display.figure_.canvas.draw()
    words = [text.get_text() for axis in display.figure_.axes for text in axis.texts]
    assert not [word for word in words if "nan" in word.lower()]


def test_trace_has_the_draws_in_their_order(one_chain):
    est = one_chain["base"]
    display = DRAW["TraceDisplay, one chain"](lambda _: one_chain)
    assert display.figure_.get_suptitle() == "One chain: density, and draws in their order"
    named = [axis.get_title(loc="left") for axis in display.axes_]
    assert named == ["beta_t[push_delivered]", "", "beta_z[push_assigned, push_delivered]", ""]
    (line,) = display.axes_[1].lines
    assert np.array_equal(line.get_ydata(), est.idata_.posterior["beta_t"].to_numpy()[0, :, 0])
