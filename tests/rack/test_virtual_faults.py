"""What goes wrong with an emulated board on purpose, and the rung of the ladder that heals it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bench_command import inventory_text

from bench.build import build
from bench.data import partition
from bench.errors import BenchError, InfrastructureError
from bench.rack import image as images
from bench.rack.board import Board
from bench.rack.inventory import load_inventory
from bench.rack.rack import Rack, keep_up
from bench.rack.recovery import QUARANTINE, Recovery
from bench.virtual.faults.control import ArmedFault
from bench.virtual.faults.spec import Fault


@pytest.fixture(scope="module")
def image(int8_program: str) -> bytes:
    return build(["microbit"], int8_program)["microbit"].read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, image: bytes) -> Path:
    path = tmp_path_factory.mktemp("faults")
    (path / "rack.yaml").write_text(inventory_text(["bit"]))
    (path / "wrong.bin").write_bytes(images.renamed(image, b"another!"))
    return path


@pytest.fixture(scope="module")
def board(folder: Path, image: bytes) -> Iterator[Board]:
    generator = np.random.default_rng(1)
    samples = generator.integers(-64, 64, (30, 196)).astype(np.int8)
    data = partition.build(samples, generator.integers(0, 10, 30).astype(np.uint8), 10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_LOCK_DIR", str(folder / "locks"))
        with Rack.open(load_inventory(folder / "rack.yaml"), purpose="tests", state_dir=folder / "state") as rack:
            rack.boards["bit"].flash(image, data)
            yield rack.boards["bit"]


def suffers(board: Board, fault: Fault) -> Recovery:
    """The board is spoken to until the fault is felt, and brought back."""
    found: list[Recovery] = []
    board.on_recovery = found.append
    board.connect()
    armed = ArmedFault(Path(board.ends.serial).parent, fault)
    reason = "nothing was felt"
    try:
        for _ in range(4):
            board.device().stats()
    except BenchError as error:
        reason = str(error)
    board.recover(reason=reason)
    assert armed.wait("struck", 1)
    armed.close()
    board.device().stats()
    return found[-1]


@pytest.mark.parametrize("kind", ["bit-flip", "drop", "burst", "stall"])
def test_the_link_mends_what_happens_on_the_line(board: Board, kind: str) -> None:
    for direction in ("down", "up"):
        found = suffers(board, Fault(kind, direction, 9, size=5, seconds=0.2))
        assert (found.rung, found.reason) == ("resync", "nothing was felt")


@pytest.mark.parametrize(
    ("fault", "felt", "rung"),
    [
        (Fault("disconnect", after=9, seconds=0.5), "has gone", "resync"),
        (Fault("reset", after=9), "has reset", "resync"),
        (Fault("hard-fault", after=9), "has reset", "resync"),
        (Fault("hang", after=9), "no reply to STATS", "reset"),
        (Fault("wrong-build", after=9, image="wrong.bin"), "has reset", "flash"),
        (Fault("brown-out", after=9, size=100, seconds=0.3, image="wrong.bin"), "has reset", "flash"),
        (Fault("probe-gone", after=9), "no reply to STATS", "power-cycle"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else value.replace(" ", "-"),
)
def test_each_fault_is_healed_by_its_rung(board: Board, folder: Path, fault: Fault, felt: str, rung: str) -> None:
    if fault.image:
        fault = Fault(
            fault.kind, after=fault.after, size=fault.size, seconds=fault.seconds, image=str(folder / fault.image)
        )
    found = suffers(board, fault)
    assert felt in found.reason
    assert found.rung == rung
    before = ["resync", "reset", "flash", "power-cycle"]
    assert [tried.rung for tried in found.tried] == before[: before.index(rung)]
    assert found.document()["seconds"] >= sum(tried.seconds for tried in found.tried) - 0.01


def test_after_a_hard_fault_the_board_says_where(board: Board) -> None:
    suffers(board, Fault("hard-fault", after=9))
    hello = board.connect()
    assert hello.fault_valid
    assert hello.fault_pc == 0xE0100000


def test_a_board_that_no_rung_brings_back_is_left_alone(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Recovery] = []
    board.on_recovery = told.append

    def broken() -> None:
        raise InfrastructureError("smoke")

    with monkeypatch.context() as patch:
        patch.setattr(board, "rungs", lambda _cancelled: [("resync", broken), ("reset", broken)])
        with pytest.raises(InfrastructureError, match="board bit does not come back: resync: smoke; reset: smoke"):
            board.recover()
    with pytest.raises(InfrastructureError, match="board bit does not come back"):
        board.recover()
    assert [found.rung for found in told] == [QUARANTINE], "nothing is tried on a board in quarantine"
    board.restore()
    assert board.recover() == "resync"


def test_a_board_of_another_process_is_power_cycled_too(folder: Path, image: bytes) -> None:
    """One that `bench rack up` keeps: what is in its flash stays, its RAM does not."""
    inventory = load_inventory(folder / "rack.yaml")
    state = folder / "state-up"
    with keep_up(inventory, state_dir=state), Rack.open(inventory, purpose="tests", state_dir=state) as rack:
        board = rack.boards["bit"]
        board.flash(image)
        board.device().write_params(b"\x55" * 64)
        cycle = board._power_cycle
        assert cycle is not None
        board._off_and_on(cycle, None)
        assert board.connect().build_id == images.verify(image).build_id
        assert board.device().read_params(length=64) != b"\x55" * 64
