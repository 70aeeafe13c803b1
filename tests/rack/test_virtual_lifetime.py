"""Nothing outlives a rack, whatever ends it; and who is in the way is named."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import serial
from virtual_helpers import KINDS, build_image, processes_with, wait_until

from bench.errors import ConfigError, InfrastructureError
from bench.virtual.rack import VirtualRack
from bench.virtual.spec import VirtualBoardSpec

HOLDER = """
import sys
from pathlib import Path
from bench.virtual.rack import VirtualRack
from bench.virtual.spec import VirtualBoardSpec
state, *texts = sys.argv[1:]
with VirtualRack([VirtualBoardSpec.from_json(text) for text in texts], Path(state), counting=False) as rack:
    for end in rack.endpoints.values():
        print(end.probe, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with a board whose image runs, so that there is a QEMU too."""
    kind = KINDS["f405"]
    data = build_image(kind, tmp_path).read_bytes()
    folder = tmp_path / "state"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "flash.bin").write_bytes(data + b"\xff" * ((1 << 20) - len(data)))
    return folder


def specs() -> list[VirtualBoardSpec]:
    return [KINDS["f405"].spec("a"), KINDS["nrf51"].spec("b")]


def assert_nothing_left(state: Path, ports: list[int]) -> None:
    wait_until("no process is left", lambda: not processes_with(str(state)))
    assert sorted(path.name for path in state.glob("*/run")) == []
    assert not list(state.glob("*/*.new"))
    assert not [path for path in state.rglob("*") if path.is_socket() or path.is_symlink()]
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"port {port} is still served"


def port_of(probe: str | None) -> int:
    assert probe is not None
    return int(probe.rsplit(":", 1)[1])


def test_stop_leaves_nothing(state: Path) -> None:
    with VirtualRack(specs(), state) as rack:
        ports = [port_of(end.probe) for end in rack.endpoints.values()]
        assert rack.alive("a")
        assert rack.alive("b")
        assert len([pid for pid in processes_with(str(state)) if b"qemu" in command_of(pid)]) == 1
    assert_nothing_left(state, ports)
    assert not rack.endpoints
    assert (state / "a" / "flash.bin").exists()


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_death_of_the_holder_takes_everything_along(state: Path, project_root: Path, number: signal.Signals) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(state), *(spec.to_json() for spec in specs())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(project_root)},
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder.stdin, holder.stdout:
        ports = [port_of(holder.stdout.readline().strip()) for _ in specs()]
        holder.send_signal(number)
        holder.wait(10)
        assert_nothing_left(state, ports)


def test_crashed_board_is_noticed_and_can_be_restarted(state: Path) -> None:
    with VirtualRack(specs(), state) as rack:
        end = rack.endpoints["a"]
        os.kill(end.pid, signal.SIGKILL)
        wait_until("its death is seen", lambda: not rack.alive("a"))
        with pytest.raises(InfrastructureError, match=r"a \(signal 9\), see .*board\.log"):
            rack.check()
        wait_until("its QEMU is gone", lambda: not [p for p in processes_with(str(state / "a")) if p != os.getpid()])
        assert not (state / "a" / "run").exists()
        assert rack.alive("b")
        end = rack.restart("a")
        rack.check()
        with serial.Serial(end.serial, 115200, timeout=0.2) as port:

            def answers() -> bool:
                port.write(b"x")
                return b"x" in port.read(20)

            wait_until("its image runs again", answers)


def test_stale_files_of_a_killed_board_are_cleared(state: Path) -> None:
    (state / "a" / "run").mkdir()
    (state / "a" / "run" / "serial").symlink_to("/dev/pts/none")
    (state / "a" / "flash.77.new").write_bytes(b"half")
    with VirtualRack([KINDS["f405"].spec("a")], state) as rack:
        assert Path(rack.endpoints["a"].serial).exists()
    assert_nothing_left(state, [])


def test_state_directory_in_use_names_its_holder(state: Path) -> None:
    with VirtualRack(specs(), state) as rack:
        pid = rack.endpoints["b"].pid
        with pytest.raises(InfrastructureError, match=f"virtual board b is in use: process {pid} holds"):
            VirtualRack([KINDS["nrf51"].spec("b")], state).start()
        assert rack.alive("b")
        assert Path(rack.endpoints["b"].serial).exists(), "the one who was refused has cleared nothing"


def test_busy_port_names_its_holder(state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(InfrastructureError, match=rf"probe port {port} is taken by pid {os.getpid()} \("):
            VirtualRack([KINDS["nrf51"].spec("c", probe_port=port)], state).start()
    with VirtualRack([KINDS["nrf51"].spec("c", probe_port=port)], state) as rack:
        assert rack.endpoints["c"].probe == f"remote:127.0.0.1:{port}"
    with VirtualRack([KINDS["nrf51"].spec("c", probe_port=port)], state) as rack:
        assert rack.endpoints["c"].probe == f"remote:127.0.0.1:{port}", "the port is free again at once"


def test_one_board_that_does_not_start_ends_the_others(state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        bad = KINDS["l475"].spec("bad", probe_port=server.getsockname()[1])
        with pytest.raises(InfrastructureError, match="taken by"):
            VirtualRack([*specs(), bad], state).start()
    assert_nothing_left(state, [])


def test_flash_file_of_another_size_is_refused(state: Path) -> None:
    (state / "a" / "flash.bin").write_bytes(b"\xff" * 1000)
    with pytest.raises(InfrastructureError, match=r"flash\.bin: 1000 bytes, but the board's flash has 1048576"):
        VirtualRack([KINDS["f405"].spec("a")], state).start()


def test_host_board(tmp_path: Path) -> None:
    """The rack's part of it: any program that makes a terminal at --serial and says so."""
    program = tmp_path / "program"
    program.write_text(
        f"#!{sys.executable}\n"
        "import os, sys, tty\n"
        "master, slave = os.openpty()\n"
        "tty.setraw(slave)\n"
        "assert sys.argv[1] == '--serial' and sys.argv[3] == '--data', sys.argv\n"
        "os.symlink(os.ttyname(slave), sys.argv[2])\n"
        "print('serial:', sys.argv[2], flush=True)\n"
        "while True: os.write(master, os.read(master, 100))\n"
    )
    program.chmod(0o755)
    data = tmp_path / "data.bin"
    data.write_bytes(b"data")
    spec = VirtualBoardSpec("h", "host", "host", host_program=str(program), data_file=str(data))
    with VirtualRack([spec], tmp_path / "state") as rack:
        end = rack.endpoints["h"]
        assert end.probe is None
        assert end.counter is None
        with serial.Serial(end.serial, timeout=10) as port:
            port.write(b"hello")
            assert port.read(5) == b"hello"
        with pytest.raises(InfrastructureError, match="virtual board h is in use"):
            VirtualRack([spec], tmp_path / "state").start()
    assert_nothing_left(tmp_path / "state", [])
    program.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(InfrastructureError, match=r"h did not start \(exit code 3\): see .*board\.log"):
        VirtualRack([spec], tmp_path / "state").start()


def test_missing_unicorn_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "unicorn.py").write_text("raise ImportError('not here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stub"))
    with pytest.raises(ConfigError, match=r"pip install 'ftte-bench\[virtual\]'"):
        VirtualRack([KINDS["nrf51"].spec("x")], tmp_path / "state", counting=False).start()


def test_bad_specs(tmp_path: Path) -> None:
    good = KINDS["nrf51"].spec("x")
    with pytest.raises(ConfigError, match="same name"):
        VirtualRack([good, good], tmp_path)
    with pytest.raises(ConfigError, match=r"unknown virtual\.machine 'toaster': choose one of netduinoplus2"):
        VirtualRack([VirtualBoardSpec("x", "microbit", "toaster")], tmp_path)
    with pytest.raises(ConfigError, match="needs host_program"):
        VirtualRack([VirtualBoardSpec("x", "host", "host")], tmp_path)
    missing = VirtualBoardSpec("x", "host", "host", host_program=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="cannot start"):
        VirtualRack([missing], tmp_path).start()
