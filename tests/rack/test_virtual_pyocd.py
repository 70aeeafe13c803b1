"""Unmodified pyOCD against virtual boards: flash, partial flash, erase, reset, and a look around while halted."""

from __future__ import annotations

import random
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from virtual_helpers import KINDS, Kind, flash, pyocd, pyocd_command, wait_until

from bench.virtual.flash_stm32f4 import SECTORS
from bench.virtual.rack import Endpoint, VirtualRack

FLASHED = ("f405", "l475", "nrf51", "nrf52")
SECTOR = {"f405": 16 << 10, "l475": 2 << 10, "nrf51": 1 << 10, "nrf52": 4 << 10}  # bytes, the first one's


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualRack]:
    specs = [KINDS[name].spec(name) for name in FLASHED]
    with VirtualRack(specs, tmp_path_factory.mktemp("rack"), counting=False) as rack:
        yield rack


@pytest.fixture(params=FLASHED)
def board(request: pytest.FixtureRequest, rack: VirtualRack) -> tuple[str, Kind, Endpoint]:
    return request.param, KINDS[request.param], rack.endpoints[request.param]


def contents(endpoint: Endpoint) -> bytes:
    return (endpoint.state / "flash.bin").read_bytes()


def random_image(seed: int, size: int, path: Path) -> bytes:
    """Random, but with a reset vector that QEMU gives up on at once."""
    data = random.Random(seed).randbytes(size)
    path.write_bytes(data)
    return data


def test_flash_is_exact_and_erase_spares_the_rest(board: tuple[str, Kind, Endpoint], tmp_path: Path) -> None:
    name, kind, end = board
    first = random_image(1, 50_001, tmp_path / "first.bin")
    flash(kind, end.probe, tmp_path / "first.bin")
    assert contents(end)[: len(first)] == first
    size = SECTOR[name]
    second = random_image(2, size // 2, tmp_path / "second.bin")
    flash(kind, end.probe, tmp_path / "second.bin", kind.base + 2 * size)
    expected = first[: 2 * size] + second + b"\xff" * (size - len(second)) + first[3 * size :]
    got = contents(end)
    assert got[: 2 * size + len(second)] == expected[: 2 * size + len(second)]
    assert got[3 * size : len(first)] == expected[3 * size :]
    pyocd("erase", kind, end.probe, "--sector", hex(kind.base + size))
    assert contents(end) == got[:size] + b"\xff" * size + got[2 * size :]
    pyocd("erase", kind, end.probe, "--chip")
    assert set(contents(end)) == {0xFF}


def test_commander_sees_flash_and_registers_and_steps(board: tuple[str, Kind, Endpoint], tmp_path: Path) -> None:
    _, kind, end = board
    vectors = (0x20001000).to_bytes(4, "little") + (kind.base + 0x101).to_bytes(4, "little")
    code = (0x2042).to_bytes(2, "little")  # movs r0, #0x42
    (tmp_path / "image.bin").write_bytes(vectors + bytes(0x100 - 8) + code + b"\x00\xbf" * 8)
    flash(kind, end.probe, tmp_path / "image.bin")
    commands = ("reset halt", f"read32 {kind.base:#x} 8", "reg sp pc", "step", "reg r0 pc")
    said = pyocd("commander", kind, end.probe, *(part for command in commands for part in ("-c", command)))
    assert f"20001000 {kind.base + 0x101:08x}" in said
    values = re.findall(r"\b(sp|pc|r0) = 0x([0-9a-f]{8})", said)
    assert [(name, int(value, 16)) for name, value in values] == [
        ("sp", 0x20001000),
        ("pc", kind.base + 0x100),
        ("r0", 0x42),
        ("pc", kind.base + 0x102),
    ]


@pytest.mark.parametrize(
    ("name", "method"), [("l475", "sysresetreq"), ("nrf51", "hw"), ("nrf52", "sysresetreq"), ("nrf52", "hw")]
)
def test_reset(rack: VirtualRack, name: str, method: str) -> None:
    pyocd("reset", KINDS[name], rack.endpoints[name].probe, "-m", method)


def test_second_client_is_turned_away_with_the_reason(rack: VirtualRack) -> None:
    probe = rack.endpoints["f405"].probe
    with socket.create_connection(("127.0.0.1", int(probe.rsplit(":", 1)[1]))) as first:
        first.sendall(b'{"id": 0, "request": "hello", "arguments": [1]}\n')
        assert b'"status": 0' in first.recv(100)
        said = pyocd("reset", KINDS["f405"], probe, ok=False)
        assert "virtual board f405 is in use" in said
        first.sendall(b'{"id": 1, "request": "open"}\n')
        assert b'"status": 0' in first.recv(100)
    pyocd("reset", KINDS["f405"], probe)


def test_wrong_target_programs_nothing(rack: VirtualRack, tmp_path: Path) -> None:
    """The L4's algorithm on an F4: its controller is elsewhere. pyOCD does not notice; flash stays blank."""
    random_image(5, 4096, tmp_path / "image.bin")
    end = rack.endpoints["f405"]
    pyocd("erase", KINDS["f405"], end.probe, "--chip")
    pyocd("flash", KINDS["l475"], end.probe, str(tmp_path / "image.bin"), "--base-address", "0x08000000")
    assert contents(end)[:4096] == b"\xff" * 4096


def test_f4_sector_geometry(rack: VirtualRack, tmp_path: Path) -> None:
    """Over sectors of all three sizes: each erase touches its own sector alone."""
    kind, end = KINDS["f405"], rack.endpoints["f405"]
    data = random_image(6, sum(SECTORS[:6]), tmp_path / "image.bin")
    flash(kind, end.probe, tmp_path / "image.bin")
    for number in (3, 5):
        start = sum(SECTORS[:number])
        pyocd("erase", kind, end.probe, "--sector", hex(kind.base + start))
        data = data[:start] + b"\xff" * SECTORS[number] + data[start + SECTORS[number] :]
        assert contents(end)[: len(data)] == data


def test_brown_out_while_flashing(tmp_path: Path) -> None:
    """Killed in mid-flash, a board has some of the image and nothing else; then it can be flashed again."""
    kind = KINDS["nrf51"]
    data = random_image(7, 200_000, tmp_path / "image.bin")
    with VirtualRack([kind.spec("brown")], tmp_path / "state", counting=False) as rack:
        end = rack.endpoints["brown"]
        arguments = [str(tmp_path / "image.bin"), "--base-address", "0"]
        client = subprocess.Popen(pyocd_command("flash", kind, end.probe, *arguments), stderr=subprocess.DEVNULL)
        try:
            wait_until("half of it is programmed", lambda: contents(end)[100_000] == data[100_000], 30)
            rack_process = rack.endpoints["brown"].pid
            subprocess.run(["kill", f"-{int(signal.SIGKILL)}", str(rack_process)], check=True)
        finally:
            wait_until("the board is dead", lambda: not rack.alive("brown"))
            client.kill()
            client.wait()
        partial = contents(end)
        assert len(partial) == 256 << 10
        assert partial != data + partial[len(data) :]
        assert all(byte in (0xFF, good) for byte, good in zip(partial, data, strict=False))
        end = rack.restart("brown")
        assert contents(end) == partial, "what is in flash is kept"
        flash(kind, end.probe, tmp_path / "image.bin")
        assert contents(end)[: len(data)] == data
