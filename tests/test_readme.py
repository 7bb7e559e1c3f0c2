"""The README's code runs and prints what it says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_readme_code_prints_what_it_says():
    text = README.read_text()
    names = {}
    first, *rest = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    expected = text.split(first)[1].split("```")[2].strip()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(first, names)
    assert printed.getvalue().strip() == expected
    for block in rest:
        exec(block, names)
    assert names["search"].best_params_["beta_t_scale"] in (1, 10)
