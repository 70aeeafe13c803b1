"""One leg: a few federated rounds under faults, then the same without, less what did not come; and what differs."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import DeviceError, InfrastructureError
from bench.experiment.rounds import federate
from bench.experiment.setting import Setting
from bench.federation.client import Client, Progress, Trained, TrainJob
from bench.federation.events import Vector
from bench.federation.journal import Journal
from bench.federation.snapshot import unpack
from bench.rack.board import Board
from bench.rack.rack import Rack
from bench.results.table import Measurement, compare_counted
from bench.soak.boards import Injector
from bench.soak.disk import DiskFull
from bench.soak.plan import DISK, Planned
from bench.soak.record import RESUME, Injected, Leg

_THREADS_S = 60.0  # for clients that were given up to let go of their boards
_MOST_RESUMED = 5

Update = tuple[int, str]
"""A round and a client."""


class _Watch:
    """Carries out `bench.federation.observer.Observer`: what the host has acknowledged, and who did not answer."""

    def __init__(
        self,
        acknowledged: Callable[[], None] = lambda: None,
        finished: Callable[[int], None] = lambda _round: None,
    ) -> None:
        self._acknowledged = acknowledged
        self._finished = finished
        self._lock = threading.Lock()
        self.acknowledged: set[Update] = set()
        self.late = 0

    def client_started(self, variant: str, round_: int, rounds: int | None, client: str) -> None:
        """See Observer."""

    def client_progress(self, client: str, done: int, total: int) -> None:
        """See Observer."""

    def client_done(self, client: str, trained: Trained) -> None:
        """See Observer."""
        with self._lock:
            self.acknowledged.add((trained.round, client))
        self._acknowledged()

    def client_dropped(self, client: str, reason: str) -> None:  # noqa: ARG002
        """See Observer."""
        with self._lock:
            self.late += reason.startswith("no answer within")

    def round_finished(self, variant: str, round_: int, rows: Sequence[Measurement]) -> None:  # noqa: ARG002
        """See Observer."""
        self._finished(round_)

    def forget(self, after: int) -> None:
        """The run has ended behind this round: what it had acknowledged since then is asked for again."""
        with self._lock:
            self.acknowledged = {update for update in self.acknowledged if update[0] <= after}


@dataclass(frozen=True)
class _Same:
    """A client that is another."""

    client: Client

    @property
    def name(self) -> str:
        return self.client.name

    @property
    def host(self) -> str:
        return self.client.host

    @property
    def capacity(self) -> int:
        return self.client.capacity

    def at_least_s(self, job: TrainJob) -> float:
        return self.client.at_least_s(job)

    def fit(self, job: TrainJob, progress: Progress, cancelled: threading.Event) -> Trained:
        return self.client.fit(job, progress, cancelled)

    def recover(self) -> None:
        self.client.recover()


@dataclass(frozen=True)
class _Seen(_Same):
    """A client whose finished jobs are noted: board, and when the job began."""

    worked: Callable[[str, float], None]

    def fit(self, job: TrainJob, progress: Progress, cancelled: threading.Event) -> Trained:
        began = time.monotonic()
        trained = super().fit(job, progress, cancelled)
        self.worked(self.host, began)
        return trained


@dataclass(frozen=True)
class _LeavingOut(_Same):
    """A client that fails in rounds in which it failed in the other run."""

    accepted: frozenset[Update]

    def fit(self, job: TrainJob, progress: Progress, cancelled: threading.Event) -> Trained:
        if (job.round, self.name) not in self.accepted:
            raise DeviceError("left out, as in the run under faults")
        return super().fit(job, progress, cancelled)

    def recover(self) -> None:
        """Nothing has happened to it."""


@dataclass(frozen=True)
class Scene:
    """What all legs share."""

    setting: Setting
    rack: Rack
    clients: Sequence[Client]
    disk: DiskFull
    renew: Callable[[], None]
    """Brings all boards to where a run begins: flashed, and answering."""
    mend: Callable[[], None]
    """Likewise those in quarantine."""

    @property
    def boards(self) -> Mapping[str, Board]:
        return self.rack.boards

    def of(self, seed: int) -> Setting:
        """The setting with a leg's seed."""
        return replace(self.setting, experiment=self.setting.experiment.model_copy(update={"seed": seed}))


