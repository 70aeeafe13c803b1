"""What a run needs to know before it touches a board."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.build import project_root
from bench.data import fashion_mnist, partition, split
from bench.errors import ConfigError
from bench.experiment.cohort import Cohort, seat_clients
from bench.experiment.config import Experiment, load_experiment
from bench.fleet.engine import Engine
from bench.rack.inventory import DEFAULT_RACK, BoardEntry, Inventory, load_inventory
from bench.rack.manifest import load_manifest


@dataclass(frozen=True)
class Setting:
    """What a run needs to know before it touches a board; made from the experiment and the rack's inventory alone."""

    experiment: Experiment
    inventory: Inventory
    entries: tuple[BoardEntry, ...]
    dataset: fashion_mnist.Dataset
    engines: Mapping[str, Engine]
    cohort: Cohort

    def digest(self) -> str:
        """Hex SHA-256 over what decides the result: experiment, boards, programs."""
        parts = {
            "experiment": self.experiment.digest(),
            "boards": [[entry.name, entry.env] for entry in self.entries],
            "plans": {name: engine.plan.plan_id.hex() for name, engine in self.engines.items()},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def records(self, indices: NDArray[np.int64]) -> bytes:
        """Samples as a data partition: its header, then a label and the features of each."""
        dataset = self.dataset
        return partition.build(dataset.train_x[indices], dataset.train_y[indices], dataset.classes)

    def training_data(self) -> tuple[NDArray[np.int8], NDArray[np.uint8]]:
        """All clients' samples and labels together, client by client."""
        indices = np.concatenate(list(self.cohort.shards.values()))
        return self.dataset.train_x[indices], self.dataset.train_y[indices]


def prepare(name: str, rack: Path | None) -> Setting:
    """Reads and checks everything, and decides who holds which data.

    Raises:
        ConfigError: experiment, inventory, program or data set cannot be used as they are.
    """
    experiment = load_experiment(name)
    inventory = load_inventory(rack or _rack_path(experiment))
    entries = inventory.select(experiment.cohort.boards)
    if experiment.federation.min_clients > len(entries):
        raise ConfigError(
            f"{name}: federation.min_clients is {experiment.federation.min_clients}, the rack has {len(entries)} boards"
        )
    dataset = fashion_mnist.load()
    engines = {variant.name: Engine(variant.program) for variant in experiment.model.variants}
    for variant, engine in engines.items():
        if engine.plan.sample_bytes != dataset.train_x[0].size or engine.plan.classes != dataset.classes:
            raise ConfigError(f"{name}: variant {variant}: program and data set {experiment.data.dataset} do not match")
    return Setting(experiment, inventory, entries, dataset, engines, _cohort(experiment, entries, dataset, engines))


def _rack_path(experiment: Experiment) -> Path:
    if experiment.cohort.rack is not None:
        return Path(experiment.cohort.rack)
    return DEFAULT_RACK if DEFAULT_RACK.is_file() else project_root() / DEFAULT_RACK


def _cohort(
    experiment: Experiment,
    entries: Sequence[BoardEntry],
    dataset: fashion_mnist.Dataset,
    engines: Mapping[str, Engine],
) -> Cohort:
    manifests = {entry.name: load_manifest(entry.env) for entry in entries}
    sample_bytes = dataset.train_x[0].size
    streamed = experiment.data.placement == "stream"
    capacities = {
        name: experiment.data.train_samples if streamed else partition.capacity(manifest.flash.data_size, sample_bytes)
        for name, manifest in manifests.items()
    }
    if sum(capacities.values()) < experiment.data.train_samples:
        raise ConfigError(
            f"data.train_samples is {experiment.data.train_samples}, but the boards' flash holds "
            f'{sum(capacities.values())}: lower it, use more boards, or set data.placement = "stream"'
        )
    shards = split.dirichlet(
        dataset.train_y,
        len(entries),
        experiment.data.alpha,
        experiment.seed,
        list(capacities.values()),
        experiment.data.train_samples,
        experiment.data.min_samples,
    )
    return seat_clients(
        [entry.name for entry in entries],
        shards,
        capacities,
        list(engines),
        lambda board, variant: engines[variant].plan.dtype == "int8" or manifests[board].has_fpu,
    )
