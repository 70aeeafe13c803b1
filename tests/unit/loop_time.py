"""A virtual board's loop, run for a while."""

from __future__ import annotations

from bench.virtual.loop import Loop


def run_for(loop: Loop, seconds: float) -> None:
    loop._stopped = False
    loop.call_later(seconds, loop.stop)
    loop.run()
