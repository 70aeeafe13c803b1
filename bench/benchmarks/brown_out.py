"""Power cut at many points of a flash: does the next flash bring the board back?

    python -m bench.benchmarks.brown_out [--board NAME]... [--points 200] [--seed 0] [--json FILE]

A flash is some thousands of requests to the debug probe. It is made once to count them; then again and again, and each
time the emulated board is killed at the next of evenly spread requests, as it is carried out: RAM and registers are
gone, and flash holds what was erased and programmed by then. The board is then switched on, and flashed as `bench
flash` does it: from whatever state it is in, without being told. It must end verified by the board's own checksums, and
byte by byte in its flash file. The command ends with 1 where it does not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np

from bench.benchmarks.files import write_document
from bench.benchmarks.link import BOARDS
from bench.build import build
from bench.compiler.recipe import Recipe, make
from bench.data import partition
from bench.errors import BenchError
from bench.rack import flash as pyocd
from bench.rack.board import Board, BoardLog, Ends
from bench.rack.entry import BoardEntry
from bench.rack.manifest import BoardManifest, load_manifest
from bench.virtual.rack import VirtualRack
from bench.virtual.spec import VirtualBoardSpec

DEFAULT_POINTS = 200
_RECORDS = 20
_TRANSFER_ERROR = 10  # of pyOCD's remote-probe protocol


@dataclass(frozen=True)
class Point:
    """One cut: at which of the flash's requests, what the board said when it was on again, and whether it came back.

    `state`: `blank` (no vector table, so nothing ran), `silent` or `runs`: a board whose image was whole.
    """

    board: str
    request: int
    state: str
    back: bool
    seconds: float
    reason: str = ""


class CutProbe:
    """Between pyOCD and a board's probe: passes everything on, counts requests, and calls `cut` at one of them."""

    def __init__(self, target: int) -> None:
        self.target = target
        """The port of the board's probe; it changes when the board is switched on again."""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.probe = f"remote:127.0.0.1:{self._server.getsockname()[1]}"
        self.requests = 0
        self._cut_at: int | None = None
        self._cut: Callable[[], None] = lambda: None
        self._last = b""
        self._stop, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def arm(self, at: int | None, cut: Callable[[], None] = lambda: None) -> None:
        """Counts from zero; calls `cut` once `at` requests are through, never for None."""
        self.requests, self._cut_at, self._cut = 0, at, cut

    def __enter__(self) -> Self:
        """Begins to serve."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it."""
        os.write(self._wake, b"x")
        self._thread.join()
        self._server.close()
        os.close(self._stop)
        os.close(self._wake)

    def _serve(self) -> None:
        while True:
            ready = _ready(self._server, self._stop)
            if self._stop in ready:
                return
            client, _ = self._server.accept()
            with client, suppress(OSError), socket.create_connection(("127.0.0.1", self.target)) as board:
                for end in (client, board):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._carry(client, board):
                    return

    def _carry(self, client: socket.socket, board: socket.socket) -> bool:
        """Until either end goes away (False) or the server is to stop (True)."""
        while True:
            ready = _ready(client, board, self._stop)
            if self._stop in ready:
                return True
            if board in ready:
                data = board.recv(1 << 16)
                if not data:
                    return False
                client.sendall(data)
            if client in ready:
                data = client.recv(1 << 16)
                if not data:
                    return False
                if self._pass_on(data, board):
                    return self._answer_without_board(client)

    def _answer_without_board(self, client: socket.socket) -> bool:
        """The probe has power of its own: it lives on, and finds no target any more."""
        client.sendall(_no_target(self._last))
        while True:
            ready = _ready(client, self._stop)
            if self._stop in ready:
                return True
            data = client.recv(1 << 16)
            if not data:
                return False
            for line in data.splitlines():
                client.sendall(_no_target(line))

    def _pass_on(self, data: bytes, board: socket.socket) -> bool:
        """Requests, up to the one of the cut. True when that has come."""
        for line in data.splitlines(keepends=True):
            board.sendall(line)
            self.requests += line.endswith(b"\n")
            if self.requests == self._cut_at:
                self._cut_at, self._last = None, line
                self._cut()
                return True
        return False


