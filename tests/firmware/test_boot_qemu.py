"""The HAL's boot, serial line, sleep, stack paint, reset and fault path on every emulated board.

QEMU connects its serial lines to USART1, 2, 3, UART4, 5, USART6 in this order; each board's HAL uses the USART that
the real board's header has. QEMU has no nRF52840: there, Unicorn executes the image.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hal_build import BOARDS, UNICORN_BOARDS, build, raw_image
from serial_probe import SerialProbe, idle_share

from bench.rack.manifest import load_manifest
from bench.virtual.rack import VirtualRack
from bench.virtual.spec import VirtualBoardSpec

FAULT_MAGIC = 0xFA017FA0
WINDOW = {"microbit": 6}
"""Bytes on the way: QEMU's UART of the nRF51 loses what its FIFO has no room for (bench/virtual/paced_port.py)."""
SOFTWARE, FAULT = 3, 5  # hal::ResetCause
HARD_FAULT, BUS_FAULT, USAGE_FAULT = 3, 5, 6

MACHINES = {  # machine, index of the console among QEMU's serial lines
    "netduinoplus2": ("netduinoplus2", 5),
    "olimex_stm32_h405": ("olimex-stm32-h405", 1),
    "netduino2": ("netduino2", 5),
    "b_l475e_iot01a": ("b-l475e-iot01a", 0),
    "microbit": ("microbit", 0),
}


@dataclass(frozen=True)
class Running:
    env: str
    pid: int
    serial: SerialProbe
    first: dict[str, int]


@pytest.fixture(scope="module", params=[*BOARDS, *UNICORN_BOARDS])
def board(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    env = request.param
    folder = tmp_path_factory.mktemp(env[:8])
    elf = build(env, Path(__file__).with_name("boot_probe.cpp"), folder)
    with (_on_unicorn if env in UNICORN_BOARDS else _in_qemu)(env, elf, folder) as running:
        yield running


@contextmanager
def _in_qemu(env: str, elf: Path, folder: Path) -> Iterator[Running]:
    machine, index = MACHINES[env]
    path = str(folder / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(1)
        server.settimeout(20)
        console = ["-chardev", f"socket,id=console,path={path}", "-serial", "chardev:console"]
        # The ELF file: two of these machines count their RAM as none, and refuse a raw file larger than that.
        image = ["-device", f"loader,file={elf}"]
        command = ["qemu-system-arm", "-M", machine, "-display", "none", "-monitor", "none", *image]
        qemu = subprocess.Popen([*command, *["-serial", "null"] * index, *console], stdin=subprocess.DEVNULL)
        try:
            connection, _ = server.accept()
            with connection:
                serial = SerialProbe(connection.fileno())
                yield Running(env, qemu.pid, serial, serial.line())
        finally:
            qemu.kill()
            qemu.wait()


@contextmanager
def _on_unicorn(env: str, elf: Path, folder: Path) -> Iterator[Running]:
    spec = VirtualBoardSpec.for_env("board", env)
    image = raw_image(elf)
    (folder / "board").mkdir()
    (folder / "board" / "flash.bin").write_bytes(image + b"\xff" * (spec.flash_size - len(image)))
    with VirtualRack([spec], folder, counting=False) as rack:
        end = rack.endpoints["board"]
        terminal = os.open(end.serial, os.O_RDWR | os.O_NOCTTY)
        try:
            serial = SerialProbe(terminal)
            yield Running(env, end.pid, serial, serial.line())
        finally:
            os.close(terminal)


def test_boot_report(board: Running) -> None:
    manifest = load_manifest(board.env)
    first = board.first
    assert first["fault"] == 0
    assert first["hz"] == {"nrf52840_dk": 64_000_000, "b_l475e_iot01a": 4_000_000}.get(board.env, 16_000_000)
    assert first["reserved"] == manifest.stack_size
    assert first["data"] == manifest.flash.data_size
    assert 32 <= first["used"] < 512


def test_echo_is_exact_and_fast(board: Running) -> None:
    """7 kB/s is what the rack needs of a line, on processors of its own: where more processes wait than there are
    processors, as much less. A receiver that stalls gives a few bytes a second."""
    rates = []
    for seed in range(6):
        rates.append(board.serial.echo(6000, seed, window=WINDOW.get(board.env, 200)))
        share = min(1.0, (os.cpu_count() or 1) / max(os.getloadavg()[0], 1.0))
        if rates[-1] >= 7000 * share:
            break
    assert max(rates) >= max(1500, 7000 * share)
    assert board.serial.command("l") == {"overruns": 0, "errors": 0}


def test_idle_board_sleeps(board: Running) -> None:
    board.serial.echo(100, 1, window=WINDOW.get(board.env, 200))
    assert idle_share(board.pid, 1.0) < 0.08


def test_stack_high_water(board: Running) -> None:
    """The deeper recursion costs four frames more; a repaint forgets what lay deeper."""
    got = board.serial.command("s")
    frame = (got["eight"] - got["four"]) // 4
    assert got["eight"] - got["four"] == 4 * frame
    assert 64 <= frame <= 128
    assert got["fresh"] < got["four"] < got["eight"] < board.first["reserved"]
    assert got["four"] - 5 * frame < got["before"] + 64


def test_cycle_counter_advances(board: Running) -> None:
    """QEMU's SysTick reads 0 from its wrap-around until its main loop has reloaded it: on a busy host longer than a
    measurement takes, which is repeated then."""
    for _ in range(20):
        got = board.serial.command("t")
        if got["once"] > 0 and got["twice"] > 0:
            break
    assert 0 < got["once"] < 1 << 31
    assert 0 < got["twice"] < 1 << 31


def test_reset_is_reported_as_software(board: Running) -> None:
    again = board.serial.command("r")
    assert again["cause"] == SOFTWARE
    assert again["fault"] == 0


def test_fault_is_recorded_and_resets(board: Running) -> None:
    again = board.serial.command("u")
    assert again["cause"] == FAULT
    assert again["fault"] == FAULT_MAGIC
    assert again["psr"] & 0x1FF == (HARD_FAULT if board.env == "microbit" else USAGE_FAULT)
    manifest = load_manifest(board.env)
    assert manifest.flash.base < again["pc"] < manifest.flash.base + manifest.flash.image_size
    assert board.serial.command("r")["fault"] == 0, "the record is reported once"


def test_stack_overflow_is_recorded_and_resets(board: Running) -> None:
    """The stack runs out of RAM at its bottom: no frame is saved, yet the handler has a stack to work on."""
    again = board.serial.command("o")
    assert again["cause"] == FAULT
    assert again["fault"] == FAULT_MAGIC
    assert again["pc"] == 0
    if board.env not in {"microbit", "netduino2"}:  # no fault address on the M0; QEMU's netduino2 ignores bad accesses
        assert again["psr"] & 0x1FF == BUS_FAULT
        assert load_manifest(board.env).ram.base - 4096 < again["address"] < load_manifest(board.env).ram.base
    board.serial.echo(500, 9, window=WINDOW.get(board.env, 200))
