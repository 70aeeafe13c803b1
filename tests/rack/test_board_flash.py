"""Flashing boards with the real pyOCD: verified by the board, skipped when it is there, repaired when it is not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.build import build
from bench.data import partition
from bench.errors import ConfigError, InfrastructureError
from bench.link.session import BoardSilent, Cancelled
from bench.pytest_plugin.boards import RackBoard
from bench.pytest_plugin.cohort import Cohort
from bench.pytest_plugin.rack import Rack
from bench.rack import board as board_module
from bench.rack import flash as pyocd
from bench.rack import image as images
from bench.rack.board import Board, BoardLog
from bench.rack.rack import Rack as OpenRack
from bench.rack.rack import at_once

pytestmark = pytest.mark.board(one=True)
RECORD_BYTES = 197
"""Of a sample and its label."""


@pytest.fixture(scope="module")
def image(board: RackBoard, int8_program: str) -> bytes:
    """For the board."""
    return image_for(board, int8_program)


@pytest.fixture
def flashed(board: RackBoard, image: bytes) -> Board:
    """The board, flashed with an image and a shard."""
    board.flash_image(image, shard(1))
    return board.opened


def image_for(board: RackBoard, program: str) -> bytes:
    return build([board.env], program)[board.env].read_bytes()


def shard(seed: int, count: int = 20) -> bytes:
    """A data partition of noise."""
    generator = np.random.default_rng(seed)
    samples = generator.integers(-128, 128, (count, RECORD_BYTES - 1)).astype(np.int8)
    return partition.build(samples, generator.integers(0, 10, count).astype(np.uint8), 10)


def pyocd_lines(board: Board, since: int) -> list[str]:
    """pyOCD's command lines in the board's log behind a position."""
    return [line for line in board.log.path.read_text()[since:].splitlines() if " $ pyocd " in line]


def log_end(board: Board) -> int:
    return len(board.log.path.read_text())


def damage_data(board: Board) -> None:
    """In the records, in a page behind the header's."""
    board.overwrite(board.manifest.flash.data_base + 2048, b"\x05" * 32)


