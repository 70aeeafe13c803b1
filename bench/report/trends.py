"""How figures went from run to run, with what was found in nights marked: one page of all experiments of a store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import dates
from matplotlib.axes import Axes

from bench.report.drawing import LIMIT, MARKERS, SERIES, Plot, drawn, title
from bench.report.view import count, short
from bench.results.database import Store
from bench.results.files import write_atomically
from bench.results.nights import findings
from bench.results.queries import Trends, trend_values

_dates: Any = dates  # it has no annotations
TRENDS = "trends.html"
_PLOTS = 48  # of a page; those with a regression come first
_POINTS = 100  # stretches of a line: as many as a telephone can show
_RECENT = 30  # runs that the table's level is the median of
_OPEN = ("open",)
_METRICS = {
    "accuracy": ("Accuracy", "accuracy", ""),
    "instructions": ("Instructions a step", "instructions", ""),
    "cycles": ("Cycles a step", "cycles", ""),
    "sram_total": ("SRAM", "bytes", "train"),
    "energy": ("Energy a round", "µJ", ""),
    "wire_down": ("Bytes down a round", "bytes", ""),
    "wire_up": ("Bytes up a round", "bytes", ""),
    "round_time": ("Busy a round", "s", ""),
}
"""Heading, unit, and the phase that is shown."""


@dataclass(frozen=True)
class Line:
    """A figure over the runs of an experiment, on one kind of board; `env` is empty for the cohort's."""

    key: int
    experiment: str
    variant: str
    env: str
    metric: str
    kind: str
    times: tuple[datetime, ...]
    values: tuple[float, ...]

    @property
    def level(self) -> float:
        """Median of the runs before the last, up to 30 of them."""
        return float(np.median(self.values[-_RECENT - 1 : -1] or self.values))

    @property
    def change(self) -> float | None:
        """Of the last against the level, as a share."""
        return (self.values[-1] - self.level) / abs(self.level) if self.level else None


def write_trends(store: Store, reports: Path, *, last: int = 1000) -> Path:
    """Writes `trends.html` of each experiment's newest runs; returns its path.

    Raises:
        InfrastructureError: store or page cannot be read or written.
    """
    path = reports / TRENDS
    write_atomically(path, render_trends(store, last=last).encode())
    return path


