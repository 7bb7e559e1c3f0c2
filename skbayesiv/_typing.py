"""Types that every room uses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Codes = NDArray[np.signedinteger]
Values = dict[str, Array]


def is_real(value: Any) -> bool:
    """Whether a value is one number that NumPy computes with; a duration is none to us."""
    kinds = int | float | np.integer | np.floating
    return isinstance(value, kinds) and not isinstance(value, np.timedelta64)


def is_whole(value: Any) -> bool:
    """Whether a value is one whole number; a truth value or a duration is none to us."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool | np.timedelta64)
