"""The flashed image on every kind of virtual board: it runs, talks, resets, halts, and its instructions are counted."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import serial
from virtual_helpers import COUNT, KINDS, Kind, build_image, cpu_seconds, flash, pyocd, symbol, wait_until

from bench.errors import InfrastructureError
from bench.meters.counter import PhaseCounter
from bench.virtual.rack import Endpoint, VirtualRack

ESCAPE = 1


@dataclass
class Board:
    kind: Kind
    end: Endpoint
    image: Path
    counter: PhaseCounter

    def has_booted(self) -> bool:
        """Bytes sent to a UART that is not enabled yet are lost."""
        return self.counter.path.exists() and self.counter.path.stat().st_size > 0 and self.counter.transitions() > 0

    def open(self) -> serial.Serial:
        return serial.Serial(self.end.serial, 115200, timeout=10, exclusive=True)


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Board]]:
    """All kinds, flashed with the test's image by putting it where flash.bin is before power-on, as after a restart."""
    folder = tmp_path_factory.mktemp("image")
    state = tmp_path_factory.mktemp("rack")
    images = {name: build_image(kind, folder) for name, kind in KINDS.items()}
    for name, kind in KINDS.items():
        data = images[name].read_bytes()
        (state / name).mkdir()
        (state / name / "flash.bin").write_bytes(data + b"\xff" * (kind.spec(name).flash_size - len(data)))
    with VirtualRack([kind.spec(name) for name, kind in KINDS.items()], state) as rack:
        boards = {
            name: Board(kind, rack.endpoints[name], images[name], PhaseCounter(rack.endpoints[name].counter or ""))
            for name, kind in KINDS.items()
        }
        for name, board in boards.items():
            wait_until(f"{name} has booted", board.has_booted)
        yield boards


@pytest.fixture(params=KINDS)
def board(request: pytest.FixtureRequest, boards: dict[str, Board]) -> Board:
    return boards[request.param]


def reset_image(port: serial.Serial) -> bytes:
    """Makes the firmware reset its core; returns what it says then, and not what it said when it was switched on."""
    port.write(b"x")
    assert port.read_until(b"x").endswith(b"x")
    port.write(bytes([ESCAPE]) + b"r")
    return port.read_until(b"\n")


def run_counted(port: serial.Serial, times: int) -> None:
    for _ in range(times):
        port.write(bytes([ESCAPE]) + b"c")
        assert port.read_until(b"done\n").endswith(b"done\n")


def test_echo_is_exact_and_fast(board: Board) -> None:
    """An idle machine echoes 7 kB/s and more; the bound leaves room for a busy one, the deadline catches a stall."""
    with board.open() as port:
        reset_image(port)
        data = random.Random(1).randbytes(8192).replace(bytes([ESCAPE]), b"\x02")
        start = time.monotonic()
        for at in range(0, len(data), 1024):
            port.write(data[at : at + 1024])
            assert port.read(1024) == data[at : at + 1024]
        assert len(data) / (time.monotonic() - start) > 1500


def test_serial_line_outlives_those_who_open_it(board: Board) -> None:
    with board.open() as port:
        reset_image(port)
    for byte in b"abcdefgh":
        with board.open() as port:
            port.write(bytes([byte]))
            assert port.read(1) == bytes([byte])


def test_instructions_are_counted_exactly(board: Board) -> None:
    with board.open() as port:
        run_counted(port, 1)
        before, boots = board.counter.read(), board.counter.boots()
        run_counted(port, 3)
        after = board.counter.read()
        assert reset_image(port)[:5] == b"boot "
        run_counted(port, 2)
        again = board.counter.read()
    assert after["train"] - before["train"] == 3 * (2 * COUNT + 6)
    assert after["evaluate"] - before["evaluate"] == 3 * 5
    assert again["train"] - after["train"] == 2 * (2 * COUNT + 6)
    assert again["evaluate"] - after["evaluate"] == 2 * 5
    assert board.counter.boots() == boots + 1
    assert board.counter.transitions() >= 6 * 3


def test_reset_by_firmware_keeps_ram(board: Board) -> None:
    with board.open() as port:
        first = reset_image(port)
        second = reset_image(port)
    assert int(second.split()[1]) == int(first.split()[1]) + 1


def test_pyocd_reset_keeps_ram_and_restarts_the_image(boards: dict[str, Board]) -> None:
    board = boards["l475"]
    with board.open() as port:
        count = int(reset_image(port).split()[1])
        pyocd("reset", board.kind, board.end.probe)
        assert port.read_until(b"\n") == b"boot %d\n" % (count + 1)
        pyocd("reset", board.kind, board.end.probe, "-m", "hw")
        assert port.read_until(b"\n") == b"boot 1\n", "nRESET starts QEMU anew: its RAM is lost"
        before = board.counter.read()
        run_counted(port, 1)
        after = board.counter.read()
        assert after["train"] - before["train"] == 2 * COUNT + 6, "the count goes on in the new QEMU"
        assert before["train"] > 0, "and is cumulative"


def commander(board: Board, *commands: str) -> str:
    return pyocd("commander", board.kind, board.end.probe, *(part for command in commands for part in ("-c", command)))


