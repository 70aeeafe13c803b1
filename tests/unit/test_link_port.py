"""Serial ports: what can go wrong at opening, and each way to wait."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator

import pytest

from bench.errors import ConfigError, InfrastructureError
from bench.link.port import SerialPort, find_holder, open_port

HOLDER = """
import sys, serial
port = serial.Serial(sys.argv[1], exclusive=True)
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """The master's descriptor and the slave's path; the slave stays open, as a virtual board keeps it."""
    master, slave = os.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    os.close(slave)
    os.close(master)


def read_until(port: SerialPort, size: int) -> bytes:
    data, deadline = b"", time.monotonic() + 10
    while len(data) < size and time.monotonic() < deadline:
        data += port.read(0.5)
    return data


def test_a_port_held_by_another_process_names_it(terminal: tuple[int, str]) -> None:
    _, path = terminal
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(InfrastructureError, match=rf"{path} is busy: held by process {holder.pid} \(py") as busy:
            open_port(path, 115200)
        assert busy.value.exit_code == 3
        holder.communicate("", timeout=10)
    open_port(path, 115200).close()


def test_the_holder_is_who_has_locked_it_not_who_has_it_open(terminal: tuple[int, str]) -> None:
    """A virtual board keeps its own terminal open, so that it outlives the host."""
    _, path = terminal
    code = "import os, sys; os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY); print('open', flush=True); sys.stdin.read()"
    with (
        subprocess.Popen(
            [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as keeper,
        subprocess.Popen(
            [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as holder,
    ):
        for process in (keeper, holder):
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
        holders = find_holder(path)
        for process in (keeper, holder):
            process.communicate("", timeout=10)
    assert holders is not None
    assert f"process {holder.pid} " in holders


def test_a_port_that_we_hold_ourselves(terminal: tuple[int, str]) -> None:
    _, path = terminal
    port = open_port(path, 115200)
    with pytest.raises(InfrastructureError, match="busy: held by this process itself"):
        open_port(path, 115200)
    port.close()
    port.close()
    open_port(path, 115200).close()


def test_who_holds_a_port_that_does_not_exist() -> None:
    assert find_holder("/dev/no-such-port") is None


def test_a_port_that_does_not_exist() -> None:
    with pytest.raises(InfrastructureError, match="/dev/no-such-port does not exist: is the board plugged in"):
        open_port("/dev/no-such-port", 115200)


@pytest.mark.parametrize(("url", "baud"), [("nonsense://x", 115200), ("/dev/null", -1)])
def test_what_is_no_port(url: str, baud: int) -> None:
    with pytest.raises(ConfigError, match="give a device path or a pyserial URL"):
        open_port(url, baud)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
    with pytest.raises(InfrastructureError, match="cannot be opened"):
        open_port(f"socket://127.0.0.1:{number}", 115200)


@pytest.mark.parametrize("prefix", ["", "spy://"])
def test_bytes_both_ways(terminal: tuple[int, str], prefix: str) -> None:
    """spy:// goes through pyserial's own read and write, as rfc2217:// does."""
    master, path = terminal
    url = f"{prefix}{path}" + ("?file=/dev/null" if prefix else "")
    port = open_port(url, 115200, exclusive=not prefix)
    everything = bytes(range(256)) * 8  # below a terminal's buffer
    port.write(everything)
    assert os.read(master, 4096) == everything
    os.write(master, everything)
    assert read_until(port, len(everything)) == everything
    started = time.monotonic()
    assert port.read(0.15) == b""
    assert 0.1 < time.monotonic() - started < 1
    port.close()


def test_bytes_over_a_socket_that_then_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = open_port(f"socket://127.0.0.1:{server.getsockname()[1]}", 115200)
        peer, _ = server.accept()
        with peer:
            port.write(b"down\0")
            assert peer.recv(100) == b"down\0"
            peer.sendall(b"up\0" * 1000)
            assert read_until(port, 3000) == b"up\0" * 1000
        with pytest.raises(InfrastructureError, match="has gone"):
            port.read(1)
    port.close()


def test_a_line_that_takes_nothing_is_told(terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.link.port._WRITE_STALL_S", 0.1)
    port = open_port(terminal[1], 115200)
    with pytest.raises(InfrastructureError, match="takes no bytes"):
        port.write(bytes(1 << 20))
    port.close()


@pytest.mark.parametrize("prefix", ["", "spy://"])
def test_close_ends_a_read_in_another_thread(terminal: tuple[int, str], prefix: str) -> None:
    url = f"{prefix}{terminal[1]}" + ("?file=/dev/null" if prefix else "")
    port = open_port(url, 115200, exclusive=False)
    caught: list[Exception] = []
    reading = threading.Event()

    def read() -> None:
        reading.set()
        try:
            port.read(30)
        except InfrastructureError as error:
            caught.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    assert reading.wait(5)
    started = time.monotonic()
    port.close()
    reader.join(5)
    assert time.monotonic() - started < 1
    assert not reader.is_alive()
    assert "was closed" in str(caught[0])
    with pytest.raises(InfrastructureError, match="was closed"):
        port.write(b"x")
