"""Wall time and processor time of a round, over and over."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Clock = Callable[[], float]


def measure(
    run: Callable[[int], None],
    *,
    most: int,
    updates: int,
    repeats: int,
    seconds: float,
    processor: Clock = time.process_time,
) -> dict[str, Any]:
    """Seconds a client's update takes.

    Args:
        run: trains that many units, one after the other or at the same time.
        most: units of the largest round.
        updates: clients' updates in a unit.
        repeats: rounds, after one unit that says how many a round should have.
        seconds: of all rounds; none but the first begins later.
        processor: processor seconds used so far by everything that `run` starts.

    Returns:
        `wall_s` and `processor_s`: of an update, one value for each round; `round_updates`.
    """
    began = time.perf_counter()
    run(1)
    units = max(1, min(most, round(seconds / repeats / max(time.perf_counter() - began, 1e-9))))
    wall: list[float] = []
    used: list[float] = []
    deadline = time.perf_counter() + seconds
    while len(wall) < repeats and (not wall or time.perf_counter() < deadline):
        began, before = time.perf_counter(), processor()
        run(units)
        wall.append((time.perf_counter() - began) / (units * updates))
        used.append((processor() - before) / (units * updates))
    return {"wall_s": wall, "processor_s": used, "round_updates": units * updates}


def processes_seconds() -> float:
    """Processor seconds of this process, of its descendants, and of those that these have waited for (Linux; in ticks
    of 10 ms)."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            parents[int(entry.name)] = int(fields[1])
            ticks[int(entry.name)] = sum(map(int, fields[11:15]))
    ours = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(ticks.get(process, 0) for process in ours) / os.sysconf("SC_CLK_TCK")
