"""A night beside the nights before it: what changed, what is to be run again, what is a regression.

Figures are compared by kind of board, as `summarise` made them of each run. The level that tonight is compared with is
that of the nights since the last change that is as it should be: one that was accepted, or an improvement. Nights with
an open regression do not count as the level, so it stays one until it is mended or accepted.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from bench.nightly.detect import COMPARED, Change, Rule, beyond, confirmed, find_step, judge
from bench.results.database import Store
from bench.results.nights import OPEN_STATES, findings, night_figures, night_names, write_findings
from bench.results.table import LINE_DEPENDENT, LINE_DEPENDENT_PHASE


@dataclass(frozen=True)
class Trend:
    """A figure of a cell over the nights."""

    key: int
    cell: str
    metric: str
    exact: bool
    nights: tuple[int, ...]
    """Before tonight, of the same definition, oldest first."""
    otherwise: frozenset[int]
    """Nights on which the cell was another, by its definition."""
    values: tuple[float, ...]
    tonight: float
    again: float | None
    """By the rerun."""


@dataclass
class Comparison:
    """What a night showed. `suspects` are cells to be run again before anything is said."""

    night: int
    name: str
    suspects: list[str] = field(default_factory=list)
    new: list[dict[str, Any]] = field(default_factory=list)
    changed: dict[int, dict[str, Any]] = field(default_factory=dict)


def compare(store: Store, night: int, rule: Rule) -> Comparison:
    """Compares a night with those before it; writes nothing. Call it again when the suspects have been run again."""
    figures = night_figures(store, night, 2 * rule.window)
    trends = list(_trends(figures, night))
    known = findings(store, trends=[trend.key for trend in trends])
    names = night_names(store)
    numbers = {name: number for number, name in names.items()}
    by_trend: dict[int, list[dict[str, Any]]] = {}
    for record in known.to_dict("records"):
        record["closed_id"] = numbers.get(record["closed"], record["night_id"])
        by_trend.setdefault(record["trend_id"], []).append({str(key): value for key, value in record.items()})
    found = Comparison(night, names[night])
    suspects: dict[str, None] = {}
    for trend in trends:
        if _compare_one(trend, by_trend.get(trend.key, []), rule, found):
            suspects[trend.cell] = None
    found.suspects = list(suspects)
    return found


def conclude(store: Store, comparison: Comparison) -> pd.DataFrame:
    """Writes what a night showed; returns its new regressions and those that are still open."""
    write_findings(
        store, comparison.night, comparison.new, comparison.changed, datetime.now(UTC).isoformat(timespec="seconds")
    )
    return findings(store, states=("open",))


def _trends(figures: pd.DataFrame, night: int) -> Iterable[Trend]:
    by_trend: dict[int, list[Any]] = {}
    for row in figures.itertuples(index=False):
        if row.metric in COMPARED and not _line_dependent(row.metric, row.phase):
            by_trend.setdefault(row.trend_id, []).append(row)
    for key, rows in by_trend.items():
        own = {row.attempt: row for row in rows if row.night_id == night}
        if 1 not in own:
            continue
        tonight = own[1]
        before = [
            row for row in rows if row.night_id < night and row.attempt == 1 and row.definition == tonight.definition
        ]
        yield Trend(
            key,
            tonight.cell,
            tonight.metric,
            bool(tonight.exact) and tonight.kind == "counted",
            tuple(row.night_id for row in before),
            frozenset(row.night_id for row in rows if row.definition != tonight.definition),
            tuple(row.value for row in before),
            tonight.value,
            own[2].value if 2 in own else None,
        )


def _line_dependent(metric: str, phase: str) -> bool:
    """Decided by how the line behaved, or when a byte's interrupt came."""
    return metric in LINE_DEPENDENT or (metric.startswith("sram_") and phase == LINE_DEPENDENT_PHASE)


