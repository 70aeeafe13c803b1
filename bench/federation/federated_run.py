"""A federation over real clients: the core's events and actions, threads that drive the clients, and the journal.

The clock is one of two. *Modelled*: a job takes the seconds that are modelled from what was counted of it (`Trained`),
and answers are taken in that order (clock.py), whatever order clients answer in by the wall; so a result depends on the
experiment alone. *Wall*: answers are taken as they come. Either way a client that fails, or is silent for too long by
the wall, has left; it joins again when it is recovered.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from bench.errors import BenchError, ConfigError, DeviceError, InfrastructureError
from bench.federation.book import Book
from bench.federation.client import Client, ClientState, Trained, TrainJob
from bench.federation.clock import Pending, Simulation
from bench.federation.crew import Crew, Returned, Work
from bench.federation.events import Action, Assign, Event, Form, Joined, Left, Refused, Stepped, Update, Vector
from bench.federation.journal import Journal
from bench.federation.observer import Observer
from bench.federation.participation import Rounds
from bench.federation.schedule import Schedule
from bench.federation.settings import FederationSettings, make_core, resume_core
from bench.results.table import Measurement, Recorder

Clock = Literal["modelled", "wall"]


@dataclass(frozen=True)
class StepTaken:
    """A server step, for who judges it: the model, the step's number, the rows of its updates, seconds since the step
    before and since the beginning, and whether all clients of it began together, as they do in rounds."""

    weights: Vector
    round: int
    rows: Sequence[Measurement]
    took_s: float
    elapsed_s: float
    in_rounds: bool


Judge = Callable[[StepTaken], list[Measurement]]
"""Figures of a model after a step; step 0 is the model before any training."""


class Model(Protocol):
    """How the model travels."""

    @property
    def first_state(self) -> ClientState | None:
        """Of a client that has done nothing yet; None where parameters travel whole."""
        ...

    def encode_down(self, weights: Vector) -> bytes:
        """The whole model as clients store it."""
        ...

    def change(self, update: bytes, down: bytes) -> Vector:
        """By how much a client has moved the model that it was sent. Raises ConfigError for what is no update."""
        ...


@dataclass(eq=False)
class _Turn:
    """A client's job: a Pending. Jobs of one host follow each other in modelled time as they do on it."""

    run: FederatedRun
    assign: Assign
    weights: Vector
    began: float
    turn: int
    work: Work
    before: _Turn | None
    trained: Trained | None = None
    cancelled_at: float | None = None
    ended: float | None = None

    @property
    def earliest(self) -> float:
        return math.inf if self.run.clock == "wall" else self.began + self.work.client.at_least_s(self.work.job)

    def finish(self) -> Update | Left:
        return self.run.answer(self)

    def arrived(self) -> None:
        """What comes of that is the core's to say."""

    def cancel(self) -> None:
        self.run.cancelled(self)

    def ends_at(self) -> float:
        """When its host is free again. Waits for the answer, unless it was cancelled."""
        if self.ended is None:
            free_at = self.run.free_at(self)
            started = max(self.began, free_at)
            if self.cancelled_at is None:
                self.ended = started + self.run.seconds_of(self)
            else:
                self.ended = self.cancelled_at if started < self.cancelled_at else free_at
            self.before = None  # no more needed: its host's past would grow without end
        return self.ended


@dataclass
class _Host:
    last: _Turn | None = None
    free_at: float = 0.0


@dataclass
class _Progress:
    """What has to outlive a kill beside the core: client states, turns taken, figures that wait for their step."""

    states: dict[str, ClientState | None]
    turns: dict[str, int]
    book: Book
    stepped_at: float = 0.0
    free_at: dict[str, float] = field(default_factory=dict)


