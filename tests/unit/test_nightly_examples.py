"""The systemd timer, the cron line and the CI workflow of docs/examples: they name what exists, and their commands run.

The bench in them is the real one, with a night that has no time for any cell, so that no board is touched.
"""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from report_run import write_example
from ruamel.yaml import YAML

from bench.cli import parser
from bench.nightly.matrix import SHIPPED
from bench.report.trends import TRENDS
from bench.results.store import point_latest
from bench.verbs.options import DEFAULT_STORE as DEFAULT
from tests.unit.documentation import ROOT

EXAMPLES = ROOT / "docs" / "examples"
CHECKOUT = "/srv/ftte-bench"
OWN_FILES = ("hosts/lab.yaml", "lab-night.toml")
"""What a reader brings."""
_BENCH = re.compile(r"\.venv/bin/bench ([^;|>&}\n]*?)(?: 2?>|[;|&}\n]|$)")
_SERVICE, _TIMER = EXAMPLES / "bench-nightly.service", EXAMPLES / "bench-nightly.timer"


def cron_line() -> list[str]:
    """Minute, hour, day, month, weekday, user, and what `sh` gets."""
    [line] = [line for line in (EXAMPLES / "bench-nightly.cron").read_text().splitlines() if re.match("[0-9*]", line)]
    return line.split(maxsplit=6)


def unit(path: Path) -> configparser.ConfigParser:
    read = configparser.ConfigParser(interpolation=None, comment_prefixes=("#",), delimiters=("=",), strict=True)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read_string(path.read_text())
    return read


def workflow() -> dict[str, Any]:
    return YAML(typ="safe").load((EXAMPLES / "nightly.github.yml").read_text())


def steps() -> list[dict[str, Any]]:
    return workflow()["jobs"]["nightly"]["steps"]


def invocations() -> list[tuple[str, str]]:
    return [(path.name, found) for path in sorted(EXAMPLES.iterdir()) for found in _BENCH.findall(path.read_text())]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder as the examples expect it: a fresh checkout, set up, with a reader's own files."""
    folder = tmp_path / "ftte-bench"
    for made in (".venv/bin", "hosts", "reports"):
        (folder / made).mkdir(parents=True)
    shutil.copy(ROOT / "hosts" / "virtual.yaml", folder / "hosts" / "lab.yaml")
    shutil.copy(SHIPPED, folder / "lab-night.toml")
    command = folder / ".venv" / "bin" / "bench"
    # Results of the test belong into its own folder, and so do locks.
    command.write_text(
        f'#!/bin/sh\nverb=$1; shift\nexport BENCH_LOCK_DIR="{tmp_path}/locks"\n'
        f'exec {shlex.quote(sys.executable)} -m bench "$verb" --reports "{folder}/reports" "$@"\n'
    )
    command.chmod(0o755)
    return folder


