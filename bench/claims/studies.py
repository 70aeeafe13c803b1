"""What is asked of the simulated fleet: each study varies one thing of the experiment and keeps all else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from bench.claims.protocol import Arm, Experiment, Protocol
from bench.errors import ConfigError

BASELINE = "fedavg"
OURS = "ftte"


@dataclass(frozen=True)
class Case:
    """One row of a study: an arm under a protocol. `label` says what is varied."""

    label: str
    name: str
    arm: Arm
    protocol: Protocol


@dataclass(frozen=True)
class Study:
    """A question, the cases that answer it, and the seeds that each is run at."""

    title: str
    question: str
    cases: Callable[[Experiment], Iterator[Case]]
    seeds: Callable[[Experiment], tuple[int, ...]] = lambda e: e.protocol.seeds[:1]
    needs: tuple[str, ...] = ()
    """Arms that an experiment must have."""

    def check(self, experiment: Experiment) -> None:
        """That the experiment has its arms, and of strategies that can be varied so. Raises ConfigError."""
        if absent := [f"arms.{arm}" for arm in self.needs if arm not in experiment.arms]:
            raise ConfigError(f"needs {', '.join(absent)}, which the experiment lacks")
        for _ in self.cases(experiment):
            pass


EIGHT_BITS = "8 bits an update"


def _headline(e: Experiment) -> Iterator[Case]:
    for name in (BASELINE, "fedbuff", OURS):
        if name in e.arms:
            yield Case(_skew(e.protocol.alpha), name, e.arms[name], e.protocol)
    if OURS in e.arms:
        yield _ours(EIGHT_BITS, e, bits=8)


def _comparison(e: Experiment) -> Iterator[Case]:
    for alpha in (0.1, 0.5, math.inf):
        yield from _arms(_skew(alpha), e, alpha=alpha)


def _skew(alpha: float) -> str:
    return "IID" if math.isinf(alpha) else f"Dirichlet {alpha:g}"


def _scratch(e: Experiment) -> Iterator[Case]:
    yield from _arms("from scratch", e, pretrain_steps=0)


def _rates(e: Experiment) -> Iterator[Case]:
    for name, arm in e.arms.items():
        for rate in (0.005, 0.01, 0.02, 0.04):
            yield Case(f"rate {rate:g}", name, _changed(arm, learning_rate=rate), e.protocol)


def _weighting(e: Experiment) -> Iterator[Case]:
    for label, a, b in (
        ("age and variance", 0.5, 0.5),
        ("age alone", 0.5, 0.0),
        ("variance alone", 0.0, 0.5),
        ("neither", 0.0, 0.0),
        ("age, variance with the other sign", 0.5, -0.5),
    ):
        yield _ours(label, e, {"a": a, "b": b})


def _averaging(e: Experiment) -> Iterator[Case]:
    for name in (BASELINE, "fedbuff", OURS):
        arm = e.arms[name]
        for label, average in (("weights of the last step", 0.0), ("running mean of the weights", 0.95)):
            yield Case(label, name, _changed(arm, federation=arm.federation | {"average": average}), e.protocol)


def _bits(e: Experiment) -> Iterator[Case]:
    yield _ours("w* whole, as stored", e, bits=None)
    for bits in (8, 4, 2, 1):
        yield _ours(f"{bits} bits, error feedback", e, bits=bits)
        yield _ours(f"{bits} bits, none", e, bits=bits, error_feedback=False)


def _budgets(e: Experiment) -> Iterator[Case]:
    for kilobytes in (8, 16, 32, 48, 64, 96, 128, 256):
        yield _ours(f"{kilobytes} KB", e, budget_bytes=kilobytes * 1024)


def _stragglers(e: Experiment) -> Iterator[Case]:
    for slowdown in (2.0, 5.0, 10.0, 50.0):
        yield from _arms(f"stragglers {slowdown:g} times slower", e, slowdown=slowdown)
    for fraction in (0.02, 0.5):
        label = f"{100 * fraction:g} % of clients at a time"
        yield from _arms(label, e, fraction=fraction)
        yield from _in_proportion(label, e, e.varied(fraction=fraction).protocol, "fedbuff", OURS)


def _scaling(e: Experiment) -> Iterator[Case]:
    for clients in (10, 100, 1000, 10_000):
        label, protocol = f"{clients:,} clients", e.varied(clients=clients).protocol
        for name in (BASELINE, OURS):
            yield Case(label, name, e.arms[name], protocol)
        yield from _in_proportion(label, e, protocol, OURS)


def _in_proportion(label: str, e: Experiment, protocol: Protocol, *names: str) -> Iterator[Case]:
    """Arms whose buffer grows with the clients at work, so that updates are no staler than in the experiment.

    With K as it is, an update's mean staleness grows with the clients at work over K, and the server's steps, which are
    chosen for the experiment's, may be too large for it. Half as many server steps as in the experiment.
    """
    ratio = protocol.at_once / e.protocol.at_once
    for name in names:
        arm = e.arms.get(name)
        if ratio > 1 and arm is not None and "buffer" in arm.federation and "updates" in arm.federation:
            buffer, updates = (round(ratio * arm.federation[key]) for key in ("buffer", "updates"))
            changed = _changed(arm, federation=arm.federation | {"buffer": buffer, "updates": updates // 2})
            yield Case(f"{label}, K {buffer}", name, changed, protocol)


STUDIES: Mapping[str, Study] = {
    "headline": Study(
        "The claims' figures",
        "What claims.json is made from: FTTE-style beside synchronous FedAvg and FedBuff.",
        _headline,
        seeds=lambda e: e.protocol.seeds,
    ),
    "comparison": Study(
        "The paper's comparison",
        "FTTE-style beside synchronous FedAvg, FedAvg with a deadline and over-selection, and FedBuff.",
        _comparison,
        seeds=lambda e: e.protocol.seeds,
    ),
    "weighting": Study("Weights of updates", "Does it matter that age and variance count?", _weighting, needs=(OURS,)),
    "averaging": Study(
        "The model that is delivered",
        "The server's weights after a step, or their running mean, for each strategy: the FTTE-style arm has the mean.",
        _averaging,
        needs=(BASELINE, "fedbuff", OURS),
    ),
    "bits": Study(
        "Bits of an update", "How few bits carry an update, and what does error feedback do?", _bits, needs=(OURS,)
    ),
    "budgets": Study(
        "Memory budget", "What may be trained within how much SRAM, federation state included?", _budgets, needs=(OURS,)
    ),
    "scratch": Study("From scratch", "The same from random weights, without pretraining.", _scratch),
    "stragglers": Study("Stragglers", "How slow the slow are, and how many clients work at a time.", _stragglers),
    "scaling": Study(
        "Clients", "From ten clients to ten thousand, a tenth of them at work.", _scaling, needs=(BASELINE, OURS)
    ),
    "rates": Study(
        "Learning rates", "What the experiment file's rates were chosen from, at seed 0.", _rates, lambda _: (0,)
    ),
}
"""By name, in the order in which they are run: what matters most comes first."""


def _arms(label: str, e: Experiment, **changes: Any) -> Iterator[Case]:
    protocol = e.varied(**changes).protocol
    for name, arm in e.arms.items():
        yield Case(label, name, arm, protocol)


def _ours(label: str, e: Experiment, federation: Mapping[str, Any] | None = None, **changes: Any) -> Case:
    arm = e.arms[OURS]
    return Case(label, OURS, _changed(arm, federation=arm.federation | dict(federation or {}), **changes), e.protocol)


def _changed(arm: Arm, **changes: Any) -> Arm:
    try:
        return Arm.model_validate(arm.model_dump() | changes)
    except ValidationError as error:  # the file's arm of this name is of another strategy
        problems = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ConfigError("cannot vary the arm\n" + "\n".join(problems)) from error
