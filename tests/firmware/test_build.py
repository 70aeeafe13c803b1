"""PlatformIO's builds: a patched image that says of itself what the manifest says, the same bytes every time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.rack.image import verify
from bench.rack.manifest import load_manifest


def pio(root: Path, build_dir: Path, *arguments: str, program: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PLATFORMIO_BUILD_DIR": str(build_dir), "FTTE_PROGRAM": program}
    environment.pop("PLATFORMIO_CORE_DIR", None)
    return subprocess.run(
        [sys.executable, "-m", "platformio", "run", *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="module")
def built(project_root: Path, tmp_path_factory: pytest.TempPathFactory, int8_program: str) -> Path:
    """A build folder with the micro:bit's image."""
    folder = tmp_path_factory.mktemp("pio")
    result = pio(project_root, folder, "-e", "microbit", program=int8_program)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "warning" not in (result.stdout + result.stderr).lower()
    return folder


def test_the_image_agrees_with_the_manifest(built: Path) -> None:
    blob = (built / "microbit" / "firmware.bin").read_bytes()
    descriptor, manifest = verify(blob), load_manifest("microbit")
    assert descriptor.env == "microbit"
    assert descriptor.image_size == len(blob) <= manifest.flash.image_size
    assert (descriptor.flash_base, descriptor.flash_size) == (manifest.flash.base, manifest.flash.size)
    assert (descriptor.data_base, descriptor.data_size) == (manifest.flash.data_base, manifest.flash.data_size)
    assert (descriptor.ram_base, descriptor.ram_size) == (manifest.ram.base, manifest.ram.size)
    assert descriptor.stack_top - descriptor.stack_limit == manifest.stack_size
    used = manifest.stack_size + descriptor.static_bytes + descriptor.federation_size + descriptor.arena_size
    assert used <= manifest.ram.size
    # The vector table comes first: the stack's top, then the reset handler, a Thumb address within the image.
    assert int.from_bytes(blob[0:4], "little") == descriptor.stack_top
    reset = int.from_bytes(blob[4:8], "little")
    assert reset & 1 == 1
    assert manifest.flash.base < reset < manifest.flash.base + len(blob)
    assert descriptor.phase_function < descriptor.phase_function_end <= manifest.flash.base + len(blob)


def test_a_build_elsewhere_gives_the_same_bytes(
    built: Path, project_root: Path, tmp_path: Path, int8_program: str
) -> None:
    result = pio(project_root, tmp_path / "some where", "-e", "microbit", program=int8_program)
    assert result.returncode == 0, result.stdout + result.stderr
    again = (tmp_path / "some where" / "microbit" / "firmware.bin").read_bytes()
    assert again == (built / "microbit" / "firmware.bin").read_bytes()


def test_an_unknown_program_and_a_missing_probe_are_said_plainly(
    built: Path, project_root: Path, int8_program: str
) -> None:
    result = pio(project_root, built, "-e", "microbit", program="demo_int9")
    assert result.returncode == 1
    assert "Error: no program 'demo_int9' (custom_program, FTTE_PROGRAM)" in result.stderr
    result = pio(project_root, built, "-e", "microbit", "-t", "nobuild", "-t", "upload", program=int8_program)
    assert result.returncode == 1
    assert "--upload-port FULL_PROBE_ID" in result.stderr
