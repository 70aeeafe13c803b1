"""The virtual environment `.venv` in the root, with everything that pyproject.toml names, extras included."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from setup.console import SetupError, Shell, say

_COMMANDS = ("python", "bench", "pio", "pyocd", "pytest")


def _wanted(root: Path) -> str:
    """What the environment depends on: a change in any of it means installing again."""
    digest = hashlib.sha256((root / "pyproject.toml").read_bytes()).hexdigest()
    return f"{digest} {sys.version_info[0]}.{sys.version_info[1]} {root}\n"


def ensure(root: Path, shell: Shell) -> bool:
    """Makes or completes the environment; False when it was ready. Raises SetupError when pip cannot.

    The stamp is removed before anything is changed and written last, so a killed installation is done again.
    """
    venv, stamp = root / ".venv", root / ".setup" / "venv.stamp"
    wanted = _wanted(root)
    complete = all((venv / "bin" / command).exists() for command in _COMMANDS)
    if complete and stamp.is_file() and stamp.read_text() == wanted:
        return False
    stamp.unlink(missing_ok=True)
    python = str(venv / "bin" / "python")
    if not shell.run([python, "-m", "pip", "--version"]):
        say(f"making the virtual environment {venv}")
        if not shell.run([sys.executable, "-m", "venv", "--clear", str(venv)]):
            raise SetupError(f"cannot make {venv}: {shell.last_error()}")
    say("installing the Python packages of pyproject.toml; this can take minutes")
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-e", ".[dev]"]
    if not shell.run(pip, cwd=root):
        raise SetupError(f"pip cannot install them: {shell.last_error()}")
    stamp.write_text(wanted)
    return True
