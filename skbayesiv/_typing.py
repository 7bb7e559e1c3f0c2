"""Types that every room uses."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Codes = NDArray[np.signedinteger]
Values = dict[str, Array]


def is_real(value: Any) -> bool:
    """Whether a value is one real number; a duration is none, whatever NumPy says."""
    return isinstance(value, Real) and not isinstance(value, np.timedelta64)