def test_a_board_without_an_image_is_silent_for_no_longer_than_it_may(
    flashed: Board, image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    flashed.overwrite(images.verify(image).flash_base, b"\xff" * 256)  # its vector table
    flashed.close()
    begun = time.monotonic()
    with pytest.raises(BoardSilent, match="no reply to HELLO"):
        flashed.connect(wait_s=1.5)
    assert time.monotonic() - begun < 3
    monkeypatch.setattr(board_module, "_BOOT_S", 1.5)
    monkeypatch.setattr(flashed, "may_flash", False)
    with pytest.raises(
        InfrastructureError, match=f"board {flashed.name} does not come back: resync: .*; reset: .*"
    ) as caught:
        flashed.recover()
    assert "flash: " not in str(caught.value)
    assert time.monotonic() - begun < 30
    monkeypatch.undo()
    flashed.restore()
    assert flashed.recover() == "resync"


@pytest.mark.cohort(boards=2, most=2)
def test_flashed_verified_and_left_alone_afterwards(cohort: Cohort, int8_program: str) -> None:
    """Two boards at the same time."""
    opened = [board.opened for board in cohort.boards]
    wanted = {board.name: image_for(board, int8_program) for board in cohort.boards}
    begun = {board.name: log_end(board) for board in opened}
    told: dict[str, list[str]] = {board.name: [] for board in opened}
    done: dict[str, bool] = {}

    def bring(board: Board, *, force: bool = False) -> None:
        done[board.name] = board.flash(wanted[board.name], shard(1), force=force, step=told[board.name].append)

    at_once(opened, lambda board: bring(board, force=True))
    assert set(done.values()) == {True}
    for board in opened:
        hello = board.connect()
        assert hello.build_id == images.verify(wanted[board.name]).build_id
        assert hello.env == board.entry.env
        assert board.device().data_info().shard_id == partition.parse(shard(1)).shard_id
        assert [text.split()[0] for text in told[board.name]] == ["flashing", "verifying", "flashed"]
        assert len(pyocd_lines(board, begun[board.name])) == 1
        log = board.log.path.read_text()[begun[board.name] :]
        assert f"board: ftte {board.entry.env}: reset by " in log, "the boot log was lost"
        assert "pyocd: " in log
    begun = {board.name: log_end(board) for board in opened}
    clock = time.monotonic()
    at_once(opened, bring)
    assert time.monotonic() - clock < 2
    assert set(done.values()) == {False}
    assert all(not pyocd_lines(board, begun[board.name]) for board in opened)


def test_force_flashes_what_is_there(flashed: Board, image: bytes) -> None:
    begun = log_end(flashed)
    assert flashed.flash(image, shard(1), force=True)
    assert len(pyocd_lines(flashed, begun)) == 1


def test_only_what_differs_is_flashed(flashed: Board, image: bytes) -> None:
    begun = log_end(flashed)
    assert flashed.flash(image, shard(2))
    (line,) = pyocd_lines(flashed, begun)
    layout = flashed.manifest.flash
    assert re.findall(r"@(0x[0-9a-f]+)", line) == [hex(layout.data_base)]
    assert not flashed.flash(image), "no data asked for, so the partition is nobody's business"


def test_a_damaged_partition_is_noticed_and_flashed_again(flashed: Board, image: bytes) -> None:
    damage_data(flashed)
    flashed.connect()
    info = flashed.device().data_info()
    assert info.present
    assert not info.crc_ok
    assert flashed.flash(image, shard(1))
    assert flashed.device().data_info().crc_ok


def test_a_damaged_image_is_noticed_and_flashed_again(flashed: Board, image: bytes) -> None:
    end = images.verify(image).image_size
    flashed.overwrite(flashed.manifest.flash.base + (end - 16 & ~3), b"\x00\x00\x00\x00")
    assert flashed.flash(image, shard(1))
    hello = flashed.connect()
    assert hello.image_crc32 == hello.image_crc32_expected


def test_recovery_stops_at_the_first_rung_that_helps(flashed: Board) -> None:
    assert flashed.recover() == "resync"


def test_recovery_flashes_a_board_whose_data_is_damaged(flashed: Board) -> None:
    damage_data(flashed)
    assert flashed.recover() == "flash"
    assert flashed.device().data_info().crc_ok


@pytest.mark.board(physical=False)
def test_recovery_of_a_board_that_has_died(flashed: Board) -> None:
    """An emulated board's process is what a real one's power is."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"bench.virtual.board" in words and str(Path(flashed.ends.serial).parents[1]).encode() in words:
            os.kill(int(process.parent.name), signal.SIGKILL)
            break
    else:
        pytest.fail("the board's process is not found")
    assert flashed.recover() == "power-cycle"
    assert flashed.device().data_info().crc_ok


def test_an_image_for_another_board_is_refused_before_anything_is_done(flashed: Board, int8_program: str) -> None:
    begun, env = log_end(flashed), flashed.entry.env
    other = "netduinoplus2" if env == "microbit" else "microbit"
    image = build([other], int8_program)[other].read_bytes()
    with pytest.raises(
        ConfigError, match=f"board {flashed.name} is a {env}, but the image is for {other}: build it with"
    ):
        flashed.flash(image)
    assert not pyocd_lines(flashed, begun)


def test_images_that_cannot_be_right(flashed: Board, image: bytes) -> None:
    damaged = bytearray(image)
    damaged[-1] ^= 1
    with pytest.raises(ConfigError, match=f"board {flashed.name}: firmware image for {flashed.entry.env}: CRC-32"):
        flashed.flash(bytes(damaged))
    with pytest.raises(ConfigError, match=f"board {flashed.name}: not a firmware image"):
        flashed.flash(b"\x7fELF" + bytes(5000))
    room = flashed.manifest.flash.image_size
    large = images.patch(image.ljust(room + 4, b"\0"))
    with pytest.raises(ConfigError, match=f"board {flashed.name}: image of {room + 4} bytes, room for {room}"):
        flashed.flash(large)


def test_data_that_cannot_be_right(flashed: Board, image: bytes) -> None:
    with pytest.raises(ConfigError, match="no FTTEDAT1 header"):
        flashed.flash(image, b"data")
    room = flashed.manifest.flash.data_size
    with pytest.raises(ConfigError, match=rf"board {flashed.name}: data of \d+ bytes, its partition has {room}"):
        flashed.flash(image, shard(1, room // RECORD_BYTES + 1))


def other_ends(board: Board, tmp_path: Path, **changes: str) -> Board:
    """The same board, reached in another way."""
    return Board(board.entry, replace(board.ends, **changes), BoardLog(tmp_path / "other.log"), tmp_path)


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        (
            "remote:127.0.0.1:1",
            "Connection refused; probe remote:127.0.0.1:1: start the probe's server, or correct host",
        ),
        (
            "0123456789ABCDEF",
            "No connected debug probe matches unique ID .*; probe 0123456789ABCDEF: plug the probe in",
        ),
    ],
)
def test_a_wrong_probe(flashed: Board, image: bytes, tmp_path: Path, probe: str, expected: str) -> None:
    flashed.close()
    board = other_ends(flashed, tmp_path, probe=probe)
    with pytest.raises(InfrastructureError, match=f"board {flashed.name}: pyocd flash failed .*{expected}") as caught:
        board.flash(image, force=True)
    assert caught.value.exit_code == 3
    board.close()


def test_an_unknown_target(flashed: Board) -> None:
    target = replace(flashed.debug_target, target="nrf51823")
    with pytest.raises(ConfigError, match=r"Target type nrf51823 not recognized.*correct `target`, or name the part"):
        pyocd.reset(target, log=lambda _line: None)


def test_an_unknown_kind_of_probe(flashed: Board) -> None:
    target = replace(flashed.debug_target, probe="stlinc:0123")
    with pytest.raises(ConfigError, match="unknown debug probe type 'stlinc'; what may stand before the id"):
        pyocd.reset(target, log=lambda _line: None)


def test_a_busy_serial_port_is_told_with_its_holder(flashed: Board, image: bytes, tmp_path: Path) -> None:
    flashed.close()
    script = (
        "import sys; from bench.link.port import open_port; p = open_port(sys.argv[1], 9600); print(); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, flashed.ends.serial]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        begun = time.monotonic()
        with pytest.raises(InfrastructureError, match=rf"is busy: held by process {other.pid} \(python") as caught:
            flashed.flash(image)
        assert caught.value.exit_code == 3
        assert time.monotonic() - begun < 2
        other.communicate(b"\n")
    assert not flashed.flash(image)


def test_a_line_that_does_not_exist(flashed: Board, tmp_path: Path) -> None:
    board = other_ends(flashed, tmp_path, serial=str(tmp_path / "ttyACM9"))
    with pytest.raises(InfrastructureError, match="does not exist: is the board plugged in"):
        board.connect()


def test_cancelling_ends_pyocd(flashed: Board, image: bytes) -> None:
    cancelled = threading.Event()
    begun = time.monotonic()
    threading.Timer(1.5, cancelled.set).start()
    with pytest.raises((pyocd.FlashCancelledError, Cancelled)):
        flashed.flash(image, shard(3, 1000), force=True, cancelled=cancelled)
    assert time.monotonic() - begun < 4
    flashed.flash(image, shard(1))  # whatever was left half-flashed
    assert flashed.device().data_info().crc_ok


def test_a_time_limit_ends_pyocd(flashed: Board, image: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flashed, "manifest", replace(flashed.manifest, flash_timeout_s=1.0))
    with pytest.raises(
        InfrastructureError, match=f"board {flashed.name}: pyocd flash did not end within 1 s: check the probe"
    ):
        flashed.flash(image, shard(3, 1000), force=True)
    monkeypatch.undo()
    flashed.flash(image, shard(1))
    assert flashed.device().data_info().crc_ok


@pytest.mark.cohort(boards=2, most=2)
def test_every_boards_error_is_told(cohort: Cohort) -> None:
    def fail(board: Board) -> None:
        raise ConfigError(f"board {board.name}: no")

    with pytest.raises(ConfigError, match="\n".join(f"board {name}: no" for name in cohort.names)):
        at_once([board.opened for board in cohort.boards], fail)


def test_a_board_is_locked_while_a_rack_has_it(flashed: Board, rack: Rack) -> None:
    with (
        pytest.raises(InfrastructureError, match=rf"board {flashed.name} is in use by .* \(pytest\)"),
        OpenRack.open(rack.inventory, [flashed.name], purpose="more", state_dir=rack.state),
    ):
        pass
