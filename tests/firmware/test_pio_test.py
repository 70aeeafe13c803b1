"""`pio test`: the firmware's own tests, as a process and on an emulated board, through the local platform."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

RACK = """\
boards:
  - {name: bit, env: microbit, probe: "remote:127.0.0.1:0", virtual: {machine: microbit}}
"""
BROKEN = """\
#include "check.hpp"
#include "hal/hal.hpp"
namespace {
void fine() { CHECK_EQUAL(6 * 7, 42); }
void wrong() { CHECK_EQUAL(6 * 7, 54); }
void resets() { hal::reset(); }
}
namespace check {
extern const Case kCases[] = {{"fine", fine}, {"wrong", wrong}, {"resets", resets}, {"never", fine}};
extern const size_t kCaseCount = 4;
}
"""


def pio_test(root: Path, folder: Path, *arguments: str, **environment: str) -> tuple[int, str, ET.Element]:
    """Runs it; returns exit code, output, and the suites of JUnit's file."""
    junit = folder / "junit.xml"
    done = subprocess.run(
        [sys.executable, "-m", "platformio", "test", "--junit-output-path", str(junit), *arguments],
        cwd=root,
        env={
            **{name: value for name, value in os.environ.items() if name != "PLATFORMIO_CORE_DIR"},
            "PLATFORMIO_BUILD_DIR": str(root / ".pio" / "tests"),
            "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
            "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
            "BENCH_LOCK_DIR": str(folder / "locks"),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    return done.returncode, done.stdout + done.stderr, ET.parse(junit).getroot()


@pytest.mark.parametrize("env", ["host", "microbit"])
def test_the_firmwares_tests_pass(project_root: Path, tmp_path: Path, env: str) -> None:
    (tmp_path / "rack.yaml").write_text(RACK)
    rack = {"FTTE_RACK": str(tmp_path / "rack.yaml"), "FTTE_RACK_STATE": str(tmp_path / "state")}
    code, said, suites = pio_test(project_root, tmp_path, "-e", env, **rack)
    assert code == 0, said
    assert (suites.get("failures"), suites.get("errors")) == ("0", "0")
    cases = {case.get("name") for case in suites.iter("testcase")}
    assert {"crc_of_the_digits", "cobs_of_the_paper", "the_stack_mark_shows_what_was_used"} <= cases
    declared = sum(path.read_text().count('    {"') for path in (project_root / "firmware/test").glob("test_*/*.cpp"))
    assert len(cases) == declared


def test_failures_and_resets_are_told(project_root: Path, tmp_path: Path) -> None:
    tests = tmp_path / "test"
    shutil.copytree(project_root / "firmware" / "test", tests, ignore=shutil.ignore_patterns("test_link", "test_hal"))
    (tests / "test_broken").mkdir()
    (tests / "test_broken" / "broken.cpp").write_text(BROKEN)
    code, said, suites = pio_test(
        project_root, tmp_path, "-e", "host", PLATFORMIO_TEST_DIR=str(tests), PYTHONPATH=str(project_root)
    )
    assert code != 0
    found = {case.get("name"): [child.tag for child in case] for case in suites.iter("testcase")}
    assert found["fine"] == []
    assert "failure" in found["wrong"]
    assert any("error" in tags for name, tags in found.items() if name not in ("fine", "wrong")), found
    assert "broken.cpp:5: 6 * 7 == 54, found 0x2a" in said
    assert "the board has reset in case resets" in said
    assert "never" not in found
