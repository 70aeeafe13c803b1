"""What a run needs to know before it touches a board."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.compiler.compile import Settings, compile_graph, random_calibration, write
from bench.compiler.recipe import Recipe, load_model
from bench.data import fashion_mnist, partition, split
from bench.data.shift import Shift
from bench.errors import ConfigError
from bench.experiment.cohort import Cohort, seat_clients
from bench.experiment.config import Experiment, Variant, load_experiment
from bench.federation.update_codec import UpdateCodec
from bench.fleet.engine import Engine
from bench.fleet.population import Pool
from bench.fleet.rehearse import rehearsed_calibration
from bench.model.graph import Graph
from bench.project import project_root
from bench.rack.entry import BoardEntry
from bench.rack.inventory import DEFAULT_RACK, Inventory, load_inventory
from bench.rack.manifest import load_manifest
from bench.selection.tasks import pretrained, seen_by_strangers

PUBLIC_SAMPLES = 10_000
"""That a network is pretrained on, if it is."""


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

    def codec(self, variant: Variant) -> UpdateCodec | None:
        """Of a variant's updates; None where parameters travel whole."""
        update = self.experiment.update_of(variant)
        return None if update is None else UpdateCodec(self.engines[variant.name].plan, update.codec)

    def records(self, indices: NDArray[np.int64]) -> bytes:
        """Samples as a data partition: its header, then a label and the features of each."""
        dataset = self.dataset
        return partition.build(dataset.train_x[indices], dataset.train_y[indices], dataset.classes)

    def training_data(self) -> tuple[NDArray[np.int8], NDArray[np.uint8]]:
        """All clients' samples and labels together, client by client."""
        indices = np.concatenate(list(self.cohort.shards.values()))
        return self.dataset.train_x[indices], self.dataset.train_y[indices]


