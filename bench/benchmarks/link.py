"""How much of a serial line's rate is payload: parameters down and up, over lines as slow as real ones.

    python -m bench.benchmarks.link [--board NAME]... [--baud RATE]... [--passes N] [--json FILE]

Emulated boards of each kind run the demo's program behind a line that takes the time of a real one. The line's rate is
a tenth of the baud rate, in bytes a second. Payload is parameters alone: headers, offsets and checksums are not
counted, and every wait is. The command ends with 1 where a figure is below 95 %.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.benchmarks.files import write_document
from bench.benchmarks.paced_line import PacedLine
from bench.build import build
from bench.compiler.recipe import Recipe, make
from bench.errors import ConfigError
from bench.link.device import Device
from bench.link.port import open_port
from bench.link.session import Session
from bench.rack import flash as pyocd
from bench.rack.manifest import load_manifest
from bench.virtual.rack import Endpoint, VirtualRack
from bench.virtual.spec import VirtualBoardSpec

GOAL = 0.95
BAUDS = (9600, 57600)
# One board of each kind of console and core: environment and machine.
BOARDS = {
    "plus2": ("netduinoplus2", "netduinoplus2"),
    "h405": ("olimex_stm32_h405", "olimex-stm32-h405"),
    "n2": ("netduino2", "netduino2"),
    "iot": ("b_l475e_iot01a", "b-l475e-iot01a"),
    "bit": ("microbit", "microbit"),
    "dk": ("nrf52840_dk", "nrf52840-dk"),
}


@dataclass(frozen=True)
class Throughput:
    """One direction of one board's line; bytes a second. `repeated`: bytes that had to be sent again."""

    board: str
    baud: int
    direction: str
    payload_bytes: int
    seconds: float
    repeated: int

    @property
    def share(self) -> float:
        """Of the line's rate."""
        return self.payload_bytes / self.seconds / (self.baud / 10)


def measure(board: str, end: Endpoint, baud: int, passes: int) -> list[Throughput]:
    """Parameters down and up, `passes` times each. What comes back must be what was sent."""
    with PacedLine(end.serial, baud) as line, Session(open_port(line.path, baud)) as session:
        device = Device(session)
        size = device.hello().params_bytes
        down_s = up_s = 0.0
        repeated_down = repeated_up = 0
        for _ in range(passes):
            data = os.urandom(size)
            before, begun = device.counters.snapshot(), time.monotonic()
            device.write_params(data)
            middle, turn = device.counters.snapshot(), time.monotonic()
            got = device.read_params()
            up_s += time.monotonic() - turn
            down_s += turn - begun
            repeated_down += (middle - before).retransmitted_down
            repeated_up += (device.counters - middle).retransmitted_up
            if got != data:
                raise ConfigError(f"board {board}: read back what was not written: is its image the demo's?")
    return [
        Throughput(board, baud, "down", size * passes, down_s, repeated_down),
        Throughput(board, baud, "up", size * passes, up_s, repeated_up),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.benchmarks.link", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--board", action="append", choices=tuple(BOARDS), help="may be repeated; all if absent")
    parser.add_argument("--baud", action="append", type=int, metavar="RATE", help=f"may be repeated; default: {BAUDS}")
    parser.add_argument("--passes", type=int, default=0, metavar="N", help="default: about ten seconds of them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows")
    options = parser.parse_args(arguments)
    boards, bauds = options.board or list(BOARDS), options.baud or BAUDS
    images = build(sorted({BOARDS[name][0] for name in boards}), make(Recipe("demo-cnn")).plan.name)
    rows: list[Throughput] = []
    with tempfile.TemporaryDirectory(prefix="bench-link-") as folder:
        for name in boards:  # one after the other: a core for the board, one for its line
            env, machine = BOARDS[name]
            spec = VirtualBoardSpec.for_env(name, env, machine)
            with VirtualRack([spec], Path(folder), counting=False) as rack:
                end = rack.endpoints[name]
                _flash(name, env, end, images[env].read_bytes(), Path(folder))
                for baud in bauds:
                    rows += measure(name, end, baud, options.passes or max(1, round(10 * baud / 10 / 9000)))
                    print(f"{name} {baud}: " + ", ".join(f"{r.direction} {r.share:.1%}" for r in rows[-2:]), flush=True)
    _show(rows)
    if options.json is not None:
        write_document(options.json, "link", {"link": [{**asdict(row), "share": row.share} for row in rows]})
    return 0 if all(row.share >= GOAL for row in rows) else 1


def _flash(name: str, env: str, end: Endpoint, image: bytes, folder: Path) -> None:
    manifest = load_manifest(env)
    assert end.probe is not None  # only host boards have none
    target = pyocd.Target(name, end.probe, manifest.pyocd_target)
    pyocd.flash(
        target,
        {manifest.flash.base: image},
        folder / "files",
        timeout_s=manifest.flash_timeout_s,
        log=lambda _line: None,
    )


def _show(rows: Sequence[Throughput]) -> None:
    table = Table("board", "baud", "direction", "payload bytes/s", "of the line", "sent again", title="Payload")
    for row in rows:
        mark = "" if row.share >= GOAL else f" (below {GOAL:.0%})"
        rate = f"{row.payload_bytes / row.seconds:,.0f}"
        table.add_row(row.board, str(row.baud), row.direction, rate, f"{row.share:.1%}{mark}", f"{row.repeated:,}")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
