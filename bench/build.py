"""Firmware images, built by PlatformIO: one build folder a program, so that programs do not rebuild each other."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import process
from bench.errors import ConfigError
from bench.project import ensure_platformio, project_root
from bench.rack.manifest import environments

Step = Callable[[str], None]

_OVERFLOWS = ("overflowed by", "will not fit in region", "do not fit", "is larger than the")
"""What the linker and its script say of an image that a board cannot hold."""


class ImageTooLargeError(ConfigError):
    """A program that a board's memories cannot hold."""


def programs() -> tuple[str, ...]:
    """The names of the programs that can be built."""
    return tuple(sorted(path.parent.name for path in project_root().glob("firmware/generated/*/plan.json")))


def build(
    envs: Sequence[str], program: str, step: Step = lambda _text: None, *, stack_bytes: int | None = None
) -> dict[str, Path]:
    """Builds the firmware of environments; what is up to date is not built again.

    Args:
        envs: PlatformIO environments.
        program: a folder of firmware/generated.
        step: is told what is being done.
        stack_bytes: reserved for the stack in place of what the boards' manifests say; a multiple of 8.

    Returns:
        The image (for `host`, the program) of each environment.

    Raises:
        ImageTooLargeError: it does not fit.
        ConfigError: an unknown environment or program, or sources that do not compile; with the compiler's own words.
    """
    root = project_root()
    for env in envs:
        if env not in environments():
            raise ConfigError(f"no environment {env!r}: choose one of {', '.join(environments())}")
    if program not in programs():
        known = ", ".join(programs()) or "none yet"
        raise ConfigError(
            f"no program {program!r} in firmware/generated (there are: {known}): `bench plan MODEL` makes one"
        )
    wanted = list(dict.fromkeys(envs))
    folder = root / ".pio" / "programs" / program
    step(f"building {program} for {', '.join(wanted)}")
    _platformio(root, wanted, program, folder, {} if stack_bytes is None else {"FTTE_STACK_BYTES": str(stack_bytes)})
    return {env: _product(folder, env) for env in wanted}


def build_unbounded(env: str, program: str, step: Step = lambda _text: None) -> Path:
    """Links a program for a board as if its memories had no end, to measure what does not fit; nothing to flash.

    Returns:
        The ELF file.

    Raises:
        ConfigError: as build.
    """
    root = project_root()
    folder = root / ".pio" / "unbounded" / program
    step(f"linking {program} for a {env} without limits, as it does not fit")
    _platformio(root, [env], program, folder, {"FTTE_UNBOUNDED": "1"})
    return folder / env / "firmware.elf"


def _product(folder: Path, env: str) -> Path:
    return folder / env / ("program" if env == "host" else "firmware.bin")


def _platformio(
    root: Path, envs: Sequence[str], program: str, folder: Path, settings: Mapping[str, str] | None = None
) -> None:
    # Without the option PlatformIO clears the folder when a source file has come or gone anywhere below firmware/, as
    # one does with each new program; what has to be built again SCons finds by itself.
    command = [sys.executable, "-m", "platformio", "run", "--project-dir", str(root), "--disable-auto-clean"]
    for env in envs:
        command += ["-e", env]
    ours = ("PLATFORMIO_CORE_DIR", "FTTE_UNBOUNDED", "FTTE_STACK_BYTES")
    environment = {
        **{key: value for key, value in os.environ.items() if key not in ours},
        "PLATFORMIO_BUILD_DIR": str(folder),
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
        "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
        "FTTE_PROGRAM": program,
        **(settings or {}),
    }
    ensure_platformio()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = process.run(command, environment=environment)
    (folder / "build.log").write_text(ended.output, encoding="utf-8")
    if ended.code != 0:
        lines = ended.output.splitlines()
        overflow = [line.rpartition("ld: ")[2] for line in lines if any(sign in line for sign in _OVERFLOWS)]
        if overflow:
            raise ImageTooLargeError(f"{program} does not fit {', '.join(envs)}: {'; '.join(dict.fromkeys(overflow))}")
        telling = [line for line in lines if "error:" in line.lower() or "Error" in line or "undefined" in line]
        excerpt = "\n".join(f"  {line}" for line in (telling or lines[-12:])[:12])
        raise ConfigError(f"{program} does not build; {folder / 'build.log'} has everything\n{excerpt}")
