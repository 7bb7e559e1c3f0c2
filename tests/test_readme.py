"""The README's code runs and prints what it says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import numpy as np

README = Path(__file__).parents[1] / "README.md"
NUMBER = re.compile(r"\d+\.\d*")


def numbers_and_rest(text):
    """Numbers, and the text without them, however it is spaced."""
    return np.array(NUMBER.findall(text), dtype=float), NUMBER.sub("#", text).split()


def test_readme_code_prints_what_it_says():
    """To one in the last digit: processors round otherwise, and a Markov chain magnifies that."""
    text = README.read_text()
    names = {}
    first, *rest = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    expected = text.split(first)[1].split("```")[2].strip()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(first, names)
    found, words = numbers_and_rest(printed.getvalue())
    said, said_words = numbers_and_rest(expected)
    assert words == said_words
    np.testing.assert_allclose(found, said, atol=0.1001, rtol=0)
    for block in rest:
        exec(block, names)
    assert names["search"].best_params_["beta_t_scale"] in (1, 10)
