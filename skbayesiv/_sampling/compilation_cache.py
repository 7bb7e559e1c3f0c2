"""An opt-in cache of compiled samplers that outlives the process."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "SKBAYESIV_CACHE"


def use_compilation_cache(folder: str | os.PathLike[str] | None = None) -> Path:
    """Keep compiled samplers on disk, so that the first fit of a session need not compile.

    It sets JAX's persistent compilation cache for the whole process, which is why it is never on
    by itself. To have it in every session set the environment variable ``SKBAYESIV_CACHE`` to a
    folder, or to ``1`` for the default one.

    Parameters
    ----------
    folder : path-like, optional
        By default ``skbayesiv`` under ``XDG_CACHE_HOME`` or ``~/.cache``.

    Returns
    -------
    pathlib.Path
        The folder; deleting it is safe.

    Examples
    --------
    >>> import tempfile
    >>> from skbayesiv import use_compilation_cache
    >>> path = use_compilation_cache(tempfile.mkdtemp())
    """
    import jax

    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = Path(folder) if folder is not None else base / "skbayesiv"
    path.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    return path


def follow_environment() -> None:
    """Turn the cache on when the environment asks for it."""
    value = os.environ.get(VARIABLE)
    if value:
        use_compilation_cache(None if value == "1" else value)
