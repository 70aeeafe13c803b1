"""Boards on another machine: the probe by pyOCD's server, the line by RFC 2217 or as a bare socket. Over loopback."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from line_server import LineServer

from bench.build import build
from bench.errors import InfrastructureError
from bench.rack import image as images
from bench.rack.inventory import load_inventory
from bench.rack.rack import Rack
from bench.virtual.rack import Endpoint, VirtualRack
from bench.virtual.spec import VirtualBoardSpec

BAUD = 115200


@pytest.fixture(scope="module")
def image(int8_program: str) -> bytes:
    return build(["netduinoplus2"], int8_program)["netduinoplus2"].read_bytes()


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """The board on the other machine."""
    spec = VirtualBoardSpec.for_env("plus2", "netduinoplus2", "netduinoplus2")
    with VirtualRack([spec], tmp_path_factory.mktemp("far"), counting=False) as rack:
        yield rack.endpoints["plus2"]


@pytest.fixture(scope="module")
def probe_server(far: Endpoint) -> Iterator[str]:
    """`pyocd server` beside the board, as a lab starts it; returns what an inventory says of it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pyocd", "server", "-W", "-u", str(far.probe), "-p", str(port), "--no-config"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            assert server.poll() is None, server.stderr and server.stderr.read()
            assert time.monotonic() < deadline, "pyocd server does not listen"
            select.select([], [], [], 0.1)  # nothing announces that it listens
        yield f"remote:127.0.0.1:{port}"
        server.terminate()


def inventory(folder: Path, probe: str, line: str) -> Path:
    """A physical rack, as the bench sees it: nothing in it says that the board is emulated."""
    file = folder / "lab.yaml"
    file.write_text(f"boards:\n  - {{name: far, env: netduinoplus2, probe: '{probe}', serial: '{line}'}}\n")
    return file


@pytest.mark.parametrize("protocol", ["rfc2217", "socket"])
def test_a_board_is_flashed_verified_and_trained_from_afar(
    protocol: str, far: Endpoint, probe_server: str, image: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_LOCK_DIR", str(tmp_path / "locks"))
    with LineServer(far.serial, protocol, BAUD) as line:  # type: ignore[arg-type]
        rack_file = inventory(tmp_path, probe_server, line.url)
        with Rack.open(load_inventory(rack_file), purpose="tests", state_dir=tmp_path / "state") as rack:
            board = rack.boards["far"]
            assert board.flash(image, force=True)
            hello = board.reset()
            assert hello.build_id == images.verify(image).build_id
            device = board.device()
            params = os.urandom(device.info.params_bytes)
            device.write_params(params)
            assert device.read_params() == params
            check = device.check_counters()
            assert check.agree, check.differences
        assert line.connections >= 1


def test_a_line_that_goes_away_is_opened_anew(
    far: Endpoint, probe_server: str, image: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_LOCK_DIR", str(tmp_path / "locks"))
    with LineServer(far.serial, "socket", BAUD) as line:
        rack_file = inventory(tmp_path, probe_server, line.url)
        with Rack.open(load_inventory(rack_file), purpose="tests", state_dir=tmp_path / "state") as rack:
            board = rack.boards["far"]
            board.flash(image)
            board.close()  # as when the network drops the connection
            assert board.connect().build_id == images.verify(image).build_id
            assert line.connections == 2


def test_a_server_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: bytes) -> None:
    monkeypatch.setenv("BENCH_LOCK_DIR", str(tmp_path / "locks"))
    rack_file = inventory(tmp_path, "remote:127.0.0.1:1", "rfc2217://127.0.0.1:1")
    with Rack.open(load_inventory(rack_file), purpose="tests", state_dir=tmp_path / "state") as rack:
        board = rack.boards["far"]
        with pytest.raises(InfrastructureError, match=r"serial port rfc2217://127\.0\.0\.1:1 cannot be opened"):
            board.flash(image)
