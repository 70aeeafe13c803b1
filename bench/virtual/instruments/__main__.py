"""One emulated meter, one process.

    python -m bench.virtual.instruments --spec JSON [--child]

When it is ready it prints one line of JSON: `{"port"}`, or `{"error", "kind"}` when it cannot start. It ends on SIGTERM
and SIGINT, and with --child also when its standard input ends.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from bench.errors import BenchError
from bench.virtual.instruments.board_feed import VirtualBoardFeed
from bench.virtual.instruments.feeds import Feed, ScriptFeed
from bench.virtual.instruments.instrument import Instrument
from bench.virtual.instruments.lpm01a import VirtualLpm01a
from bench.virtual.instruments.ppk2 import VirtualPpk2
from bench.virtual.instruments.spec import InstrumentSpec, Script
from bench.virtual.lifetime import watch_for_the_end
from bench.virtual.loop import Loop


def make_instrument(spec: InstrumentSpec, loop: Loop) -> Instrument:
    """The meter that a spec describes."""
    feed: Feed = ScriptFeed(spec.feed) if isinstance(spec.feed, Script) else VirtualBoardFeed(spec.feed)
    made = VirtualPpk2 if spec.kind == "ppk2" else VirtualLpm01a
    return made(loop, Path(spec.folder), feed, spec.faults)


def main() -> int:
    """The process; returns its exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    parser = argparse.ArgumentParser(prog="bench.virtual.instruments", description="Runs one emulated meter.")
    parser.add_argument("--spec", required=True, help="the meter as JSON, see spec.py")
    parser.add_argument("--child", action="store_true", help="end when standard input does")
    arguments = parser.parse_args()
    try:
        loop = Loop()
        spec = InstrumentSpec.from_json(arguments.spec, "--spec")
        instrument = make_instrument(spec, loop)
        receiver = watch_for_the_end(loop, arguments.child)
        try:
            print(json.dumps({"port": str(instrument.terminal.path)}), flush=True)
            loop.run()
        finally:
            instrument.close()
            receiver.close()
            loop.close()
    except BenchError as error:
        print(json.dumps({"error": str(error), "kind": type(error).__name__}), flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
