"""Is what the plan predicts what a board needs? And what do number format, scheme and placement save?

    python -m bench.benchmarks.memory [--models lenet-5 ...] [--envs netduinoplus2 ...]

Every zoo model x scheme x environment that fits takes one training step in an emulator. Static data and arena are read
off by the image itself, the stack by its paint, and a second witness, the emulator, watches every store. Finished steps
are kept in the cache for as long as their images stay the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.benchmarks.files import cache_folder, write_document
from bench.compiler.arrange import arrange
from bench.compiler.differentiate import Dtype
from bench.compiler.recipe import Recipe
from bench.errors import ConfigError
from bench.model.plan import load_initial
from bench.model.zoo import zoo_names
from bench.planning import Planned, make_plan
from bench.rack.manifest import load_manifest
from bench.stepping import step_on_core

ENVS = ("netduinoplus2", "olimex_stm32_h405", "netduino2", "b_l475e_iot01a", "microbit",
        "mps2_an386", "mps2_an385", "mps2_an500", "mps2_an505")  # fmt: skip
SCHEMES = ("full", "bias", "sparse-25", "low-rank-4")
MCUNET = "mcunet-5fps"
STEPS: tuple[tuple[str, Dtype], ...] = (("full", "float32"), ("full", "int8"), ("sparse-25", "int8"))
"""From standard training to what this bench is for; both ends by the same compiler."""
SAVING_MODELS = ("mlp", "lenet-5", "ds-cnn", "resnet-8", "mobilenet-v1-0.25", "autoencoder")
SAVING_ENV = "mps2_an386"


@dataclass(frozen=True)
class Case:
    """One program on one kind of board."""

    model: str
    scheme: str
    dtype: Dtype
    env: str


def cases(models: Sequence[str], envs: Sequence[str]) -> Iterator[Case]:
    """Every int8 program on every board, and float32, the standard approach, where there is an FPU."""
    for model in models:
        for scheme in SCHEMES if model != MCUNET else ("tte-49kb", "bias"):
            for env in envs:
                yield Case(model, scheme, "int8", env)
                if load_manifest(env).has_fpu and scheme in ("full", "sparse-25"):
                    yield Case(model, scheme, "float32", env)


def measure(case: Case) -> dict[str, Any]:
    """Predicted and measured figures of a case; for one that does not fit, why not."""
    try:
        planned = make_plan(Recipe(case.model, case.scheme, case.dtype), case.env)
    except ConfigError as error:
        return {**asdict(case), "fits": False, "problems": [str(error)]}
    row: dict[str, Any] = {**asdict(case), "fits": planned.fits, "predicted": planned.footprint.keys()}
    row["lower_bound_bytes"] = planned.compiled.plan.lower_bound_bytes
    row["trained"] = sum(layer.trained for layer in planned.compiled.plan.layers)
    row["parameters"] = planned.compiled.graph.parameters
    if not planned.fits:
        return {**row, "problems": planned.footprint.problems(planned.manifest)}
    return {**row, **_stepped(planned)}


def _stepped(planned: Planned) -> dict[str, Any]:
    image = planned.elf.with_suffix(".bin").read_bytes()
    plan = planned.compiled.plan
    down = plan.encode_down(load_initial(plan.name))
    kept = cache_folder() / f"step-{hashlib.sha256(image + down + planned.manifest.env.encode()).hexdigest()[:20]}.json"
    if kept.is_file():
        return dict(json.loads(kept.read_text(encoding="utf-8")))
    run = step_on_core(planned, witness=True)
    found = {"measured": dict(run.figures), "witness": run.witness, "differences": differences(planned, run.figures)}
    kept.write_text(json.dumps(found), encoding="utf-8")
    return found


def differences(planned: Planned, figures: Any) -> dict[str, int]:
    """Measured minus predicted, in bytes: static and arena must be 0, the stack must not be above."""
    keys = ("sram_static_bytes", "sram_arena_bytes", "sram_stack_bytes")
    predicted = planned.footprint.keys()
    return {key: figures[key] - predicted[key] for key in keys}


def saving(model: str) -> list[dict[str, Any]]:
    """A model's SRAM in steps, and for each what its arena would take without placement."""
    rows = []
    for scheme, dtype in STEPS:
        row = measure(Case(model, scheme, dtype, SAVING_ENV))
        planned = make_plan(Recipe(model, scheme, dtype), SAVING_ENV)
        arranged = planned.compiled.arranged
        unordered = arrange(arranged.schedule, reorder=False)
        row["arena_steps"] = {
            "each_value_its_own": sum(value.bytes for value in arranged.schedule.values.values())
            + max((call.scratch for call in arranged.calls), default=0),
            "placed_in_program_order": unordered.arena_bytes,
            "ordered_and_placed": arranged.arena_bytes,
        }
        rows.append(row)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what is not in the cache, two at a time, and writes the document."""
    parser = argparse.ArgumentParser(description="predicted and measured SRAM of every model, scheme and board")
    parser.add_argument("--models", nargs="+", default=list(zoo_names()), choices=list(zoo_names()))
    parser.add_argument("--envs", nargs="+", default=list(ENVS), choices=list(ENVS))
    parser.add_argument("--output", type=Path, help="default: reports/bench/memory.json")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    wanted = list(cases(options.models, options.envs))
    rows = []
    with ProcessPoolExecutor(options.processes) as pool:
        for case, row in zip(wanted, pool.map(measure, wanted), strict=True):
            rows.append(row)
            said = row.get("differences") or "; ".join(row["problems"])
            print(f"{case.model} {case.scheme} {case.dtype} {case.env}: {said}", flush=True)
        savings = dict(zip(SAVING_MODELS, pool.map(saving, SAVING_MODELS), strict=True))
    write_document(options.output, "memory", {"rows": rows, "savings": savings})
    return 0 if all(exact(row) for row in rows if row["fits"]) else 1


def exact(row: dict[str, Any]) -> bool:
    """Static and arena as predicted, the stack not above, and paint and emulator agree."""
    found = row["differences"]
    same = found["sram_static_bytes"] == found["sram_arena_bytes"] == 0 and found["sram_stack_bytes"] <= 0
    return bool(same and row["witness"]["stack"] == row["measured"]["sram_stack_bytes"])


if __name__ == "__main__":
    raise SystemExit(main())
