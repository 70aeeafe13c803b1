"""The nRF52840's console, against a line that brings byte after byte at its rate, whether or not the core has time:
nothing is lost, and after a line error nothing is shifted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hal_build import build, raw_image
from nrf52_board import ESCAPE, Board

from bench.rack.manifest import load_manifest
from bench.virtual.flash_controller import BusError
from bench.virtual.nrf52_uarte import ENABLE, ERRORSRC, OVERRUN, STARTTX, TXD_MAXCNT, TXD_PTR
from bench.virtual.nrf52_unit import SHORTS
from bench.virtual.parts import NRF52840

BLOCK, RING = 256, 2048  # bytes: hal/nrf52/console.hpp
SETTLE = 64  # cycles that a reader waits for a byte that was counted
WATCHDOG = 4  # hal::ResetCause

Make = Callable[..., Board]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("image")
    return raw_image(build("nrf52840_dk", Path(__file__).with_name("boot_probe.cpp"), folder))


@pytest.fixture
def make(image: bytes, tmp_path: Path) -> Iterator[Make]:
    """Boards that have booted and wait for bytes."""
    boards: list[Board] = []

    def booted(**line: int) -> Board:
        board = Board(image, tmp_path / f"board{len(boards)}", **line)
        boards.append(board)
        assert board.line()["hz"] == load_manifest("nrf52840_dk").core_hz
        return board

    yield booted
    for board in boards:
        board.close()


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size).replace(ESCAPE, b"\x02")


def test_line_has_the_manifests_rate(make: Make) -> None:
    rate = load_manifest("nrf52840_dk").core_hz * 10 / make().devices.uarte.byte_cycles
    assert rate == pytest.approx(load_manifest("nrf52840_dk").baud, rel=0.01)


@pytest.mark.parametrize("latency", [0, 1, SETTLE - 8])
def test_nothing_is_lost_over_many_blocks(make: Make, latency: int) -> None:
    """Blocks end and begin, the ring wraps several times, and RXDRDY comes before the byte is in RAM."""
    board = make(latency=latency)
    for seed in range(9):
        board.echo(noise(seed, 700 + seed))
    assert board.command("l") == {"overruns": 0, "errors": 0}


def test_bytes_that_come_while_the_core_is_busy_wait_in_the_ring(make: Make) -> None:
    """Command t counts loops for 20 ms of the core's time and does not look at the line: a whole block and more."""
    board = make()
    data = noise(1, 3 * BLOCK)
    board.send(ESCAPE + b"t" + data)
    board.run("all bytes", lambda: board.said.count(b"\n") > 0 and board.said.endswith(data[-20:]))
    assert bytes(board.said).partition(b"\n")[2] == data
    board.said.clear()
    assert board.command("l") == {"overruns": 0, "errors": 0}


@pytest.mark.parametrize("before", [0, 100, BLOCK - 1, 7 * BLOCK + 200])
@pytest.mark.parametrize("missed", [2 * BLOCK, 3 * BLOCK - 1, RING, RING + 1, 5 * RING + 77])
def test_what_comes_while_a_debugger_holds_the_core(make: Make, before: int, missed: int) -> None:
    """The line and the DMA go on, and nobody gives the DMA its next blocks. What was overwritten is reported as lost,
    and what comes later is exact."""
    board = make()
    if before:
        board.echo(noise(2, before))
    hold_while(board, noise(3, missed))
    board.run("it has seen them", lambda: settled(board) and board.devices.uarte.next_event() is None)
    board.said.clear()
    assert board.command("l") == {"overruns": missed, "errors": 0}
    for seed in range(3):
        board.echo(noise(seed, 600))


def test_more_than_the_ring_holds_is_reported_as_lost(make: Make) -> None:
    """The core is busy for ten times command t, and takes interrupts, so that the DMA goes round."""
    board = make()
    board.send((ESCAPE + b"t") * 10 + noise(4, RING + 1000))
    board.run("the line is silent", lambda: board.devices.line_event() is None and settled(board))
    board.said.clear()
    lost = board.command("l")
    assert lost["errors"] == 0
    assert lost["overruns"] > RING
    board.echo(noise(5, 900))


@pytest.mark.parametrize("missed", [1, 100, BLOCK])
def test_little_that_comes_while_a_debugger_holds_the_core_is_kept(make: Make, missed: int) -> None:
    board = make()
    board.echo(noise(1, BLOCK // 2))
    data = noise(2, missed)
    hold_while(board, data)
    board.run("all bytes", lambda: len(board.said) >= missed)
    assert bytes(board.said) == data


def hold_while(board: Board, data: bytes) -> None:
    """Time goes on for the line alone."""
    board.send(data)
    while (at := board.devices.line_event()) is not None:
        board.devices.clock.skip(max(0, at - board.devices.clock.now))
        board.devices.uarte.advance()


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("before", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 17])
def test_framing_error_shifts_nothing(make: Make, counted: bool, before: int) -> None:
    """A byte without its stop bit is not stored; the manual does not say whether it is counted. Whichever: what comes
    after the receiver has started anew is exact, to the last byte, and the error is reported once."""
    board = make()
    if before:
        board.echo(noise(4, before))
    board.devices.uarte.garble(counted=counted)
    board.run("the receiver listens again", lambda: settled(board))
    board.said.clear()
    for seed in range(4):
        board.echo(noise(seed, 1 + 300 * seed))
    assert board.command("l") == {"overruns": 0, "errors": 1}


def settled(board: Board) -> bool:
    """No error is pending, and the receiver runs: its short is on."""
    return board.devices.uarte.read(ERRORSRC) == 0 and board.devices.uarte.read(SHORTS) != 0


def test_overrun_is_reported_and_shifts_nothing(make: Make) -> None:
    board = make()
    board.echo(noise(5, 10))
    board.devices.uarte.fail(OVERRUN)
    board.run("the receiver listens again", lambda: settled(board))
    board.said.clear()
    board.echo(noise(6, 500))
    assert board.command("l") == {"overruns": 1, "errors": 0}


def test_dma_cannot_send_from_flash(make: Make) -> None:
    """So the HAL copies constants: all that the image has said so far were such."""
    uarte = make().devices.uarte
    uarte.write(ENABLE, 8)
    uarte.write(TXD_PTR, NRF52840.flash.base + 0x1000)
    uarte.write(TXD_MAXCNT, 4)
    with pytest.raises(BusError, match="not RAM"):
        uarte.write(STARTTX, 1)


def test_watchdog_bites_a_core_that_hangs(make: Make) -> None:
    board = make()
    board.send(ESCAPE + b"w")
    begun = board.devices.clock.now
    assert board.line()["cause"] == WATCHDOG
    seconds = (board.devices.clock.now - begun) / load_manifest("nrf52840_dk").core_hz
    assert 8 < seconds < 8.1
