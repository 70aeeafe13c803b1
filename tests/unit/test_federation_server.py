"""Rounds with clients that train for real, and with clients that straggle, hang, crash or send nonsense."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from linear_cohort import (
    Fault,
    Float32Codec,
    Float32Model,
    LinearClient,
    Plan,
    Watcher,
    cohort,
    crashes,
    federated,
    fingerprint,
    hangs,
    initial,
    schedule,
    straggles,
    train,
)

from bench.errors import ConfigError, InfrastructureError
from bench.federation.client import Figure, Trained, TrainJob
from bench.federation.journal import Journal


def figure(folder: Path, metric: str, round_: int) -> float:
    [row] = [row for row in Journal(folder, "same").rows() if row.metric == metric and row.round == round_]
    return row.value


def contributors(folder: Path, round_: int) -> list[str]:
    return [row.client for row in Journal(folder, "same").rows() if row.metric == "samples" and row.round == round_]


def reasons(folder: Path, event: str = "dropped") -> list[tuple[int, str, str]]:
    return [(entry["round"], entry["client"], entry["reason"]) for entry in Journal(folder, "same").events(event)]


def by_hand(rounds: int, absent: dict[int, set[str]] | None = None) -> str:
    """The same run without the core: clients one after the other, plain average of the changes. Weights' bits."""
    codec, model, plan, master = Float32Codec(), Float32Model(), schedule().schedule, initial()
    for round_ in range(1, rounds + 1):
        down = model.encode_down(master)
        present = [client for client in cohort() if client.name not in (absent or {}).get(round_, set())]
        change = np.zeros_like(master)
        for client in present:
            first = (round_ - 1) * 30 % client.capacity
            job = TrainJob(round_, "linear", down, first, 30, 0.05 / round_, plan.seed_of(client.name, round_))
            trained = codec.flat(codec.decode_down(train(job, client.x, client.y)[0]))
            change += (1 / len(present)) * (trained - codec.flat(codec.decode_down(down)))
        master = change + master
    return fingerprint(master)


def test_the_cohort_learns_and_equals_the_same_steps_made_one_after_the_other(tmp_path: Path) -> None:
    master = federated(tmp_path, cohort(), schedule()).run(initial())
    assert fingerprint(master) == by_hand(4)
    assert figure(tmp_path, "accuracy", 0) < 0.4
    assert figure(tmp_path, "accuracy", 4) > 0.8
    assert figure(tmp_path, "loss", 4) < figure(tmp_path, "loss", 0) / 2
    assert [contributors(tmp_path, round_) for round_ in (1, 2, 3, 4)] == [["a", "b", "c"]] * 4


def test_jobs_follow_the_schedule(tmp_path: Path) -> None:
    clients = cohort()
    federated(tmp_path, clients, schedule()).run(initial())
    assert [(job.round, job.first, job.count) for job in clients[2].jobs] == [
        (1, 0, 30),
        (2, 30, 30),
        (3, 20, 30),
        (4, 10, 30),
    ]
    assert [job.learning_rate for job in clients[0].jobs] == [0.05 / round_ for round_ in (1, 2, 3, 4)]
    assert [job.seed for job in clients[1].jobs] == [
        schedule().schedule.seed_of("b", round_) for round_ in (1, 2, 3, 4)
    ]


@pytest.mark.parametrize("order", ["abc", "cba", "bca"])
def test_who_answers_first_does_not_matter(tmp_path: Path, order: str) -> None:
    turns = {name: threading.Event() for name in order}
    answers = []

    def in_turn(client: LinearClient, job: TrainJob, cancelled: threading.Event, update: Trained) -> Trained:
        if client.name != order[0]:
            assert turns[client.name].wait(timeout=20)
        answers.append(client.name)
        for after in order[len(answers) :][:1]:
            turns[after].set()
        return update

    master = federated(tmp_path, cohort({name: {1: in_turn} for name in order}), schedule(1)).run(initial())
    assert answers == list(order)
    assert fingerprint(master) == by_hand(1)
    assert contributors(tmp_path, 1) == ["a", "b", "c"]  # the rows are in the same order as well


