"""What a client's board would take: virtual seconds from counted instructions and counted bytes.

The instructions of a training step are counted exactly, on an emulated core, once for each program; they do not depend
on the data. Seconds are modelled from them with the manifest's clock and cycles per instruction, as
bench/meters/energy.py says, and from bytes with the line's rate."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from bench.build import Step
from bench.compiler.compile import Compiled
from bench.errors import ConfigError
from bench.link.size import Wire
from bench.planning import link_plan
from bench.project import cache_folder
from bench.rack.manifest import BoardManifest, load_manifest
from bench.results.files import write_atomically

COUNTED_ON = {"cortex-m0": "microbit", "cortex-m3": "mps2_an385", "cortex-m4f": "mps2_an386", "cortex-m7": "mps2_an500",
              "cortex-m33": "mps2_an505"}  # fmt: skip
"""Environments with a core of each kind and, but for the M0, memory for any program."""


@dataclass(frozen=True)
class Device:
    """One kind of board with one program. `line_bytes_s`: what the line or radio carries a second."""

    env: str
    step_instructions: int
    seconds_per_instruction: float
    line_bytes_s: float
    chunk: int

    def compute_s(self, steps: int) -> float:
        """Modelled seconds of training."""
        return steps * self.step_instructions * self.seconds_per_instruction

    def link_s(self, wire: Wire) -> float:
        """Modelled seconds of an exchange: the line carries one direction at a time."""
        return wire.total / self.line_bytes_s


def device_of(
    compiled: Compiled, env: str, line_bytes_s: float | None = None, step: Step = lambda _text: None
) -> Device:
    """A board with a program that is written to firmware/generated; counts a step unless that was done before.

    Args:
        compiled: the program.
        env: the kind of board whose clock and line count; the program need not fit it.
        line_bytes_s: instead of the board's serial line.

    Raises:
        ConfigError: an environment without a core to count on.
    """
    manifest = load_manifest(env)
    if manifest.core not in COUNTED_ON:
        raise ConfigError(f"environment {env}: no emulated core counts a step of {manifest.core}")
    return Device(
        env,
        _counted(compiled, manifest, step),
        manifest.energy.instructions_per_cycle_model / manifest.core_hz,
        manifest.baud / 10 if line_bytes_s is None else line_bytes_s,
        manifest.link_chunk_bytes,
    )


def _counted(compiled: Compiled, manifest: BoardManifest, step: Step) -> int:
    from bench.stepping import step_on_core  # the rack's half of the bench, only where something is counted

    on = load_manifest(COUNTED_ON[manifest.core])
    planned = link_plan(compiled, on, step)
    digest = hashlib.sha256(planned.elf.with_suffix(".bin").read_bytes()).hexdigest()[:20]
    path = cache_folder("steps") / f"{compiled.plan.name}-{on.env}-{digest}.json"
    if path.is_file():
        return int(json.loads(path.read_text(encoding="utf-8")))
    found = step_on_core(planned).figures["instructions"]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(found).encode())
    return found
