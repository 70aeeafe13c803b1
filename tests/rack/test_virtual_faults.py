"""What goes wrong with an emulated board on purpose, and the rung of the ladder that heals it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.build import build
from bench.data import partition
from bench.errors import BenchError, InfrastructureError
from bench.pytest_plugin.boards import RackBoard
from bench.pytest_plugin.rack import Rack
from bench.rack import image as images
from bench.rack.board import Board
from bench.rack.inventory import load_inventory
from bench.rack.rack import Rack as OpenRack
from bench.rack.rack import keep_up
from bench.rack.recovery import QUARANTINE, Recovery
from bench.virtual.faults.control import ArmedFault
from bench.virtual.faults.spec import Fault

pytestmark = pytest.mark.board(physical=False, one=True)


@pytest.fixture(scope="module")
def image(board: RackBoard, int8_program: str) -> bytes:
    return build([board.env], int8_program)[board.env].read_bytes()


@pytest.fixture(scope="module")
def another(image: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another build."""
    path = tmp_path_factory.mktemp("faults") / "wrong.bin"
    path.write_bytes(images.renamed(image, b"another!"))
    return path


@pytest.fixture
def flashed(board: RackBoard, image: bytes) -> Board:
    generator = np.random.default_rng(1)
    samples = generator.integers(-64, 64, (30, 196)).astype(np.int8)
    board.flash_image(image, partition.build(samples, generator.integers(0, 10, 30).astype(np.uint8), 10))
    return board.opened


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
def test_the_link_mends_what_happens_on_the_line(flashed: Board, kind: str) -> None:
    for direction in ("down", "up"):
        found = suffers(flashed, Fault(kind, direction, 9, size=5, seconds=0.2))
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
def test_each_fault_is_healed_by_its_rung(flashed: Board, another: Path, fault: Fault, felt: str, rung: str) -> None:
    if fault.image:
        fault = Fault(fault.kind, after=fault.after, size=fault.size, seconds=fault.seconds, image=str(another))
    found = suffers(flashed, fault)
    assert felt in found.reason
    assert found.rung == rung
    before = ["resync", "reset", "flash", "power-cycle"]
    assert [tried.rung for tried in found.tried] == before[: before.index(rung)]
    assert found.document()["seconds"] >= sum(tried.seconds for tried in found.tried) - 0.01


def test_after_a_hard_fault_the_board_says_where(flashed: Board) -> None:
    suffers(flashed, Fault("hard-fault", after=9))
    hello = flashed.connect()
    assert hello.fault_valid
    assert hello.fault_pc == 0xE0100000


def test_a_board_that_no_rung_brings_back_is_left_alone(flashed: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Recovery] = []
    flashed.on_recovery = told.append

    def broken() -> None:
        raise InfrastructureError("smoke")

    left_alone = f"board {flashed.name} does not come back"
    with monkeypatch.context() as patch:
        patch.setattr(flashed, "rungs", lambda _cancelled: [("resync", broken), ("reset", broken)])
        with pytest.raises(InfrastructureError, match=f"{left_alone}: resync: smoke; reset: smoke"):
            flashed.recover()
    with pytest.raises(InfrastructureError, match=left_alone):
        flashed.recover()
    assert [found.rung for found in told] == [QUARANTINE], "nothing is tried on a board in quarantine"
    flashed.restore()
    assert flashed.recover() == "resync"


def test_a_board_of_another_process_is_power_cycled_too(board: RackBoard, rack: Rack, image: bytes) -> None:
    """One that `bench rack up` keeps: what is in its flash stays, its RAM does not."""
    with rack.cohort(name=board.name).lent() as lent:
        inventory = load_inventory(lent.rack)
        with (
            keep_up(inventory, state_dir=lent.state),
            OpenRack.open(inventory, purpose="tests", state_dir=lent.state) as opened,
        ):
            joined = opened.boards[board.name]
            joined.flash(image)
            joined.device().write_params(b"\x55" * 64)
            cycle = joined._power_cycle
            assert cycle is not None
            joined._off_and_on(cycle, None)
            assert joined.connect().build_id == images.verify(image).build_id
            assert joined.device().read_params(length=64) != b"\x55" * 64