@pytest.mark.parametrize("name", ["nrf51", "f405", "l475", "nrf52"])
def test_halted_debugger_sees_the_images_ram_and_lets_it_go_on(boards: dict[str, Board], name: str) -> None:
    board = boards[name]
    with board.open() as port:
        reset_image(port)
        port.write(b"12345")
        assert port.read(5) == b"12345"
        address = symbol(board.image, "received")
        read = f"read32 {address:#x}"
        said = commander(board, "halt", read, "reg pc")
        assert f"{address:08x}:  00000005" in said
        pc = int(said.split("pc = ")[1].split()[0], 16)
        assert symbol(board.image, "uart_get") <= pc < symbol(board.image, "uart_get") + 0x40
        port.write(b"lost")  # a halted core takes nothing from its UART
        said = commander(board, "status", "go")
        assert "Halted" in said, "it stays so until it is told to go"
        port.write(b"6")
        assert port.read(1) == b"6", "the image goes on where it was"
        said = commander(board, read)
        assert f"{address:08x}:  00000006" in said


def test_debugger_compares_flash_and_ram_of_a_running_board(board: Board, tmp_path: Path) -> None:
    """The core runs on: what is compared of RAM does not change while it waits for a byte."""
    with board.open() as port:
        reset_image(port)
        port.write(b"x")
        assert port.read(1) == b"x"
        word = symbol(board.image, "phase_word")
        (tmp_path / "phase").write_bytes((1).to_bytes(4, "little"))
        (tmp_path / "other").write_bytes((3).to_bytes(4, "little"))
        said = commander(
            board,
            f"compare {board.kind.base:#x} {board.image}",
            f"compare {word:#x} 4 {tmp_path / 'phase'}",
            f"compare {word:#x} 4 {tmp_path / 'other'}",
            "status",
        )
        assert re.findall(r"All (\d+) bytes match", said) == [str(board.image.stat().st_size), "4"]
        assert "Mismatch" in said or "differ" in said
        assert "Running" in said
        port.write(b"y")
        assert port.read(1) == b"y"


CONSOLE_ENABLE = {  # where the test image enables its UART, or that one's interrupt, and with what
    "f405": (0x4001140C, 0x202C),
    "h405": (0x4000440C, 0x202C),
    "f205": (0x4001140C, 0x202C),
    "l475": (0x40013800, 0x2D),
    "nrf51": (0x40002304, 1 << 2),
    "nrf52": (0x40002500, 8),
}


@pytest.mark.parametrize("name", CONSOLE_ENABLE)
def test_debugger_sees_what_the_image_has_set_in_its_peripherals(boards: dict[str, Board], name: str) -> None:
    """Halted and running; the interrupt controller too."""
    board = boards[name]
    address, value = CONSOLE_ENABLE[name]
    irq = int(board.kind.uart.split("-DIRQ=")[1].split()[0])
    with board.open() as port:
        reset_image(port)
        reads = (f"read32 {address:#x}", f"read32 {0xE000E100 + irq // 32 * 4:#x}")
        said = commander(board, *reads, "halt", *reads, "go")
    enabled = f"{1 << irq % 32:08x}"
    assert [line.split()[1] for line in said.splitlines() if re.match(r"[0-9a-f]{8}:", line)] == [
        f"{value:08x}",
        enabled,
        f"{value:08x}",
        enabled,
    ]


def test_bytes_to_a_board_in_reset_or_blank_are_lost(boards: dict[str, Board]) -> None:
    board = boards["f205"]
    with board.open() as port:
        pyocd("erase", board.kind, board.end.probe, "--chip")
        port.write(b"nobody hears this")
        port.timeout = 0.3
        assert port.read(1) == b""
        flash(board.kind, board.end.probe, board.image)
        port.timeout = 10
        assert port.read_until(b"\n") == b"boot 1\n"
        port.write(b"x")
        assert port.read(1) == b"x"


def test_locked_up_core_is_reported_and_a_reset_revives_it(boards: dict[str, Board]) -> None:
    """A fault without handlers locks the core up, on which QEMU gives up."""
    board = boards["h405"]
    with board.open() as port:
        port.write(bytes([ESCAPE]) + b"f")
        wait_until("QEMU has given up", lambda: "locked up" in board.end.log.read_text())
        pyocd("reset", board.kind, board.end.probe)
        assert port.read_until(b"\n") == b"boot 1\n"


def test_board_process_does_not_spin(boards: dict[str, Board]) -> None:
    """Idle, and with a terminal that nobody reads while the board talks."""
    board = boards["f405"]
    with board.open() as port:
        for _ in range(3):
            run_counted(port, 1)
            port.write(b"z" * 500)
    before = cpu_seconds(board.end.pid)
    time.sleep(1.0)  # nothing to wait for: it is the time that is measured
    assert cpu_seconds(board.end.pid) - before < 0.1


def test_image_without_descriptor_runs_uncounted(tmp_path: Path) -> None:
    kind = KINDS["f405"]
    data = bytearray(build_image(kind, tmp_path).read_bytes())
    data[0x200:0x208] = b"\xff" * 8
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "flash.bin").write_bytes(bytes(data) + b"\xff" * ((1 << 20) - len(data)))
    with VirtualRack([kind.spec("plain")], tmp_path) as rack:
        end = rack.endpoints["plain"]
        with serial.Serial(end.serial, 115200, timeout=0.2) as port:

            def answers() -> bool:
                port.write(b"x")
                return b"x" in port.read(20)

            wait_until("it echoes", answers)
        assert end.counter is not None
        with pytest.raises(InfrastructureError, match="no instruction count"):
            PhaseCounter(end.counter).read()
