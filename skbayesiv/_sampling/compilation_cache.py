"""An opt-in cache of compiled samplers that outlives the process."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from skbayesiv._sampling.libraries import load_jax
from skbayesiv.exceptions import OURS

VARIABLE = "SKBAYESIV_CACHE"
OFF, ON = {"", "0", "false", "off", "no"}, {"1", "true", "on", "yes"}


def use_compilation_cache(folder: str | os.PathLike[str] | None = None) -> Path:
    """Keep compiled samplers on disk, so that the first fit of a session need not compile.

    It sets JAX's persistent compilation cache for the whole process, which is why it is never on
    by itself. To have it in every session set the environment variable ``SKBAYESIV_CACHE`` to a
    folder, or to ``1`` for the default one (``0`` is off); where that folder cannot be used, a
    fit warns and goes on without.

    Parameters
    ----------
    folder : path-like, optional
        By default ``skbayesiv`` under ``XDG_CACHE_HOME`` or ``~/.cache``. Compiled code is
        loaded from it, so it must be yours, and no one else may write to it; it is created so.

    Returns
    -------
    pathlib.Path
        The folder; deleting it is safe.

    Raises
    ------
    OSError
        If the folder cannot be created or written to.
    PermissionError
        If it belongs to someone else, or others may write to it.

    Examples
    --------
    >>> import tempfile
    >>> from skbayesiv import use_compilation_cache
    >>> path = use_compilation_cache(tempfile.mkdtemp())
    """
    path = _absolute(folder)
    _create(path)
    _check_own(path)
    load_jax()
    import jax

    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    return path


def follow_environment() -> None:
    """Turn the cache on when the environment asks for it and it can be."""
    value = os.environ.get(VARIABLE, "").strip()
    if value.lower() in OFF:
        return
    try:
        use_compilation_cache(None if value.lower() in ON else value)
    except OSError as error:
        message = f"{VARIABLE}={value!r} is not followed, and samplers are compiled anew: {error}"
        warnings.warn(message, UserWarning, skip_file_prefixes=OURS)


def _absolute(folder: str | os.PathLike[str] | None) -> Path:
    """Path of the folder, or of the default one, from the root."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        if folder is None:
            folder = (Path(base) if base else Path.home() / ".cache") / "skbayesiv"
        return Path(folder).expanduser().absolute()
    except RuntimeError as error:
        raise OSError(
            f"folder must be named in full where there is no home directory; got {folder}."
        ) from error


def _create(path: Path) -> None:
    """Create the folder for this user alone, and raise unless it can be written to."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        reason = "" if os.access(path, os.W_OK | os.X_OK) else "it may not be written to"
    except OSError as error:
        reason = str(error)
    if reason:
        raise OSError(f"folder must be one that you can create or write to; got {path}: {reason}.")


def _check_own(path: Path) -> None:
    """Raise if someone else could put code into the folder; outside of POSIX nothing tells."""
    if not hasattr(os, "getuid"):
        return
    found = path.stat()
    if found.st_uid != os.getuid():
        raise PermissionError(
            f"folder must belong to you, for compiled code is loaded from it; got {path}, which "
            f"belongs to user {found.st_uid}, and you are {os.getuid()}. Name another folder."
        )
    if found.st_mode & 0o022:
        raise PermissionError(
            "folder must be one that only you may write to, for compiled code is loaded from it; "
            f"got {path}, to which others may write: chmod go-w {path}"
        )
