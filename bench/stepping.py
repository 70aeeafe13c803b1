"""`bench step`: one training step of a program on an emulated core or on a board of the rack, counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.compiler.marks import Marks, find_marks
from bench.data import partition
from bench.errors import ConfigError
from bench.link.device import Device
from bench.link.messages import Stats
from bench.meters.calls import read_calls
from bench.model.plan import Plan, load_initial
from bench.planning import Planned, call_layers
from bench.rack.board import Board
from bench.virtual.core_run import running

_SAMPLES = 2
"""In the data partition: a batch walks round it, as counts do not depend on data."""
LEARNING_RATE = 0.01


@dataclass(frozen=True)
class StepRun:
    """What one training step took. `figures` are those of `bench step --json`; `calls` instructions by kernel call."""

    planned: Planned
    where: str
    figures: Mapping[str, int]
    loss: float
    saturated: int
    calls: Sequence[tuple[str, int]] = field(default_factory=list)
    witness: Mapping[str, int] | None = None
    """What the emulator saw of the step: deepest store in the stack, bytes of the arena, stores outside all regions."""

    def by_layer(self) -> list[dict[str, Any]]:
        """Each layer's part of the plan, with the instructions that its kernel calls took, forward and backward.

        What a fused call took counts with the last of its layers.
        """
        total: dict[str, int] = {}
        for call, instructions in self.calls:
            layer = call_layers(call)[-1]
            total[layer] = total.get(layer, 0) + instructions
        return [{**layer, "instructions": total.get(layer["name"], 0)} for layer in self.planned.by_layer()]

    def document(self) -> dict[str, Any]:
        """The run as JSON."""
        plan = self.planned.compiled.plan
        return {
            "model": plan.model,
            "scheme": plan.scheme,
            "dtype": plan.dtype,
            "batch": plan.batch,
            "env": self.planned.manifest.env,
            "on": self.where,
            "calibration": plan.calibration,
            **self.figures,
            "flash_bytes": self.planned.footprint.flash_bytes,
            "lower_bound_bytes": plan.lower_bound_bytes,
            "loss": self.loss,
            "saturated": self.saturated,
            "planned": self.planned.footprint.keys(),
            **({} if self.witness is None else {"witness": dict(self.witness)}),
        }


def step_on_core(planned: Planned, *, seed: int = 0, layers: bool = False, witness: bool = False) -> StepRun:
    """One step on the emulated core of a plan's environment, started from the image without flashing.

    Args:
        planned: must fit the environment.
        seed: of the random sample, its label and the stochastic rounding.
        layers: count each kernel call too.
        witness: watch every store, to check the image's own figures; takes several times as long.

    Raises:
        ConfigError: the plan does not fit.
        InfrastructureError: the emulator does not start or falls silent.
    """
    require_fit(planned)
    plan = planned.compiled.plan
    marks = find_marks(planned.elf, plan) if layers else None
    image = planned.elf.with_suffix(".bin")
    addresses = None if marks is None else marks.addresses
    shard = random_shard(plan, seed)
    with running(planned.manifest.env, image, data=shard, call_marks=addresses, witness=witness) as core:
        before = core.instructions("train")
        figures, loss, saturated = _step(core.device, plan, seed)
        figures["instructions"] = core.instructions("train") - before
        calls = [] if marks is None or core.calls_path is None else _calls(marks, read_calls(core.calls_path))
        seen = None if core.witness is None else asdict(core.witness.touched("train"))
    return StepRun(planned, planned.manifest.env, _counted(figures), loss, saturated, calls, seen)


def step_on_board(planned: Planned, board: Board, *, seed: int = 0) -> StepRun:
    """One step on a board of the rack, which is flashed for it if need be.

    Raises:
        ConfigError: the plan does not fit, or is another environment's.
        DeviceError: the board refuses.
        InfrastructureError: probe or line fail.
    """
    require_fit(planned)
    plan = planned.compiled.plan
    board.flash(planned.elf.with_suffix(".bin").read_bytes(), random_shard(plan, seed))
    before = board.instructions("train")
    figures, loss, saturated = _step(board.device(), plan, seed)
    after = board.instructions("train")
    if before is not None and after is not None:
        figures = _counted({**figures, "instructions": after - before})
    return StepRun(planned, f"board {board.name}", figures, loss, saturated)


def _counted(figures: Mapping[str, int]) -> dict[str, int]:
    """Without cycles, as an emulator's are not those of a core; instructions first."""
    rest = {name: value for name, value in figures.items() if name not in ("cycles", "instructions")}
    return {"instructions": figures["instructions"], **rest}


def require_fit(planned: Planned) -> None:
    """Raises ConfigError where the program does not fit its environment."""
    problems = planned.footprint.problems(planned.manifest)
    if problems:
        plan = planned.compiled.plan
        raise ConfigError(
            f"{plan.model} with scheme {plan.scheme} in {plan.dtype} does not fit {planned.manifest.env}: "
            f"{'; '.join(problems)} (`bench plan` tries smaller schemes)"
        )


def _step(device: Device, plan: Plan, seed: int) -> tuple[dict[str, int], float, int]:
    """Sends the model, trains on one batch; SRAM by the board's own linker symbols and stack paint."""
    device.send_round(1, plan.encode_down(load_initial(plan.name)))
    device.stats(repaint=True)
    result = device.train(0, plan.batch, LEARNING_RATE, seed, timeout_s=600.0)
    stats = device.stats()
    figures = {
        "cycles": result.cycles,
        "macs_forward": plan.macs_forward * plan.batch,
        "macs_backward": plan.macs_backward * plan.batch,
        **_memory(stats),
    }
    return figures, result.loss, result.saturated


def _memory(stats: Stats) -> dict[str, int]:
    return {
        "sram_static_bytes": stats.sram_static,
        "sram_arena_bytes": stats.sram_arena,
        "sram_stack_bytes": stats.stack_high_water,
        "sram_federation_bytes": stats.sram_federation,
        "sram_total_bytes": stats.sram_static + stats.sram_arena + stats.stack_high_water,
    }


def _calls(marks: Marks, counted: Sequence[tuple[int, int]]) -> list[tuple[str, int]]:
    return [(call, instructions) for call, (instructions, _) in zip(marks.calls, counted, strict=True) if call]


def random_shard(plan: Plan, seed: int) -> bytes:
    """A data partition of seeded random samples."""
    generator = np.random.default_rng(seed)
    shape = (_SAMPLES, plan.sample_bytes)
    samples: NDArray[np.int8] = generator.normal(0.0, 45.0, shape).clip(-128, 127).astype(np.int8)
    labels = generator.integers(0, plan.classes, _SAMPLES).astype(np.uint8)
    return partition.build(samples, labels, plan.classes)
