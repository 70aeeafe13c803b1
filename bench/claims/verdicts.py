"""Where the FTTE-style arm stands beside a baseline: one list of figures, which page, HTML and JSON are made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bench.claims.runs import Run
from bench.claims.studies import BASELINE, EIGHT_BITS, OURS
from bench.fleet.simulate import Point

Row = Mapping[str, Any]
"""Of a study, as `python -m bench.claims` writes it."""
COMPARABLE_POINTS = 1.0
"""Points behind that still count as comparable; ours, as the paper gives no number."""
Kind = Literal["counted", "modelled", "planned", "measured on this machine"]


@dataclass(frozen=True)
class Quantity:
    """What is compared: of a run, or of a row's program. `published` is FTTE's claim (arXiv 2510.03165, abstract, of
    CIFAR-10) in per cent less than synchronous FedAvg."""

    id: str
    name: str
    unit: str
    kind: Kind
    published: float | None
    of: Callable[[Row, Run], float | None]


def _to_target(of: Callable[[Point], float]) -> Callable[[Row, Run], float | None]:
    def found(row: Row, run: Run) -> float | None:
        point = run.first(row["target"])
        return None if point is None else of(point)

    return found


QUANTITIES = (
    Quantity("memory_reduction", "SRAM", "B", "planned", 80.0,
             lambda row, _run: row["sram_total_bytes"] + row["sram_federation_bytes"]),
    Quantity("payload_reduction", "payload of a turn", "B", "counted", 69.0,
             lambda _row, run: run.payload_up + run.payload_down),
    Quantity("time_reduction", "time to target", "s", "modelled", 81.0, _to_target(lambda point: point.at)),
    Quantity("bytes_to_target_reduction", "bytes to target", "B", "counted", None,
             _to_target(lambda point: point.down + point.up)),
)  # fmt: skip


@dataclass(frozen=True)
class Reduction:
    """Means over the seeds, None where one of them did not reach the target; `less` and `spread` (of the seeds, from
    least to most) in per cent."""

    quantity: Quantity
    before: float | None
    after: float | None
    less: float | None
    spread: float

    @property
    def verdict(self) -> str:
        """In words; empty where nothing is claimed."""
        if self.less is None:
            return "reached before any training" if 0 in (self.before, self.after) else "target not reached"
        if self.quantity.published is None:
            return ""
        return "holds" if self.less >= self.quantity.published else "**fails**"


@dataclass(frozen=True)
class Gap:
    """Final accuracies, means over the seeds, and how many points the second is behind; `spread` of the seeds."""

    before: float
    after: float
    points: float
    spread: float

    @property
    def verdict(self) -> str:
        """In words."""
        return "holds" if self.points <= COMPARABLE_POINTS else "**fails**"


def reduction(quantity: Quantity, base: Row, ours: Row) -> Reduction:
    """Of one quantity, by the seeds that both rows have."""
    pairs = [(quantity.of(base, one), quantity.of(ours, other)) for one, other in _pairs(base, ours)]
    before = _mean_of_all(one for one, _ in pairs)
    after = _mean_of_all(other for _, other in pairs)
    if not before or after is None or any(0 in pair for pair in pairs):  # 0: the target is below where one begins
        return Reduction(quantity, before, after, None, 0.0)
    each = [100 * (1 - other / one) for one, other in pairs if one is not None and other is not None]
    return Reduction(quantity, before, after, 100 * (1 - after / before), max(each) - min(each))


def accuracy_gap(base: Row, ours: Row) -> Gap:
    """Of final accuracy, by the seeds that both rows have."""
    finals = np.array([(one.final, other.final) for one, other in _pairs(base, ours)])
    each = 100 * (finals[:, 0] - finals[:, 1])
    return Gap(finals[:, 0].mean(), finals[:, 1].mean(), float(each.mean()), float(np.ptp(each)))


def find(rows: Iterable[Row], label: str, arm: str) -> Row | None:
    """A row that was run."""
    return next((row for row in rows if (row["label"], row["arm"]) == (label, arm) and row["runs"]), None)


def claims(
    studies: Mapping[str, Sequence[Row]],
    speeds: Mapping[str, Any] | None,
    dataset: str,
    command: str = "make claims",
) -> list[dict[str, Any]]:
    """One object for each claim that was run: `id, published, ours, unit, spread, dataset, command`, and `kind`.

    Args:
        studies: by name, as they were run; "headline" is looked at.
        speeds: the document of bench/benchmarks/fleet_speed.py, if there is one.
        dataset: that the studies are of.
        command: that carries them out.
    """
    found = list(_of_headline(studies.get("headline", [])))
    for one in found:
        one |= {"dataset": dataset, "command": command}
        if dataset != "fashion-mnist":
            one["id"] += "_" + dataset.replace("-", "_")
    return found + list(_of_speeds(speeds or {}))


def _of_headline(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    label = rows[0]["label"] if rows else ""
    base, buffered, ours = (find(rows, label, arm) for arm in (BASELINE, "fedbuff", OURS))
    if base is not None and ours is not None:
        for quantity in QUANTITIES:
            yield from _reduced(quantity, quantity.id, quantity.published, base, ours)
        yield _behind("accuracy_gap_points", base, ours)
    if base is not None and (eight := find(rows, EIGHT_BITS, OURS)) is not None:
        yield _behind("accuracy_gap_points_8_bits", base, eight)
    if buffered is not None and ours is not None:
        time = next(quantity for quantity in QUANTITIES if quantity.id == "time_reduction")
        yield from _reduced(time, "time_reduction_fedbuff", None, buffered, ours)
        yield _behind("accuracy_gap_points_fedbuff", buffered, ours)


def _reduced(quantity: Quantity, name: str, published: float | None, base: Row, ours: Row) -> Iterator[dict[str, Any]]:
    """Nothing where the target is not reached: that is no number."""
    one = reduction(quantity, base, ours)
    if one.less is not None:
        yield _claim(name, published, one.less, "%", one.spread, quantity.kind)


def _behind(name: str, base: Row, ours: Row) -> dict[str, Any]:
    gap = accuracy_gap(base, ours)
    return _claim(name, None, gap.points, "points", gap.spread, "counted")


def _of_speeds(speeds: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, found in speeds.get("claims", {}).items():
        one = _claim(name, None, found["speedup"], "times", found["spread"], "measured on this machine")
        yield one | {"dataset": "fashion-mnist", "command": "python -m bench.benchmarks.fleet_speed"}


def _claim(name: str, published: float | None, ours: float, unit: str, spread: float, kind: Kind) -> dict[str, Any]:
    return {"id": name, "published": published, "ours": round(ours, 3), "unit": unit, "spread": round(spread, 3),
            "dataset": "", "command": "", "kind": kind}  # fmt: skip


def _pairs(base: Row, ours: Row) -> list[tuple[Run, Run]]:
    """Runs of both at the same seed."""
    of_ours = {run["seed"]: run for run in ours["runs"]}
    return [(stored_run(run), stored_run(of_ours[run["seed"]])) for run in base["runs"] if run["seed"] in of_ours]


def stored_run(stored: Mapping[str, Any]) -> Run:
    """A run as the document has it."""
    return Run(**{**stored, "points": [Point(**point) for point in stored["points"]]})


def _mean_of_all(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if not known or None in known else float(np.mean([value for value in known if value is not None]))