def run(text: str, checkout: Path, *shell: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In the empty environment that cron and systemd give; a night of six hours gets no time at all."""
    for six_hours in ("--minutes 360", "--minutes 60"):
        text = text.replace(six_hours, "--minutes 0.001")
    return subprocess.run(
        [*(shell or ("/bin/sh", "-c")), text.replace(CHECKOUT, str(checkout))],
        cwd=ROOT, env={"PATH": "/usr/bin:/bin", "HOME": str(checkout), "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


# What they name


@pytest.mark.parametrize(("example", "arguments"), invocations())
def test_the_bench_takes_each_command(example: str, arguments: str) -> None:
    parser().parse_args(shlex.split(arguments))


def test_each_example_has_commands() -> None:
    assert {name for name, _ in invocations()} == {
        "bench-nightly.cron", "bench-nightly.service", "nightly.github.yml",
    }  # fmt: skip


def test_paths_are_those_of_a_checkout_or_the_readers_own() -> None:
    for path in sorted(EXAMPLES.iterdir()):
        for name in re.findall(rf"{CHECKOUT}/([\w./-]*[\w-])", path.read_text()):
            assert name in (*OWN_FILES, ".venv/bin/bench") or (ROOT / name).exists(), f"{path.name}: {name}"
    tracked = subprocess.run(["git", "ls-files", "reports"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert tracked.returncode or tracked.stdout, "a fresh checkout has no folder reports for the cron line's log"


def test_targets_of_make_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = [
        target for step in steps() for target in re.findall(r"^make ([a-z-]+)$", step.get("run", ""), re.MULTILINE)
    ]
    assert named == ["setup"]
    assert set(named) <= set(targets)


# systemd


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_no_fault(checkout: Path, tmp_path: Path) -> None:
    copies = []
    for path in (_SERVICE, _TIMER):
        copies.append(tmp_path / path.name)
        copies[-1].write_text(path.read_text().replace(CHECKOUT, str(checkout)))
    ended = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", *copies], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")
    calendar = unit(_TIMER)["Timer"]["OnCalendar"]
    ended = subprocess.run(["systemd-analyze", "calendar", calendar], capture_output=True, text=True, check=False)
    assert "Normalized form: *-*-* 01:00:00" in ended.stdout


def test_the_units_commands_run_as_written(checkout: Path) -> None:
    service = unit(_SERVICE)["Service"]
    name, _, value = service["Environment"].partition("=")
    environment = {name: value.replace(CHECKOUT, str(checkout))}
    started = run(f"cd {service['WorkingDirectory']} && exec {service['ExecStart']}", checkout, **environment)
    assert started.returncode == 0, started.stderr
    assert "0 cells ran" in started.stdout
    after = run(f"cd {service['WorkingDirectory']} && exec {service['ExecStopPost']}", checkout, **environment)
    assert after.returncode == 0, after.stderr
    assert (checkout / "reports" / TRENDS).is_file()


def test_systemd_gives_a_night_longer_than_its_minutes() -> None:
    service = unit(_SERVICE)["Service"]
    [minutes] = re.findall(r"--minutes (\d+)", service["ExecStart"])
    assert int(service["TimeoutStartSec"].removesuffix("h")) * 60 > int(minutes)


# cron


def test_the_cron_line_runs_in_crons_empty_environment(checkout: Path) -> None:
    *_, user, command = cron_line()
    assert user == "bench"
    assert "%" not in command  # cron would make a line's end of it
    mailed = run(command, checkout, BENCH_RACK=str(checkout / "hosts" / "lab.yaml"))
    assert mailed.returncode == 0, mailed.stderr
    assert mailed.stderr == ""
    assert mailed.stdout.splitlines()[0].endswith("0 cells ran, 0 failed, 4 left out")
    assert "no time left" in (checkout / "reports" / "nightly.log").read_text()
    assert (checkout / "reports" / TRENDS).is_file()


def test_cron_mails_what_kept_a_night_from_running(checkout: Path) -> None:
    *_, command = cron_line()
    (checkout / "lab-night.toml").write_text("name = 1\n")
    mailed = run(command, checkout, BENCH_RACK=str(checkout / "hosts" / "lab.yaml"))
    assert "lab-night.toml" in mailed.stdout


def test_a_second_night_at_the_same_time_does_not_begin(checkout: Path) -> None:
    *_, command = cron_line()
    (checkout / "reports" / "nightly.log").write_text("the night before, at work\n")
    held = subprocess.Popen(["flock", str(checkout / "lab-night.toml"), "cat"], stdin=subprocess.PIPE)
    try:
        wait_for_lock(checkout / "lab-night.toml")
        mailed = run(command, checkout, BENCH_RACK=str(checkout / "hosts" / "lab.yaml"))
    finally:
        held.communicate()
    assert mailed.stdout == "the night before, at work\n"
    assert not (checkout / "reports" / "nights").exists()


def wait_for_lock(path: Path) -> None:
    subprocess.run(
        ["timeout", "20", "sh", "-c", f"while flock -n {shlex.quote(str(path))} true; do :; done"], check=True
    )


# The workflow


def test_what_is_restored_is_saved_whatever_came_of_the_night() -> None:
    by_action = {step["uses"].partition("@")[0]: step for step in steps() if "uses" in step}
    restore, save = by_action["actions/cache/restore"], by_action["actions/cache/save"]
    assert restore["with"]["path"] == save["with"]["path"]
    assert restore["with"]["key"] == save["with"]["key"]
    assert save["with"]["key"].startswith(restore["with"]["restore-keys"])
    assert save["if"] == "always()"
    assert save["with"]["path"].split() == [f"reports/{DEFAULT}", "reports/nights"]


def test_the_workflows_commands_run_one_after_the_other(checkout: Path, tmp_path: Path) -> None:
    reports = checkout / "reports"
    point_latest(reports, write_example(reports / "runs" / "night-20260102-030405", rounds=3))
    own = [step["run"] for step in steps() if ".venv/bin/bench" in step.get("run", "")]
    assert len(own) == 2
    summary = tmp_path / "summary.md"
    for text in own:
        ended = run(f"cd {CHECKOUT}\n{text}", checkout, "/bin/sh", "-e", "-c", GITHUB_STEP_SUMMARY=str(summary))
        assert ended.returncode == 0, ended.stderr
    told = summary.read_text()
    assert told.startswith("```\nno regressions\n```\n")
    assert "| accuracy" in told.lower()
    [upload] = [step for step in steps() if step.get("uses", "").startswith("actions/upload-artifact@")]
    for name in upload["with"]["path"].split():
        found = list(checkout.glob(name))
        assert found or name == "reports/runs/*/report.html", name  # the runner's run has its page; this one was made
    assert os.access(checkout / "reports" / "benchmark.json", os.R_OK)