def render_trends(store: Store, *, last: int = 1000) -> str:
    """The page's text."""
    data = trend_values(store, {metric: phase for metric, (_, _, phase) in _METRICS.items()}, last=last)
    found = findings(store)
    lines = _lines(data)
    groups: dict[tuple[str, str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault((line.experiment, line.variant, line.metric), []).append(line)
    marked = set(found[found["state"].isin(_OPEN)]["trend_id"])
    worth = sorted(groups, key=lambda key: not any(line.key in marked for line in groups[key]))[:_PLOTS]
    drawn_: dict[str, list[Plot]] = {}
    for key in (key for key in groups if key in worth and any(len(line.values) > 1 for line in groups[key])):
        drawn_.setdefault(key[0], []).append(_plot(groups[key], found))
    environment = Environment(
        loader=PackageLoader("bench.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(count=count, short=short, signed=_signed)
    return environment.get_template("trends.html.j2").render(
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        where=store.where,
        runs=len(data.runs),
        first=data.runs["started"].min()[:10] if len(data.runs) else "",
        newest=data.runs["started"].max()[:10] if len(data.runs) else "",
        open=_rows(found[found["state"].isin(_OPEN)]),
        earlier=_rows(found[~found["state"].isin((*_OPEN, "unconfirmed", "suspect"))].iloc[::-1].head(100)),
        plots=drawn_,
        left_out=max(0, len(groups) - len(worth)),
        by_board=_by_board(lines, marked),
        metrics=_METRICS,
    )


def _lines(data: Trends) -> list[Line]:
    if data.values.empty:
        return []
    order = pd.Series(range(len(data.runs)), index=data.runs["id"])
    times = np.asarray(pd.to_datetime(data.runs["started"], utc=True, errors="coerce").dt.to_pydatetime())
    placed = data.values.assign(at=order.loc[data.values["run_id"]].to_numpy()).sort_values(["trend_id", "at"])
    values, at = placed["value"].to_numpy(), placed["at"].to_numpy()
    keys, begins = np.unique(placed["trend_id"].to_numpy(), return_index=True)
    ends = [*begins[1:], len(values)]
    bounds = {int(key): (begin, end) for key, begin, end in zip(keys, begins, ends, strict=True)}
    found = []
    for row in data.series.sort_values(["experiment", "variant", "env"]).itertuples(index=False):
        if row.id not in bounds:
            continue
        begin, end = bounds[row.id]
        when = tuple(times[place] for place in at[begin:end])
        found.append(
            Line(row.id, row.experiment, row.variant, row.env, row.metric, row.kind, when, tuple(values[begin:end]))
        )
    return sorted(found, key=lambda line: (line.experiment, line.variant, list(_METRICS).index(line.metric)))


def _plot(lines: Sequence[Line], found: pd.DataFrame) -> Plot:
    """Accuracy as it is; all else relative to its first run, as kinds of boards differ by more than any change."""
    first = lines[0]
    heading, unit, _ = _METRICS[first.metric]
    modelled = " (modelled)" if any(line.kind == "modelled" for line in lines) else ""
    relative = first.metric != "accuracy"
    shown = lines[: len(SERIES)]

    def draw(axes: Axes) -> None:
        for number, line in enumerate(shown):
            scale = 100 / line.values[0] if relative and line.values[0] else 1.0
            values = np.asarray(line.values) * scale
            times = _dates.date2num(line.times)
            kept = _extremes(values)
            axes.plot(times[kept], values[kept], color=SERIES[number], lw=1.3, label=line.env or "cohort",
                      marker=MARKERS[number % len(MARKERS)] if len(values) <= 40 else None, markersize=3)  # fmt: skip
            _mark(axes, line, values, found)
        locator = _dates.AutoDateLocator(minticks=3, maxticks=6)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(_dates.ConciseDateFormatter(locator))
        axes.grid(axis="y")
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.set_ylabel("% of the first run's" if relative else unit)
        axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.14), ncols=2, columnspacing=1.0)
        title(axes, f"{heading}, {first.variant}{modelled}", "")

    told = "; ".join(
        f"{line.env or 'cohort'} {short(line.values[-1])} {unit}, before {short(line.level)}" for line in shown
    )
    name = f"trend-{first.experiment}-{first.variant}-{first.metric}"
    alt = f"{heading} of {first.experiment}, {first.variant}{modelled}, by run; last: {told}."
    return drawn(name, alt, 2.9 + 0.22 * -(-len(shown) // 2), draw)


def _extremes(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Places of the points that a line so wide can show: of many, the least and the greatest of each stretch,
    so that no odd run is lost."""
    if len(values) <= 2 * _POINTS:
        return np.arange(len(values))
    stretches = np.array_split(np.arange(len(values)), _POINTS)
    ends = [(stretch[np.argmin(values[stretch])], stretch[np.argmax(values[stretch])]) for stretch in stretches]
    return np.unique([0, *np.ravel(ends), len(values) - 1])


def _mark(axes: Axes, line: Line, values: np.ndarray[Any, Any], found: pd.DataFrame) -> None:
    """A cross at the first run of each regression that was confirmed; open ones are large."""
    worse = found[(found["trend_id"] == line.key) & (found["direction"] == "worse")]
    for row in worse[~worse["state"].isin(("unconfirmed", "suspect"))].itertuples(index=False):
        since = datetime.fromisoformat(row.since)
        place = next((at for at, when in enumerate(line.times) if when >= since), None)
        if place is not None:
            size = 11 if row.state in _OPEN else 6
            axes.plot(
                [_dates.date2num(line.times[place])],
                [values[place]],
                color=LIMIT,
                marker="x",
                markersize=size,
                mew=2,
                lw=0,
            )


def _rows(found: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for record in found.to_dict("records"):
        before, after = record["before"], record["after"]
        change = (after - before) / abs(before) if before else None
        rows.append({**record, "change": change, "sha": str(record["sha"] or "")[:10]})
    return rows


def _by_board(lines: Iterable[Line], marked: set[int]) -> dict[str, list[dict[str, Any]]]:
    """A table for each kind of board: its figures in all experiments, the last beside the level."""
    tables: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for line in lines:
        row = tables.setdefault(line.env, {}).setdefault(
            (line.experiment, line.variant), {"experiment": line.experiment, "variant": line.variant, "figures": {}}
        )
        row["figures"][line.metric] = {
            "last": line.values[-1], "change": line.change, "open": line.key in marked,
            "modelled": line.kind == "modelled",
        }  # fmt: skip
    ordered = sorted(tables, key=lambda env: (env != "", env))
    return {env: list(tables[env].values()) for env in ordered}


def _signed(share: float | None) -> str:
    """A change as percent; a dash for none."""
    if share is None:
        return "–"
    return "±0" if abs(share) < 5e-7 else f"{100 * share:+.2f} %"