class Subject:
    """A board of the benchmark: emulated, behind a probe that can be cut, with an image and shards to flash."""

    def __init__(self, name: str, image: bytes, rack: VirtualRack, probe: CutProbe, folder: Path) -> None:
        env, _ = BOARDS[name]
        self.name, self.image = name, image
        self.manifest: BoardManifest = load_manifest(env)
        self._rack, self._probe, self._folder = rack, probe, folder
        self._log = BoardLog(folder / f"{name}.log")
        self._entry = BoardEntry(
            name=name, env=env, target=self.manifest.pyocd_target, probe=probe.probe, baud=self.manifest.baud
        )

    def count(self) -> int:
        """Flashes everything; returns how many requests that took."""
        self._probe.arm(None)
        self._write(shard(0))
        return self._probe.requests

    def cut_at(self, request: int, seed: int) -> Point:
        """Cuts the power at one request of a flash of everything, switches on again, and flashes."""
        begun = time.monotonic()
        off = threading.Event()

        def power_off() -> None:
            os.kill(self._rack.endpoints[self.name].pid, signal.SIGKILL)
            off.set()

        self._probe.arm(request, power_off)
        data = shard(seed)
        with suppress(BenchError):  # pyOCD would look for the target for a while
            self._write(data, off)
        self._probe.arm(None)
        end = self._rack.restart(self.name)
        assert end.probe is not None  # only host boards have none
        self._probe.target = int(end.probe.rpartition(":")[2])
        board = Board(self._entry, Ends(self._probe.probe, end.serial), self._log, self._folder / self.name)
        state = self._state(board)
        try:
            board.flash(self.image, data)
            reason = self._difference(data)
        except BenchError as error:
            reason = str(error)
        finally:
            board.close()
        return Point(self.name, request, state, not reason, time.monotonic() - begun, reason)

    def _write(self, data: bytes, cancelled: threading.Event | None = None) -> None:
        segments = {self.manifest.flash.base: self.image, self.manifest.flash.data_base: data}
        target = pyocd.Target(self.name, self._probe.probe, self.manifest.pyocd_target)
        pyocd.flash(
            target,
            segments,
            self._folder / self.name,
            timeout_s=self.manifest.flash_timeout_s,
            log=self._log,
            cancelled=cancelled,
            trust_nothing=True,
        )

    def _state(self, board: Board) -> str:
        flash = self._flash_file()
        if not flash[:8].strip(b"\xff"):
            return "blank"
        try:
            board.connect(wait_s=1.0)
        except BenchError:
            return "silent"
        return "runs"

    def _difference(self, data: bytes) -> str:
        """What in the flash file is not what was flashed; empty when all of it is."""
        flash, base = self._flash_file(), self.manifest.flash.base
        for address, wanted in ((base, self.image), (self.manifest.flash.data_base, data)):
            if flash[address - base : address - base + len(wanted)] != wanted:
                return f"flash at {address:#x} is not what was written"
        return ""

    def _flash_file(self) -> bytes:
        return (self._rack.endpoints[self.name].state / "flash.bin").read_bytes()


def cut_everywhere(
    subject: Subject, points: int, seed: int = 0, tell: Callable[[Point], None] = lambda _point: None
) -> list[Point]:
    """Cuts at `points` evenly spread requests of a flash, in an order drawn by the seed."""
    total = subject.count()
    requests = [round((number + 0.5) * total / points) for number in range(points)]
    random.Random(seed).shuffle(requests)
    found = []
    for number, request in enumerate(requests):
        found.append(subject.cut_at(request, seed=1 + number))
        tell(found[-1])
    return found


def examine(
    names: Sequence[str], points: int, seed: int, tell: Callable[[Point], None] = lambda _point: None
) -> list[Point]:
    """The points divided among the boards, which are served at the same time."""
    images = build(sorted({BOARDS[name][0] for name in names}), make(Recipe("demo-cnn")).plan.name)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-brown-out-")))
        specs = [VirtualBoardSpec.for_env(name, *BOARDS[name]) for name in names]
        rack = stack.enter_context(VirtualRack(specs, folder / "state", counting=False))
        subjects = []
        for name in names:
            probe = stack.enter_context(CutProbe(int(str(rack.endpoints[name].probe).rpartition(":")[2])))
            subjects.append(Subject(name, images[BOARDS[name][0]].read_bytes(), rack, probe, folder))
        shares = [len(range(index, points, len(names))) for index in range(len(names))]
        with ThreadPoolExecutor(len(names)) as pool:
            runs = [
                pool.submit(cut_everywhere, subject, share, seed, tell)
                for subject, share in zip(subjects, shares, strict=True)
            ]
            return [point for run in runs for point in run.result()]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.benchmarks.brown_out", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--board", action="append", choices=tuple(BOARDS), help="may be repeated; default: one a family"
    )
    parser.add_argument("--points", type=int, default=DEFAULT_POINTS, metavar="N", help="in all; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the order")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows")
    options = parser.parse_args(arguments)
    done = Counter[str]()

    def tell(point: Point) -> None:
        done[point.board] += 1
        back = "back" if point.back else f"NOT BACK: {point.reason}"
        print(f"{sum(done.values())}/{options.points} {point.board} cut at request {point.request}: {point.state}, "
              f"{back}, {point.seconds:.1f} s", flush=True)  # fmt: skip

    points = examine(options.board or ["plus2", "iot", "bit", "dk"], options.points, options.seed, tell)
    states = Counter(point.state for point in points)
    lost = [point for point in points if not point.back]
    print(f"{len(points)} points: {len(points) - len(lost)} boards came back, {len(lost)} did not; "
          f"after the cut {', '.join(f'{number} {state}' for state, number in sorted(states.items()))}")  # fmt: skip
    if options.json is not None:
        write_document(options.json, "brown_out", {"points": [asdict(point) for point in points]})
    return 1 if lost else 0


def _ready(*ends: socket.socket | int) -> list[socket.socket | int]:
    return list(select.select(ends, [], [])[0])


def _no_target(request: bytes) -> bytes:
    """A probe's answer when no target acknowledges; what concerns the probe alone succeeds."""
    fields = json.loads(request)
    if fields["request"] in ("lock", "unlock", "flush", "close", "disconnect", "readprop"):
        return json.dumps({"id": fields["id"], "status": 0}).encode() + b"\n"
    return json.dumps({"id": fields["id"], "status": _TRANSFER_ERROR, "error": "no ACK received"}).encode() + b"\n"


def shard(seed: int) -> bytes:
    """A data partition of noise; another one each time, so that none is there already."""
    generator = np.random.default_rng(seed)
    samples = generator.integers(-128, 128, (_RECORDS, 196)).astype(np.int8)
    return partition.build(samples, generator.integers(0, 10, _RECORDS).astype(np.uint8), 10)


if __name__ == "__main__":
    sys.exit(main())