def prepare(
    name: str,
    rack: Path | None,
    *,
    source: str | None = None,
    scheme: str | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> Setting:
    """Reads and checks everything, compiles the programs, and decides who holds which data.

    Args:
        name: an experiment file, or the name of one that ships.
        rack: the inventory; by default the experiment's, else the virtual rack.
        source: a model in place of the experiment's.
        scheme: an update scheme in place of those of its variants.
        say: is told what takes long.

    Raises:
        ConfigError: experiment, inventory, program or data set cannot be used as they are.
    """
    experiment = load_experiment(name).instead(source, scheme)
    inventory = load_inventory(rack or _rack_path(experiment))
    entries = inventory.select(boards_of(experiment, inventory, given=rack is not None))
    _check_federations(name, experiment, len(entries))
    graph = _model(name, experiment)
    if graph.input_shape[2] != 1:
        raise ConfigError(
            f"{name}: model.source takes {graph.input_shape[2]} channels, {experiment.data.dataset} has 1"
        )
    dataset = fashion_mnist.load(graph.input_shape[:2])
    public, private = _divide(experiment, len(dataset.train_y))
    if len(public):
        say(f"pretraining {graph.name}: {experiment.model.pretrain_steps} float32 steps on {len(public)} images")
        pool = Pool(dataset.train_x[public].reshape(-1, *graph.input_shape), dataset.train_y[public])
        graph = pretrained(
            graph, pool, experiment.model.pretrain_steps, experiment.model.pretrain_rate, experiment.seed
        )
    engines = {}
    for variant in experiment.model.variants:
        say(f"compiling {graph.name} as {variant.name}: scheme {variant.scheme}, {variant.dtype}")
        engines[variant.name] = _engine(experiment, variant, graph, dataset)
    for engine in engines.values():
        if engine.plan.classes < dataset.classes:
            raise ConfigError(
                f"{name}: model.source: {engine.plan.classes} classes, {experiment.data.dataset} has {dataset.classes}"
            )
    cohort = _cohort(experiment, entries, dataset, engines, private)
    if experiment.data.sensors:
        dataset = _through_sensors(dataset, list(cohort.shards.values()), experiment.seed)
    return Setting(experiment, inventory, entries, dataset, engines, cohort)


def _check_federations(name: str, experiment: Experiment, boards: int) -> None:
    """That so many boards can do what each variant asks. Raises ConfigError, naming file, variant and field."""
    for variant in experiment.model.variants:
        least = experiment.section_of(variant).get("min_clients", 1)
        if least > boards:
            raise ConfigError(
                f"{name}: variant {variant.name}: federation.min_clients is {least}, the rack has {boards} boards"
            )
        try:
            experiment.federation_of(variant, boards)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from error


def _divide(experiment: Experiment, samples: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the images to pretrain on, if any, and of those that clients share out."""
    if not experiment.model.pretrain_steps:
        return np.empty(0, np.int64), np.arange(samples)
    order = np.random.default_rng([experiment.seed, 9]).permutation(samples)
    return order[:PUBLIC_SAMPLES], np.sort(order[PUBLIC_SAMPLES:])


def _through_sensors(
    dataset: fashion_mnist.Dataset, shards: Sequence[NDArray[np.int64]], seed: int
) -> fashion_mnist.Dataset:
    """Each shard as its client's sensor sees it, and an equal part of the test set."""
    train, test = dataset.train_x.copy(), dataset.test_x.copy()
    parts = np.array_split(np.arange(len(test)), len(shards))
    for client, (shard, part) in enumerate(zip(shards, parts, strict=True)):
        sensor = Shift.draw(seed, client)
        for images, which in ((train, shard), (test, part)):
            images[which] = sensor.apply(images[which].transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return replace(dataset, train_x=train, test_x=test)


def _model(name: str, experiment: Experiment) -> Graph:
    """The network. Raises ConfigError, naming the experiment."""
    model = experiment.model
    try:
        return load_model(Recipe(model.source, input_shape=model.input, classes=model.classes, seed=experiment.seed))
    except ConfigError as error:
        raise ConfigError(f"{name}: model: {error}") from error


def _engine(experiment: Experiment, variant: Variant, graph: Graph, dataset: fashion_mnist.Dataset) -> Engine:
    """Compiles a variant's program, for boards and for the host."""
    calibration = random_calibration(graph)
    if variant.dtype == "int8":
        seen = Pool(dataset.train_x.reshape(-1, *graph.input_shape), dataset.train_y)
        if experiment.data.sensors:
            seen = seen_by_strangers(seen, experiment.seed)
        calibration = rehearsed_calibration(
            graph,
            variant.scheme,
            seen.x,
            seen.y,
            steps=experiment.model.rehearsal_steps,
            learning_rate=variant.learning_rate,
            seed=experiment.seed,
            source=experiment.data.dataset,
        )
    federated = experiment.update_of(variant) is not None
    settings = Settings(variant.scheme, variant.dtype, variant.batch, variant.rule, federated)
    program = f"{experiment.name}_{variant.name}".replace("-", "_")
    program = program if program[0].isalpha() else f"run_{program}"
    write(compile_graph(graph, settings, calibration, program))
    return Engine(program)


def _rack_path(experiment: Experiment) -> Path:
    if experiment.cohort.rack is not None:
        return Path(experiment.cohort.rack)
    return DEFAULT_RACK if DEFAULT_RACK.is_file() else project_root() / DEFAULT_RACK


def boards_of(experiment: Experiment, inventory: Inventory, *, given: bool) -> tuple[str, ...] | None:
    """The names to use; None for all: also of a rack that was given and has none of the experiment's boards."""
    names = experiment.cohort.boards
    if given and names is not None and not {entry.name for entry in inventory.boards} & set(names):
        return None
    return names


def _cohort(
    experiment: Experiment,
    entries: Sequence[BoardEntry],
    dataset: fashion_mnist.Dataset,
    engines: Mapping[str, Engine],
    private: NDArray[np.int64],
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
    drawn = split.dirichlet(
        dataset.train_y[private],
        len(entries),
        experiment.data.alpha,
        experiment.seed,
        list(capacities.values()),
        experiment.data.train_samples,
        experiment.data.min_samples,
    )
    return seat_clients(
        [entry.name for entry in entries],
        [private[shard] for shard in drawn],
        capacities,
        list(engines),
        lambda board, variant: engines[variant].plan.dtype == "int8" or manifests[board].has_fpu,
    )
