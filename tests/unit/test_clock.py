"""Federations in virtual time: the same for any number of threads and any kill, and they learn what they should."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from quadratic_clients import Done, Quadratic, Threaded, chance, cohort, mean_centre, random_delays

from bench.errors import InfrastructureError
from bench.federation.clock import Simulation, run
from bench.federation.core import Core, Limits, Stop
from bench.federation.events import Action, Assign, Event, Failed, Joined, Left, Refused, Stepped, Timer, Update, Vector
from bench.federation.participation import Continuous, Participation, Rounds
from bench.federation.strategies.base import Strategy
from bench.federation.strategies.fedasync import FedAsync
from bench.federation.strategies.fedavg import FedAvg
from bench.federation.strategies.fedbuff import FedBuff
from bench.federation.strategies.ftte import Ftte

SET_UPS: dict[str, tuple[Strategy, Participation]] = {
    "fedavg": (FedAvg(), Rounds(8)),
    "fedavg-deadline": (FedAvg(), Rounds(6, over_selection=0.5, deadline_s=3.0, min_clients=3)),
    "fedasync": (FedAsync(alpha=0.3), Continuous(8)),
    "fedbuff": (FedBuff(buffer=5), Continuous(10, max_staleness=6)),
    "ftte": (Ftte(buffer=5), Continuous(10, deadline_s=12.0)),
}
LIMITS = Limits(failures=50)


def make(name: str, clients: dict[str, Quadratic], stop: Stop) -> Core:
    strategy, participation = SET_UPS[name]
    return Core(strategy, participation, np.zeros(4), clients, 3, stop, LIMITS)


def churn() -> Iterator[Event]:
    """Clients that leave and come back, for ever."""
    at, number = 0.0, 0
    while True:
        at, number = at + 0.7, number + 1
        name = f"client-{int(chance('who', (number - 1) // 2) * 20):05}"
        yield Left(at, name) if number % 2 else Joined(at, name)


def told(event: Event, actions: list) -> list:
    """What a run did, as JSON can hold it."""
    what = [type(event).__name__, event.at, getattr(event, "client", None), getattr(event, "job", None)]
    return [what, [repr(action) for action in actions]]


@pytest.mark.parametrize("name", SET_UPS)
def test_all_strategies_learn_from_clients_that_are_slow_fail_leave_and_come_back(name: str) -> None:
    clients = cohort(20, failing=0.1)
    core = make(name, clients, Stop(updates=600))
    finished = run(core, clients, churn())
    assert (finished.reason, finished.updates) == ("updates", 600)
    # Each client's centre is within 0.5 of 1; whose updates come how often decides where among them it ends.
    assert np.abs(core.weights - 1.0).max() < 0.3


def test_fedavg_over_all_clients_ends_at_their_mean() -> None:
    clients = cohort(20)
    core = Core(FedAvg(), Rounds(20), np.zeros(4), clients, 3, Stop(steps=60))
    finished = run(core, clients)
    np.testing.assert_allclose(core.weights, mean_centre(clients), rtol=1e-12)
    # Each round waits for a client of ten times 1 to 1.5 seconds.
    assert 60 * 10 <= finished.at <= 60 * 15


def test_a_buffer_does_not_wait_for_stragglers() -> None:
    clients = cohort(20)
    times = {}
    for name in ("fedavg", "fedbuff"):
        times[name] = run(make(name, clients, Stop(updates=400)), clients).at
    assert times["fedbuff"] < 0.5 * times["fedavg"]


@pytest.mark.parametrize("name", SET_UPS)
def test_threads_change_nothing_however_long_they_take(name: str) -> None:
    clients = cohort(20, failing=0.05)
    results = set()
    for workers, seed in ((None, 0), (1, 1), (2, 2), (8, 3)):
        log: list = []

        def observe(event: Event, actions: Sequence[Action], log: list = log) -> None:
            log.append(told(event, list(actions)))

        core = make(name, clients, Stop(updates=150))
        if workers is None:
            run(core, clients, churn(), observe)
        else:
            with ThreadPoolExecutor(workers) as executor:
                threaded = {k: Threaded(c, executor, random_delays(seed)) for k, c in clients.items()}
                run(core, threaded, churn(), observe)
        results.add((json.dumps(log), core.weights.tobytes()))
    assert len(results) == 1


@pytest.mark.parametrize("name", SET_UPS)
def test_killed_after_any_event_a_run_ends_with_the_same_bits(name: str) -> None:
    clients, stop = cohort(20, failing=0.05), Stop(updates=60)
    strategy, participation = SET_UPS[name]
    log: list = []
    whole = make(name, clients, stop)
    run(whole, clients, churn(), lambda event, actions: log.append(told(event, list(actions))))
    running = Simulation(make(name, clients, stop), clients, churn())
    for killed in range(1, len(log)):
        running.run(limit=1)
        state = json.loads(json.dumps(running.to_state()))
        core = Core.from_state(state["core"], strategy, participation, stop, LIMITS)
        rest: list = []
        resumed = Simulation.from_state(
            state, core, clients, churn(), lambda event, actions, rest=rest: rest.append(told(event, list(actions)))
        )
        if killed % 3:  # each of them takes as long as the run: two of three only begin
            resumed.run(limit=min(10, len(log) - killed))
            assert rest == log[killed : killed + 10]
        else:
            resumed.run()
            assert rest == log[killed:]
            assert core.weights.tobytes() == whole.weights.tobytes()


class Scripted:
    """A client whose answers come at given times, with given bounds."""

    def __init__(self, times: list[tuple[float, float]], waited: list[str], name: str) -> None:
        self.times, self.waited, self.name = iter(times), waited, name

    def start(self, job: Assign, weights: Vector, now: float) -> Scripted:
        self.earliest, self.at = next(self.times)
        self.job = job
        return self

    def finish(self) -> Update | Failed:
        self.waited.append(self.name)
        return Update(self.at, self.job.client, self.job.job, self.job.version, np.zeros(1), 1)

    def arrived(self) -> None:
        pass

    def cancel(self) -> None:
        self.waited.append(f"{self.name} cancelled")


def test_the_order_is_of_exact_times_and_nothing_is_waited_for_before_its_bound_is_due() -> None:
    waited: list[str] = []
    clients = {
        "early-bound": Scripted([(1.0, 9.0)], waited, "early-bound"),
        "late-bound": Scripted([(5.0, 6.0), (99.0, 99.0)], waited, "late-bound"),
        "never-due": Scripted([(50.0, 60.0)], waited, "never-due"),
    }
    seen: list[tuple[float, str]] = []

    def observe(event: Event, _: object) -> None:
        if isinstance(event, Update):
            seen.append((event.at, event.client))

    core = Core(FedAvg(), Rounds(2, over_selection=0.5), np.zeros(1), clients, 1, Stop(steps=1))
    run(core, clients, observe=observe)
    assert seen == [(6.0, "late-bound"), (9.0, "early-bound")]
    assert waited == ["early-bound", "late-bound", "never-due cancelled"]


def test_equal_times_are_in_the_order_of_assignment_and_a_script_comes_first() -> None:
    names = [f"{i}" for i in range(6)]
    clients = {name: Scripted([(i % 2, 2.0)], [], name) for i, name in enumerate(names)}
    seen: list[str] = []
    jobs: list[str] = []

    def observe(event: Event, actions: object) -> None:
        seen.append(event.client if isinstance(event, Update) else type(event).__name__)
        jobs.extend(action.client for action in actions if isinstance(action, Assign))

    core = Core(FedAvg(), Rounds(6), np.zeros(1), names, 1, Stop(steps=1))
    run(core, clients, [Timer(2.0)], observe)
    assert seen == ["Started", "Timer", *jobs]


def test_an_answer_before_its_bound_is_an_error_of_the_client() -> None:
    clients = {"a": Scripted([(5.0, 4.0)], [], "a")}
    with pytest.raises(ValueError, match="a: an answer at"):
        run(Core(FedAvg(), Rounds(1), np.zeros(1), clients, 1, Stop(steps=1)), clients)


def test_a_federation_in_which_nothing_can_happen_any_more_says_so() -> None:
    clients = cohort(4, failing=1.0)
    for name in ("fedavg-deadline", "ftte"):
        strategy, participation = SET_UPS[name]
        core = Core(strategy, participation, np.zeros(4), clients, 3, Stop(steps=5))
        with pytest.raises(InfrastructureError, match="no client is at work"):
            run(core, clients)


def test_a_client_that_answers_for_another_job_is_refused_and_its_own_job_times_out() -> None:
    class Confused(Quadratic):
        """Sends its first answer again and again."""

        def start(self, job: Assign, weights: Vector, now: float) -> Done:
            done = super().start(job, weights, now)
            if job.job > 2:
                done.answer.job = 1
            return done

    clients = {"a": Confused("a", np.ones(4)), "b": Quadratic("b", np.ones(4))}
    refused: list[Refused] = []
    core = Core(FedBuff(buffer=1), Continuous(2, deadline_s=5.0), np.zeros(4), clients, 1, Stop(time_s=100.0))
    steps: list[Stepped] = []

    def observe(_: Event, actions: object) -> None:
        refused.extend(action for action in actions if isinstance(action, Refused))
        steps.extend(action for action in actions if isinstance(action, Stepped))

    finished = run(core, clients, observe=observe)
    assert {action.client for action in refused} == {"a"}
    assert len(refused) > 10
    used = [entry.job for step in steps for entry in step.entries]
    assert len(used) == len(set(used)) == finished.updates
    assert sum(entry.client == "a" for step in steps for entry in step.entries) == 1


def test_what_is_under_way_is_all_that_is_remembered() -> None:
    clients = cohort(50, slow=0.5)
    core = Core(FedAvg(), Rounds(5, over_selection=4.0), np.zeros(4), clients, 1, Stop(steps=300))
    simulation = Simulation(core, clients)
    while simulation.run(limit=50) is None:
        assert len(simulation._queue) <= 2 * 25 + 64
        assert len(simulation._bases) == 1
    assert not simulation._flights
    assert not simulation._bases
