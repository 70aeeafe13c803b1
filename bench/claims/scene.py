"""What the arms of an experiment share at a seed: data, clients, the network they start from, and their programs."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bench.claims.protocol import Arm, Protocol
from bench.compiler.compile import Compiled, Settings, compile_graph, random_calibration, write
from bench.compiler.differentiate import Dtype
from bench.compiler.recipe import Recipe, load_model
from bench.data import cifar10, fashion_mnist
from bench.errors import ConfigError
from bench.federation.update_codec import CodecSettings, UpdateCodec
from bench.fleet.device import COUNTED_ON, Device, device_of
from bench.fleet.engine import Engine
from bench.fleet.population import Pool, Population, Stragglers
from bench.fleet.rehearse import rehearsed_calibration
from bench.fleet.trainer import Trainer
from bench.model.graph import Graph
from bench.planning import Planned, link_plan
from bench.project import cache_folder
from bench.rack.manifest import load_manifest
from bench.selection.contribution import Task, contributions
from bench.selection.groups import groups_of
from bench.selection.pick import pick
from bench.selection.tasks import pretrained, seen_by_strangers
from bench.stepping import step_on_core

_FIRST = 0
"""Seed of what is the same at every seed of a run: the split, the network's first weights and its pretraining."""
_OF_NETWORKS = ("dataset", "folder", "model", "input_shape", "pretrain_samples", "pretrain_steps", "pretrain_rate",
                "board", "judge_samples", "share_of_parameters")  # fmt: skip
"""Of a protocol: what data, the network, and its programs depend on."""
_SELECTION_STEPS = 2000
_JUDGES = 100
_REHEARSED = 4000
Say = Callable[[str], None]


@dataclass(frozen=True)
class Program:
    """An arm's compiled program, the board that it is counted for, and what codes its updates."""

    compiled: Compiled
    engine: Engine
    device: Device
    codec: UpdateCodec | None
    scheme: str


