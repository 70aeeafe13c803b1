"""Memory of a fleet of thousands of clients, each of which has taken its turn.

    python -m bench.benchmarks.fleet_memory [--clients N] [--arms NAME ...] [--json FILE]

The claims' experiment with more clients: LeNet-5, a tenth of them at work at a time, each arm in a process of its own.
A turn is one local step here, as the number of steps takes no memory; it goes on until about every client has kept what
a client keeps (the version that it has, its turns, the error feedback of its updates). What is printed is the process's
greatest resident size as the kernel counts it (VmHWM): data, network, threads and Python included.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.benchmarks.files import write_document
from bench.claims.protocol import Arm, load_experiment
from bench.claims.scene import Scene
from bench.errors import BenchError, ConfigError
from bench.fleet.simulate import Point, simulate
from bench.fleet.trainer import Job, Trainer

GOAL_BYTES = 4 << 30
GOAL_CLIENTS = 10_000
_TURNS = 6
"""Turns a client, in the mean: clients are drawn at random, so some have none; how many have had one is told."""


@dataclass(frozen=True)
class Peak:
    """An arm's greatest resident size. `took_part`: clients that have had a turn."""

    arm: str
    clients: int
    took_part: int
    updates: int
    peak_bytes: int


@dataclass
class _Asked(Trainer):
    """Remembers who has been asked for a turn."""

    asked: set[int] = field(default_factory=set)

    def job(self, client: int, version: int, proximal_mu: float = 0.0) -> Job:
        self.asked.add(client)
        return super().job(client, version, proximal_mu)


def measure(name: str, clients: int) -> Peak:
    """Simulates an arm in this process. Raises ConfigError for an arm that the experiment lacks."""
    experiment = load_experiment().varied(clients=clients, local_steps=1)
    arm = experiment.arms[name]
    scene = Scene(experiment.protocol, lambda text: print(text, file=sys.stderr, flush=True))
    population = scene.population(experiment.protocol.seeds[0])
    seed = experiment.protocol.seeds[0]
    made = scene.trainer(arm, population, seed)
    trainer = _Asked(made.engine, made.device, population, made.steps, made.learning_rate, made.seed, made.codec)
    settings = _all_of_them(arm, clients, experiment.protocol.at_once).settings(experiment.protocol.at_once, 1.0)
    judge = scene.judge(population, seed)[:100]

    def show(point: Point) -> None:
        print(f"\r{name}: {point.updates:,} updates", end="", file=sys.stderr, flush=True)

    trace = simulate(settings, trainer, judge, seed, every=100, progress=show)
    print(file=sys.stderr)
    return Peak(name, clients, len(trainer.asked), trace.points[-1].updates, _peak_bytes())


def _all_of_them(arm: Arm, clients: int, at_once: int) -> Arm:
    """For as long as it takes until about every client has had its turn."""
    updates = _TURNS * clients
    ends = {"rounds": -(-updates // at_once)} if arm.federation["strategy"] in ("fedavg", "fedprox") else {
        "updates": updates}  # fmt: skip
    return Arm.model_validate(arm.model_dump() | {"federation": arm.federation | ends})


def _peak_bytes() -> int:
    """Of this process since it began; getrusage would tell its parent's if that was larger."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints and writes; returns 1 where the goal is missed."""
    experiment = load_experiment()
    parser = argparse.ArgumentParser(prog="python -m bench.benchmarks.fleet_memory", description="memory of a fleet")
    parser.add_argument("--clients", type=int, default=GOAL_CLIENTS, help=f"default: {GOAL_CLIENTS:,}")
    parser.add_argument("--arms", nargs="+", choices=list(experiment.arms), metavar="NAME",
                        default=list(experiment.arms), help="default: all of the claims' experiment")  # fmt: skip
    parser.add_argument("--json", type=Path, help="default: reports/bench/fleet_memory.json")
    options = parser.parse_args(arguments)
    try:
        if options.clients < 1:
            raise ConfigError(f"--clients {options.clients}: at least one")
        # One at a time, each in a process that has not held another arm.
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            peaks = [pool.apply(measure, (name, options.clients)) for name in options.arms]
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("| arm | clients | took part | updates | peak memory |\n| --- | ---: | ---: | ---: | ---: |")
    for peak in peaks:
        print(f"| {peak.arm} | {peak.clients:,} | {peak.took_part:,} | {peak.updates:,} | "
              f"{peak.peak_bytes / (1 << 30):.2f} GiB |")  # fmt: skip
    print(write_document(options.json, "fleet_memory", {"peaks": [asdict(peak) for peak in peaks]}))
    return int(any(peak.peak_bytes >= GOAL_BYTES for peak in peaks))


if __name__ == "__main__":
    raise SystemExit(main())
