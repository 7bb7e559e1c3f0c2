"""The folder of compiled samplers: when it is used, and that nobody else can put code into it."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import pytest

from skbayesiv import use_compilation_cache
from skbayesiv._sampling.compilation_cache import VARIABLE, follow_environment
from skbayesiv._sampling.nuts import _program

posix = pytest.mark.skipif(os.name != "posix", reason="owners and permissions are POSIX's")


@pytest.fixture(autouse=True)
def used(monkeypatch, tmp_path):
    """Folders that JAX was given, with a home and a working directory of their own."""
    options = []
    monkeypatch.setattr(jax.config, "update", lambda name, value: options.append((name, value)))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return lambda: [value for name, value in options if name == "jax_compilation_cache_dir"]


def put(path, content="in the way"):
    path.write_text(content)
    return path


@pytest.mark.parametrize("value", [None, "", " ", "0", "false", "False", "OFF", "no"])
def test_the_environment_turns_it_off(used, monkeypatch, tmp_path, value):
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    follow_environment()
    assert used() == []
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.parametrize("value", ["1", "true", "TRUE", "on", "Yes", " 1 "])
def test_the_environment_turns_it_on(used, monkeypatch, tmp_path, value):
    monkeypatch.setenv(VARIABLE, value)
    follow_environment()
    assert used() == [str(tmp_path / "home" / ".cache" / "skbayesiv")]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    follow_environment()
    assert used()[1:] == [str(tmp_path / "xdg" / "skbayesiv")]


@pytest.mark.parametrize("value", ["programs", "2", "~/programs", "a/b"])
def test_the_environment_names_a_folder(used, monkeypatch, tmp_path, value):
    monkeypatch.setenv(VARIABLE, value)
    follow_environment()
    expected = tmp_path / ("home/programs" if value[0] == "~" else f"work/{value}")
    assert used() == [str(expected)]
    assert expected.is_dir()


@posix
@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022])
def test_it_is_created_for_the_user_alone(used, umask):
    before = os.umask(umask)
    try:
        path = use_compilation_cache("programs")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o700
    assert path == use_compilation_cache(path)


def unusable(kind, monkeypatch):
    """A path that cannot be used."""
    path = Path("programs")
    if kind == "file":
        put(path)
    elif kind == "below a file":
        path = put(path) / "folder"
    elif kind == "no home":
        path = Path("~nobody-of-this-name/programs")
    elif kind == "not writable":
        path.mkdir()
        monkeypatch.setattr(os, "access", lambda *args: False)
    elif kind == "of someone else":
        path.mkdir()
        monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
    else:
        path.mkdir()
        path.chmod({"group": 0o770, "others": 0o702}[kind])
    return path


REASONS = {
    "file": r"be one that you can create or write to; got .*programs: .*[Ee]xists",
    "below a file": "be one that you can create or write to; got .*folder: .*[Nn]ot a directory",
    "no home": "be named in full where there is no home directory; got ~nobody",
    "not writable": "be one that you can create or write to; got .*: it may not be written",
    "of someone else": r"belong to you, .*; got .*programs, which belongs to user \d+, and",
    "group": r"be one that only you may write to, .*; got .*programs, .*: chmod go-w .*programs$",
    "others": r"be one that only you may write to, .*; got .*programs, .*: chmod go-w .*programs$",
}


@posix
@pytest.mark.parametrize("kind", REASONS)
def test_what_cannot_be_used_is_refused(used, monkeypatch, kind):
    path = unusable(kind, monkeypatch)
    with pytest.raises(OSError, match=f"folder must {REASONS[kind]}"):
        use_compilation_cache(path)
    assert used() == []


@posix
@pytest.mark.parametrize("kind", REASONS)
def test_a_fit_goes_on_without_what_cannot_be_used(used, monkeypatch, kind):
    monkeypatch.setenv(VARIABLE, str(unusable(kind, monkeypatch)))
    with pytest.warns(
        UserWarning, match=rf"SKBAYESIV_CACHE=.*compiled anew: folder must {REASONS[kind]}"
    ):
        assert callable(_program.__wrapped__())
    assert used() == []


def test_there_need_be_no_owners(used, monkeypatch):
    monkeypatch.delattr(os, "getuid", raising=False)
    path = Path("programs")
    path.mkdir()
    path.chmod(0o777)
    use_compilation_cache(path)
    assert used() == [str(path.absolute())]
