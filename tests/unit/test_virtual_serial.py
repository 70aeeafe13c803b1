"""The serial line and the loop under it, without a board."""

from __future__ import annotations

import contextlib
import os
import tty
from pathlib import Path

import pytest
from loop_time import run_for

from bench.errors import ConfigError
from bench.virtual import serial_line
from bench.virtual.lifetime import DirectoryLock, port_holder
from bench.virtual.loop import Loop
from bench.virtual.serial_line import Outlet, SerialLine, Wire
from bench.virtual.spec import VirtualBoardSpec


def test_timers_run_in_order_and_can_be_cancelled(loop: Loop) -> None:
    calls: list[str] = []
    loop.call_later(0.02, lambda: calls.append("second"))
    loop.call_later(0.01, lambda: calls.append("first"))
    loop.call_later(0.015, lambda: calls.append("never")).cancel()
    run_for(loop, 0.05)
    assert calls == ["first", "second"]


def test_a_watch_ended_by_another_is_not_called(loop: Loop) -> None:
    ends = [os.pipe() for _ in range(2)]
    calls = []
    for index, (read, write) in enumerate(ends):

        def ready(index: int = index) -> None:
            calls.append(index)
            for other, _ in ends:
                loop.forget(other)

        loop.on_readable(read, ready)
        os.write(write, b"x")
    run_for(loop, 0.02)
    assert len(calls) == 1
    for read, write in ends:
        os.close(read)
        os.close(write)


def test_line_passes_bytes_both_ways_and_stays(loop: Loop, tmp_path: Path) -> None:
    wire = Wire(loop)
    line = SerialLine(loop, wire, tmp_path / "serial")
    got = bytearray()
    wire.board = got.extend
    for _ in range(3):
        fd = os.open(tmp_path / "serial", os.O_RDWR | os.O_NOCTTY)
        os.write(fd, b"\x00\r\n\x03\xff")
        run_for(loop, 0.01)
        wire.to_host(b"\x04\n\x11")
        assert os.read(fd, 10) == b"\x04\n\x11"
        os.close(fd)
    assert bytes(got) == b"\x00\r\n\x03\xff" * 3, "raw: nothing is echoed or translated"
    line.close()
    assert not (tmp_path / "serial").is_symlink()


def test_bytes_wait_in_the_terminal_while_the_line_does_not_listen(loop: Loop, tmp_path: Path) -> None:
    wire = Wire(loop)
    line = SerialLine(loop, wire, tmp_path / "serial")
    got = bytearray()
    wire.board = got.extend
    line.listen(False)
    fd = os.open(tmp_path / "serial", os.O_RDWR | os.O_NOCTTY)
    os.write(fd, b"later")
    run_for(loop, 0.01)
    assert not got
    line.listen(True)
    run_for(loop, 0.01)
    assert got == b"later"
    os.close(fd)
    line.close()


def test_outlet_keeps_what_is_not_taken_then_loses_it(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial_line, "_PATIENCE_S", 0.05)
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    backlog: list[bool] = []
    outlet = Outlet(loop, master, backlog.append)
    data = bytes(range(256)) * 100
    outlet.send(data)
    assert backlog == [True]
    first = os.read(slave, 3000)
    run_for(loop, 0.02)
    assert data.startswith(first)
    run_for(loop, 0.2)
    assert outlet.lost > 0, "nobody reads on"
    assert backlog == [True, False]
    rest = bytearray(first)
    os.set_blocking(slave, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            rest += os.read(slave, 4096)
    assert bytes(rest) == data[: len(rest)], "what came, came in order"
    outlet.send(b"again")
    assert os.read(slave, 10) == b"again"
    outlet.close()
    os.close(master)
    os.close(slave)


def test_queue_is_bounded(loop: Loop) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    outlet = Outlet(loop, write)
    for _ in range(100):
        outlet.send(bytes(4096))
    assert outlet.lost > 100 * 4096 - (64 << 10) - (64 << 10) - 4096
    outlet.close()
    os.close(read)
    os.close(write)


def test_spec_survives_json_and_names_faults() -> None:
    spec = VirtualBoardSpec.for_env("bit", "microbit", probe_port=4444)
    assert VirtualBoardSpec.from_json(spec.to_json()) == spec
    assert (spec.machine, spec.flash_size, spec.ram_size) == ("microbit", 256 << 10, 16 << 10)
    with pytest.raises(ConfigError, match=r"rack\.json: name: .*; colour: Unexpected"):
        VirtualBoardSpec.from_json('{"name": "../x", "env": "e", "machine": "m", "colour": 3}', "rack.json")
    with pytest.raises(ConfigError, match="flash of netduino2 is 0x08000000, 786432 bytes, but machine microbit has"):
        VirtualBoardSpec.for_env("x", "netduino2", "microbit").check()


def test_lock_is_the_kernels(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path, "it")
    lock.release()
    DirectoryLock(tmp_path, "it").release()


def test_port_holder_without_any() -> None:
    assert port_holder(1) == "another process"