class Scene:
    """An experiment's data and networks.

    Args:
        protocol: of the experiment.
        say: called with what is being done.

    Raises:
        ConfigError: the data set is absent, or too small for the protocol.
    """

    def __init__(self, protocol: Protocol, say: Say = lambda _text: None) -> None:
        self.protocol = protocol
        self._say = say
        train, self._test = _load(protocol)
        held = protocol.pretrain_samples
        if len(train) <= held or len(self._test) < protocol.judge_samples:
            raise ConfigError(
                f"{protocol.dataset} has {len(train)} samples to train on and {len(self._test)} to judge by: too few "
                f"for pretrain_samples {held} and judge_samples {protocol.judge_samples}"
            )
        order = np.random.default_rng([_FIRST, 9]).permutation(len(train)).astype(np.int32)
        self.public = train[order[:held]]
        self.private = train[order[held:]]
        self._programs: dict[str, Program] = {}
        self._chosen: dict[tuple[str, int], str] = {}
        self._verified: dict[str, tuple[int, int]] = {}

    @cached_property
    def graph(self) -> Graph:
        """The network that every arm starts from."""
        p = self.protocol
        graph = load_model(Recipe(p.model, input_shape=p.input_shape, seed=1))
        if p.pretrain_steps:
            self._say(f"pretraining {p.model}: {p.pretrain_steps} steps")
        return pretrained(graph, self.public, p.pretrain_steps, p.pretrain_rate, 1)

    def varied(self, protocol: Protocol) -> Scene:
        """The scene of another protocol; data, network and programs are shared where it leaves them as they are."""
        if any(getattr(protocol, name) != getattr(self.protocol, name) for name in _OF_NETWORKS):
            return Scene(protocol, self._say)
        _ = self.graph  # pretrained once for all
        other = copy.copy(self)
        other.protocol = protocol
        return other

    def population(self, seed: int) -> Population:
        """The clients at a seed."""
        p = self.protocol
        stragglers = Stragglers(p.straggler_share, p.slowdown)
        return Population(self.private, p.clients, p.samples, p.alpha, seed, stragglers)

    def judge(self, population: Population, seed: int) -> Pool:
        """What the shared model is judged by."""
        return population.judges(self._test[: self.protocol.judge_samples], seed, _JUDGES)

    def local_test(self, population: Population, client: int, seed: int) -> Pool:
        """Test samples with a client's own mixture of labels, as its sensor sees them; as many as it trains on."""
        labels = population.shard(client).y
        generator = np.random.default_rng([seed, 11, client])
        which = np.array([generator.choice(self._by_label[int(label)]) for label in labels], np.int32)
        return Pool(population.shift(client).apply(self._test.x[which]), self._test.y[which])

    @cached_property
    def _by_label(self) -> dict[int, np.ndarray]:
        return {int(label): np.flatnonzero(self._test.y == label) for label in np.unique(self._test.y)}

    def program(self, arm: Arm) -> Program:
        """An arm's program: compiled, its step counted, its w* chosen if the arm has a budget."""
        scheme = self.scheme(arm)
        key = f"{scheme} {arm.dtype} {arm.bits} {arm.keep} {arm.error_feedback}"
        if key not in self._programs:
            self._programs[key] = self._compile(arm, scheme)
        return self._programs[key]

    def scheme(self, arm: Arm) -> str:
        """What an arm trains."""
        if arm.budget_bytes is None:
            return arm.scheme
        key = (arm.dtype, arm.budget_bytes)
        if key not in self._chosen:
            self._chosen[key] = self._choose(arm.dtype, arm.budget_bytes)
        return self._chosen[key]

    def _choose(self, dtype: Dtype, budget: int) -> str:
        graph, p = self.graph, self.protocol
        learn, judge = self._seen(0), self._seen(1)
        task = Task(learn.x, learn.y, judge.x, judge.y, _SELECTION_STEPS, p.pretrain_rate, 1)
        self._say("contribution of each parameter group, on public samples")
        found = contributions(graph, groups_of(graph), task, cache_folder("selection"), dtype)
        most = int(graph.parameters * p.share_of_parameters)
        gains = {c.group: c.gain for c in found}
        return pick(graph, gains, load_manifest(p.board), budget, dtype, most, self._say).selection.scheme

    def planned(self, arm: Arm, env: str) -> Planned:
        """An arm's program linked for a kind of board, with what a federated client keeps."""
        return link_plan(self.program(arm).compiled, load_manifest(env), self._say)

    def verified(self, arm: Arm) -> tuple[int, int]:
        """An arm's program on the emulated core that it is counted on: bytes of SRAM as planned there, and as that core
        found them in a step, federation state included."""
        compiled = self.program(arm).compiled
        if compiled.plan.name not in self._verified:
            on = load_manifest(COUNTED_ON[load_manifest(self.protocol.board).core])
            planned = link_plan(compiled, on, self._say)
            counted = step_on_core(planned).figures
            self._verified[compiled.plan.name] = (
                planned.footprint.total_bytes + planned.footprint.federation_bytes,
                counted["sram_total_bytes"] + counted["sram_federation_bytes"],
            )
        return self._verified[compiled.plan.name]

    def trainer(self, arm: Arm, population: Population, seed: int) -> Trainer:
        """Clients that train with an arm's program."""
        program = self.program(arm)
        steps = self.protocol.local_steps
        return Trainer(program.engine, program.device, population, steps, arm.learning_rate, seed, program.codec)

    def _compile(self, arm: Arm, scheme: str) -> Program:
        p = self.protocol
        settings = Settings(scheme, arm.dtype, federated=arm.bits is not None)
        calibration = random_calibration(self.graph)
        if arm.dtype == "int8":
            seen = self._seen(0)
            calibration = rehearsed_calibration(
                self.graph, scheme, seen.x, seen.y, steps=_REHEARSED, learning_rate=p.pretrain_rate, seed=1,
                source="public samples",
            )  # fmt: skip
        text = f"{scheme} {settings} {p.dataset} {p.input_shape} {p.pretrain_steps}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        name = f"claims_{p.model}_{arm.dtype}_{digest[:12]}".replace("-", "_")
        compiled = compile_graph(self.graph, settings, calibration, name)
        write(compiled)
        codec = None
        if arm.bits is not None:
            chosen = CodecSettings(bits=arm.bits, keep=arm.keep, error_feedback=arm.error_feedback)
            codec = UpdateCodec(compiled.plan, chosen)
        self._say(f"counting a step of {arm.dtype} {scheme}")
        return Program(compiled, Engine(name), device_of(compiled, p.board, step=self._say), codec, scheme)

    def _seen(self, part: int) -> Pool:
        """2,000 public samples, as sensors that are no client's see them."""
        return seen_by_strangers(self.public[part * 2000 : (part + 1) * 2000], 1)


def _load(protocol: Protocol) -> tuple[Pool, Pool]:
    """Samples to train on and to judge by."""
    height, width, channels = protocol.input_shape
    if protocol.dataset == "cifar10":
        if protocol.folder is None:
            raise ConfigError("protocol.folder: CIFAR-10 needs the folder of its binary files")
        data: cifar10.Dataset | fashion_mnist.Dataset = cifar10.load(protocol.folder)
    else:
        data = fashion_mnist.load((height, width))
    shape = (-1, height, width, channels)
    return Pool(data.train_x.reshape(shape), data.train_y), Pool(data.test_x.reshape(shape), data.test_y)
