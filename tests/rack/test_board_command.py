"""The command on emulated boards, as a user runs it: exit codes, one JSON document, and nothing left behind."""

from __future__ import annotations

import getpass
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.build import build


@pytest.fixture(scope="module")
def image(int8_program: str) -> Path:
    return build(["microbit"], int8_program)["microbit"]


@pytest.fixture(scope="module", autouse=True)
def _boards(bench: Any) -> None:
    bench.use("bit")


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.05)


def assert_nothing_left(bench: Any) -> None:
    wait_until(lambda: not bench.leftovers(), 8, "processes are left")
    assert not list(bench.state.glob("virtual/*/run")), "transient files are left"


def log_of(bench: Any) -> str:
    path = bench.state / "logs" / "bit.log"
    return path.read_text() if path.is_file() else ""


def test_flash_then_skip_with_one_document_each(bench: Any) -> None:
    """Builds, flashes, verifies; then finds it there."""
    done = bench.run("flash", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["bit"]["flashed"] is True
    assert document["bit"]["env"] == "microbit"
    assert document["bit"]["image_ok"] is True
    assert "bit: flashing" in done.stderr
    again = bench.run("flash", "--json")
    assert json.loads(again.stdout)["bit"] == {**document["bit"], "flashed": False}
    assert_nothing_left(bench)


def test_reset_and_console(bench: Any, image: Path) -> None:
    assert bench.run("flash", "--image", str(image)).returncode == 0
    done = bench.run("reset", "--board", "bit")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("bit: build ")
    shown = bench.run("console", "--board", "bit", "--seconds", "0.5", "--json")
    assert shown.returncode == 0, shown.stderr
    document = json.loads(shown.stdout)
    assert document["hello"]["env"] == "microbit"
    assert any(line.startswith("ftte microbit: reset by") for line in document["log"])


def test_an_image_for_another_board(bench: Any, int8_program: str) -> None:
    other = build(["netduinoplus2"], int8_program)["netduinoplus2"]
    done = bench.run("flash", "--board", "bit", "--image", str(other))
    assert (done.returncode, done.stdout) == (2, "")
    assert "board bit is a microbit, but the image is for netduinoplus2" in done.stderr


def test_a_wrong_probe(bench: Any, image: Path, tmp_path: Path) -> None:
    rack = tmp_path / "wrong.yaml"
    rack.write_text('boards:\n  - {name: bit, env: microbit, probe: "00000FFFFF00000", serial: "loop://"}\n')
    command = [sys.executable, "-m", "bench", "reset", "--rack", str(rack), "--state", str(tmp_path / "state")]
    done = subprocess.run(command, cwd=bench.root, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (3, "")
    assert "board bit: pyocd reset failed" in done.stderr
    assert "No connected debug probe matches unique ID '00000FFFFF00000'" in done.stderr
    assert "(`pyocd list` shows full ids)" in done.stderr


@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_ended_while_pyocd_flashes(bench: Any, image: Path, how: signal.Signals, code: int) -> None:
    before = log_of(bench).count("$ pyocd flash")
    process = bench.start("flash", "--image", str(image), "--force")
    wait_until(lambda: log_of(bench).count("$ pyocd flash") > before, 30, "flashing does not start")
    process.send_signal(how)
    _, err = process.communicate(timeout=15)
    assert process.returncode == code, err
    if code == 130:
        assert err.splitlines()[-1] == "bench: interrupted; everything that was started is stopped"
        assert_nothing_left(bench)
    wait_until(lambda: not bench.leftovers(), 8, "processes are left")
    done = bench.run("flash", "--image", str(image))
    assert done.returncode == 0, done.stderr
    assert_nothing_left(bench)


def test_boards_that_are_kept_up_are_joined(bench: Any, image: Path) -> None:
    up = bench.start("rack", "up")
    try:
        assert up.stdout is not None
        line = up.stdout.readline()
        assert line.startswith("bit: probe remote:127.0.0.1:")
        probe = line.split()[2].rstrip(",")
        assert up.stdout.readline() == "running; Ctrl-C stops them\n"
        done = bench.run("flash", "--image", str(image), "--force")
        assert done.returncode == 0, done.stderr
        assert f"--uid {probe}" in log_of(bench), "another board was started than the one that is kept up"
        by_hand = [sys.executable, "-m", "pyocd", "reset", "-W", "--no-config", "-u", probe, "-t", "nrf51822"]
        assert subprocess.run(by_hand, capture_output=True, timeout=60).returncode == 0
        assert bench.run("reset").returncode == 0
        assert "bit: free (kept up by `bench rack up`" in bench.run("rack", "who").stdout
        second = bench.run("rack", "up")
        assert second.returncode == 3
        assert "already runs here" in second.stderr
    finally:
        up.send_signal(signal.SIGINT)
        _, err = up.communicate(timeout=15)
    assert (up.returncode, err) == (0, "")
    assert_nothing_left(bench)


def test_a_board_in_use_is_refused_with_its_holder(bench: Any, image: Path) -> None:
    assert bench.run("flash", "--image", str(image)).returncode == 0
    console = bench.start("console", "--board", "bit")
    try:
        assert console.stdout is not None
        while console.stdout.readline() != "env: microbit\n":  # after what the board printed when it started
            assert console.poll() is None
        refused = bench.run("reset")
        assert refused.returncode == 3
        assert f"board bit is in use by {getpass.getuser()}, process {console.pid} on " in refused.stderr
        assert "(bench console)" in refused.stderr
        up = bench.run("rack", "up")
        assert up.returncode == 3
        assert "board bit is in use by" in up.stderr
    finally:
        console.send_signal(signal.SIGINT)
        console.communicate(timeout=15)
    assert console.returncode == 0
    assert_nothing_left(bench)
