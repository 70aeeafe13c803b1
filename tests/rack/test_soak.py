"""`bench soak`, run as a user would: Ctrl-C in between, and nothing lost.

Two hundred faults of all kinds, on three boards so that build and flash are short: what takes the time is a second of
time-out for each fault of a line, 60 s in all, and the ladder for the others. `make soak` injects ten thousand on the
default rack.
"""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bench_command import Bench

from bench.soak.plan import SHARES

COUNT = 200


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the awaited moment did not come"
        time.sleep(0.05)  # polls with a deadline: what is awaited is a file of another process


@pytest.fixture(scope="module")
def document(bench: Bench) -> dict[str, object]:
    """Of a soak that was interrupted after its first leg, and resumed."""
    bench.use("bit", "plus2", "n2")
    reports = bench.folder / "reports"
    arguments = ("soak", "--faults", "all", "--count", str(COUNT), "--seed", "3", "--reports", str(reports))
    process = bench.start(*arguments)
    wait_for(lambda: any(reports.glob("soaks/*/legs/0001.json")) or process.poll() is not None, 600)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    wait_for(lambda: not bench.leftovers(), 20)
    (table,) = reports.glob("soaks/*/soak.md")
    assert table.read_text().startswith("| fault |"), "what has come of it so far"
    done = bench.run(*arguments, "--resume", "--json", timeout=600)
    assert done.returncode == 0, done.stderr
    assert len(list((reports / "soaks").iterdir())) == 1
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_every_kind_was_injected_and_recovered(document: dict[str, object]) -> None:
    kinds = {kind["fault"]: kind for kind in document["kinds"]}
    assert kinds.keys() == SHARES.keys()
    assert document["injected"] == document["recovered"] == COUNT
    assert sum(kind["injected"] for kind in kinds.values()) == COUNT
    for kind in kinds.values():
        assert kind["injected"] == kind["recovered"] == sum(kind["rungs"].values()), kind


def test_the_costly_kinds_were_healed_by_rungs_that_can(document: dict[str, object]) -> None:
    """Which exactly depends on when they strike; a lower rung cannot."""
    rungs = {kind["fault"]: set(kind["rungs"]) for kind in document["kinds"]}
    assert rungs["disk-full"] == {"resume"}
    assert rungs["meter-freeze"] == {"reopen"}
    assert rungs["probe-gone"] <= {"power-cycle", "flash after power-cycle"}
    assert rungs["wrong-build"] <= {"flash", "flash after power-cycle"}
    assert rungs["brown-out"] <= {"flash", "flash after power-cycle"}
    assert rungs["hang"] <= {"reset", "flash", "power-cycle", "flash after power-cycle"}


def test_nothing_was_lost_counted_twice_hanging_or_wrong(document: dict[str, object]) -> None:
    assert document["weights_equal"] is True
    for total in ("lost_updates", "duplicated_updates", "hangs", "leaked_processes", "wrong_figures"):
        assert document[total] == 0, total
        assert isinstance(document[total], int)
    assert document["updates"] + document["left_out"] == document["legs"] * 8 * 3


def test_each_fault_is_recorded_with_time_board_and_details(document: dict[str, object]) -> None:
    folder = Path(str(document["folder"]))
    faults = [json.loads(line) for line in (folder / "faults.jsonl").read_text().splitlines()]
    assert sorted(fault["number"] for fault in faults) == list(range(COUNT))
    assert {fault["board"] for fault in faults} >= {"bit", "plus2", "n2"}
    assert all(fault["at"] and fault["details"] and fault["rung"] for fault in faults)
    assert (folder / "soak.md").read_text().count("\n") == 2 + len(SHARES)


def test_nothing_is_left_running(bench: Bench, document: dict[str, object]) -> None:
    assert bench.leftovers() == []
    assert document["passed"] is True


def test_what_cannot_be_soaked_is_refused(bench: Bench) -> None:
    done = bench.run("soak", "--faults", "flood", "--json")
    assert done.returncode == 2
    assert "no kind 'flood': say all, or some of bit-flip" in json.loads(done.stdout)["error"]["message"]
    done = bench.run("soak", "--resume", "--count", "77", "--reports", str(bench.folder / "none"))
    assert done.returncode == 2
    assert "no unfinished soak" in done.stderr
