"""The board that is a Linux process: its serial line survives resets, and nothing of it survives its end."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hal_build import build
from serial_probe import SerialProbe, idle_share

FAULT_MAGIC = 0xFA017FA0


@dataclass(frozen=True)
class Running:
    process: subprocess.Popen[bytes]
    link: Path
    serial: SerialProbe
    first: dict[str, int]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("host", Path(__file__).with_name("boot_probe.cpp"), tmp_path_factory.mktemp("host"))


@pytest.fixture
def board(program: Path, tmp_path: Path) -> Iterator[Running]:
    link, data = tmp_path / "tty", tmp_path / "data"
    data.write_bytes(bytes(1000))
    process = subprocess.Popen([program, "--serial", link, "--data", data], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"serial: {link}\n".encode()
        fd = os.open(link, os.O_RDWR | os.O_NOCTTY)
        try:
            serial = SerialProbe(fd)
            yield Running(process, link, serial, serial.line())
        finally:
            os.close(fd)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_echo_data_and_idle(board: Running) -> None:
    assert board.first["data"] == 1000
    assert board.serial.echo(20000, 1) > 50000
    assert idle_share(board.process.pid, 1.0) < 0.02


@pytest.mark.parametrize(("letter", "cause", "magic"), [("r", 3, 0), ("u", 5, FAULT_MAGIC), ("o", 5, FAULT_MAGIC)])
def test_resets_keep_the_line(board: Running, letter: str, cause: int, magic: int) -> None:
    for _ in range(3):
        again = board.serial.command(letter)
        assert (again["cause"], again["fault"]) == (cause, magic)
        board.serial.echo(1000, 2)


def test_stack_is_painted(board: Running) -> None:
    got = board.serial.command("s")
    assert got["fresh"] <= got["four"] <= got["eight"] < board.first["reserved"]


def test_sigterm_removes_the_link(board: Running) -> None:
    board.process.send_signal(signal.SIGTERM)
    assert board.process.wait(5) == 0
    assert not board.link.is_symlink()


def test_ends_with_its_parent(program: Path, tmp_path: Path) -> None:
    """The parent is killed, so that it cannot tidy up; the board goes all the same, and its link with it."""
    link = tmp_path / "tty"
    script = f"import subprocess; subprocess.Popen([{str(program)!r}, '--serial', {str(link)!r}]).wait()"
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    parent.stdout.readline()
    assert link.is_symlink()
    parent.kill()
    parent.wait()
    ready, _, _ = select.select([parent.stdout], [], [], 5)
    assert ready, "the board still runs: it holds the pipe"
    assert parent.stdout.read() == b""
    parent.stdout.close()
    assert not link.is_symlink()


def test_survives_the_thread_that_started_it(program: Path, tmp_path: Path) -> None:
    """The kernel tells a process of the end of the thread that started it; only the whole parent's end counts."""
    link = tmp_path / "tty"
    script = (
        "import subprocess, threading, sys\n"
        f"start = lambda: subprocess.Popen([{str(program)!r}, '--serial', {str(link)!r}])\n"
        "t = threading.Thread(target=start); t.start(); t.join()\n"
        "sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdin is not None
    assert parent.stdout is not None
    parent.stdout.readline()
    fd = os.open(link, os.O_RDWR | os.O_NOCTTY)
    serial = SerialProbe(fd)
    serial.line()
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        serial.echo(100, 3)
    os.close(fd)
    parent.stdin.close()
    parent.wait()
    select.select([parent.stdout], [], [], 5)
    parent.stdout.read()
    parent.stdout.close()
    assert not link.is_symlink()


@pytest.mark.parametrize("arguments", [["--serial"], ["--bogus", "x"], ["--data", "/nonexistent/file"]])
def test_bad_usage(program: Path, arguments: list[str]) -> None:
    done = subprocess.run([program, *arguments], capture_output=True, check=False, timeout=10)
    assert done.returncode == 2
    assert done.stderr
