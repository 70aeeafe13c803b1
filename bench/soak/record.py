"""What became of each fault, and what a soak came to."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.soak.plan import SHARES

LINK = "link"
"""The rung below the ladder: the link itself has sent again, or waited."""

RESUME = "resume"
"""The rung of a full disk: the run ends, and is resumed from its journal, its boards as they are to be."""


@dataclass(frozen=True)
class Injected:
    """A fault that has struck. `at` is ISO 8601, UTC; `rung` what healed it, and "" when nothing did; `seconds` from
    the strike until the board, its line or whatever it was, was well again."""

    number: int
    kind: str
    board: str
    at: str
    details: Mapping[str, Any]
    rung: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Leg:
    """A few rounds under faults, beside the same rounds without."""

    number: int
    faults: Sequence[Injected]
    updates: int
    lost_updates: int
    duplicated_updates: int
    left_out: int
    """Updates that did not come, and were left out of the other run too."""
    hangs: int
    wrong_figures: Sequence[str]
    weights_equal: bool
    seconds: float
    faults_s: float
    """Of `seconds`: the rounds under faults."""
    settling_s: float
    """What their boards needed then until they were well."""
    repetition_s: float
    """The rounds without faults."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Leg:
        """What `document` gave."""
        faults = tuple(Injected(**fault) for fault in document["faults"])
        return cls(**{**document, "faults": faults, "wrong_figures": tuple(document["wrong_figures"])})


def kinds_document(faults: Sequence[Injected]) -> list[dict[str, Any]]:
    """By kind: how many, which rung healed how many, and how long it took."""
    return [_kind(kind, found) for kind in SHARES if (found := [fault for fault in faults if fault.kind == kind])]


def _kind(kind: str, faults: Sequence[Injected]) -> dict[str, Any]:
    times = sorted(fault.seconds for fault in faults if fault.rung)
    return {
        "fault": kind,
        "injected": len(faults),
        "recovered": len(times),
        "rungs": dict(Counter(fault.rung for fault in faults if fault.rung).most_common()),
        "median_s": round(statistics.median(times), 3) if times else None,
        "p95_s": round(times[min(len(times) - 1, int(0.95 * len(times)))], 3) if times else None,
        "most_s": round(times[-1], 3) if times else None,
    }


def totals(legs: Sequence[Leg], leaked_processes: int) -> dict[str, Any]:
    """What a soak came to."""
    faults = [fault for leg in legs for fault in leg.faults]
    return {
        "injected": len(faults),
        "recovered": sum(fault.rung != "" for fault in faults),
        "updates": sum(leg.updates for leg in legs),
        "left_out": sum(leg.left_out for leg in legs),
        "lost_updates": sum(leg.lost_updates for leg in legs),
        "duplicated_updates": sum(leg.duplicated_updates for leg in legs),
        "hangs": sum(leg.hangs for leg in legs),
        "leaked_processes": leaked_processes,
        "wrong_figures": sum(len(leg.wrong_figures) for leg in legs),
        "weights_equal": all(leg.weights_equal for leg in legs),
        "legs": len(legs),
        "faults_s": round(sum(leg.faults_s for leg in legs), 1),
        "settling_s": round(sum(leg.settling_s for leg in legs), 1),
        "repetition_s": round(sum(leg.repetition_s for leg in legs), 1),
        "kinds": kinds_document(faults),
    }


def passed(document: Mapping[str, Any]) -> bool:
    """Whether nothing was lost, counted twice, left hanging or wrong."""
    none = ("lost_updates", "duplicated_updates", "hangs", "leaked_processes", "wrong_figures")
    return (
        document["weights_equal"]
        and document["recovered"] == document["injected"]
        and not any(document[name] for name in none)
    )


def markdown(document: Mapping[str, Any]) -> str:
    """The table: fault, injected, recovered at which rung, time."""
    lines = [
        "| fault | injected | recovered | by | median | 95 % | longest |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind in document["kinds"]:
        rungs = ", ".join(f"{rung} {count}" for rung, count in kind["rungs"].items())
        times = [f"{kind[name]:.2f} s" if kind[name] is not None else "–" for name in ("median_s", "p95_s", "most_s")]
        lines.append(f"| {kind['fault']} | {kind['injected']} | {kind['recovered']} | {rungs} | {' | '.join(times)} |")
    return "\n".join(lines) + "\n"
