"""Where the project's files are: firmware, boards, racks.

In a checkout they lie beside this package, and what builds make lies there too. An installed package carries them
(`bench/carried`), and works in a copy of its own in the user's cache folder: programs, builds, PlatformIO's core
directory, flash of virtual boards. That folder can be removed at any time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path

from bench import process
from bench.errors import ConfigError, InfrastructureError

CARRIED = Path(__file__).with_name("carried")
"""The project's files in an installed package; `DIGEST` there tells their state."""

_CHECKOUT = Path(__file__).resolve().parents[1]
_COMPLETE = ".complete"


def _is_project(folder: Path) -> bool:
    return (folder / "platformio.ini").is_file() and (folder / "firmware" / "platform").is_dir()


@cache
def in_checkout() -> bool:
    """Whether this package lies in a checkout of the project."""
    return _is_project(_CHECKOUT)


def sources() -> Path:
    """The project's files as they are delivered, to read."""
    return _CHECKOUT if in_checkout() else CARRIED


@cache
def root_path() -> Path:
    """Where the project is worked in: the checkout, or the folder in the user's cache, which may not be there yet."""
    if in_checkout():
        return _CHECKOUT
    named = os.environ.get("XDG_CACHE_HOME")
    cache_folder = Path(named) if named and Path(named).is_absolute() else Path.home() / ".cache"
    # PlatformIO's core directory is made for one version of it.
    state = f"{_digest()} {version('platformio')} {sys.version_info[:2]}"
    return cache_folder / "ftte-bench" / f"{version('ftte-bench')}-{hashlib.sha256(state.encode()).hexdigest()[:12]}"


def _digest() -> str:
    try:
        return (CARRIED / "DIGEST").read_text(encoding="ascii")
    except OSError:
        return ""


def project_root() -> Path:
    """The folder with platformio.ini, made if need be.

    Raises:
        ConfigError: this package is incomplete.
        InfrastructureError: there is no place for the folder.
    """
    root = root_path()
    if in_checkout() or (root / _COMPLETE).is_file():
        return root
    if not _is_project(CARRIED):
        raise ConfigError(
            f"{CARRIED.parent}: neither a checkout of the bench nor a whole package: install the wheel that "
            "`make wheel` makes"
        )
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with _locked(root.parent / ".lock"):
            if not (root / _COMPLETE).is_file():
                _lay_out(root)
    except OSError as error:
        raise InfrastructureError(
            f"{root}: no place for the bench's builds: {error.strerror}; name a folder with XDG_CACHE_HOME"
        ) from error
    return root


def cache_folder(kind: str) -> Path:
    """The folder, which may not be there yet, of what is kept to be found again, of a kind: FTTE_CACHE's, or the
    project's `.cache`. It may be removed at any time."""
    chosen = os.environ.get("FTTE_CACHE")
    return (Path(chosen) if chosen else root_path() / ".cache") / kind


def ensure_platformio() -> None:
    """Makes PlatformIO's core directory complete without its registry; in a checkout, set-up has done that.

    Raises InfrastructureError with PlatformIO's words.
    """
    root = project_root()
    if in_checkout():
        return
    core = root / ".platformio"
    stamp = core / ".prepared"
    if stamp.is_file():
        return
    with _locked(root / ".platformio.lock"):
        if stamp.is_file():
            return
        core.mkdir(exist_ok=True)
        ended = process.run(
            [sys.executable, str(root / "setup" / "scons_package.py"), str(core)],
            environment={**os.environ, "PLATFORMIO_CORE_DIR": str(core)},
        )
        if ended.code != 0:
            raise InfrastructureError(f"{core}: PlatformIO cannot be prepared: {ended.output.strip()[-500:]}")
        stamp.touch()


def _lay_out(root: Path) -> None:
    """Copies what the package carries, whole or not at all."""
    with tempfile.TemporaryDirectory(prefix=".new-", dir=root.parent) as scratch:
        made = Path(scratch) / root.name
        shutil.copytree(CARRIED, made, copy_function=shutil.copyfile)  # a read-only package makes no read-only copy
        (made / _COMPLETE).touch()
        if root.exists():
            shutil.rmtree(root)  # what somebody removed half
        made.rename(root)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