class FederatedRun:
    """One variant's federation over a cohort.

    `judge` gives the figures of a model after a step. Rows carry the run and variant of `recorder`.

    Raises ConfigError for clients that share a name or hold no samples, and for fewer clients than `min_clients`.
    """

    def __init__(
        self,
        recorder: Recorder,
        clients: Sequence[Client],
        settings: FederationSettings,
        schedule: Schedule,
        model: Model,
        judge: Judge,
        journal: Journal,
        observer: Observer,
        *,
        deadline_s: float,
        seed: int,
        clock: Clock = "modelled",
    ) -> None:
        """`deadline_s` is wall time; on the modelled clock it takes the place of the settings' own, which is None."""
        participation = settings.participation
        self._rounds = participation if isinstance(participation, Rounds) else None
        if self._rounds is not None and self._rounds.min_clients > len(clients):
            raise ConfigError(
                f"{recorder.variant}: federation.min_clients is {self._rounds.min_clients}, "
                f"but there are {len(clients)} clients"
            )
        self.clock = clock
        self._recorder = recorder
        self._crew = Crew(clients, deadline_s, observer, tell=clock == "wall", max_failures=settings.max_failures)
        self._settings = settings
        self._schedule = schedule
        self._model = model
        self._judge = judge
        self._journal = journal
        self._observer = observer
        self._seed = seed
        self._simulation: Simulation | None = None
        self._begun = time.monotonic()  # of clock 0
        self._hosts: dict[str, _Host] = {}
        self._turns: dict[int, _Turn] = {}
        self._down: tuple[int, bytes] = (-1, b"")
        names = self._crew.names
        self._progress = _Progress(dict.fromkeys(names, model.first_state), dict.fromkeys(names, 0), Book(recorder))
        self._resumed: dict[int, int] = {}  # turns of the jobs that were under way
        self._late: list[str] = []  # clients that left by not answering in time, on the wall's clock
        self._return: list[str] = []  # clients that were away when the run was killed

    def run(self, initial: Vector) -> Vector:
        """Goes on from what the journal holds, to the end; returns the final model.

        Raises:
            InfrastructureError: it stands still, as too few clients are left; the journal cannot be written; `abort`.
            KeyboardInterrupt: passed on once the clients have let go, or after a few seconds.
        """
        finished = self._journal.last_round(self._recorder.variant)
        try:
            if finished is None:
                self._finish_round(0, initial, {}, [], 0.0)
                finished = self._journal.last_round(self._recorder.variant)
            assert finished is not None
            if finished.state:
                self._simulation = simulation = self._resume(finished.state)
            else:
                core = make_core(self._settings, initial, self._crew.names, self._seed)
                self._simulation = simulation = Simulation(core, self._clients(), observe=self._observe, outside=self)
            if simulation.core.finished is None:
                self._to_the_end(simulation)
            return simulation.core.model
        finally:
            self._crew.close()

    def abort(self, error: InfrastructureError) -> None:
        """Has `run` raise this, soon, from whatever thread; the journal then holds all that was finished."""
        self._crew.abort(error)

    @property
    def now(self) -> float:
        """Of the federation's clock."""
        assert self._simulation is not None
        return self._simulation.now

    def _to_the_end(self, simulation: Simulation) -> None:
        try:
            simulation.run()
        except InfrastructureError as error:
            self._crew.check()
            if self._crew.troubles:
                raise self._standing_still(simulation) from error
            raise

    def _standing_still(self, simulation: Simulation) -> InfrastructureError:
        needed = "" if self._rounds is None else f", {self._rounds.min_clients} are needed (federation.min_clients)"
        there = len(self._crew.names) - len(self._crew.troubles)
        return InfrastructureError(
            f"round {simulation.core.version + 1} of {self._recorder.variant}: {there} of {len(self._crew.names)} "
            f"clients are left{needed}; `--resume` goes on with this round: "
            + "; ".join(f"{name}: {trouble}" for name, trouble in sorted(self._crew.troubles.items()))
        )

    # Clients

    def _clients(self) -> dict[str, FederatedRun]:
        return dict.fromkeys(self._crew.names, self)

    def start(self, job: Assign, weights: Vector, now: float) -> Pending:
        """See clock.VirtualClient: of whichever client the job is for."""
        name, round_ = job.client, job.version + 1
        client, progress = self._crew.client(name), self._progress
        for turn_before in self._turns.values():  # its answer has led to this job, and is not yet in the books
            if turn_before.assign.client == name and turn_before.trained is not None:
                progress.states[name] = turn_before.trained.state
        if job.job in self._resumed:
            turn = self._resumed.pop(job.job)
        else:
            progress.turns[name] += 1
            turn = round_ if self._rounds is not None else progress.turns[name]
        train = TrainJob(
            round=round_,
            variant=self._recorder.variant,
            down=self._sent(job.version, weights),
            first=self._schedule.first_sample(turn, client.capacity),
            count=self._schedule.local_samples,
            learning_rate=self._schedule.learning_rate(round_),
            seed=self._schedule.seed_of(name, turn),
            state=progress.states[name],
        )
        self._observer.client_started(self._recorder.variant, round_, self._settings.rounds, name)
        host = self._hosts.setdefault(client.host, _Host(free_at=progress.free_at.get(client.host, 0.0)))
        work = self._crew.begin(name, job.job, train)
        found = _Turn(self, job, weights, now, turn, work, host.last)
        host.last = self._turns[job.job] = found
        return found

    def _sent(self, version: int, weights: Vector) -> bytes:
        if self._down[0] != version:
            self._down = (version, self._model.encode_down(weights))
        return self._down[1]

    def free_at(self, turn: _Turn) -> float:
        """When the host was done with what it was asked before this."""
        return self._hosts[turn.work.client.host].free_at if turn.before is None else turn.before.ends_at()

    def seconds_of(self, turn: _Turn) -> float:
        """That its client was busy; 0 where it has failed, which its own turn to answer will tell."""
        try:
            seconds = self._crew.result(turn.work).seconds
        except BenchError:
            return 0.0
        return seconds if 0 <= seconds < math.inf else 0.0

    def answer(self, turn: _Turn, at: float | None = None) -> Update | Left:
        """Waits for it, and looks whether it may reach the model. It came `at`, or else when modelled."""
        work, name = turn.work, turn.assign.client
        try:
            trained = self._crew.result(work)
            vector = self._checked(turn, trained)
        except BenchError as error:
            self._crew.check()
            self._drop(turn, str(error))
            return Left(max(turn.earliest, self.now) if at is None else at, name)
        turn.trained = trained
        at = max(turn.ends_at(), turn.earliest) if at is None else at
        if turn.assign.form is Form.TRAINED:
            vector = turn.weights + vector
        return Update(at, name, turn.assign.job, turn.assign.version, vector, trained.samples, turn.assign.form)

    def _checked(self, turn: _Turn, trained: Trained) -> Vector:
        """By how much the client moves the model. Raises DeviceError for an update that must not reach it."""
        name, job = turn.assign.client, turn.work.job
        if trained.client != name or trained.round != job.round:
            raise DeviceError(
                f"update refused: it is of {trained.client} for round {trained.round}, not of {name} for {job.round}"
            )
        if trained.samples != job.count:
            raise DeviceError(f"update refused: trained on {trained.samples} samples, {job.count} were asked for")
        figures = (trained.loss, trained.accuracy, trained.seconds)
        if not all(map(math.isfinite, figures)) or trained.seconds < 0:
            raise DeviceError(
                f"update refused: loss {trained.loss}, accuracy {trained.accuracy}, seconds {trained.seconds} "
                "are not all finite numbers"
            )
        if len({(one.metric, one.phase, one.kind) for one in trained.figures}) != len(trained.figures):
            raise DeviceError("update refused: it holds a figure twice")
        try:
            vector = self._model.change(trained.update, job.down)
        except BenchError as error:
            raise DeviceError(f"update refused: {error}") from error
        except (ValueError, KeyError, IndexError) as error:
            raise DeviceError(f"update refused: {len(trained.update)} bytes that are no model: {error}") from error
        if vector.shape != turn.weights.shape or not np.isfinite(vector).all():
            raise DeviceError("update refused: it is not of the model's shape, or holds values that are not finite")
        return vector

    def cancelled(self, turn: _Turn) -> None:
        """The core does not want an answer any more. By the wall, a client that was late may be dead."""
        if self._turns.pop(turn.assign.job, None) is None:
            return  # it has left, and this is the echo
        turn.cancelled_at = self.now
        deadline = turn.assign.deadline
        if self.clock == "wall" and deadline is not None and self.now >= deadline:
            self._drop(turn, self._crew.late)
            self._late.append(turn.assign.client)
        else:
            self._crew.cancel(turn.work)
            host = self._hosts[turn.work.client.host]
            host.free_at = max(host.free_at, turn.ends_at())

    def _drop(self, turn: _Turn, reason: str) -> None:
        turn.cancelled_at = self.now
        self._turns.pop(turn.assign.job, None)
        self._crew.give_up(turn.work, reason)
        self._note("dropped", turn.assign.client, reason)
        self._note_departures()

    def _note(self, event: str, client: str, reason: str) -> None:
        assert self._simulation is not None
        round_ = self._simulation.core.version + 1
        self._journal.record(event, variant=self._recorder.variant, round=round_, client=client, reason=reason)

    def _note_departures(self) -> None:
        for gone in self._crew.departures():
            self._note("left_out", gone.client, gone.reason)

    # What comes from outside the modelled clock

    def wait(self, now: float, due: float) -> Event | None:
        """See clock.Outside."""
        if self._return:
            return Joined(now, self._return.pop(0))
        if self._late:
            return Left(now, self._late.pop(0))
        left = 0.0 if self.clock == "modelled" else max(0.0, due - self._wall())
        happened = self._crew.next(None if due == math.inf else left)
        self._note_departures()
        if happened is None:
            return None
        at = now if self.clock == "modelled" else min(max(now, self._wall()), due)
        if isinstance(happened, Returned):
            return Joined(at, happened.client)
        return self.answer(self._turns[happened.number], at)

    def _wall(self) -> float:
        return time.monotonic() - self._begun

    # What the core says

    def _observe(self, event: Event, actions: Sequence[Action]) -> None:
        assert self._simulation is not None
        refused = {action.job: action for action in actions if isinstance(action, Refused)}
        if isinstance(event, Update):
            self._commit(event, refused.get(event.job))
        for action in actions:
            if isinstance(action, Stepped):
                self._stepped(action)

    def _commit(self, event: Update, refused: Refused | None) -> None:
        """An answer has arrived: what the client has now is known, whether its update is taken or not."""
        turn = self._turns.pop(event.job)
        assert turn.trained is not None
        host = self._hosts[turn.work.client.host]
        host.free_at = max(host.free_at, turn.ends_at())
        self._progress.states[event.client] = turn.trained.state
        if refused is None:
            self._crew.accept(turn.work, turn.trained)
            self._progress.book.enter(event.job, turn.trained, turn.work.client.host)
            return
        reason = f"update refused: {refused.reason}" + (f" ({refused.detail})" if refused.detail else "")
        self._crew.cancel(turn.work)
        self._observer.client_dropped(event.client, reason)
        self._note("dropped", event.client, reason)

    def _stepped(self, step: Stepped) -> None:
        progress = self._progress
        assert self._simulation is not None
        rows = progress.book.rows(step)
        missing = sum(step.discarded.values())
        if self._rounds is not None:
            missing = min(self._rounds.clients, len(self._crew.names)) - len(step.entries)
        recorder = Recorder(self._recorder.run, self._recorder.variant, round=step.version)
        rows.append(recorder.row("dropped", missing, "counted"))
        took_s, progress.stepped_at = step.at - progress.stepped_at, step.at
        self._finish_round(step.version, self._simulation.core.model, self._state(), rows, took_s)

    def _finish_round(
        self, round_: int, weights: Vector, state: Mapping[str, Any], rows: list[Measurement], took_s: float
    ) -> None:
        elapsed_s = self._progress.stepped_at
        step = StepTaken(weights, round_, rows, took_s, elapsed_s, self._rounds is not None)
        rows = [*rows, *self._judge(step)]
        self._journal.finish_round(self._recorder.variant, round_, state, rows)
        self._observer.round_finished(self._recorder.variant, round_, rows)

    # State

    def _state(self) -> dict[str, Any]:
        assert self._simulation is not None
        progress = self._progress
        states = {name: None if state is None else state.to_json() for name, state in progress.states.items()}
        return {
            "simulation": self._simulation.to_state(),
            "states": states,
            "turns": progress.turns,
            "under_way": {str(number): turn.turn for number, turn in self._turns.items()},
            "book": progress.book.to_state(),
            "stepped_at": progress.stepped_at,
            "free_at": progress.free_at | {name: host.free_at for name, host in self._hosts.items()},
            "away": sorted(self._crew.troubles),
        }

    def _resume(self, state: Mapping[str, Any]) -> Simulation:
        progress, recorder = self._progress, self._recorder
        progress.states = {
            name: None if kept is None else ClientState.from_json(kept) for name, kept in state["states"].items()
        }
        progress.turns = dict(state["turns"])
        progress.book = Book.from_state(recorder, state["book"])
        progress.stepped_at, progress.free_at = state["stepped_at"], dict(state["free_at"])
        self._resumed = {int(number): turn for number, turn in state["under_way"].items()}
        self._return = list(state["away"])
        self._begun = time.monotonic() - state["simulation"]["now"]
        core = resume_core(self._settings, state["simulation"]["core"])
        return Simulation.from_state(state["simulation"], core, self._clients(), observe=self._observe, outside=self)
