"""The plots of a run that have time in them: memory over a training step, power over a round, who waits for whom, and
what accuracy cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.report.drawing import (
    BARS,
    INK,
    LIMIT,
    MARKERS,
    PAGE,
    SERIES,
    Plot,
    drawn,
    drawn_rows,
    height_of,
    how,
    short_number,
    stacked,
    title,
)
from bench.report.view import ENERGY_PHASES, BoardLine, View, short

_KINDS = ("input", "activation", "saved", "gate", "winners", "logits", "gradient", "scratch")
_STEPS = 12  # of a straggler timeline, so that a bar can be seen
_LARGEST = 12  # blocks that are named


def memory(view: View, variant: str) -> Plot | None:
    """Where each tensor lies in the arena, and from which kernel call to which."""
    found = view.document.get("variants", {}).get(variant, {}).get("memory")
    if not found or not found.get("blocks"):
        return None
    blocks, calls = found["blocks"], found["calls"]
    peak = max(block["offset"] + block["size"] for block in blocks)
    named = sorted(blocks, key=lambda block: -block["size"] * (block["upper"] - block["lower"]))[:_LARGEST]

    def draw(axes: Axes) -> None:
        for block in blocks:
            colour = SERIES[_KINDS.index(block["kind"]) if block["kind"] in _KINDS else len(_KINDS) - 1]
            width = block["upper"] - block["lower"]
            axes.add_patch(
                Rectangle((block["lower"], block["offset"]), width, block["size"], fc=colour, ec=PAGE, lw=0.6)
            )
            if block in named and block["size"] > peak / 16 and width * 65 > calls * len(block["name"]):
                middle = block["lower"] + width / 2, block["offset"] + block["size"] / 2
                axes.annotate(block["name"], middle, ha="center", va="center", fontsize=9, color=PAGE)
        bound = found.get("lower_bound_bytes")
        handles: list[Any] = [
            Patch(color=SERIES[number], label=kind)
            for number, kind in enumerate(_KINDS)
            if any(block["kind"] == kind for block in blocks)
        ]
        if bound:
            handles.append(axes.axhline(bound, color=LIMIT, lw=1.2, ls=":", label=f"lower bound {bound:,}"))
        axes.set(xlim=(0, calls), ylim=(0, 1.03 * max(peak, bound or 0)), ylabel="address in the arena, bytes")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: short_number(value)))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.45, -0.16), ncols=4, columnspacing=1.0)
        title(axes, f"The arena during a training step, {variant}", "kernel call")

    largest = "; ".join(
        f"{block['name']} {block['size']:,} at {block['offset']:,}, calls {block['lower']} to {block['upper']}"
        for block in named
    )
    alt = f"Where tensors lie in the arena of {variant}, {peak:,} bytes, by kernel call; the largest: {largest}."
    return drawn(f"memory-{variant}", alt, 3.9, draw)


_COSTS: Mapping[str, tuple[str, str, float]] = {
    "bytes": ("Accuracy against bytes", "bytes on the wire, both ways, all boards", 1.0),
    "energy": ("Accuracy against energy", "energy of all boards, J", 1e-6),
    "time": ("Accuracy against time", "seconds since the start", 1.0),
}


def cost(view: View, what: str) -> Plot | None:
    """Accuracy on the test set against what had been spent by then, a line for each variant."""
    heading, label, scale = _COSTS[what]
    lines = []
    for variant in view.variants:
        spent, by = view.spent(variant, what)
        curve = view.accuracy[variant]
        points = [
            (spent[at] * scale, value) for at, value in zip(curve.rounds, curve.values, strict=True) if at in spent
        ]
        if len(points) > 1:
            lines.append((variant, points, by))
    if not lines:
        return None
    kind = how("modelled" for _, _, by in lines if by == "modelled")
    ends = [points[-1][0] for _, points, _ in lines]

    def draw(axes: Axes) -> None:
        for number, (variant, points, _) in enumerate(lines):
            x, y = zip(*points, strict=True)
            axes.plot(x, y, color=SERIES[number % len(SERIES)], marker=MARKERS[number % len(MARKERS)], markersize=3.5,
                      lw=1.6, label=variant)  # fmt: skip
        if "accuracy" in view.targets:
            target = view.targets["accuracy"]
            axes.axhline(target, color=LIMIT, lw=1.2, ls=":", label=f"target {target:g}")
        if min(ends) > 0 and max(ends) / min(ends) > 8:
            axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: short_number(value)))
        axes.grid(axis="y")
        axes.set_ylabel("accuracy")
        title(axes, f"{heading}{kind}", f"{label}{kind}")
        axes.legend(loc="lower right")

    told = "; ".join(f"{variant} {points[-1][1]:.3f} for {short(points[-1][0])}" for variant, points, _ in lines)
    return drawn(f"cost-{what}", f"{heading}{kind}, {label}: {told}.", 3.2, draw)


def traffic_by_strategy(view: View) -> Plot | None:
    """Bytes of the whole run, by direction, a pair of bars for each variant and its strategy."""
    bars = []
    for variant in view.variants:
        strategy = view.document.get("variants", {}).get(variant, {}).get("strategy", "")
        for direction, arrow in (("down", "↓"), ("up", "↑")):
            payload, wire = view.total(variant, f"payload_{direction}"), view.total(variant, f"wire_{direction}")
            if wire:
                label = f"{variant}{f' ({strategy})' if strategy and strategy != variant else ''} {arrow}"
                bars.append((label, payload, wire - payload))
    if not bars:
        return None

    def draw(axes: Axes) -> None:
        parts = {"payload": [bar[1] for bar in bars], "framing": [bar[2] for bar in bars]}
        stacked(axes, [bar[0] for bar in bars], parts, [f"{bar[1] + bar[2]:,.0f}" for bar in bars])
        title(axes, "Bytes of the run by strategy", "bytes on the wire: ↓ to the boards, ↑ from them")

    told = "; ".join(f"{label} {payload:,.0f} + {framing:,.0f}" for label, payload, framing in bars)
    return drawn("traffic-run", f"Bytes of the run, payload + framing: {told}.", height_of(len(bars)), draw)


def power(view: View, variant: str) -> Plot | None:
    """Power of each board over its mean round: what it does when, and what that takes."""
    lines = [(line, spans) for line in view.lines_of(variant) if (spans := _spans(view, line))]
    lines = lines[:8]
    if not lines:
        return None
    kind = how(line.figures["energy"].note for line, _ in lines)

    def draw(rows: Sequence[Axes]) -> None:
        for axes, (line, spans) in zip(rows, lines, strict=True):
            at = 0.0
            for phase, seconds, milliwatts in spans:
                colour = SERIES[ENERGY_PHASES.index(phase)]
                axes.fill_between([at, at + seconds], [milliwatts] * 2, color=colour, lw=0)
                at += seconds
            axes.set_ylim(0, 1.25 * max(milliwatts for _, _, milliwatts in spans))
            axes.yaxis.set_major_locator(MaxNLocator(2))
            axes.annotate(
                line.board, (0.995, 0.97), xycoords="axes fraction", ha="right", va="top", fontsize=9, color=INK
            )
        rows[0].set_title(f"Power over a mean round, {variant}{kind}", pad=22)
        handles = [Patch(color=SERIES[number], label=phase) for number, phase in enumerate(ENERGY_PHASES)]
        rows[0].legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.02, 0.94), ncols=3, borderpad=0)
        rows[-1].set_xlabel(f"seconds{kind}")
        rows[len(rows) // 2].set_ylabel("mW")

    told = "; ".join(f"{line.board} {_told(spans)}" for line, spans in lines)
    alt = f"Power over a mean round by phase, {variant}{kind}: {told}."
    return drawn_rows(f"power-{variant}", alt, 1.0 + 0.72 * len(lines), len(lines), draw)


def _told(spans: Sequence[tuple[str, float, float]]) -> str:
    return ", ".join(f"{phase} {short(seconds)} s at {short(power)} mW" for phase, seconds, power in spans)


def _spans(view: View, line: BoardLine) -> list[tuple[str, float, float]]:
    """Phases of a mean round in their order, with seconds and mW: the model comes, is trained, its update goes."""
    step, steps, busy = line.get("step_time"), line.get("samples"), line.get("round_time")
    if step is None or steps is None or busy is None or line.get("energy") is None:
        return []
    compute_s = step.value * steps.value
    link_s = max(0.0, busy.value - compute_s)
    down, up = (figure.value if (figure := line.get(f"wire_{way}")) else 0.0 for way in ("down", "up"))
    first = link_s * down / (down + up) if down + up else link_s
    whole = view.cohort("round_time", line.variant)
    idle_s = whole.value - busy.value if whole is not None and line.get("energy/idle") is not None else 0.0
    spans = [
        ("link", first, link_s),
        ("compute", compute_s, compute_s),
        ("link", link_s - first, link_s),
        ("idle", idle_s, idle_s),
    ]
    found = []
    for phase, seconds, of in spans:
        energy = line.get(f"energy/{phase}")
        if seconds > 0 and energy is not None:
            found.append((phase, seconds, energy.value / 1000 / of))
    return found


def stragglers(view: View, variant: str) -> Plot | None:
    """What each board did in the first server steps: its work, and how long it then waited for others."""
    jobs = view.jobs(variant, _STEPS)
    if not jobs:
        return None
    boards = list(
        dict.fromkeys(line.board for line in view.lines_of(variant) if line.board in {job.board for job in jobs})
    )
    boards = boards[:BARS]
    steps = sorted({(job.step, job.end) for job in jobs})

    def draw(axes: Axes) -> None:
        for _, end in steps:
            axes.axvline(end, color=LIMIT, lw=0.7, ls=":", zorder=0)
        for job in jobs:
            if job.board in boards:
                place = boards.index(job.board)
                axes.barh(place, job.end - job.begin, left=job.begin, height=0.6, color=SERIES[4], alpha=0.35, lw=0)
                axes.barh(
                    place,
                    min(job.busy, job.end - job.begin),
                    left=job.begin,
                    height=0.6,
                    color=SERIES[0],
                    edgecolor=PAGE,
                    lw=0.6,
                )
        axes.set_yticks(range(len(boards)), boards)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(boards) - 0.4, -0.6)
        axes.set_xlim(0, 1.02 * max(job.end for job in jobs))
        handles: list[Any] = [Patch(color=SERIES[0], label="works"), Patch(color=SERIES[4], alpha=0.35, label="waits")]
        handles += axes.plot([], [], color=LIMIT, lw=0.7, ls=":", label="server step")
        axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.02, 0.985), ncols=3, borderpad=0)
        axes.set_title(f"Who waits for whom, {variant} (modelled)", pad=22)
        axes.set_xlabel("seconds (modelled)")

    waited = {
        board: np.sum([max(0.0, job.end - job.begin - job.busy) for job in jobs if job.board == board])
        for board in boards
    }
    told = "; ".join(f"{board} waits {short(float(seconds))} s" for board, seconds in waited.items())
    alt = f"Work and waiting of each board in the first {len(steps)} server steps, {variant} (modelled): {told}."
    return drawn(f"stragglers-{variant}", alt, height_of(len(boards)), draw)
