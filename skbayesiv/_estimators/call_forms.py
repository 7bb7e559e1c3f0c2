"""The ways of calling `fit` and `score`: scikit-learn's order, and a person's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

NEED_ROUTING = (
    "In a meta-estimator such as GridSearchCV either enable metadata routing with "
    "sklearn.set_config(enable_metadata_routing=True) before passing t and z, or name columns "
    "of X with treatment= and instruments= so that nothing need be passed."
)


def treatment_form(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method declared as ``(X, y=None, *, t, z, ...)`` also be called ``(X, t, y, z=z)``.

    scikit-learn never passes three arguments for X, t and y without naming t, and a person does:
    ``(X, t, y)`` or ``(X, t, y=y)``. The declared signature stays the visible one; type checkers
    are told of both by overloads.
    """
    name = method.__name__

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if len(args) > 3:
            raise TypeError(
                f"{name} takes X, t and y by position and z by keyword: "
                f"{name}(X, t, y, z=z); got {len(args)} positional arguments."
            )
        if len(args) == 3 or (len(args) == 2 and "y" in kwargs):
            given = dict(zip(("X", "t", "y"), args, strict=False))
            if twice := given.keys() & kwargs.keys():
                raise TypeError(f"{name}(X, t, y, z=z) got {sorted(twice)} twice.")
            return method(self, **given, **kwargs)
        if not args and "X" not in kwargs:
            kwargs["X"] = None
        return method(self, *args, **kwargs)

    return call
