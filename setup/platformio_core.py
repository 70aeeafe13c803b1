"""PlatformIO's core directory `.platformio` in the root, complete without its registry."""

from __future__ import annotations

from pathlib import Path

from setup.console import SetupError, Shell, say


def _wanted(root: Path) -> str:
    """PlatformIO's version, on which the package's depends, and the root, which links to the local platform hold."""
    versions = sorted(path.name for path in (root / ".venv").glob("lib/python*/site-packages/platformio-*.dist-info"))
    return f"{' '.join(versions)} {root}\n"


def ensure(root: Path, shell: Shell) -> bool:
    """Puts the package and the settings in place; False when they were. Raises SetupError."""
    core, stamp = root / ".platformio", root / ".setup" / "platformio.stamp"
    wanted = _wanted(root)
    if (core / "packages" / "tool-scons" / ".piopm").is_file() and stamp.is_file() and stamp.read_text() == wanted:
        return False
    stamp.unlink(missing_ok=True)
    say("putting PlatformIO's core package in place")
    for link in core.glob("platforms/*.pio-link"):  # PlatformIO makes it again, for where the project is now
        link.unlink()
    python = str(root / ".venv" / "bin" / "python")
    script = str(Path(__file__).with_name("scons_package.py"))
    if not shell.run([python, script, str(core)], PLATFORMIO_CORE_DIR=str(core)):
        raise SetupError(f"cannot prepare {core}: {shell.last_error()}")
    stamp.write_text(wanted)
    return True
