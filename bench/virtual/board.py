"""One virtual board, one process: debug port, flash, serial line and the image in QEMU.

    python -m bench.virtual.board --spec FILE_OR_JSON --state DIRECTORY [--plugin LIBRARY] [--child]

When it is ready it prints one line of JSON: `{"pid", "probe_port", "serial", "counter"}`, or `{"error", "kind"}` when
it cannot start. It ends on SIGTERM and SIGINT, and with --child also when its standard input ends, which is when the
process that started it is gone in whatever way. QEMU, terminal and transient files end with it.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
from pathlib import Path

from bench.errors import BenchError, ConfigError
from bench.virtual.lifetime import DirectoryLock, watch_for_the_end
from bench.virtual.spec import VirtualBoardSpec

LOG = logging.getLogger(__name__)


def _prepare(state: Path, name: str) -> DirectoryLock:
    """Takes the state directory and clears what a killed board has left in it."""
    state.mkdir(parents=True, exist_ok=True)
    lock = DirectoryLock(state, f"virtual board {name}")
    shutil.rmtree(state / "run", ignore_errors=True)
    for left in state.glob("*.new"):
        left.unlink(missing_ok=True)
    (state / "run").mkdir()
    return lock


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.virtual.board", description="Runs one virtual board.")
    parser.add_argument("--spec", required=True, help="the board as JSON, or a file with it")
    parser.add_argument("--state", required=True, type=Path, help="directory of its flash contents; made if missing")
    parser.add_argument("--plugin", type=Path, help="the instruction counter's library; without it nothing is counted")
    parser.add_argument("--child", action="store_true", help="end when standard input does")
    return parser.parse_args()


def _serve(arguments: argparse.Namespace) -> None:
    text: str = arguments.spec
    if not text.lstrip().startswith("{"):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"--spec {arguments.spec}: {error.strerror}") from error
    spec = VirtualBoardSpec.from_json(text, "--spec")
    if spec.is_host:
        raise ConfigError(f"board {spec.name}: machine host runs without this process; the rack starts it")
    machine = spec.emulated()
    from bench.virtual.assembly import VirtualBoard  # raises ConfigError when Unicorn is missing

    state: Path = arguments.state.resolve()
    lock = _prepare(state, spec.name)
    try:
        board = VirtualBoard(spec, machine, state, arguments.plugin)
        receiver = watch_for_the_end(board.loop, arguments.child)
        try:
            board.power_on()
            print(json.dumps(board.reached_at()), flush=True)
            LOG.info("board %s: probe port %d, serial line %s", spec.name, board.server.port, board.line.path)
            board.loop.run()
        finally:
            board.close()
            receiver.close()
    finally:
        shutil.rmtree(state / "run", ignore_errors=True)
        lock.release()


def main() -> int:
    """The process; returns its exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        _serve(_arguments())
    except BenchError as error:
        print(json.dumps({"error": str(error), "kind": type(error).__name__}), flush=True)
        LOG.error("%s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