def _compare_one(trend: Trend, known: Sequence[Mapping[str, Any]], rule: Rule, found: Comparison) -> bool:
    """Notes what is to be said of a trend; returns whether its cell has to be run again first."""
    pending = next((row for row in known if row["state"] in OPEN_STATES and row["night_id"] < found.night), None)
    if pending is not None and pending["night_id"] in trend.otherwise:
        found.changed[pending["finding"]] = {"state": "gone", "closed": found.name, "note": _REDEFINED}
        pending = None
    if pending is not None:
        _follow(trend, pending, rule, found)
        return False
    nights, level = _level(trend, known)
    change = judge(trend.metric, level, trend.tonight, rule, exact=trend.exact)
    if change is None or change.how == "level":
        step = None if trend.exact else find_step(trend.metric, [*level, trend.tonight], rule)
        if step is not None:
            begun = [*nights, found.night][-1 - step.since]
            found.new.append(_finding(trend, step, begun, _CONFIRMED[step.direction]))
            return False
    if change is None or (change.direction == "better" and change.how == "level"):
        return False  # an improvement of a figure with noise is believed when it is a step
    if trend.again is None:
        found.new.append(_finding(trend, change, found.night, "suspect"))
        return True
    real = confirmed(trend.metric, change, trend.again)
    state = _CONFIRMED[change.direction] if real else "unconfirmed"
    found.new.append(_finding(trend, change, found.night, state, f"rerun {trend.again:.6g}"))
    return False


def _level(trend: Trend, known: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[float]]:
    """The nights since the last change that was accepted, and their figures; without those of a regression that was
    mended, and of an exact figure without what was seen once only."""
    since = max((row["night_id"] for row in known if row["state"] == "accepted"), default=0)
    odd = {row["night_id"] for row in known if row["state"] in ("unconfirmed", "suspect")}
    mended = [range(row["night_id"], row["closed_id"]) for row in known if _mended(trend, row)]
    kept = [
        (at, value)
        for at, value in zip(trend.nights, trend.values, strict=True)
        if since <= at and not (trend.exact and at in odd) and not any(at in nights for nights in mended)
    ]
    return [at for at, _ in kept], [value for _, value in kept]


def _mended(trend: Trend, row: Mapping[str, Any]) -> bool:
    """Whether it is gone, and the figure nearer to what it was before than to what it became. A change as small as the
    noise may seem gone, and is found again, as one of the night on which it began."""
    since = [value for at, value in zip(trend.nights, trend.values, strict=True) if at >= row["closed_id"]]
    if row["state"] != "gone" or not since:
        return False
    now = statistics.median(since)
    return bool(abs(now - row["before"]) < abs(now - row["after"]))


_REDEFINED = "the cell is another now"
_CONFIRMED = {"worse": "open", "better": "accepted"}


def _follow(trend: Trend, pending: Mapping[str, Any], rule: Rule, found: Comparison) -> None:
    """A change that was found before: still there, or gone. With noise, the median of the last nights tells."""
    change = Change(pending["direction"], pending["how"], pending["before"], pending["after"], pending["tolerance"])
    since = [value for at, value in zip(trend.nights, trend.values, strict=True) if at >= pending["night_id"]]
    last = [*since, trend.tonight][-rule.step_nights :]
    now = trend.tonight if change.how == "exact" or pending["state"] == "suspect" else statistics.median(last)
    if beyond(trend.metric, change, now):
        found.changed[pending["finding"]] = {"state": _CONFIRMED[change.direction], "after": now}
    else:
        state = "gone" if pending["state"] == "open" else "unconfirmed"
        found.changed[pending["finding"]] = {"state": state, "closed": found.name}


def _finding(trend: Trend, change: Change, night: int, state: str, note: str = "") -> dict[str, Any]:
    return {
        "trend_id": trend.key, "night_id": night, "direction": change.direction, "how": change.how, "state": state,
        "before": change.before, "after": change.after, "tolerance": change.tolerance, "closed": "", "note": note,
    }  # fmt: skip
