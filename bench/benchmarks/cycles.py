"""Cycles of a profile, modelled from the cores' reference manuals, without wait states.

Sources: Cortex-M0 Technical Reference Manual (ARM DDI 0432), table 3-1, with the one-cycle multiplier; Cortex-M3 (DDI
0337), table 3-1 and "load/store timings"; Cortex-M4 (DDI 0439), tables 3-1 and 7-1. Where a manual gives a range, the
model takes one figure: a taken branch refills the pipeline in 2 cycles (1 to 3), a long multiplication on the M3 takes
4 (3 to 5), a division 7 (2 to 12). ARM publishes no such table for the Cortex-M7, which issues two instructions at a
time, nor for the M33: they are given the M4's, which is a weighting of instructions and no statement about them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from capstone import CsInsn
from capstone.arm import ARM_OP_IMM, ARM_OP_MEM, ARM_REG_INVALID

from bench.benchmarks.cortex import CoreTarget


@dataclass(frozen=True)
class Timing:
    """Cycles by kind of instruction; what is not named takes one. `refill`: of a taken branch, beside its own."""

    single: int = 2  # a load or a store of one register
    pipelined: bool = True  # it takes one cycle behind another
    refill: int = 2
    named: dict[str, int] = field(default_factory=dict)


_M3 = {
    **dict.fromkeys(("mla", "mls"), 2),
    **dict.fromkeys(("umull", "smull"), 4),
    **dict.fromkeys(("umlal", "smlal"), 5),
    **dict.fromkeys(("udiv", "sdiv"), 7),
}
_M4 = {
    **dict.fromkeys(("udiv", "sdiv"), 7),
    **dict.fromkeys(("vmla", "vmls", "vfma", "vfms", "vnmla", "vnmls", "vfnma", "vfnms"), 3),
    **dict.fromkeys(("vdiv", "vsqrt"), 14),
}
TIMINGS = {
    "cortex-m0": Timing(pipelined=False, refill=2, named={"bl": 2, "mrs": 4, "msr": 4}),
    "cortex-m3": Timing(named=_M3),
    "cortex-m4f": Timing(named=_M4),
    "cortex-m7": Timing(named=_M4),
    "cortex-m33": Timing(named=_M4),
}

_SEVERAL = ("ldm", "stm", "push", "pop", "vldm", "vstm", "vpush", "vpop")
_PAIR = ("ldrd", "strd")


def modelled_cycles(core: CoreTarget) -> int:
    """Of the last call."""
    timing = TIMINGS[core.core]
    straight = sum(runs * _block(timing, core.block(at)) for at, runs in core.profile.runs.items())
    return straight + timing.refill * sum(core.profile.left.values())


def _block(timing: Timing, block: list[CsInsn]) -> int:
    cycles, behind = 0, False
    for instruction in block:
        cost, behind = _cycles(timing, instruction, behind)
        cycles += cost
    return cycles


def _cycles(timing: Timing, instruction: CsInsn, behind: bool) -> tuple[int, bool]:
    """Cycles, and whether a load or store that follows is pipelined behind it."""
    name = instruction.mnemonic.split(".")[0]
    if name.startswith(_PAIR):
        return 3, False
    if name.startswith(_SEVERAL):
        bases = 0 if name.startswith(("push", "pop", "vpush", "vpop")) else 1
        return 1 + _words(instruction, bases), False
    if name.startswith(("ldr", "vldr")):
        return (1 if behind and timing.pipelined else timing.single), True
    if name.startswith(("str", "vstr")):
        if not timing.pipelined:
            return timing.single, False
        # "STR Rx,[Ry,#imm] is always one cycle"; with a register as offset, nothing follows in its shadow.
        indexed = any(o.type == ARM_OP_MEM and o.mem.index != ARM_REG_INVALID for o in instruction.operands)
        return (2 if indexed and not behind else 1), not indexed
    return timing.named.get(name, timing.named.get(name.rstrip("s"), 1)), False


def _words(instruction: CsInsn, bases: int) -> int:
    registers = [o for o in instruction.operands if o.type != ARM_OP_IMM][bases:]
    doubles = sum(1 for o in registers if instruction.reg_name(o.reg).startswith("d"))
    return len(registers) + doubles