def run_leg(
    scene: Scene, number: int, seed: int, injector: Injector, disk_fault: Planned | None, folder: Path
) -> tuple[Leg, Planned | None]:
    """Runs a leg in a folder of its own. Gives a disk fault back that did not strike.

    Raises InfrastructureError: the leg could not go on.
    """
    begun = time.monotonic()
    setting = scene.of(seed)
    full = _FullDisk(scene.disk, disk_fault, folder, injector.hold)
    watch = _Watch(full.acknowledged, full.round_finished)
    with injector:
        clients = [_Seen(client, injector.worked) for client in scene.clients]
        try:
            journal = _under_faults(scene, setting, clients, watch, folder / "faults", injector.resumed)
        finally:
            injector.stop()
            scene.disk.lift()
        struck = time.monotonic()
        hangs = watch.late + _threads_left()
        faults = injector.settle()
    counts = _counted(journal.rows(), setting.experiment.train.local_samples)
    accepted = frozenset(counts)
    scene.mend()
    settled = time.monotonic()
    plain = _Watch()
    reference = _federate(scene, setting, folder / "plain", plain, [_LeavingOut(c, accepted) for c in scene.clients])
    hangs += plain.late + _threads_left()
    ended = time.monotonic()
    rounds = setting.experiment.federation["rounds"]
    faults += [full.injected] if full.injected is not None else []
    leg = Leg(
        number=number,
        faults=tuple(faults),
        updates=len(accepted),
        lost_updates=len({update for update in watch.acknowledged if update not in counts}),
        duplicated_updates=sum(count - 1 for count in counts.values()),
        left_out=rounds * len(scene.clients) - len(accepted),
        hangs=hangs,
        wrong_figures=tuple(compare_counted(journal.rows(), reference.rows(), renumbered=True)),
        weights_equal=bool(np.array_equal(_weights(journal, setting), _weights(reference, setting))),
        seconds=round(ended - begun, 1),
        faults_s=round(struck - begun, 1),
        settling_s=round(settled - struck, 1),
        repetition_s=round(ended - settled, 1),
    )
    return leg, None if full.injected is not None else disk_fault


class _FullDisk:
    """The disk becomes full after some round of the leg, in what the next one writes; the first then in which no board
    has to be flashed, which takes room."""

    def __init__(self, disk: DiskFull, planned: Planned | None, folder: Path, hold: Callable[[], bool]) -> None:
        self._disk = disk
        self._hold = hold
        self._planned = planned
        self._folder = folder / "faults"
        draw = random.Random(0 if planned is None else planned.seed)
        self._after, self._share, self._journal = draw.randint(1, 4), draw.uniform(0.05, 1.0), draw.random() < 0.5
        self._begun = 0.0
        self.injected: Injected | None = None

    def round_finished(self, round_: int) -> None:
        """Strikes when its round has come."""
        if self._planned is None or self.injected is not None or round_ < self._after or not self._hold():
            return
        state = max(path.stat().st_size for path in self._folder.glob("*-?????.json"))
        journal = (self._folder / "journal.jsonl").stat().st_size
        # The state of the next step does not fit, or only a part of the line that names it.
        limit = max(journal + round(self._share * 200), state + 1024) if self._journal else round(self._share * state)
        self._begun = time.monotonic()
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.injected = Injected(self._planned.number, DISK, "", at, {"limit": limit, "round": round_})
        self._disk.strike(limit)

    def acknowledged(self) -> None:
        """An update is acknowledged: if there is room again, the run has been resumed."""
        if self.injected is not None and not self.injected.rung and not self._disk.struck:
            seconds = round(time.monotonic() - self._begun, 3)
            self.injected = replace(self.injected, rung=RESUME, seconds=seconds)


def _under_faults(
    scene: Scene,
    setting: Setting,
    clients: Sequence[Client],
    watch: _Watch,
    folder: Path,
    resumed: Callable[[float], None],
) -> Journal:
    for _ in range(_MOST_RESUMED):
        try:
            return _federate(scene, setting, folder, watch, clients)
        except InfrastructureError:
            if not scene.disk.struck:
                raise
            scene.disk.lift()  # someone has made room, and starts the run again
            _threads_left()
            began = time.monotonic()
            scene.renew()
            resumed(began)
            finished = Journal(folder, setting.digest()).last_round(setting.experiment.model.variants[0].name)
            watch.forget(0 if finished is None else finished.round)
    raise InfrastructureError(f"{folder}: the run was resumed {_MOST_RESUMED} times and has not ended")


def _federate(scene: Scene, setting: Setting, folder: Path, watch: _Watch, clients: Sequence[Client]) -> Journal:
    journal = Journal(folder, setting.digest())
    (variant,) = setting.experiment.model.variants
    federate(setting, variant, clients, scene.boards, journal, "soak", watch, scene.rack.watched)
    return journal


def _counted(rows: Sequence[Measurement], local_samples: int) -> dict[Update, int]:
    """How many updates of each client each round counts."""
    counts: Counter[Update] = Counter()
    for row in rows:
        if row.metric == "samples":
            counts[row.round, row.client] += round(row.value / local_samples)
    return dict(counts)


def _weights(journal: Journal, setting: Setting) -> Vector:
    (variant,) = setting.experiment.model.variants
    finished = journal.last_round(variant.name)
    assert finished is not None
    state: dict[str, Any] = finished.state["simulation"]["core"]
    return unpack(state["weights"])


def _threads_left() -> int:
    """Clients' threads that do not end."""
    deadline = time.monotonic() + _THREADS_S
    left = [thread for thread in threading.enumerate() if thread.name.startswith("host-")]
    for thread in left:
        thread.join(max(0.0, deadline - time.monotonic()))
    return sum(thread.is_alive() for thread in left)
