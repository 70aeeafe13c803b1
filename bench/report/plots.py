"""Plots as SVG inside the page: colours are the page's own variables, so they are right in dark, light and print.

Matplotlib knows no variables; it is given colours that occur nowhere else, and they are replaced in its output. Text
stays text, in the page's font. All plots are drawn 360 units wide: at the width of a telephone their text is full size.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.report.view import CENTRAL, ENERGY_PHASES, Curve, View, short

_INK, _RULE, _PAGE, _LIMIT = "#010203", "#010204", "#010205", "#010206"
_SERIES = tuple(f"#0103{number:02x}" for number in range(6))
_REPLACED = {
    _INK: "currentColor",
    _RULE: "var(--rule)",
    _PAGE: "var(--page)",
    _LIMIT: "var(--limit)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(_SERIES)},
}
_WIDTH = 5.0  # inches of 72 units
_BARS = 40  # boards of a plot; a fleet's are in the table of measurements
_STYLE: Any = {  # matplotlib's type for it is a literal of all its settings
    "svg.fonttype": "none",
    "svg.hashsalt": "bench",
    "text.parse_math": False,  # a dollar in a board's name is a dollar
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "xtick.color": _RULE,
    "ytick.color": _RULE,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "grid.color": _RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
}
_MARKERS = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True)
class Plot:
    """A finished plot: `svg` for the page, `alt` says what is to be seen."""

    svg: Markup
    alt: str


def accuracy(view: View) -> Plot | None:
    """Accuracy on the test set by round, with the target."""
    curves = list(view.accuracy.values())
    if not curves:
        return None
    target = view.targets.get("accuracy")
    alt = "Accuracy on the test set by round. " + _ends(curves)
    if target is not None:
        alt += f" The target is {target:g}."
    return _drawn(
        "accuracy", alt, 3.2, lambda axes: _curves(axes, curves, "Accuracy on the test set", "accuracy", target)
    )


def loss(view: View) -> Plot | None:
    """Cross-entropy on the test set by round."""
    curves = list(view.loss.values())
    if not curves:
        return None
    alt = "Loss on the test set by round. " + _ends(curves)
    return _drawn(
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
        _stacked(axes, [line.board for line in lines], stacks, notes, limits=("the board's RAM", ticks))
        _title(axes, f"SRAM, {variant}", "bytes")

    told = "; ".join(
        f"{line.board} {total:,.0f}" + (f" of {limit:,}" if limit else "")
        for line, total, limit in zip(lines, totals, limits, strict=True)
    )
    return _drawn(f"sram-{variant}", f"SRAM of each board in bytes, {variant}: {told}.", _height(len(lines)), draw)


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
        _stacked(axes, names, {"payload": payload, "framing": framing}, notes)
        _title(axes, f"Bytes a round, {variant}", "bytes on the wire: ↓ to the board, ↑ from it")

    told = "; ".join(f"{b[0].board} {b[1]} {p:,.0f} + {f:,.0f}" for b, p, f in zip(bars, payload, framing, strict=True))
    alt = f"Bytes a round, {variant}, payload + framing: {told}."
    return _drawn(f"traffic-{variant}", alt, _height(len(bars)), draw)


def energy(view: View, variant: str) -> Plot | None:
    """Energy a round by phase."""
    lines = [line for line in view.lines_of(variant) if line.get("energy")]
    if not lines:
        return None
    how = _how(line.figures["energy"].note for line in lines)
    stacks = {
        phase: [figure.value / 1000 if (figure := line.get(f"energy/{phase}")) else 0.0 for line in lines]
        for phase in ENERGY_PHASES
    }
    totals = [line.figures["energy"].value / 1000 for line in lines]

    def draw(axes: Axes) -> None:
        _stacked(axes, [line.board for line in lines], stacks, [short(total) for total in totals])
        _title(axes, f"Energy a round, {variant}{how}", f"mJ{how}")

    told = "; ".join(f"{line.board} {short(total)} mJ" for line, total in zip(lines, totals, strict=True))
    return _drawn(f"energy-{variant}", f"Energy a round by phase, {variant}{how}: {told}.", _height(len(lines)), draw)


def work(view: View, variant: str) -> Plot | None:
    """Instructions a training step, or cycles where a board counted those."""
    found = [(line, line.work) for line in view.lines_of(variant)]
    lines = [(line, *figure) for line, figure in found if figure is not None]
    if not lines:
        return None
    units = sorted({unit for _, unit, _ in lines})
    how = _how(figure.note for _, _, figure in lines)
    values = [figure.value for _, _, figure in lines]

    def draw(axes: Axes) -> None:
        names = [line.board + (f" ({unit})" if len(units) > 1 else "") for line, unit, _ in lines]
        _stacked(axes, names, {"": values}, [f"{value:,.0f}" for value in values])
        _title(axes, f"{' or '.join(units).capitalize()} a training step, {variant}{how}", f"{' or '.join(units)}{how}")

    told = "; ".join(f"{line.board} {figure.value:,.0f} {unit}" for line, unit, figure in lines)
    return _drawn(f"work-{variant}", f"Work of a training step, {variant}{how}: {told}.", _height(len(lines)), draw)


def _how(notes: Iterable[str]) -> str:
    return " (modelled)" if any(notes) else ""


def _ends(curves: Sequence[Curve]) -> str:
    return "; ".join(f"{curve.variant} from {curve.values[0]:.3f} to {curve.last:.3f}" for curve in curves) + "."


def _height(bars: int) -> float:
    return 1.3 + 0.28 * min(bars, _BARS)


def _title(axes: Axes, title: str, label: str) -> None:
    axes.set_title(title, pad=22 if axes.containers and axes.get_legend() else 8)  # the legend lies below it
    axes.set_xlabel(label)


def _curves(axes: Axes, curves: Sequence[Curve], title: str, label: str, target: float | None) -> None:
    federated = [curve.variant for curve in curves if not curve.variant.endswith(CENTRAL)]
    for curve in curves:
        own = curve.variant.removesuffix(CENTRAL)
        number = federated.index(own) if own in federated else len(federated)
        central = curve.variant.endswith(CENTRAL)
        axes.plot(
            curve.rounds,
            curve.values,
            color=_SERIES[number % len(_SERIES)],
            linestyle="--" if central else "-",
            marker=None if central else _MARKERS[number % len(_MARKERS)],
            markersize=4,
            linewidth=1.2 if central else 1.8,
            label=f"{own}, central" if central else own,
        )
    if target is not None:
        axes.axhline(target, color=_LIMIT, linewidth=1.2, linestyle=":", label=f"target {target:g}")
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _title(axes, title, "round (0: before training)")
    axes.set_ylabel(label)
    axes.legend(loc="lower right" if curves[0].last > curves[0].values[0] else "upper right")


def _stacked(
    axes: Axes,
    names: Sequence[str],
    parts: Mapping[str, Sequence[float]],
    notes: Sequence[str],
    limits: tuple[str, Sequence[float | None]] = ("", ()),
) -> None:
    """Horizontal bars, the first on top, each with a note behind its end; `limits` has a name and a mark for each."""
    shown = min(len(names), _BARS)
    places = range(shown)
    left = [0.0] * shown
    for number, (part, values) in enumerate(parts.items()):
        axes.barh(
            places,
            values[:shown],
            left=left,
            height=0.62,
            color=_SERIES[number],
            edgecolor=_PAGE,
            linewidth=0.8,
            label=part,
        )
        left = [a + b for a, b in zip(left, values, strict=False)]
    name, marks = limits
    marked = [(place, mark) for place, mark in zip(places, marks, strict=False) if mark is not None]
    if marked:
        at, ends = [mark for _, mark in marked], [place for place, _ in marked]
        axes.vlines(at, [y - 0.45 for y in ends], [y + 0.45 for y in ends], color=_LIMIT, linewidth=2, label=name)
        for place, mark in marked:
            left[place] = max(left[place], mark)
    for place, end, note in zip(places, left, notes, strict=False):
        axes.annotate(note, (end, place), (4, 0), textcoords="offset points", va="center", ha="left", fontsize=9)
    axes.set_yticks(list(places), [str(name) for name in names[:shown]])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(shown - 0.4, -0.6)
    longest = max((len(note) for note in notes[:shown]), default=0)
    axes.set_xlim(0, (max(left, default=0.0) or 1.0) * (1.04 + 0.0235 * longest))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: _short(value)))
    if len(parts) > 1:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(-0.02, 0.985),
            ncols=4,
            borderpad=0,
            columnspacing=1.2,
            handlelength=1.8,
        )


def _short(value: float) -> str:
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g} {sign}"
    return f"{value:g}"


def _drawn(name: str, alt: str, height: float, draw: Callable[[Axes], None]) -> Plot:
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(_WIDTH, height), layout="constrained")
        canvas.patch.set_alpha(0)
        axes = canvas.add_subplot()
        axes.patch.set_alpha(0)
        draw(axes)
        text = io.StringIO()
        canvas.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return Plot(_for_page(name, alt, text.getvalue()), alt)


def _for_page(name: str, alt: str, svg: str) -> Markup:
    """Matplotlib's document as an element of the page: its ids made unique, its size free, its colours the page's."""
    body = svg[svg.index("<svg") :]
    opening, rest = body.split(">", 1)
    box = re.search(r'viewBox="([^"]+)"', opening)
    rest = re.sub(r"<metadata>.*?</metadata>", "", rest, flags=re.DOTALL)
    rest = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", rest)
    rest = re.sub(r"font: (?:(bold|italic|\d{3}) )?([\d.]+px)[^;\"]*", _font, rest)
    for given, replaced in _REPLACED.items():
        rest = rest.replace(given, replaced)
    label = escape(alt)
    return Markup(f'<svg viewBox="{box.group(1) if box else ""}" role="img" aria-label="{label}">{rest}')


def _font(match: re.Match[str]) -> str:
    weight = f"font-weight: {match[1]}; " if match[1] and match[1] != "italic" else ""
    return f"{weight}font-size: {match[2]}; font-family: inherit"
