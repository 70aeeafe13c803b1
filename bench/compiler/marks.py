"""Where in a linked image each kernel call of a training step begins and ends, for counting what it costs.

The emitted `step` is straight-line code: its calls of kernels are `bl` instructions in the order of the plan's calls.
A mark is put behind each; from one mark to the next is one kernel call with the instructions that prepare it.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.errors import ConfigError, InfrastructureError
from bench.model.plan import Plan

_STEP = "ftte::program::(anonymous namespace)::step("
_CALL = re.compile(r"^\s*([0-9a-f]+):\s+bl\s+[0-9a-f]+ <(.+)>$")
_KERNEL = re.compile(r"ftte::(?:(?:int8|float32)::(?:fast::)?|program::\(anonymous namespace\)::(?=rows_))(\w+)")


@dataclass(frozen=True)
class Marks:
    """Addresses to mark, and the plan's call whose cost counts from each on; the last is None: what remains."""

    addresses: tuple[int, ...]
    calls: tuple[str | None, ...]


def find_marks(elf: Path, plan: Plan) -> Marks:
    """Marks of an image's training step.

    Raises:
        ConfigError: the image is not this plan's.
        InfrastructureError: binutils are missing.
    """
    start, end = _extent(elf)
    listing = _run("arm-none-eabi-objdump", "-d", "-C", "--no-show-raw-insn", f"--start-address={start}",
                   f"--stop-address={end}", str(elf))  # fmt: skip
    ends = []
    for line in listing.splitlines():
        found = _CALL.match(line)
        kernel = _KERNEL.search(found.group(2)) if found else None
        if found and kernel:
            ends.append((kernel.group(1), int(found.group(1), 16) + 4))
    # The sample's copy may be any sequence of instructions: it counts with the first kernel.
    wanted = [call for call in plan.calls if plan.dtype == "float32" or not call.startswith("load_sample:")]
    names = [_kernel(call) for call in wanted]
    if [name for name, _ in ends][: len(names)] != names:
        raise ConfigError(f"{elf}: its training step does not call what plan {plan.name} says: build it again")
    addresses = [start, *(address for _, address in ends[: len(names)])]
    return Marks(tuple(addresses), (*wanted, None))


def _kernel(call: str) -> str:
    name, layers = call.split(":")
    if name == "rows":
        return "rows_" + layers.replace(",", "_")
    return "widen_sample" if name == "load_sample" else name


def _extent(elf: Path) -> tuple[int, int]:
    for line in _run("arm-none-eabi-nm", "-C", "-S", str(elf)).splitlines():
        fields = line.split(maxsplit=3)
        if len(fields) == 4 and fields[3].startswith(_STEP):
            address = int(fields[0], 16) & ~1
            return address, address + int(fields[1], 16)
    raise ConfigError(f"{elf}: has no emitted training step")


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise InfrastructureError(f"{command[0]} is not installed: run `make setup`") from error
    if done.returncode != 0:
        raise ConfigError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