def test_clients_train_at_the_same_time(tmp_path: Path) -> None:
    barrier = threading.Barrier(3)

    def meet(client: LinearClient, job: TrainJob, cancelled: threading.Event, update: Trained) -> Trained:
        barrier.wait(timeout=20)  # broken, and the client dropped, unless all three are in their fit
        return update

    federated(tmp_path, cohort({name: {1: meet} for name in "abc"}), schedule(1)).run(initial())
    assert contributors(tmp_path, 1) == ["a", "b", "c"]


def until(condition: Callable[[], bool]) -> None:
    """Waits 20 s at most; used to hold back the end of a round until what the test is about has happened."""
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        threading.Event().wait(0.005)
    assert condition()


@pytest.mark.parametrize(("fault", "deadline_s"), [(straggles, 0.5), (crashes, 20.0)])
def test_a_failing_client_is_dropped_recovered_and_rejoins(tmp_path: Path, fault: Fault, deadline_s: float) -> None:
    clients = cohort({"b": {1: fault}})
    watcher = Watcher(lambda event: until(lambda: clients[1].recoveries == 1) if event == "round 1 finished" else None)
    master = federated(tmp_path, clients, schedule(4, deadline_s, min_clients=2), watcher).run(initial())
    assert contributors(tmp_path, 1) == ["a", "c"]
    assert contributors(tmp_path, 4) == ["a", "b", "c"]
    assert clients[1].recoveries == 1
    absent = {round_: {"b"} for round_ in range(1, 5) if "b" not in contributors(tmp_path, round_)}
    assert fingerprint(master) == by_hand(4, absent)
    assert figure(tmp_path, "dropped", 1) == 1
    assert figure(tmp_path, "dropped", 4) == 0
    [(round_, client, reason)] = reasons(tmp_path)
    assert (round_, client) == (1, "b")
    assert ("no answer within 0.5 s" if fault is straggles else "board has reset") in reason


def test_a_client_that_ignores_cancelling_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.federation.crew._CANCEL_GRACE_S", 1.0)
    clients = cohort({"a": {1: hangs}})
    begun = time.monotonic()
    master = federated(tmp_path, clients, schedule(3, deadline_s=0.5)).run(initial())
    try:
        # One deadline, three fast rounds, and at the end the grace for threads to let go; a hung one would take 60 s.
        assert time.monotonic() - begun < 10
        assert [contributors(tmp_path, round_) for round_ in (1, 2, 3)] == [["b", "c"]] * 3
        assert clients[0].recoveries == 0  # nothing else is asked of a client whose thread is still in it
        assert fingerprint(master) == by_hand(3, {round_: {"a"} for round_ in (1, 2, 3)})
    finally:
        clients[0].close()


def test_what_a_late_client_sends_in_the_next_round_is_not_used(tmp_path: Path) -> None:
    clients = cohort({"a": {1: hangs}})
    finished = threading.Event()

    def release(event: str) -> None:
        if event == "round 1 finished":
            clients[0].close()  # its update for round 1 comes now
            finished.wait(0.2)

    master = federated(tmp_path, clients, schedule(3, deadline_s=0.5), Watcher(release)).run(initial())
    absent = {round_: {"a"} for round_ in (1, 2, 3) if "a" not in contributors(tmp_path, round_)}
    assert 1 in absent
    assert fingerprint(master) == by_hand(3, absent)


def test_a_client_that_cannot_be_recovered_is_left_out_for_the_rest(tmp_path: Path) -> None:
    clients = cohort({"c": {2: crashes}})
    clients[2].recovery_fails = True
    left_out = "c dropped: left out for the rest of the run: c: no probe"
    watcher = Watcher(lambda event: until(lambda: left_out in watcher.events) if event == "round 2 finished" else None)
    federated(tmp_path, clients, schedule(4), watcher).run(initial())
    assert [contributors(tmp_path, round_) for round_ in (1, 2, 3, 4)] == [["a", "b", "c"], *[["a", "b"]] * 3]
    assert len(clients[2].jobs) == 2
    assert [(client, reason) for _, client, reason in reasons(tmp_path, "left_out")] == [("c", "c: no probe")]


def test_a_client_that_fails_every_time_is_left_out_after_the_third(tmp_path: Path) -> None:
    clients = cohort({"a": dict.fromkeys(range(1, 50), crashes)})
    federated(tmp_path, clients, schedule(50)).run(initial())
    assert len(clients[0].jobs) == 3
    [(_, client, reason)] = reasons(tmp_path, "left_out")
    assert (client, reason) == ("a", "failed 3 times in a row, last: a: board has reset")


