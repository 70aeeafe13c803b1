"""Order, in-place reuse and addresses: a schedule becomes calls in sequence over one arena.

Order first (order.py), as it decides how much lives at once; then each written value that may take the memory of one
that dies with the same call does; what shares memory becomes one block, whose life is the union of theirs; the blocks,
and each call's scratch, are placed (place.py). Blocks that overlay each other (fuse.py) lie at the bottom of the arena,
each a little below the one before it; the rest is placed above them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.compiler.differentiate import Call, Schedule, Value
from bench.compiler.order import best_order
from bench.compiler.place import Block, Placement, place
from bench.compiler.tasks import ALIGNMENT, rounded, same_size, tasks_of

ARENA_ALIGNMENT = 8


@dataclass(frozen=True)
class Arranged:
    """Calls in order, and where each value and each call's scratch lies: bytes from the arena's start.

    `blocks` are what was placed: lifetimes in calls, half-open.
    """

    schedule: Schedule
    calls: tuple[Call, ...]
    offsets: Mapping[str, int]
    scratch: Mapping[str, int]
    blocks: tuple[Block, ...]
    placement: Placement

    @property
    def arena_bytes(self) -> int:
        """What the arena takes; the linker aligns it to eight bytes."""
        return -(-self.placement.peak // ARENA_ALIGNMENT) * ARENA_ALIGNMENT

    @property
    def lower_bound_bytes(self) -> int:
        """No placement of this order needs less."""
        return -(-self.placement.lower_bound // ARENA_ALIGNMENT) * ARENA_ALIGNMENT


def arrange(schedule: Schedule, *, reorder: bool = True) -> Arranged:
    """Orders and places a schedule. `reorder`: else the calls stay as they are, to see what their order is worth."""
    calls = _ordered(schedule) if reorder else schedule.calls
    lives = _lives(calls)
    block_of = _shared(calls, schedule.values, lives)
    blocks = _overlaid(calls, _blocks(calls, schedule.values, lives, block_of), block_of)
    placement = place(blocks)
    offsets = {name: placement.offsets[block_of[name]] for name in schedule.values}
    scratch = {call.name: placement.offsets[_scratch_name(call)] for call in calls if call.scratch}
    return Arranged(schedule, calls, offsets, scratch, tuple(blocks), placement)


def _ordered(schedule: Schedule) -> tuple[Call, ...]:
    by_name = {call.name: call for call in schedule.calls}
    tasks, sizes = tasks_of(schedule)
    return tuple(by_name[name] for name in best_order(tasks, sizes))


def _lives(calls: Sequence[Call]) -> dict[str, tuple[int, int]]:
    """From the call that writes a value to the last that reads it, half-open."""
    lives: dict[str, tuple[int, int]] = {}
    for index, call in enumerate(calls):
        for name in call.writes.values():
            lives[name] = (index, index + 1)
        for name in call.reads.values():
            lives[name] = (lives[name][0], index + 1)
    return lives


def _shared(calls: Sequence[Call], values: Mapping[str, Value], lives: Mapping[str, tuple[int, int]]) -> dict[str, str]:
    """The block of each value: its own, or that of the value whose memory it takes."""
    block_of = {name: name for name in values}
    taken: set[str] = set()
    for index, call in enumerate(calls):
        for written, read in call.in_place:
            target, source = call.writes[written], call.reads[read]
            dies = lives[source][1] == index + 1
            if block_of[target] == target and dies and source not in taken and same_size(values, target, source):
                block_of[target] = block_of[source]
                taken.add(source)
    return block_of


def _blocks(
    calls: Sequence[Call],
    values: Mapping[str, Value],
    lives: Mapping[str, tuple[int, int]],
    block_of: Mapping[str, str],
) -> list[Block]:
    blocks = []
    for name in values:
        if block_of[name] != name:
            continue
        members = [member for member, block in block_of.items() if block == name]
        lower = min(lives[member][0] for member in members)
        upper = max(lives[member][1] for member in members)
        size = max(rounded(values[member].bytes) for member in members)
        blocks.append(Block(name, lower, upper, size, ALIGNMENT, values[name].kind))
    for index, call in enumerate(calls):
        if call.scratch:
            blocks.append(Block(_scratch_name(call), index, index + 1, rounded(call.scratch), ALIGNMENT, "scratch"))
    return blocks


def _overlaid(calls: Sequence[Call], blocks: list[Block], block_of: Mapping[str, str]) -> list[Block]:
    """The blocks, those with an address that overlay each other.

    A call that overlays writes a block whose life begins with it, over one that dies with it. One overlay after another
    makes a stack: its last block lies at the arena's start, every other `lead` bytes above the one that overlays it.
    Where the lives of two stacks meet, the larger one is kept.
    """
    known = {block.name: block for block in blocks}
    stacks: list[dict[str, int]] = []  # offsets by block
    for index, call in enumerate(calls):
        if call.overlay is None:
            continue
        target, source, lead = block_of[call.overlay[0]], block_of[call.overlay[1]], call.overlay[2]
        if known[source].upper != index + 1 or known[target].lower != index:
            continue
        stack = next((stack for stack in stacks if source in stack), None)
        if stack is None:
            stacks.append({source: lead, target: 0})
        else:
            stack.update({name: offset + lead for name, offset in stack.items()})
            stack[target] = 0
    fixed: dict[str, int] = {}
    for stack in sorted(stacks, key=lambda stack: -max(known[name].size for name in stack)):
        if not any(_meet(known[name], known[other]) for name in stack for other in fixed):
            fixed |= stack
    return [replace(block, offset=fixed.get(block.name)) for block in blocks]


def _meet(a: Block, b: Block) -> bool:
    return a.lower < b.upper and b.lower < a.upper


def _scratch_name(call: Call) -> str:
    return f"scratch:{call.name}"
