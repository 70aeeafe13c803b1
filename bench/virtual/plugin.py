"""Builds QEMU plug-ins and Unicorn's hooks with the host's C compiler, once for each version of their source, and says
how to load them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from bench.errors import ConfigError
from bench.rack.image import ImageDescriptor

SOURCES = Path(__file__).with_name("qemu_plugin")
UNICORN_SOURCES = Path(__file__).with_name("unicorn_hooks")
_FLAGS = ("-std=c11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wshadow", "-Werror")
_TIMEOUT_S = 60


def counter_arguments(image: ImageDescriptor, entry: int, totals: Path, log: Path | None = None) -> str:
    """What the phase counter is loaded with: where an image stores its phase. `entry`: its reset handler; `log`: where
    each phase that ends is told, for a virtual meter."""
    values = {
        "totals": str(totals),
        "begin": f"0x{image.phase_function:x}",
        "end": f"0x{image.phase_function_end:x}",
        "word": f"0x{image.phase_word:x}",
        "entry": f"0x{entry:x}",
    }
    if log is not None:
        values["log"] = str(log)
    return ",".join(f"{name}={value}" for name, value in values.items())


def build_plugin(cache: Path, name: str = "phase_counter") -> Path:
    """Returns the shared library of a source in qemu_plugin/, in `cache`.

    Raises ConfigError without a compiler or when it finds fault.
    """
    return _build(cache, SOURCES / f"{name}.c")


def build_unicorn_hooks(cache: Path) -> Path:
    """Likewise of unicorn_hooks/block_counter.c."""
    return _build(cache, UNICORN_SOURCES / "block_counter.c")


def _build(cache: Path, source: Path) -> Path:
    name = source.stem
    headers = b"".join(header.read_bytes() for header in sorted(SOURCES.glob("*.h")))
    content = source.read_bytes() + headers + " ".join(_FLAGS).encode()
    library = cache / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}.so"
    if library.exists():
        return library
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise ConfigError("no C compiler for the emulators' plug-ins: install the package gcc")
    cache.mkdir(parents=True, exist_ok=True)
    temporary = library.with_suffix(f".{os.getpid()}.new")
    command = [compiler, *_FLAGS, str(source), "-o", str(temporary)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    if done.returncode != 0:
        temporary.unlink(missing_ok=True)
        raise ConfigError(f"{source} does not compile: {' '.join(command)}\n{done.stderr}")
    for old in cache.glob(f"{name}-*.so"):
        old.unlink(missing_ok=True)
    temporary.replace(library)
    return library
