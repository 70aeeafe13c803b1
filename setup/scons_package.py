"""Makes PlatformIO's core package `tool-scons` out of PyPI's SCons: run by the Python that has PlatformIO.

PlatformIO asks its registry for this package before every build, unless one of the right name, owner and version lies
in its core directory. It starts the package's scons.py with its own Python, which has SCons from PyPI.
"""

import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

import semantic_version
from platformio import __version__, app
from platformio.dependencies import get_core_dependencies

NAME = "tool-scons"
_SCONS = '''"""Starts the SCons of the Python that runs this."""

from SCons.Script import main

main()
'''


def package_version() -> str:
    """A version that this PlatformIO's requirement (such as "~4.41101.0") accepts: the one that it starts from."""
    requirement = get_core_dependencies()[NAME]
    match = re.search(r"\d+\.\d+\.\d+", requirement)
    if match is None or semantic_version.Version(match[0]) not in semantic_version.SimpleSpec(requirement):
        raise SystemExit(f"error: cannot tell which {NAME} PlatformIO wants from its requirement {requirement!r}")
    return match[0]


def install(core: Path) -> None:
    """Puts the package into `core`, whole or not at all."""
    version = package_version()
    packages = core / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    spec = {"owner": "platformio", "id": None, "name": NAME, "requirements": None, "uri": None}
    metadata = {"type": "tool", "name": NAME, "version": version, "spec": spec}
    manifest = {"name": NAME, "version": version, "description": "SCons from PyPI, in PlatformIO's packaging"}
    with tempfile.TemporaryDirectory(dir=core) as scratch:
        made = Path(scratch) / NAME
        made.mkdir()
        (made / "scons.py").write_text(_SCONS)
        (made / "package.json").write_text(json.dumps(manifest, indent=2) + "\n")
        (made / ".piopm").write_text(json.dumps(metadata, indent=2) + "\n")
        shutil.rmtree(packages / NAME, ignore_errors=True)
        made.rename(packages / NAME)


if __name__ == "__main__":
    install(Path(sys.argv[1]))
    # No build of ours looks into the network: not for statistics, and not for a newer PlatformIO.
    app.set_setting("enable_telemetry", False)
    app.set_setting("check_platformio_interval", 36500)
    app.set_state_item("last_version", __version__)  # no greeting page before the first build