def test_how_often_a_client_may_fail_is_the_experiments_to_say(tmp_path: Path) -> None:
    clients = cohort({"a": dict.fromkeys(range(1, 50), crashes)})
    section = 'strategy = "fedavg"\nclients_per_round = 3\nrounds = 50\nmax_failures = 5'
    federated(tmp_path, clients, Plan(federation=section)).run(initial())
    assert len(clients[0].jobs) == 5
    [(_, _, reason)] = reasons(tmp_path, "left_out")
    assert reason.startswith("failed 5 times in a row")


def test_a_run_that_is_aborted_ends_soon_and_goes_on_later_to_the_same_weights(tmp_path: Path) -> None:
    """As the loss of a board's lock aborts it, from another thread, while a client is at work."""
    run = federated(tmp_path, cohort({"b": {3: straggles}}), schedule())

    def lost(event: str) -> None:
        if event == "round 3 of 4: b":
            threading.Thread(target=run.abort, args=(InfrastructureError("board b: its lock is lost"),)).start()

    run._observer.act = lost  # type: ignore[attr-defined]
    begun = time.monotonic()
    with pytest.raises(InfrastructureError, match=r"^board b: its lock is lost$"):
        run.run(initial())
    assert time.monotonic() - begun < 10, "not at the straggler's deadline"
    assert Journal(tmp_path, "same").last_round("linear").round == 2
    assert reasons(tmp_path) == [], "nobody has failed"
    assert fingerprint(federated(tmp_path, cohort(), schedule()).run(initial())) == by_hand(4)


def test_failures_that_are_not_in_a_row_do_not_lead_out(tmp_path: Path) -> None:
    clients = cohort({"a": dict.fromkeys(range(1, 5), crashes)})  # once in each round, and well in its second attempt
    master = federated(tmp_path, clients, schedule(4, min_clients=3)).run(initial())
    assert fingerprint(master) == by_hand(4)
    assert clients[0].recoveries == 4
    assert reasons(tmp_path, "left_out") == []


def spoil(**changes: object) -> Fault:
    return lambda client, job, cancelled, update: replace(update, **changes)  # type: ignore[arg-type]


def corrupt(edit: Callable[[bytearray], None]) -> Fault:
    def fault(client: LinearClient, job: TrainJob, cancelled: threading.Event, update: Trained) -> Trained:
        params = bytearray(update.update)
        edit(params)
        return replace(update, update=bytes(params))

    return fault


def figures(change: Callable[[Figure], list[Figure]]) -> Fault:
    return lambda client, job, cancelled, update: replace(update, figures=tuple(change(update.figures[0])))


def stale(client: LinearClient, job: TrainJob, cancelled: threading.Event, update: Trained) -> Trained:
    assert client.last is not None
    return client.last


def defect(client: LinearClient, job: TrainJob, cancelled: threading.Event, update: Trained) -> Trained:
    raise ZeroDivisionError("a defect of the client")


NAN, INF = np.float32(np.nan).tobytes(), np.float32(np.inf).tobytes()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(
            corrupt(lambda params: params.pop()), "111 bytes of parameters, 112 expected", id="one byte short"
        ),
        pytest.param(corrupt(lambda params: params.extend(bytes(4))), "116 bytes of parameters", id="one value more"),
        pytest.param(corrupt(lambda params: params.clear()), "0 bytes of parameters", id="empty"),
        pytest.param(corrupt(lambda params: params.__setitem__(slice(8, 12), NAN)), "not finite", id="NaN"),
        pytest.param(corrupt(lambda params: params.__setitem__(slice(108, 112), INF)), "not finite", id="infinite"),
        pytest.param(stale, "is of b for round 1, not of b for 2", id="last round's again"),
        pytest.param(spoil(round=3), "for round 3", id="a later round's"),
        pytest.param(spoil(client="a"), "is of a for round 2", id="another client's, counted twice"),
        pytest.param(spoil(samples=29), "trained on 29 samples, 30 were asked for", id="fewer samples"),
        pytest.param(spoil(samples=0), "trained on 0 samples", id="no samples"),
        pytest.param(spoil(loss=float("nan")), "loss nan", id="loss is NaN"),
        pytest.param(spoil(seconds=float("inf")), "seconds inf", id="no time"),
        pytest.param(figures(lambda figure: [figure, figure]), "holds a figure twice", id="a figure twice"),
        pytest.param(defect, "unexpected ZeroDivisionError: a defect of the client", id="defect"),
    ],
)
def test_an_update_that_must_not_reach_the_model_is_refused_and_recorded(
    tmp_path: Path, fault: Fault, reason: str
) -> None:
    clients = cohort({"b": {2: fault}})
    master = federated(tmp_path, clients, schedule(2)).run(initial())
    assert fingerprint(master) == by_hand(2, {2: {"b"}})
    [(round_, client, recorded)] = reasons(tmp_path)
    assert (round_, client) == (2, "b")
    assert reason in recorded
    assert figure(tmp_path, "dropped", 2) == 1


