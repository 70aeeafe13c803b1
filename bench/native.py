"""C++ compiled on the host into shared libraries, once for each state of what goes into them.

They are kept in the cache folder (`.cache` in the project's root, or `$FTTE_CACHE`), a folder of it for each kind,
under names that hash sources, headers, flags, compiler and processor. Processes that compile the same at once see all
of a file or none of it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from bench.errors import ConfigError
from bench.project import cache_folder


def compiler() -> str:
    """The host's C++ compiler: `$CXX` if it is set. Raises ConfigError if there is none."""
    for candidate in (os.environ.get("CXX"), "g++", "c++", "clang++"):
        found = shutil.which(candidate) if candidate else None
        if found:
            return found
    raise ConfigError("no C++ compiler on the host: install g++ (apt-get install g++)")


def cached(kind: str, name: str, suffix: str, inputs: Sequence[Path], headers: Iterable[Path],
           flags: Sequence[str]) -> Path:  # fmt: skip
    """Where the cache keeps what is made of these files, of all headers that they may read, and of the flags.

    Args:
        kind: folder of the cache.
        name: what to call the file, for a reader of the cache.
        suffix: of the file.
        inputs: sources and objects; their order counts.
        headers: what the sources may include.
        flags: of the compiler.
    """
    chosen = compiler()
    digest = hashlib.sha256(repr((tuple(flags), chosen, _version(chosen), _processor())).encode())
    for path in [*inputs, *sorted(headers)]:
        digest.update(f"{path.name}\0{path.stat().st_size if path.is_file() else 0}\0".encode())
        digest.update(path.read_bytes() if path.is_file() else str(path).encode())
    return cache_folder(kind) / f"{name}-{digest.hexdigest()[:20]}{suffix}"


def compile_to(command: Sequence[str], target: Path, name: str) -> None:
    """Runs a compiler, whose output replaces `target` at once. Raises ConfigError with what it says if it fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="build-", dir=target.parent) as scratch:
        built = Path(scratch) / target.name
        done = subprocess.run([*command, "-o", str(built)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ConfigError(f"{name} does not compile for the host ({command[0]}):\n{done.stderr.strip()[:4000]}")
        built.replace(target)


@cache
def _processor() -> str:
    """What -march=native depends on: a cache that is carried to another machine is not used there."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


@cache
def _version(chosen: str) -> str:
    return subprocess.run([chosen, "--version"], capture_output=True, text=True, check=True).stdout
