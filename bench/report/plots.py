"""The plots of a run: what was reached, memory, bytes, energy, work."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bench.report.drawing import LIMIT, MARKERS, SERIES, Plot, drawn, height_of, how, stacked, title
from bench.report.view import CENTRAL, ENERGY_PHASES, Curve, View, short


def accuracy(view: View) -> Plot | None:
    """Accuracy on the test set by round, with the target."""
    curves = list(view.accuracy.values())
    if not curves:
        return None
    target = view.targets.get("accuracy")
    alt = "Accuracy on the test set by round. " + _ends(curves)
    if target is not None:
        alt += f" The target is {target:g}."
    return drawn(
        "accuracy", alt, 3.2, lambda axes: _curves(axes, curves, "Accuracy on the test set", "accuracy", target)
    )


def loss(view: View) -> Plot | None:
    """Cross-entropy on the test set by round."""
    curves = list(view.loss.values())
    if not curves:
        return None
    alt = "Loss on the test set by round. " + _ends(curves)
    return drawn(
        "loss", alt, 3.2, lambda axes: _curves(axes, curves, "Loss on the test set", "cross-entropy, nats", None)
    )


def sram(view: View, variant: str) -> Plot | None:
    """SRAM of each board, stacked by part, against its RAM."""
    parts = {"static": "sram_static", "arena": "sram_arena", "stack": "sram_stack_high_water"}
    lines = [line for line in view.lines_of(variant) if all(line.get(metric) for metric in parts.values())]
    if not lines:
        return None
    stacks = {part: [line.figures[metric].value for line in lines] for part, metric in parts.items()}
    totals = [sum(values) for values in zip(*stacks.values(), strict=True)]
    limits = [line.ram_bytes for line in lines]

    # A limit so far away that the bars would be too short to read is in the notes only.
    ticks = [limit if limit and limit <= 3 * max(totals) else None for limit in limits]

    def draw(axes: Axes) -> None:
        notes = [
            f"{total:,.0f}" + (f" of {limit:,} ({total / limit:.0%})" if limit else "")
            for total, limit in zip(totals, limits, strict=True)
        ]
        stacked(axes, [line.board for line in lines], stacks, notes, limits=("the board's RAM", ticks))
        title(axes, f"SRAM, {variant}", "bytes")

    told = "; ".join(
        f"{line.board} {total:,.0f}" + (f" of {limit:,}" if limit else "")
        for line, total, limit in zip(lines, totals, limits, strict=True)
    )
    return drawn(f"sram-{variant}", f"SRAM of each board in bytes, {variant}: {told}.", height_of(len(lines)), draw)


def traffic(view: View, variant: str) -> Plot | None:
    """Bytes a round, down and up, payload and framing apart."""
    lines = [line for line in view.lines_of(variant) if line.framing("up") and line.framing("down")]
    if not lines:
        return None
    bars = [(line, direction) for line in lines for direction in ("down", "up")]
    payload = [line.figures[f"payload_{direction}"].value for line, direction in bars]
    framing = [figure.value if (figure := line.framing(direction)) else 0.0 for line, direction in bars]

    def draw(axes: Axes) -> None:
        names = [f"{line.board} {'↓' if direction == 'down' else '↑'}" for line, direction in bars]
        notes = [f"{p + f:,.0f}" for p, f in zip(payload, framing, strict=True)]
        stacked(axes, names, {"payload": payload, "framing": framing}, notes)
        title(axes, f"Bytes a round, {variant}", "bytes on the wire: ↓ to the board, ↑ from it")

    told = "; ".join(f"{b[0].board} {b[1]} {p:,.0f} + {f:,.0f}" for b, p, f in zip(bars, payload, framing, strict=True))
    alt = f"Bytes a round, {variant}, payload + framing: {told}."
    return drawn(f"traffic-{variant}", alt, height_of(len(bars)), draw)


def energy(view: View, variant: str) -> Plot | None:
    """Energy a round by phase."""
    lines = [line for line in view.lines_of(variant) if line.get("energy")]
    if not lines:
        return None
    kind = how(line.figures["energy"].note for line in lines)
    stacks = {
        phase: [figure.value / 1000 if (figure := line.get(f"energy/{phase}")) else 0.0 for line in lines]
        for phase in ENERGY_PHASES
    }
    totals = [line.figures["energy"].value / 1000 for line in lines]

    def draw(axes: Axes) -> None:
        stacked(axes, [line.board for line in lines], stacks, [short(total) for total in totals])
        title(axes, f"Energy a round, {variant}{kind}", f"mJ{kind}")

    told = "; ".join(f"{line.board} {short(total)} mJ" for line, total in zip(lines, totals, strict=True))
    return drawn(f"energy-{variant}", f"Energy a round by phase, {variant}{kind}: {told}.", height_of(len(lines)), draw)


def work(view: View, variant: str) -> Plot | None:
    """Instructions a training step, or cycles where a board counted those."""
    found = [(line, line.work) for line in view.lines_of(variant)]
    lines = [(line, *figure) for line, figure in found if figure is not None]
    if not lines:
        return None
    units = sorted({unit for _, unit, _ in lines})
    kind = how(figure.note for _, _, figure in lines)
    values = [figure.value for _, _, figure in lines]

    def draw(axes: Axes) -> None:
        names = [line.board + (f" ({unit})" if len(units) > 1 else "") for line, unit, _ in lines]
        stacked(axes, names, {"": values}, [f"{value:,.0f}" for value in values])
        title(
            axes, f"{' or '.join(units).capitalize()} a training step, {variant}{kind}", f"{' or '.join(units)}{kind}"
        )

    told = "; ".join(f"{line.board} {figure.value:,.0f} {unit}" for line, unit, figure in lines)
    return drawn(f"work-{variant}", f"Work of a training step, {variant}{kind}: {told}.", height_of(len(lines)), draw)


def _ends(curves: Sequence[Curve]) -> str:
    return "; ".join(f"{curve.variant} from {curve.values[0]:.3f} to {curve.last:.3f}" for curve in curves) + "."


def _curves(axes: Axes, curves: Sequence[Curve], heading: str, label: str, target: float | None) -> None:
    federated = [curve.variant for curve in curves if not curve.variant.endswith(CENTRAL)]
    for curve in curves:
        own = curve.variant.removesuffix(CENTRAL)
        number = federated.index(own) if own in federated else len(federated)
        central = curve.variant.endswith(CENTRAL)
        axes.plot(
            curve.rounds,
            curve.values,
            color=SERIES[number % len(SERIES)],
            linestyle="--" if central else "-",
            marker=None if central else MARKERS[number % len(MARKERS)],
            markersize=4,
            linewidth=1.2 if central else 1.8,
            label=f"{own}, central" if central else own,
        )
    if target is not None:
        axes.axhline(target, color=LIMIT, linewidth=1.2, linestyle=":", label=f"target {target:g}")
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    title(axes, heading, "round (0: before training)")
    axes.set_ylabel(label)
    axes.legend(loc="lower right" if curves[0].last > curves[0].values[0] else "upper right")
