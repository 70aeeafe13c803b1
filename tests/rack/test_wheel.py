"""The wheel in a project outside of this checkout: ten lines of test pass on the default rack, from any folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree as ET
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from setup.carry import carried

TESTS = """\
import pytest


@pytest.mark.board(sram_min=16 * 1024)
def test_a_step_fits(board, record_metric, assert_within):
    step = board.step("demo-cnn", "bias")
    record_metric(step["instructions"])
    assert_within(step["sram_total"], max=16, unit="KiB")
"""


@dataclass(frozen=True)
class Outside:
    """An environment with the wheel, and folders that are nobody's else's."""

    venv: Path
    project: Path
    cache: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of the environment in the project's folder."""
        kept = {"PATH": os.environ["PATH"], "HOME": str(self.project.parent / "home"), "LANG": "C.UTF-8"}
        return subprocess.run(
            [str(self.venv / "bin" / command[0]), *command[1:]],
            cwd=self.project,
            env={**kept, "XDG_CACHE_HOME": str(self.cache), "BENCH_LOCK_DIR": str(self.project.parent / "locks")},
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> Path:
    """Built from a copy of what is tracked, so that nothing that lies about gets into it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("bench", "setup", "firmware", "hosts"):
        shutil.copytree(project_root / name, source / name, ignore=shutil.ignore_patterns("generated", "__pycache__"))
    for name in ("pyproject.toml", "platformio.ini", "README.md", "LICENSE"):
        shutil.copyfile(project_root / name, source / name)
    (source / "firmware" / "generated" / "mine").mkdir(parents=True)
    (source / "firmware" / "generated" / "mine" / "plan.json").write_text("{}")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(source)], check=True, timeout=280)
    return next(folder.glob("ftte_bench-*.whl"))


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Outside:
    """The packages that the bench needs come from this environment; the bench itself only from the wheel."""
    folder = tmp_path_factory.mktemp("outside")
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True, timeout=120)
    site = next(venv.glob("lib/python3*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "install", "-q", "--no-index"]
    subprocess.run([*pip, "--no-deps", "--ignore-installed", str(wheel)], check=True, timeout=120)
    for name in ("project", "home"):
        (folder / name).mkdir()
    return Outside(venv, folder / "project", folder / "cache")


def test_the_wheel_carries_what_builds_need(wheel: Path, project_root: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for needed in ("platformio.ini", "hosts/virtual.yaml", "firmware/platform/platform.py", "firmware/src/main.cpp",
                   "firmware/platform/boards/microbit.json", "firmware/test/test_custom_runner.py",
                   "setup/scons_package.py"):  # fmt: skip
        assert f"bench/carried/{needed}" in names
    assert {f"bench/carried/{path.as_posix()}" for path in carried(project_root)} <= names
    assert not [name for name in names if "generated" in name or name.startswith("tests/")]
    assert not [name for name in names if not name.startswith(("bench/", "ftte_bench-"))]


def test_ten_lines_of_test_pass_on_the_default_rack(outside: Outside) -> None:
    (outside.project / "test_mine.py").write_text(TESTS)
    listed = outside.run("bench", "rack", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    rack = json.loads(listed.stdout)["rack"]
    assert rack.startswith(str(outside.cache / "ftte-bench"))
    done = outside.run("python", "-m", "pytest", "-q", "--rack", rack, "--board", "bit", "--junit-xml", "junit.xml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_a_step_fits[bit]  instructions" in done.stdout
    case = ET.parse(outside.project / "junit.xml").getroot()[0][0]
    figures = {entry.get("name"): entry.get("value") for entry in case.iter("property")}
    assert 1000 < int(figures["sram_total [bytes]"] or 0) <= 16384
    assert {path.name for path in outside.project.iterdir()} <= {"test_mine.py", "junit.xml", ".pytest_cache",
                                                                 "__pycache__"}, "builds lie in the cache"  # fmt: skip


def test_verbs_work_from_any_folder(outside: Outside) -> None:
    """The program was compiled, and PlatformIO prepared, by the test above or is by this one."""
    done = outside.run("bench", "plan", "demo-cnn", "--scheme", "bias", "--env", "microbit", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fits"] is True
    root = next((outside.cache / "ftte-bench").glob("0*"))
    assert (root / ".platformio" / "packages" / "tool-scons" / "scons.py").is_file()
    assert list((root / ".pio" / "programs").iterdir())
    assert not (outside.project / ".bench").exists()


def test_a_cache_that_cannot_be_written_is_told(outside: Outside) -> None:
    (outside.project.parent / "file").write_text("")
    blocked = Outside(outside.venv, outside.project, outside.project.parent / "file")
    done = blocked.run("bench", "rack", "list", "--json")
    assert done.returncode == 3
    assert "name a folder with XDG_CACHE_HOME" in json.loads(done.stdout)["error"]["message"]
