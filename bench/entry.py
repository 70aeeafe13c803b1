"""Where the command `bench` begins: what it imports takes a second, in which Ctrl-C should end it as later on."""

from __future__ import annotations

import json
import os
import signal
import sys
from types import FrameType


def main() -> int:
    """Runs the command; returns its exit code."""
    signal.signal(signal.SIGINT, _interrupted)
    from bench.cli import main as run

    return run()


def _interrupted(_signal: int, _frame: FrameType | None) -> None:
    """Nothing has been started yet."""
    message = "interrupted"
    os.write(2, f"bench: {message}\n".encode())
    if "--json" in sys.argv[1:]:
        error = {"kind": "Interrupted", "message": message, "exit_code": 130}
        os.write(1, (json.dumps({"error": error}, indent=2) + "\n").encode())
    os._exit(130)
