"""A variant's rounds: federated on boards, and central on the host for comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from bench.data.fashion_mnist import Dataset
from bench.errors import InfrastructureError
from bench.experiment.config import Variant
from bench.experiment.setting import Setting
from bench.federation.client import Client, ClientState
from bench.federation.events import Vector
from bench.federation.federated_run import FederatedRun, StepTaken
from bench.federation.journal import Journal
from bench.federation.observer import Observer
from bench.federation.participation import Rounds
from bench.federation.schedule import Schedule
from bench.federation.update_codec import UpdateCodec
from bench.fleet.engine import Engine
from bench.meters.modelled import BoardRound, modelled_round
from bench.model.flat import flat, unflat
from bench.model.plan import Plan, load_initial
from bench.rack.board import Board
from bench.results.table import Measurement, Recorder

Watched = Callable[[Callable[[InfrastructureError], None]], AbstractContextManager[None]]


def _unwatched(_abort: Callable[[InfrastructureError], None]) -> AbstractContextManager[None]:
    return nullcontext()


class PlanModel:
    """Parameters travel as they lie on the board, see `Plan`, or through the update codec."""

    def __init__(self, plan: Plan, codec: UpdateCodec | None) -> None:
        self._plan = plan
        self._codec = codec

    @property
    def first_state(self) -> ClientState | None:
        """Nothing yet."""
        return None if self._codec is None else ClientState()

    def encode_down(self, weights: Vector) -> bytes:
        """Rounded to what the board stores."""
        return self._plan.encode_down(unflat(self._plan, weights))

    def change(self, update: bytes, down: bytes) -> Vector:
        """By how much a board has moved what it was sent. Raises ConfigError for another size, or no update."""
        plan = self._plan
        if self._codec is not None:
            return flat(plan, self._codec.to_real(self._codec.decode(update)))
        return flat(plan, plan.decode(update)) - flat(plan, plan.decode(down))


def federate(
    setting: Setting,
    variant: Variant,
    clients: Sequence[Client],
    boards: Mapping[str, Board],
    journal: Journal,
    run: str,
    observer: Observer,
    watched: Watched = _unwatched,
) -> None:
    """Runs a variant's federation over its clients; every finished round is in the journal.

    `watched` is entered with what ends the run, see FederatedRun.abort.
    """
    experiment = setting.experiment
    engine = setting.engines[variant.name]
    federation = experiment.federation_of(variant, len(clients))

    def judge(step: StepTaken) -> list[Measurement]:
        recorder = Recorder(run, variant.name, round=step.round)
        params = engine.plan.encode_down(unflat(engine.plan, step.weights))
        figures = _evaluate(engine, params, setting.dataset, recorder)
        if not step.rows:
            return figures
        known = all(board.physical for board in boards.values()) and federation.clock == "wall"
        figures.append(recorder.row("elapsed", step.elapsed_s, "measured" if known else "modelled"))
        took_s = None if step.in_rounds else step.took_s
        return figures + modelled_round(recorder, _board_rounds(boards, step.rows), took_s)

    federated = FederatedRun(
        Recorder(run, variant.name),
        clients,
        federation.settings,
        Schedule(experiment.train.local_samples, variant.rate, experiment.seed),
        PlanModel(engine.plan, setting.codec(variant)),
        judge,
        journal,
        observer,
        deadline_s=federation.deadline_s,
        seed=experiment.seed,
        clock=federation.clock,
    )
    with watched(federated.abort):
        federated.run(flat(engine.plan, load_initial(engine.plan.name)))


def central(setting: Setting, variant: Variant, run: str, rounds: int) -> list[Measurement]:
    """Trains on all clients' data in one place, on the host: as many steps, in an order drawn anew for each pass.

    The rows' variant is the federated one's name with `_central` behind it; a round stands for as many steps as the
    cohort made in one.
    """
    experiment = setting.experiment
    engine = setting.engines[variant.name]
    samples, labels = setting.training_data()
    settings = experiment.federation_of(variant, len(setting.cohort.shards)).settings
    participation = settings.participation
    updates = participation.clients if isinstance(participation, Rounds) else settings.make().capacity or 1
    per_round = experiment.train.local_samples * updates
    total = per_round * rounds
    generator = np.random.default_rng(experiment.seed)
    passes = -(-total // len(samples))
    order = np.concatenate([generator.permutation(len(samples)) for _ in range(passes)])[:total]
    params = engine.begin(engine.initial())
    recorder = Recorder(run, f"{variant.name}_central")
    rows = _evaluate(engine, params, setting.dataset, recorder)
    for round_ in range(1, rounds + 1):
        begun = (round_ - 1) * per_round
        params, _ = engine.train(
            params,
            samples,
            labels,
            order=order[begun : begun + per_round],
            learning_rate=variant.rate(round_),
            seed=experiment.seed + begun,
        )
        rows += _evaluate(engine, params, setting.dataset, Recorder(run, recorder.variant, round=round_))
    return rows


def _evaluate(engine: Engine, params: bytes, dataset: Dataset, recorder: Recorder) -> list[Measurement]:
    """Accuracy and loss on the test set, by the same engine that runs on the boards."""
    result = engine.infer(params, dataset.test_x, dataset.test_y)
    return [recorder.row("accuracy", result.accuracy, "counted"), recorder.row("loss", result.loss, "counted")]


def _board_rounds(boards: Mapping[str, Board], rows: Sequence[Measurement]) -> list[BoardRound]:
    """What each board did in a round, over all clients that it hosts."""

    def total(board: str, *metrics: str) -> float:
        return sum(row.value for row in rows if row.board == board and row.metric in metrics)

    return [
        BoardRound(
            board=name,
            manifest=board.manifest,
            instructions=total(name, "instructions"),
            cycles=total(name, "cycles"),
            wire_bytes=total(name, "wire_up", "wire_down"),
            steps=total(name, "samples"),
        )
        for name, board in boards.items()
        if any(row.board == name for row in rows)
    ]
