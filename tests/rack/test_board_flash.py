"""Flashing boards with the real pyOCD: verified by the board, skipped when it is there, repaired when it is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.build import build
from bench.data import partition
from bench.errors import ConfigError, InfrastructureError
from bench.link.session import BoardSilent, Cancelled
from bench.rack import board as board_module
from bench.rack import flash as pyocd
from bench.rack import image as images
from bench.rack.board import Board, BoardLog
from bench.rack.inventory import load_inventory
from bench.rack.rack import Rack, at_once

INVENTORY = """\
boards:
  - {name: bit, env: microbit, probe: "remote:127.0.0.1:0", virtual: {machine: microbit}}
  - {name: plus2, env: netduinoplus2, probe: "remote:127.0.0.1:0", virtual: {machine: netduinoplus2}}
"""
ENVS = {"bit": "microbit", "plus2": "netduinoplus2"}


@pytest.fixture(scope="module")
def image(int8_program: str) -> dict[str, bytes]:
    built = build(list(ENVS.values()), int8_program)
    return {name: built[env].read_bytes() for name, env in ENVS.items()}


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    folder = tmp_path_factory.mktemp("rack")
    (folder / "rack.yaml").write_text(INVENTORY)
    inventory = load_inventory(folder / "rack.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_LOCK_DIR", str(folder / "locks"))
        with Rack.open(inventory, purpose="tests", state_dir=folder / "state") as opened:
            yield opened


@pytest.fixture
def bit(rack: Rack, image: dict[str, bytes]) -> Board:
    """The micro:bit, flashed with an image and a shard."""
    board = rack.boards["bit"]
    board.flash(image["bit"], shard(1))
    return board


@pytest.fixture
def plus2(rack: Rack) -> Board:
    return rack.boards["plus2"]


def shard(seed: int, count: int = 20) -> bytes:
    """A data partition of noise."""
    generator = np.random.default_rng(seed)
    samples = generator.integers(-128, 128, (count, 196)).astype(np.int8)
    return partition.build(samples, generator.integers(0, 10, count).astype(np.uint8), 10)


def pyocd_lines(board: Board, since: int) -> list[str]:
    """pyOCD's command lines in the board's log behind a position."""
    return [line for line in board.log.path.read_text()[since:].splitlines() if " $ pyocd " in line]


def log_end(board: Board) -> int:
    return len(board.log.path.read_text())


def overwrite(board: Board, address: int, data: bytes) -> None:
    """Damages flash as a stray debugger would: with pyOCD, behind the bench's back."""
    pyocd.flash(board._target(), {address: data}, board._scratch, timeout_s=60, log=lambda _line: None)


def test_a_blank_board_is_silent_for_no_longer_than_it_may(rack: Rack, monkeypatch: pytest.MonkeyPatch) -> None:
    board = rack.boards["plus2"]
    begun = time.monotonic()
    with pytest.raises(BoardSilent, match="no reply to HELLO"):
        board.connect(wait_s=1.5)
    assert time.monotonic() - begun < 3
    monkeypatch.setattr(board_module, "_BOOT_S", 1.5)
    with pytest.raises(
        InfrastructureError, match=r"board plus2 does not come back: resync: .*; reset: .*; power-cycle: "
    ):
        board.recover()
    assert time.monotonic() - begun < 30


def test_flashed_verified_and_left_alone_afterwards(rack: Rack, image: dict[str, bytes]) -> None:
    begun = {name: log_end(board) for name, board in rack.boards.items()}
    told: dict[str, list[str]] = {name: [] for name in rack.boards}
    flashed: dict[str, bool] = {}

    def bring(board: Board) -> None:
        flashed[board.name] = board.flash(image[board.name], shard(1), step=told[board.name].append)

    at_once(list(rack.boards.values()), bring)
    assert flashed == {"bit": True, "plus2": True}
    for name, board in rack.boards.items():
        hello = board.connect()
        assert hello.build_id == images.verify(image[name]).build_id
        assert hello.env == ENVS[name]
        assert board.device().data_info().shard_id == partition.parse(shard(1)).shard_id
        assert [text.split()[0] for text in told[name]] == ["flashing", "verifying", "flashed"]
        assert len(pyocd_lines(board, begun[name])) == 1
        log = board.log.path.read_text()[begun[name] :]
        assert f"board: ftte {ENVS[name]}: reset by " in log, "the boot log was lost"
        assert "pyocd: " in log
    begun = {name: log_end(board) for name, board in rack.boards.items()}
    clock = time.monotonic()
    at_once(list(rack.boards.values()), bring)
    assert time.monotonic() - clock < 2
    assert flashed == {"bit": False, "plus2": False}
    assert all(not pyocd_lines(board, begun[name]) for name, board in rack.boards.items())


