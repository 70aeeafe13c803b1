"""How long flashing takes: one board, and several at once.

    python -m bench.benchmarks.flashing [--board NAME] [--at-once N]... [--repeats R] [--json FILE]

Emulated boards of one kind are flashed whole, image and shard, as `bench flash --force` does it, verification by the
boards' own checksums included. The goal is that N boards, up to the number of cores, take less than 1.3 times what one
takes. On a machine with other work the figures say as much of that; the load is printed. The command ends with 1 where
the goal is missed.
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
from bench.rack.board import Board, BoardLog, Ends
from bench.rack.inventory import BoardEntry
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


def measure(boards: Sequence[Board], image: bytes, repeats: int, first_seed: int) -> Duration:
    """Flashes these boards at once, `repeats` times, each time with another shard."""
    load, taken = os.getloadavg()[0], []
    for repeat in range(repeats):
        data = shard(first_seed + repeat)
        begun = time.monotonic()
        at_once(boards, lambda board, data=data: board.flash(image, data, force=True))  # type: ignore[misc]
        taken.append(time.monotonic() - begun)
    return Duration(len(boards), statistics.median(taken), tuple(taken), load)


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
        rows = [measure(boards[:number], image, options.repeats, 100 * number) for number in numbers]
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


def _board(name: str, env: str, rack: VirtualRack, folder: Path) -> Board:
    manifest, end = load_manifest(env), rack.endpoints[name]
    assert end.probe is not None  # only host boards have none
    entry = BoardEntry(name=name, env=env, target=manifest.pyocd_target, probe=end.probe, baud=manifest.baud)
    return Board(entry, Ends(end.probe, end.serial), BoardLog(folder / f"{name}.log"), folder / name)


if __name__ == "__main__":
    sys.exit(main())
