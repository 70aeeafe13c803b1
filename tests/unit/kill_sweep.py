"""Kills a small federated run at every point at which it touches the disk, resumes it, and says what came out.

A program, so that it can fork: the parent stays single-threaded. `python kill_sweep.py FOLDER` prints one JSON
document: for each kill point what was being done, whether the child was killed there, and what the resumed run ended
with.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from linear_cohort import Watcher, cohort, federated, fingerprint, initial, schedule

from bench.federation import journal
from bench.federation.snapshot import unpack

ROUNDS = 3
_WATCHED = {"open", "os.rename", "os.remove", "os.mkdir", "os.truncate"}


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before_disk_operation(folder: Path, number: int) -> None:
    """From now on, the process dies before its number-th operation in `folder` (0 is the first)."""
    left = [number]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _WATCHED and str(arguments[0]).startswith(str(folder)):
            if left[0] == 0:
                kill()
            left[0] -= 1

    sys.addaudithook(hook)


def in_the_middle_of_line(number: int) -> None:
    """The process dies when half of the number-th journal line is written."""
    left, write_all = [number], journal._write_all

    def write_half(file: Any, data: bytes) -> None:
        if left[0] == 0:
            write_all(file, data[: len(data) // 2])
            kill()
        left[0] -= 1
        write_all(file, data)

    journal._write_all = write_half


def at_event(number: int) -> Watcher:
    """An observer that kills the process at the number-th event."""
    left = [number]

    def act(_event: str) -> None:
        if left[0] == 0:
            kill()
        left[0] -= 1

    return Watcher(act)


def in_child(action: Callable[[], None]) -> int | None:
    """Runs it in a fork; the signal that ended it, None when it ran to its end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    assert os.WEXITSTATUS(status) == 0
    return None


def run(folder: Path, watcher: Watcher | None = None) -> None:
    federated(folder, cohort(), schedule(ROUNDS), watcher).run(initial())


def outcome(folder: Path) -> dict[str, Any]:
    """Of a run that is resumed and finished: the weights' bits, and how often each figure is in the journal."""
    run(folder)
    read = journal.Journal(folder, "same")
    finished = read.last_round("linear")
    assert finished is not None
    rows = [[row.round, row.client, row.metric, row.value] for row in read.rows()]
    left_over = sorted(path.name for path in folder.iterdir() if path.name.startswith("."))
    weights = unpack(finished.state["simulation"]["core"]["weights"])
    return {"weights": fingerprint(weights), "rows": rows, "left_over": left_over}


def sweep(root: Path, kind: str, arm: Callable[[Path, int], Watcher | None]) -> list[dict[str, Any]]:
    results = []
    for number in range(10_000):
        folder = root / f"{kind}-{number}"

        def action(folder: Path = folder, number: int = number) -> None:
            run(folder, arm(folder, number))

        killed = in_child(action)
        report = root / f"{kind}-{number}.json"
        in_child(lambda folder=folder, report=report: report.write_text(json.dumps(outcome(folder))) and None)
        results.append({"kind": kind, "number": number, "killed": killed, **json.loads(report.read_text())})
        if killed is None:
            return results
    raise AssertionError("never ran to its end")


def arm_disk(folder: Path, number: int) -> None:
    before_disk_operation(folder, number)


def arm_line(_folder: Path, number: int) -> None:
    in_the_middle_of_line(number)


if __name__ == "__main__":
    top = Path(sys.argv[1])
    found = sweep(top, "disk", arm_disk) + sweep(top, "line", arm_line)
    found += sweep(top, "event", lambda _folder, number: at_event(number))
    print(json.dumps(found))
