"""How long flashing takes: one board, and several at once.

    python -m bench.benchmarks.flashing [--board NAME] [--at-once N]... [--repeats R] [--json FILE]

Emulated boards of one kind are flashed whole, image and shard, every page of it, as `bench flash` does it with a board
that it knows nothing of; verification by the boards' own checksums is included. The goal is that N boards, up to the
number of cores, take less than 1.3 times what one takes. One and several take turns, but on a machine with other work
the figures still say something of that; the load is printed. The command ends with 1 where the goal is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.benchmarks.brown_out import shard
from bench.benchmarks.files import write_document
from bench.benchmarks.link import BOARDS
from bench.build import build
from bench.compiler.recipe import Recipe, make
from bench.errors import DeviceError
from bench.rack import flash as pyocd
from bench.rack.board import Board, BoardLog, Ends
from bench.rack.entry import BoardEntry
from bench.rack.manifest import load_manifest
from bench.rack.rack import at_once
from bench.virtual.rack import VirtualRack
from bench.virtual.spec import VirtualBoardSpec

GOAL = 1.3


@dataclass(frozen=True)
class Duration:
    """So many boards at once: the median over the repeats, and all of them. `load`: of the machine before."""

    boards: int
    seconds: float
    all_seconds: tuple[float, ...]
    load: float


def measure(boards: Sequence[Board], image: bytes, numbers: Sequence[int], repeats: int) -> list[Duration]:
    """Flashes so many of the boards at once, in turn, so that what else the machine does strikes all alike.

    Every page is erased and programmed, also where it has these contents already.
    """
    load = os.getloadavg()[0]
    taken: dict[int, list[float]] = {number: [] for number in numbers}
    for repeat in range(repeats):
        data = shard(repeat)
        for number in numbers:
            begun = time.monotonic()
            at_once(boards[:number], lambda board, data=data: _flash(board, image, data))  # type: ignore[misc]
            taken[number].append(time.monotonic() - begun)
    return [Duration(number, statistics.median(times), tuple(times), load) for number, times in taken.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.benchmarks.flashing", description=(__doc__ or "").split("\n")[0]
    )
    cores = os.cpu_count() or 1
    parser.add_argument("--board", choices=tuple(BOARDS), default="plus2", help="kind of board; default: %(default)s")
    parser.add_argument("--at-once", action="append", type=int, metavar="N", help=f"may be repeated; default: {cores}")
    parser.add_argument("--repeats", type=int, default=3, metavar="R", help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows")
    options = parser.parse_args(arguments)
    env, machine = BOARDS[options.board]
    image = build([env], make(Recipe("demo-cnn")).plan.name)[env].read_bytes()
    numbers = sorted({1, *(options.at_once or [cores])})
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-flashing-")))
        names = [f"{options.board}-{number}" for number in range(max(numbers))]
        specs = [VirtualBoardSpec.for_env(name, env, machine) for name in names]
        rack = stack.enter_context(VirtualRack(specs, folder / "state", counting=False))
        boards = [_board(name, env, rack, folder) for name in names]
        for board in boards:
            stack.callback(board.close)
        rows = measure(boards, image, numbers, options.repeats)
    missed = False
    for row in rows:
        ratio = row.seconds / rows[0].seconds
        over = row.boards <= cores and ratio >= GOAL
        missed |= over
        print(f"{row.boards} at once: {row.seconds:.2f} s, {ratio:.2f} times one board's"
              f"{f' (goal: below {GOAL})' if over else ''}; load before {row.load:.1f} on {cores} cores")  # fmt: skip
    if options.json is not None:
        write_document(options.json, "flashing", {"cores": cores, "flashing": [asdict(row) for row in rows]})
    return 1 if missed else 0


def _flash(board: Board, image: bytes, data: bytes) -> None:
    flash = board.manifest.flash
    pyocd.flash(
        pyocd.Target(board.name, board.ends.probe, board.entry.target),
        {flash.base: image, flash.data_base: data},
        board.log.path.parent / board.name,
        timeout_s=board.manifest.flash_timeout_s,
        log=board.log,
        trust_nothing=True,
    )
    if board.flash(image, data):  # verifies, and would flash again what is not there
        raise DeviceError(f"board {board.name}: it had to be flashed twice; see {board.log.path}")


def _board(name: str, env: str, rack: VirtualRack, folder: Path) -> Board:
    manifest, end = load_manifest(env), rack.endpoints[name]
    assert end.probe is not None  # only host boards have none
    entry = BoardEntry(name=name, env=env, target=manifest.pyocd_target, probe=end.probe, baud=manifest.baud)
    return Board(entry, Ends(end.probe, end.serial), BoardLog(folder / f"{name}.log"), folder / name)


if __name__ == "__main__":
    sys.exit(main())
