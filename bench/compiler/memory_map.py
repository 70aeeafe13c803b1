"""A placement as a picture: kernel calls from left to right, addresses upwards, a rectangle for each block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.compiler.place import Block, Placement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS: Mapping[str, tuple[str, str]] = {
    "input": ("i", "#7f8c8d"),
    "activation": ("a", "#4c78a8"),
    "saved": ("s", "#54a24b"),
    "gate": ("g", "#b279a2"),
    "winners": ("w", "#9d755d"),
    "logits": ("l", "#eeca3b"),
    "gradient": ("d", "#e45756"),
    "scratch": ("x", "#bab0ac"),
}
"""Of a block's kind: its letter on a terminal, its colour in a figure."""

_ROWS = 16
_AXIS = 9  # characters of an address and the bar behind it


def draw(placement: Placement, blocks: Sequence[Block], *, width: int) -> str:
    """The map in characters.

    A cell stands for several bytes and calls: it shows the kind that takes most of it, a dot where nothing does.

    Args:
        placement: addresses, in bytes.
        blocks: with lifetimes in calls.
        width: of the terminal, in characters.
    """
    calls = max((block.upper for block in blocks), default=0)
    if placement.peak == 0 or calls == 0:
        return "the arena is empty"
    columns = max(8, min(calls, width - _AXIS))
    rows = min(_ROWS, placement.peak)
    lines = []
    for row in reversed(range(rows)):
        low, high = row * placement.peak / rows, (row + 1) * placement.peak / rows
        cells = "".join(
            _cell(placement, blocks, (column * calls / columns, (column + 1) * calls / columns), (low, high))
            for column in range(columns)
        )
        lines.append(f"{round(high):>{_AXIS - 2}} |{cells}")
    used = [kind for kind in KINDS if any(block.kind == kind for block in blocks)]
    legend = ", ".join(f"{KINDS[kind][0]} {kind}" for kind in used)
    lines.append(" " * (_AXIS - 1) + "+" + "-" * columns)
    lines.append(" " * _AXIS + f"{calls} kernel calls; bytes upwards; {legend}")
    return "\n".join(lines)


def _cell(
    placement: Placement, blocks: Sequence[Block], calls: tuple[float, float], addresses: tuple[float, float]
) -> str:
    taken: dict[str, float] = {}
    for block in blocks:
        start = placement.offsets[block.name]
        area = _overlap((block.lower, block.upper), calls) * _overlap((start, start + block.size), addresses)
        if area > 0:
            taken[block.kind] = taken.get(block.kind, 0.0) + area
    return KINDS.get(max(taken, key=taken.__getitem__), ("?", ""))[0] if taken else "."


def _overlap(a: tuple[float, float], b: tuple[float, float]) -> float:
    return max(0.0, min(a[1], b[1]) - max(a[0], b[0]))


def figure(placement: Placement, blocks: Sequence[Block], title: str) -> Figure:
    """The map to scale; large blocks carry their name."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch, Rectangle

    calls = max((block.upper for block in blocks), default=1)
    drawing = Figure(figsize=(10, 6), layout="constrained")
    axes = drawing.add_subplot()
    for block in blocks:
        start = placement.offsets[block.name]
        colour = KINDS.get(block.kind, ("?", "#dddddd"))[1]
        axes.add_patch(
            Rectangle((block.lower, start), block.upper - block.lower, block.size, fc=colour, ec="white", lw=0.5)
        )
        if block.size > placement.peak / 25 and block.upper - block.lower > calls / 12:
            middle = ((block.lower + block.upper) / 2, start + block.size / 2)
            axes.annotate(block.name, middle, ha="center", va="center", fontsize=7)
    axes.axhline(placement.lower_bound, color="black", lw=0.8, ls="--", label=f"lower bound {placement.lower_bound}")
    axes.set(xlim=(0, calls), ylim=(0, placement.peak * 1.02 or 1), title=title, xlabel="kernel call", ylabel="bytes")
    used = [kind for kind in KINDS if any(block.kind == kind for block in blocks)]
    bound = axes.get_legend_handles_labels()[0]
    axes.legend(handles=[*(Patch(color=KINDS[kind][1], label=kind) for kind in used), *bound], fontsize=8, ncols=2)
    return drawing