def test_force_flashes_what_is_there(bit: Board, image: dict[str, bytes]) -> None:
    begun = log_end(bit)
    assert bit.flash(image["bit"], shard(1), force=True)
    assert len(pyocd_lines(bit, begun)) == 1


def test_only_what_differs_is_flashed(bit: Board, image: dict[str, bytes]) -> None:
    begun = log_end(bit)
    assert bit.flash(image["bit"], shard(2))
    (line,) = pyocd_lines(bit, begun)
    assert "@0xa000" in line
    assert "@0x0" not in line.replace("@0xa000", "")
    assert not bit.flash(image["bit"]), "no data asked for, so the partition is nobody's business"


def test_a_damaged_partition_is_noticed_and_flashed_again(bit: Board, image: dict[str, bytes]) -> None:
    overwrite(bit, bit.manifest.flash.data_base + 2048, b"\x05" * 32)  # records, in a page behind the header's
    bit.connect()
    info = bit.device().data_info()
    assert info.present
    assert not info.crc_ok
    assert bit.flash(image["bit"], shard(1))
    assert bit.device().data_info().crc_ok


def test_a_damaged_image_is_noticed_and_flashed_again(bit: Board, image: dict[str, bytes]) -> None:
    end = images.verify(image["bit"]).image_size
    overwrite(bit, bit.manifest.flash.base + (end - 16 & ~3), b"\x00\x00\x00\x00")
    assert bit.flash(image["bit"], shard(1))
    hello = bit.connect()
    assert hello.image_crc32 == hello.image_crc32_expected


def test_recovery_stops_at_the_first_rung_that_helps(bit: Board) -> None:
    assert bit.recover() == "resync"


def test_recovery_flashes_a_board_whose_data_is_damaged(bit: Board) -> None:
    overwrite(bit, bit.manifest.flash.data_base + 2048, b"\x05" * 32)  # records, in a page behind the header's
    assert bit.recover() == "flash"
    assert bit.device().data_info().crc_ok


