"""What emulated meters are fed with: no charge is lost between a board's activity and the samples."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import ConfigError, InfrastructureError
from bench.virtual.instruments.board_feed import PhaseLog, VirtualBoardFeed
from bench.virtual.instruments.spec import BoardFeed, InstrumentSpec, Script, Stretch
from bench.virtual.instruments.waveform import MARKER, RECEIVE, TRANSMIT, Waveform

STRETCHES = st.lists(
    st.builds(
        Stretch,
        seconds=st.floats(0, 0.01),
        current_ua=st.floats(0, 100_000),
        does=st.sampled_from(["idle", "receive", "send", "compute"]),
    ),
    min_size=1,
    max_size=20,
)


@settings(deadline=None)
@given(STRETCHES, st.integers(40, 700))
def test_samples_hold_the_charge_of_what_they_were_made_from(stretches: list[Stretch], block: int) -> None:
    wave = Waveform(100_000.0, 10 / 115_200)
    wave.add(stretches)
    pieces = [np.empty(0)]
    while wave.waiting:
        pieces.append(wave.render(block)[0])
    current = np.concatenate(pieces)
    seconds = sum(stretch.seconds for stretch in stretches)
    charge_uc = sum(stretch.seconds * stretch.current_ua for stretch in stretches)
    assert len(current) == pytest.approx(seconds * 100_000, abs=1.001)
    # What is less than a sample waits for more.
    assert current.sum() / 100_000 == pytest.approx(charge_uc, abs=100_000 / 100_000 + 1e-6, rel=1e-9)
    assert sum(wave.truth.charge_uc.values()) == pytest.approx(charge_uc)


def test_pins_show_what_the_board_does() -> None:
    wave = Waveform(100_000.0, 10 / 115_200)
    wave.add([Stretch(0.001, 1.0, does) for does in ("idle", "receive", "compute", "send")])
    _, logic = wave.render(1_000)
    idle, receive, compute, send = logic.reshape(4, 100)
    assert set(idle) == {1 << TRANSMIT | 1 << RECEIVE}
    assert set(receive) == {1 << TRANSMIT, 1 << TRANSMIT | 1 << RECEIVE}
    assert set(compute) == {1 << MARKER | 1 << TRANSMIT | 1 << RECEIVE}
    assert set(send) == {1 << RECEIVE, 1 << TRANSMIT | 1 << RECEIVE}


CAPACITY = 8
BOOT, IDLE, LINK, TRAIN = 0, 1, 2, 3


class Board:
    """Writes what an emulated board writes: `struct phase_log` and the bytes of the line."""

    def __init__(self, folder: Path) -> None:
        self.feed = BoardFeed(
            phases=str(folder / "phases"), traffic=str(folder / "serial.traffic"), core_hz=1_000_000,
            cycles_per_instruction=2.0, baud=10_000, run_ua=5_000.0, sleep_ua=10.0,
        )  # fmt: skip
        self._entries: list[tuple[int, int, int, int]] = []
        self.carry(0, 0)
        self._write()

    def enter(self, ended: int, instructions: int, entered: int) -> None:
        self._entries.append((time.monotonic_ns(), instructions, ended, entered))
        self._write()

    def carry(self, down: int, up: int) -> None:
        Path(self.feed.traffic).write_bytes(struct.pack("<QQ", down, up))

    def _write(self) -> None:
        ring = [(0, 0, 0, 0)] * CAPACITY
        for index, entry in enumerate(self._entries):
            ring[index % CAPACITY] = entry
        content = struct.pack("<8sQQ", b"FTTELOG1", CAPACITY, len(self._entries))
        content += b"".join(struct.pack("<QQII", *entry) for entry in ring)
        path = Path(self.feed.phases)
        with path.open("r+b" if path.exists() else "w+b") as file:  # in place: it is mapped
            file.write(content)


def test_a_boards_time_is_its_instructions_and_its_bytes(tmp_path: Path) -> None:
    board = Board(tmp_path)
    feed = VirtualBoardFeed(board.feed)
    feed.begin()
    board.carry(40, 0)
    board.enter(IDLE, 3, LINK)
    board.enter(LINK, 900, TRAIN)
    board.enter(TRAIN, 250_000, LINK)
    board.carry(40, 20)
    board.enter(LINK, 500, IDLE)
    told = [stretch for stretch in feed.take() if stretch.does != "idle"]
    assert told == [
        Stretch(0.04, 5_000.0, "receive"),  # 40 bytes of ten bits at 10,000 baud
        Stretch(0.5, 5_000.0, "compute"),  # 250,000 instructions of two cycles at 1 MHz
        Stretch(0.02, 5_000.0, "send"),
    ]


SEEN, HIGH = 1 << 31, 1 << 31 | 1 << 30


def test_a_marker_pin_that_is_looked_at_tells_what_is_computed(tmp_path: Path) -> None:
    board = Board(tmp_path)
    feed = VirtualBoardFeed(board.feed)
    feed.begin()
    board.carry(40, 0)
    board.enter(IDLE | SEEN, 3, LINK | SEEN)
    board.enter(LINK | SEEN, 900, TRAIN | SEEN)
    board.enter(TRAIN | SEEN, 500, TRAIN | HIGH)  # the firmware stores the phase, then drives the pin
    board.enter(TRAIN | HIGH, 250_000, LINK | HIGH)
    board.enter(LINK | HIGH, 500, LINK | SEEN)
    told = [stretch for stretch in feed.take() if stretch.seconds > 0 and stretch.current_ua > 10.0]
    assert told == [
        Stretch(0.04, 5_000.0, "receive"),
        Stretch(0.001, 5_000.0, "idle"),
        Stretch(0.5, 5_000.0, "compute"),
        Stretch(0.001, 5_000.0, "compute"),
    ]


def test_a_marker_pin_that_the_firmware_does_not_drive_stays_low(tmp_path: Path) -> None:
    board = Board(tmp_path)
    feed = VirtualBoardFeed(board.feed)
    feed.begin()
    board.enter(IDLE | SEEN, 3, TRAIN | SEEN)
    board.enter(TRAIN | SEEN, 250_000, IDLE | SEEN)
    assert {stretch.does for stretch in feed.take()} == {"idle"}


def test_a_reply_that_is_told_late_is_still_a_transfer(tmp_path: Path) -> None:
    board = Board(tmp_path)
    feed = VirtualBoardFeed(board.feed)
    feed.begin()
    board.carry(0, 20)
    board.enter(IDLE | SEEN, 3, TRAIN | HIGH)
    assert feed.take()[1:] == [Stretch(0.02, 5_000.0, "send")]


def test_rest_lasts_as_long_as_it_does(tmp_path: Path) -> None:
    board = Board(tmp_path)
    feed = VirtualBoardFeed(board.feed)
    begun = time.monotonic()
    feed.begin()
    told = feed.take()
    time.sleep(0.02)  # rest is what is tested
    told += feed.take()
    board.enter(IDLE, 3, TRAIN)
    told += feed.take()
    passed = time.monotonic() - begun
    rested = sum(stretch.seconds for stretch in told)
    assert {(stretch.does, stretch.current_ua) for stretch in told} == {("idle", 10.0)}
    assert 0.02 <= rested <= passed
    assert feed.take() == [], "while it computes, nothing is known"


def test_what_was_before_is_not_told(tmp_path: Path) -> None:
    board = Board(tmp_path)
    for _ in range(2 * CAPACITY):
        board.enter(TRAIN, 1_000_000, IDLE)
    feed = VirtualBoardFeed(board.feed)
    feed.begin()
    assert [stretch.does for stretch in feed.take()] == ["idle"]


def test_more_changes_than_the_ring_holds_are_not_passed_over(tmp_path: Path) -> None:
    board = Board(tmp_path)
    log = PhaseLog(Path(board.feed.phases))
    log.skip()
    for _ in range(CAPACITY + 1):
        board.enter(TRAIN, 10, IDLE)
    with pytest.raises(InfrastructureError, match="faster than the meter could follow"):
        list(log.changes())


def test_a_spec_crosses_as_json_and_mistakes_are_named(tmp_path: Path) -> None:
    spec = InstrumentSpec("ppk2", str(tmp_path), Script((Stretch(1.0, 5.0, "compute"),), speed=0))
    assert InstrumentSpec.from_json(spec.to_json()) == spec
    board = InstrumentSpec("lpm01a", str(tmp_path), Board(tmp_path).feed)
    assert InstrumentSpec.from_json(board.to_json()) == board
    with pytest.raises(ConfigError, match=r"faults\.noise_ua"):
        InstrumentSpec.from_json(spec.to_json().replace('"noise_ua":0.0', '"noise_ua":-1'))
