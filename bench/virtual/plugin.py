"""Builds the instruction counter with the host's C compiler, once for each version of its source."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from bench.errors import ConfigError

SOURCES = Path(__file__).with_name("qemu_plugin")
_FLAGS = ("-std=c11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wshadow", "-Werror")
_TIMEOUT_S = 60


def build_plugin(cache: Path) -> Path:
    """Returns the shared library, in `cache`. Raises ConfigError without a compiler or when it finds fault."""
    source = SOURCES / "phase_counter.c"
    content = source.read_bytes() + (SOURCES / "qemu_api.h").read_bytes() + " ".join(_FLAGS).encode()
    library = cache / f"phase_counter-{hashlib.sha256(content).hexdigest()[:16]}.so"
    if library.exists():
        return library
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise ConfigError("no C compiler for the instruction counter: install the package gcc")
    cache.mkdir(parents=True, exist_ok=True)
    temporary = library.with_suffix(f".{os.getpid()}.new")
    command = [compiler, *_FLAGS, str(source), "-o", str(temporary)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    if done.returncode != 0:
        temporary.unlink(missing_ok=True)
        raise ConfigError(f"{source} does not compile: {' '.join(command)}\n{done.stderr}")
    for old in cache.glob("phase_counter-*.so"):
        old.unlink(missing_ok=True)
    temporary.replace(library)
    return library
