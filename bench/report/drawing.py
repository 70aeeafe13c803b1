"""How plots are drawn: as SVG inside the page, whose colours are the page's own variables, so they are right in dark,
light and print; or as PNG, in the colours of a light page.

Matplotlib knows no variables; it is given colours that occur nowhere else, and they are replaced in its output. Text
stays text, in the page's font. All plots are drawn 360 units wide: at the width of a telephone their text is full size.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex, to_rgba_array
from matplotlib.figure import Figure as Canvas
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator

INK, RULE, PAGE, LIMIT = "#010203", "#010204", "#010205", "#010206"
SERIES = tuple(f"#0103{number:02x}" for number in range(8))
_REPLACED = {
    INK: "currentColor",
    RULE: "var(--rule)",
    PAGE: "var(--page)",
    LIMIT: "var(--limit)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(SERIES)},
}
_WIDTH = 5.0  # inches of 72 units
_SVG_DPI = 72  # what matplotlib's SVG is drawn and laid out at
BARS = 40  # boards of a plot; a fleet's are in the table of measurements
_STYLE: Any = {  # matplotlib's type for it is a literal of all its settings
    "svg.fonttype": "none",
    "svg.hashsalt": "bench",
    "text.parse_math": False,  # a dollar in a board's name is a dollar
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
}
MARKERS = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True)
class Plot:
    """A finished plot: `svg` for the page, `alt` says what is to be seen; `name` is unique in its report."""

    svg: Markup
    alt: str
    name: str = ""
    _draw: Callable[[], Canvas] = field(default=Canvas, repr=False, compare=False)

    def png(self) -> bytes:
        """The same as a picture for slides and mails, 10 inches wide at 144 dots an inch."""
        with mpl.rc_context(_STYLE):
            canvas = self._draw()
            canvas.set_layout_engine("constrained")
            canvas.patch.set(alpha=1, facecolor=PAGE)
            _paint(canvas)
            data = io.BytesIO()
            canvas.savefig(data, format="png", dpi=288, metadata={"Software": None})
        return data.getvalue()


def how(notes: Iterable[str]) -> str:
    """ " (modelled)" when any figure is."""
    return " (modelled)" if any(notes) else ""


def height_of(bars: int) -> float:
    """Of so many bars, in inches."""
    return 1.3 + 0.28 * min(bars, BARS)


def title(axes: Axes, text: str, label: str) -> None:
    """Title, and the label of x."""
    axes.set_title(text, pad=22 if axes.containers and axes.get_legend() else 8)  # the legend lies below it
    axes.set_xlabel(label)


def stacked(
    axes: Axes,
    names: Sequence[str],
    parts: Mapping[str, Sequence[float]],
    notes: Sequence[str],
    limits: tuple[str, Sequence[float | None]] = ("", ()),
) -> None:
    """Horizontal bars, the first on top, each with a note behind its end; `limits` has a name and a mark for each."""
    shown = min(len(names), BARS)
    places = range(shown)
    left = [0.0] * shown
    for number, (part, values) in enumerate(parts.items()):
        axes.barh(
            places,
            values[:shown],
            left=left,
            height=0.62,
            color=SERIES[number],
            edgecolor=PAGE,
            linewidth=0.8,
            label=part,
        )
        left = [a + b for a, b in zip(left, values, strict=False)]
    name, marks = limits
    marked = [(place, mark) for place, mark in zip(places, marks, strict=False) if mark is not None]
    if marked:
        at, ends = [mark for _, mark in marked], [place for place, _ in marked]
        axes.vlines(at, [y - 0.45 for y in ends], [y + 0.45 for y in ends], color=LIMIT, linewidth=2, label=name)
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
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: short_number(value)))
    if len(parts) > 1:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(-0.02, 0.985),
            ncols=4,
            borderpad=0,
            columnspacing=1.2,
            handlelength=1.8,
        )


def short_number(value: float) -> str:
    """With k, M or G."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g} {sign}"
    return f"{value:g}"


def drawn(name: str, alt: str, height: float, draw: Callable[[Axes], None]) -> Plot:
    """A plot of one pair of axes, `height` inches high."""
    return drawn_rows(name, alt, height, 1, lambda rows: draw(rows[0]))


def drawn_rows(name: str, alt: str, height: float, rows: int, draw: Callable[[Sequence[Axes]], None]) -> Plot:
    """A plot of several pairs of axes with a common x, one below the other."""

    def canvas() -> Canvas:
        made = Canvas(figsize=(_WIDTH, height), dpi=_SVG_DPI)
        made.patch.set_alpha(0)
        axes = made.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
        for one in axes:
            one.patch.set_alpha(0)
        draw(list(axes))
        return made

    with mpl.rc_context(_STYLE):
        text = io.StringIO()
        figure = canvas()
        # By hand: with a layout engine of the figure's, savefig draws everything twice.
        FigureCanvasSVG(figure)
        ConstrainedLayoutEngine().execute(figure)
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return Plot(_for_page(name, alt, text.getvalue()), alt, name, canvas)


_LIGHT = {
    "#010203": "#1d232a", "#010204": "#d5dae0", "#010205": "#ffffff", "#010206": "#b3261e",
    **dict(zip(
        (f"#0103{number:02x}" for number in range(8)),
        ("#1f5fa8", "#d97706", "#2e8b57", "#8250a8", "#6b7280", "#0e7490", "#a3445f", "#7a6a1f"), strict=True,
    )),
}  # fmt: skip
"""The variables of a light page, as report.css has them."""


def _paint(canvas: Canvas) -> None:
    """Gives everything that is drawn its colour of a light page."""
    for artist in canvas.findobj():
        for which in ("color", "facecolor", "edgecolor"):
            getter, setter = getattr(artist, f"get_{which}", None), getattr(artist, f"set_{which}", None)
            if getter is None or setter is None:
                continue
            colours = to_rgba_array(getter())
            replaced = [(*to_rgba_array(_LIGHT[to_hex(c)])[0][:3], c[3]) if to_hex(c) in _LIGHT else c for c in colours]
            if len(replaced) and not np.array_equal(colours, replaced):
                setter(replaced if len(replaced) > 1 else replaced[0])


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