def test_too_few_get_a_second_attempt_and_who_has_answered_does_not_train_again(tmp_path: Path) -> None:
    clients = cohort({"a": {1: crashes}, "b": {1: crashes}})
    master = federated(tmp_path, clients, schedule(2, min_clients=3)).run(initial())
    assert fingerprint(master) == by_hand(2)
    assert [[job.round for job in client.jobs] for client in clients] == [[1, 1, 2], [1, 1, 2], [1, 2]]
    assert figure(tmp_path, "dropped", 1) == 0
    assert sorted(client for _, client, _ in reasons(tmp_path)) == ["a", "b"]


def test_too_few_twice_end_the_run_with_every_reason(tmp_path: Path) -> None:
    clients = cohort({"a": {2: crashes}, "b": {2: straggles}})
    for client in clients[:2]:
        client.recovery_fails = True
    begun = time.monotonic()
    with pytest.raises(InfrastructureError) as caught:
        federated(tmp_path, clients, schedule(3, deadline_s=0.5, min_clients=2)).run(initial())
    assert time.monotonic() - begun < 10
    assert "round 2 of linear: 1 of 3 clients are left, 2 are needed (federation.min_clients)" in str(caught.value)
    assert "a: a: no probe; b: b: no probe" in str(caught.value)
    # What was finished is kept, and a later session goes on from there.
    finished = Journal(tmp_path, "same").last_round("linear")
    assert finished is not None
    assert finished.round == 1
    assert fingerprint(federated(tmp_path, cohort(), schedule(3, min_clients=2)).run(initial())) == by_hand(3)


def test_ctrl_c_cancels_the_clients_and_the_run_can_be_resumed(tmp_path: Path) -> None:
    stopped, kept = threading.Event(), threading.Event()  # clients work on while the server writes its journal

    def interrupt(client: LinearClient, job: TrainJob, cancelled: threading.Event, update: Trained) -> Trained:
        assert kept.wait(timeout=20)
        os.kill(os.getpid(), signal.SIGINT)  # while the server waits for this client
        assert cancelled.wait(timeout=20)
        stopped.set()
        return update

    before = set(threading.enumerate())
    watcher = Watcher(lambda event: kept.set() if event == "round 2 finished" else None)
    with pytest.raises(KeyboardInterrupt):
        federated(tmp_path, cohort({"b": {3: interrupt}}), schedule(), watcher).run(initial())
    assert stopped.is_set()
    assert set(threading.enumerate()) <= before  # no thread is left in a client
    again = cohort()
    assert fingerprint(federated(tmp_path, again, schedule()).run(initial())) == by_hand(4)
    assert [job.round for job in again[0].jobs] == [3, 4]


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    master = federated(tmp_path, cohort(), schedule()).run(initial())
    rows = Journal(tmp_path, "same").rows()
    clients, watcher = cohort(), Watcher()
    assert fingerprint(federated(tmp_path, clients, schedule(), watcher).run(initial())) == fingerprint(master)
    assert watcher.events == []
    assert Journal(tmp_path, "same").rows() == rows


def test_cohorts_that_cannot_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names of their own: a"):
        federated(tmp_path, [*cohort(), cohort()[0]], schedule())
    with pytest.raises(ConfigError, match="without samples cannot train: d"):
        federated(tmp_path, [*cohort(), LinearClient("d", 1, 0)], schedule())
    with pytest.raises(ConfigError, match="min_clients is 4, but there are 3"):
        federated(tmp_path, cohort(), schedule(min_clients=4))
