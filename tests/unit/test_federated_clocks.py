"""The two clocks of a federation: modelled time decides who is first whatever the wall says, or the wall does."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from linear_cohort import LinearClient, Plan, cohort, federated, fingerprint, initial, schedule, straggles

from bench.federation.client import Trained, TrainJob
from bench.federation.journal import Journal

FTTE = 'strategy = "ftte"\nconcurrency = 3\nbuffer = 2\nrounds = 9'


def slow_by_the_model() -> list[LinearClient]:
    """c takes ten times as long as the others on the modelled clock."""
    clients = cohort()
    clients[2].seconds = 10.0
    return clients


def updates_of(folder: Path) -> dict[str, int]:
    rows = [row for row in Journal(folder, "same").rows() if row.metric == "samples"]
    return {name: int(sum(row.value for row in rows if row.client == name)) // 30 for name in "abc"}


def test_who_is_slow_in_modelled_time_contributes_less(tmp_path: Path) -> None:
    federated(tmp_path, slow_by_the_model(), Plan(federation=FTTE)).run(initial())
    found = updates_of(tmp_path)
    assert sum(found.values()) == 18
    assert found["c"] == 0, "its first answer is due at 10 s, and nine steps take 9 s"
    assert found["a"] == found["b"] == 9


def test_the_wall_does_not_change_a_modelled_result(tmp_path: Path) -> None:
    def held_up(client: LinearClient, job: TrainJob, cancelled: threading.Event, update: Trained) -> Trained:
        cancelled.wait(0.2)
        return update

    plan = Plan(federation=FTTE)
    undisturbed = federated(tmp_path / "one", slow_by_the_model(), plan).run(initial())
    clients = slow_by_the_model()
    clients[0].faults = dict.fromkeys((1, 3, 5), held_up)
    assert fingerprint(federated(tmp_path / "other", clients, plan).run(initial())) == fingerprint(undisturbed)


@pytest.mark.parametrize("federation", [FTTE, 'strategy = "fedasync"\nconcurrency = 2\nrounds = 6'])
def test_by_the_wall_a_run_ends_as_well(tmp_path: Path, federation: str) -> None:
    federated(tmp_path, slow_by_the_model(), Plan(federation=federation, clock="wall")).run(initial())
    finished = Journal(tmp_path, "same").last_round("linear")
    assert finished is not None
    assert finished.state["simulation"]["core"]["finished"] == "steps"


def test_by_the_wall_rounds_are_the_same_as_by_the_model(tmp_path: Path) -> None:
    walled = federated(tmp_path / "wall", cohort(), Plan(clock="wall")).run(initial())
    assert fingerprint(walled) == fingerprint(federated(tmp_path / "model", cohort(), schedule()).run(initial()))


def test_by_the_wall_a_client_that_is_late_is_dropped_and_recovered(tmp_path: Path) -> None:
    clients = cohort({"b": {1: straggles}})
    federated(tmp_path, clients, Plan(deadline_s=0.5, clock="wall")).run(initial())
    [dropped] = Journal(tmp_path, "same").events("dropped")
    assert (dropped["client"], dropped["reason"]) == ("b", "no answer within 0.5 s (federation.deadline_s)")
    assert clients[1].recoveries == 1
