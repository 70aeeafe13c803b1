"""A variant's rounds: federated on boards, and central on the host for comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bench.data.fashion_mnist import Dataset
from bench.experiment.config import Variant
from bench.experiment.setting import Setting
from bench.federation.client import Client
from bench.federation.journal import Journal
from bench.federation.schedule import Schedule
from bench.federation.server import FederatedRun, Observer
from bench.federation.strategies.fedavg import Weights, fedavg
from bench.fleet.engine import Engine
from bench.meters.modelled import BoardRound, modelled_round
from bench.model.plan import Plan, load_initial
from bench.rack.board import Board
from bench.results.table import Measurement, Recorder


class PlanCodec:
    """Parameters travel as they lie on the board: see `Plan`."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def encode_down(self, master: Weights) -> bytes:
        """Rounded to what the board stores."""
        return self._plan.encode_down(master)

    def decode_down(self, down: bytes) -> Weights:
        """What was sent, as real values."""
        return self._plan.decode(down)

    def decode_up(self, params: bytes) -> Weights:
        """What came back, as real values. Raises ConfigError for another size."""
        return self._plan.decode(params)


def federate(
    setting: Setting,
    variant: Variant,
    clients: Sequence[Client],
    boards: Mapping[str, Board],
    journal: Journal,
    run: str,
    observer: Observer,
) -> None:
    """Runs a variant's rounds over its clients; every finished round is in the journal."""
    experiment = setting.experiment
    engine = setting.engines[variant.name]
    schedule = Schedule(
        rounds=experiment.federation.rounds,
        local_samples=experiment.train.local_samples,
        learning_rate=variant.rate,
        deadline_s=experiment.federation.deadline_s,
        min_clients=experiment.federation.min_clients,
        seed=experiment.seed,
    )

    def evaluate(master: Weights, round_: int, rows: Sequence[Measurement]) -> list[Measurement]:
        recorder = Recorder(run, variant.name, round=round_)
        figures = _evaluate(engine, engine.plan.encode_down(master), setting.dataset, recorder)
        return figures + modelled_round(recorder, _board_rounds(boards, rows)) if rows else figures

    FederatedRun(
        Recorder(run, variant.name), clients, schedule, fedavg, PlanCodec(engine.plan), evaluate, journal, observer
    ).run(load_initial(engine.plan.name))


def central(setting: Setting, variant: Variant, run: str) -> list[Measurement]:
    """Trains on all clients' data in one place, on the host: as many steps, in an order drawn anew for each pass.

    The rows' variant is the federated one's name with `_central` behind it; a round stands for as many steps as the
    cohort made in one.
    """
    experiment = setting.experiment
    engine = setting.engines[variant.name]
    samples, labels = setting.training_data()
    per_round = experiment.train.local_samples * len(setting.cohort.shards)
    total = per_round * experiment.federation.rounds
    generator = np.random.default_rng(experiment.seed)
    passes = -(-total // len(samples))
    order = np.concatenate([generator.permutation(len(samples)) for _ in range(passes)])[:total]
    params = engine.begin(engine.initial())
    recorder = Recorder(run, f"{variant.name}_central")
    rows = _evaluate(engine, params, setting.dataset, recorder)
    for round_ in range(1, experiment.federation.rounds + 1):
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