def test_recovery_of_a_board_that_has_died(bit: Board) -> None:
    """An emulated board's process is what a real one's power is."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"bench.virtual.board" in words and str(Path(bit._ends.serial).parents[1]).encode() in words:
            os.kill(int(process.parent.name), signal.SIGKILL)
            break
    else:
        pytest.fail("the board's process is not found")
    assert bit.recover() == "power-cycle"
    assert bit.device().data_info().crc_ok


def test_an_image_for_another_board_is_refused_before_anything_is_done(bit: Board, image: dict[str, bytes]) -> None:
    begun = log_end(bit)
    with pytest.raises(ConfigError, match="board bit is a microbit, but the image is for netduinoplus2: build it with"):
        bit.flash(image["plus2"])
    assert not pyocd_lines(bit, begun)


def test_images_that_cannot_be_right(bit: Board, image: dict[str, bytes]) -> None:
    damaged = bytearray(image["bit"])
    damaged[-1] ^= 1
    with pytest.raises(ConfigError, match="board bit: firmware image for microbit: CRC-32"):
        bit.flash(bytes(damaged))
    with pytest.raises(ConfigError, match="board bit: not a firmware image"):
        bit.flash(b"\x7fELF" + bytes(5000))
    large = images.patch(image["bit"].ljust(bit.manifest.flash.image_size + 4, b"\0"))
    with pytest.raises(ConfigError, match="board bit: image of 40964 bytes, room for 40960"):
        bit.flash(large)


def test_data_that_cannot_be_right(bit: Board, image: dict[str, bytes]) -> None:
    with pytest.raises(ConfigError, match="no FTTEDAT1 header"):
        bit.flash(image["bit"], b"data")
    with pytest.raises(ConfigError, match=r"board bit: data of \d+ bytes, its partition has 221184"):
        bit.flash(image["bit"], shard(1, 1123))


def other_ends(board: Board, tmp_path: Path, **changes: str) -> Board:
    """The same board, reached in another way."""
    return Board(board.entry, replace(board._ends, **changes), BoardLog(tmp_path / "other.log"), tmp_path)


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
def test_a_wrong_probe(bit: Board, image: dict[str, bytes], tmp_path: Path, probe: str, expected: str) -> None:
    bit.close()
    board = other_ends(bit, tmp_path, probe=probe)
    with pytest.raises(InfrastructureError, match=f"board bit: pyocd flash failed .*{expected}") as caught:
        board.flash(image["bit"], force=True)
    assert caught.value.exit_code == 3
    board.close()


def test_an_unknown_target(bit: Board) -> None:
    target = replace(bit._target(), target="nrf51823")
    with pytest.raises(ConfigError, match=r"Target type nrf51823 not recognized.*correct `target`, or name the part"):
        pyocd.reset(target, log=lambda _line: None)


def test_an_unknown_kind_of_probe(bit: Board) -> None:
    target = replace(bit._target(), probe="stlinc:0123")
    with pytest.raises(ConfigError, match="unknown debug probe type 'stlinc'; what may stand before the id"):
        pyocd.reset(target, log=lambda _line: None)


def test_a_busy_serial_port_is_told_with_its_holder(bit: Board, image: dict[str, bytes], tmp_path: Path) -> None:
    bit.close()
    script = (
        "import sys; from bench.link.port import open_port; p = open_port(sys.argv[1], 9600); print(); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, bit._ends.serial]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        begun = time.monotonic()
        with pytest.raises(InfrastructureError, match=rf"is busy: held by process {other.pid} \(python") as caught:
            bit.flash(image["bit"])
        assert caught.value.exit_code == 3
        assert time.monotonic() - begun < 2
        other.communicate(b"\n")
    assert not bit.flash(image["bit"])


def test_a_line_that_does_not_exist(bit: Board, tmp_path: Path) -> None:
    board = other_ends(bit, tmp_path, serial=str(tmp_path / "ttyACM9"))
    with pytest.raises(InfrastructureError, match="does not exist: is the board plugged in"):
        board.connect()


def test_cancelling_ends_pyocd(bit: Board, image: dict[str, bytes]) -> None:
    cancelled = threading.Event()
    begun = time.monotonic()
    threading.Timer(1.5, cancelled.set).start()
    with pytest.raises((pyocd.FlashCancelledError, Cancelled)):
        bit.flash(image["bit"], shard(3, 1000), force=True, cancelled=cancelled)
    assert time.monotonic() - begun < 4
    bit.flash(image["bit"], shard(1))  # whatever was left half-flashed
    assert bit.device().data_info().crc_ok


def test_a_time_limit_ends_pyocd(bit: Board, image: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bit, "manifest", replace(bit.manifest, flash_timeout_s=1.0))
    with pytest.raises(InfrastructureError, match="board bit: pyocd flash did not end within 1 s: check the probe"):
        bit.flash(image["bit"], shard(3, 1000), force=True)
    monkeypatch.undo()
    bit.flash(image["bit"], shard(1))
    assert bit.device().data_info().crc_ok


def test_every_boards_error_is_told(rack: Rack) -> None:
    def fail(board: Board) -> None:
        raise ConfigError(f"board {board.name}: no")

    with pytest.raises(ConfigError, match=r"board bit: no\nboard plus2: no"):
        at_once(list(rack.boards.values()), fail)


def test_a_board_is_locked_while_the_rack_is_open(rack: Rack) -> None:
    with (
        pytest.raises(InfrastructureError, match=r"board bit is in use by .* \(tests\)"),
        Rack.open(rack.inventory, ["bit"], purpose="more", state_dir=Path(rack.boards["bit"]._ends.serial).parents[3]),
    ):
        pass
