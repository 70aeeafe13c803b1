"""A command that the bench runs neither hangs nor outlives it, and takes along all that it has started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bench import process

# Writes its own id and that of a child that ignores SIGTERM, then waits for ever.
STUBBORN = """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"],
    stdout=subprocess.PIPE)
child.stdout.readline()
open(sys.argv[1] + ".new", "w").write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
print("running", flush=True)
time.sleep(600)
"""


def wait_for(path: Path, seconds: float = 10) -> list[int]:
    """The process ids in a file, once it is there."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not appear"
        threading.Event().wait(0.02)
    return [int(pid) for pid in path.read_text().split()]


def assert_gone(pids: list[int], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still alive: {[pid for pid in pids if alive(pid)]}"
        threading.Event().wait(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def stubborn(folder: Path) -> list[str]:
    return [sys.executable, "-c", STUBBORN, str(folder / "pids")]


def test_output_of_both_kinds_and_the_exit_code() -> None:
    ended = process.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert ended.code == 7
    assert sorted(ended.output.split()) == ["err", "out"]


def test_no_such_command() -> None:
    ended = process.run(["no-such-command-here"])
    assert ended.code == 127
    assert "no-such-command-here: No such file" in ended.output


def test_standard_input_is_empty_and_the_environment_is_the_callers() -> None:
    ended = process.run(["sh", "-c", 'cat; echo "[$WHO]"'], environment={"WHO": "me", "PATH": os.environ["PATH"]})
    assert ended.output == "[me]\n"


def test_much_output_does_not_block() -> None:
    ended = process.run([sys.executable, "-c", "print('x' * 5_000_000)"])
    assert len(ended.output) == 5_000_001


def test_time_limit(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(process.OutOfTimeError) as caught:
        process.run(stubborn(tmp_path), timeout_s=1.5)
    assert time.monotonic() - begun < 6
    assert caught.value.output == "running\n"
    assert_gone(wait_for(tmp_path / "pids"))


def test_cancellation_is_prompt(tmp_path: Path) -> None:
    cancelled = threading.Event()
    threading.Thread(target=lambda: (wait_for(tmp_path / "pids"), cancelled.set())).start()
    with pytest.raises(process.CancelledError):
        process.run(stubborn(tmp_path), cancelled=cancelled, timeout_s=60)
    assert_gone(wait_for(tmp_path / "pids"), 0.5)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_who_asked_for_it(tmp_path: Path, project_root: Path, how: signal.Signals) -> None:
    script = f"from bench import process; process.run({stubborn(tmp_path)!r})"
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=project_root, stderr=subprocess.DEVNULL)
    try:
        pids = wait_for(tmp_path / "pids")
        assert all(alive(pid) for pid in pids)
        parent.send_signal(how)
        parent.wait(10)
        assert_gone(pids)
    finally:
        parent.kill()
        parent.wait()


def test_what_a_command_leaves_behind_is_ended_with_it(tmp_path: Path) -> None:
    ended = process.run(["sh", "-c", f"sleep 600 & echo $! > {tmp_path}/pids"])
    assert ended.code == 0
    assert_gone(wait_for(tmp_path / "pids"))
