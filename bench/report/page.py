"""The report: one HTML file that needs nothing beside it, for a wide screen, a telephone or paper, in light or dark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.report import plots, timelines
from bench.report.currents import WHATS, currents
from bench.report.drawing import Plot
from bench.report.view import ENERGY_PHASES, BoardLine, Figure, View, count, short
from bench.results.files import write_atomically, writing
from bench.results.store import load_run

REPORT = "report.html"
_ROUNDS_SHOWN = 6000  # lines of all tables of rounds, shared among the boards; all are in measurements.csv
_ROUNDS_AT_LEAST = 20  # of each board


def write_report(folder: Path) -> Path:
    """Writes `report.html` of a finished run; returns its path.

    Raises:
        ConfigError: the folder holds no finished run, or a malformed one.
        InfrastructureError: the report cannot be written.
    """
    path = folder / REPORT
    write_atomically(path, render(View(load_run(folder))).encode())
    return path


def draw(view: View) -> dict[str, list[Plot]]:
    """All plots of a run, by the part of the page."""
    curves = [plots.accuracy(view), plots.loss(view)]
    costs = [timelines.cost(view, what) for what in ("bytes", "energy", "time")]
    return {
        "curves": [plot for plot in (*curves, *costs) if plot is not None],
        "sram": _each(view, plots.sram),
        "memory": _each(view, timelines.memory),
        "strategies": [plot for plot in (timelines.traffic_by_strategy(view),) if plot is not None],
        "traffic": _each(view, plots.traffic),
        "energy": _each(view, plots.energy),
        "currents": currents(view),
        "power": _each(view, timelines.power),
        "work": _each(view, plots.work),
        "stragglers": _each(view, timelines.stragglers),
    }


def write_pictures(folder: Path) -> list[Path]:
    """Writes each plot of a finished run as a PNG into its folder `plots`; returns their paths. Raises as above."""
    target = folder / "plots"
    with writing(target):
        target.mkdir(exist_ok=True)
    paths = []
    for plot in (plot for part in draw(View(load_run(folder))).values() for plot in part):
        write_atomically(target / f"{plot.name}.png", plot.png())
        paths.append(target / f"{plot.name}.png")
    return paths


def render(view: View, drawn: Mapping[str, Sequence[Plot]] | None = None) -> str:
    """The page's text; the same run gives the same text. `drawn` are its plots, if they are made already."""
    environment = Environment(
        loader=PackageLoader("bench.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(count=count, short=short, percent=percent)
    environment.globals.update(how=how, has=has, framing_share=framing_share)
    seated = list(dict.fromkeys(line.board for line in view.lines))
    return environment.get_template("report.html.j2").render(
        view=view,
        plots=drawn or draw(view),
        phases=ENERGY_PHASES,
        whats=WHATS,
        troubles=troubles(view),
        provenance=provenance(view),
        duration=_duration(view.document),
        by_board=[(board, [line for line in view.lines if line.board == board]) for board in seated],
        rounds_shown=max(_ROUNDS_AT_LEAST, _ROUNDS_SHOWN // max(1, len(seated))),
    )


def _each(view: View, plot: Callable[[View, str], Plot | None]) -> list[Plot]:
    return [drawn for variant in view.variants if (drawn := plot(view, variant)) is not None]


def percent(figure: Figure | float | None) -> str:
    """A share as percent with one decimal; a dash for none."""
    if figure is None:
        return "–"
    return f"{100 * (figure.value if isinstance(figure, Figure) else figure):.1f} %"


def how(lines: Iterable[BoardLine], *metrics: str) -> str:
    """ " (modelled)" when any of the figures is: what must stand in the head of their column."""
    found = [line.figures[metric] for line in lines for metric in metrics if metric in line.figures]
    return " (modelled)" if any(figure.kind == "modelled" for figure in found) else ""


def has(lines: Iterable[BoardLine], metric: str) -> bool:
    """Whether any of the boards has such a figure."""
    return any(metric in line.figures for line in lines)


def framing_share(line: BoardLine, direction: str) -> float | None:
    """Framing as a share of the payload."""
    framing, payload = line.framing(direction), line.get(f"payload_{direction}")
    return framing.value / payload.value if framing and payload and payload.value else None


def troubles(view: View) -> list[dict[str, Any]]:
    """A line for each variant and board in trouble: its clients' rounds without an update, and bytes sent again."""
    found = []
    for line in view.lines:
        missed = view.missing(line)
        up, down = line.get("retransmitted_up"), line.get("retransmitted_down")
        if missed or (up and up.value) or (down and down.value):
            found.append({"line": line, "missed": missed, "up": up, "down": down})
    return found


def provenance(view: View) -> list[tuple[str, str]]:
    """What was run, with which versions, when: label and text."""
    document, environment = view.document, view.document.get("environment", {})
    revision = environment.get("revision")
    facts = [
        ("Run", document.get("run")),
        ("Command", document.get("command")),
        ("Experiment", document.get("experiment", {}).get("name")),
        ("Seed", document.get("seed")),
        ("Rack", document.get("rack")),
        ("Started", document.get("started")),
        ("Finished", document.get("finished")),
        ("Git revision", f"{revision} with local changes" if revision and environment.get("dirty") else revision),
    ]
    facts += [(name, environment[name]) for name in sorted(environment) if name not in {"revision", "dirty", "argv"}]
    for name, variant in document.get("variants", {}).items():
        facts.append((f"Program of {name}", f"{variant.get('program')}, plan {variant.get('plan_id')}"))
    sources = Counter(board.get("energy_source") for board in view.boards.values())
    for source in sources:
        boards = ", ".join(name for name, board in view.boards.items() if board.get("energy_source") == source)
        facts.append((f"Modelled energy of {boards}", source))
    return [(label, str(text)) for label, text in facts if text not in (None, "")]


def _duration(document: Mapping[str, Any]) -> str:
    try:
        seconds = (
            datetime.fromisoformat(document["finished"]) - datetime.fromisoformat(document["started"])
        ).total_seconds()
    except (KeyError, TypeError, ValueError):
        return ""
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"
