"""The one table: every figure of a run is a row, with its unit and with how it came about."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Literal

import pandas as pd

from bench.errors import ConfigError

Kind = Literal["measured", "counted", "modelled"]
KINDS: tuple[Kind, ...] = ("measured", "counted", "modelled")
"""measured: from a physical board or instrument; counted: exact, by an emulator or the code; modelled: all else."""

UNITS = {
    "sram_static": "bytes",
    "sram_arena": "bytes",
    "sram_stack_high_water": "bytes",
    "sram_total": "bytes",
    "sram_federation": "bytes",
    "instructions": "instructions",
    "cycles": "cycles",
    "energy": "uJ",
    "step_energy": "uJ",
    "inference_energy": "uJ",
    "payload_up": "bytes",
    "payload_down": "bytes",
    "wire_up": "bytes",
    "wire_down": "bytes",
    "wire_difference": "bytes",
    "retransmitted_up": "bytes",
    "retransmitted_down": "bytes",
    "step_time": "s",
    "round_time": "s",
    "accuracy": "1",
    "loss": "nats",
    "local_accuracy": "1",
    "local_loss": "nats",
    "saturated": "values",
    "samples": "samples",
    "dropped": "clients",
    "staleness": "steps",
    "weight": "1",
    "elapsed": "s",
    "clipped": "values",
    "checkpoint": "bytes",
    "feedback_lost": "updates",
}
"""Metrics that there are, and their units."""

LINE_DEPENDENT = frozenset({"retransmitted_up", "retransmitted_down", "wire_difference"})
"""Counted, but decided by how the line behaved: not compared between runs."""

_FRAMED = frozenset({"wire_up", "wire_down"})
_COBS_RUN = 254  # bytes without a zero, behind which COBS needs a byte more (bench/link/frame.py)

LINE_DEPENDENT_PHASE = "link"
"""Its rows are not compared either: how deep the stack gets in it depends on when a byte's interrupt comes."""


@dataclass(frozen=True)
class Measurement:
    """A row. `variant` is the side of a comparison; `board` and `client` are empty for figures of the whole cohort;
    `round` 0 is before any training.

    Raises ConfigError for a metric, unit or kind that does not exist, for names that cannot be printed in one line, and
    for a value that is not a finite number.
    """

    run: str
    variant: str
    board: str
    client: str
    round: int
    phase: str
    metric: str
    value: float
    unit: str
    kind: Kind

    def __post_init__(self) -> None:
        if UNITS.get(self.metric) != self.unit:
            known = UNITS.get(self.metric)
            problem = f"its unit is {known}" if known else f"known are {', '.join(sorted(UNITS))}"
            raise ConfigError(f"measurement {self.metric} in {self.unit}: {problem}")
        if self.kind not in KINDS:
            raise ConfigError(f"measurement {self.metric}: kind {self.kind!r} is none of {', '.join(KINDS)}")
        texts = (self.run, self.variant, self.board, self.client, self.phase)
        if not all(text.isprintable() for text in texts):
            raise ConfigError(f"measurement {self.metric}: {texts} holds a character that cannot be printed")
        if not math.isfinite(self.value):
            raise ConfigError(
                f"measurement {self.metric} of {self.board or self.variant}: {self.value} is not a number"
            )
        # numpy's scalars become Python's, so that a row is the same before and after the journal.
        object.__setattr__(self, "value", float(self.value))
        object.__setattr__(self, "round", int(self.round))

    @property
    def key(self) -> tuple[str, str, str, int, str, str, str]:
        """What tells a figure from all others of its run: all but its value and unit."""
        return self.variant, self.board, self.client, self.round, self.phase, self.metric, self.kind


COLUMNS = tuple(field.name for field in fields(Measurement))


@dataclass(frozen=True)
class Recorder:
    """Makes rows that share where they come from."""

    run: str
    variant: str
    board: str = ""
    client: str = ""
    round: int = 0

    def row(self, metric: str, value: float, kind: Kind, phase: str = "") -> Measurement:
        """A row of a metric in its unit."""
        unit = UNITS.get(metric, "")
        return Measurement(
            self.run, self.variant, self.board, self.client, self.round, phase, metric, value, unit, kind
        )


def frame(rows: Iterable[Measurement]) -> pd.DataFrame:
    """The rows as a data frame with COLUMNS."""
    return pd.DataFrame([asdict(row) for row in rows], columns=list(COLUMNS))


def rows_of(table: pd.DataFrame) -> list[Measurement]:
    """The data frame's rows, validated. Raises ConfigError."""
    if list(table.columns) != list(COLUMNS):
        raise ConfigError(
            f"a table of measurements has the columns {', '.join(COLUMNS)}, not {', '.join(table.columns)}"
        )
    return [Measurement(**{str(key): value for key, value in record.items()}) for record in table.to_dict("records")]


def compare_counted(one: Sequence[Measurement], other: Sequence[Measurement], *, renumbered: bool = False) -> list[str]:
    """What differs between two runs of one experiment in figures that must be equal: counted, the line's own apart.

    `renumbered`: requests may have other sequence numbers in one of them, as they have after a recovery. COBS then puts
    its bytes elsewhere in a long frame, and at most one in 254 more or less: `wire_*` may differ by these.
    """

    def counted(rows: Sequence[Measurement]) -> dict[tuple[object, ...], float]:
        return {
            (row.variant, row.board, row.client, row.round, row.phase, row.metric): row.value
            for row in rows
            if row.kind == "counted" and row.metric not in LINE_DEPENDENT and row.phase != LINE_DEPENDENT_PHASE
        }

    left, right = counted(one), counted(other)
    differences = []
    for key in sorted(left.keys() | right.keys(), key=str):
        if left.get(key) != right.get(key):
            if renumbered and key[-1] in _FRAMED and _same_but_for_cobs(left.get(key), right.get(key)):
                continue
            name = " ".join(str(part) for part in key if part != "")
            differences.append(f"{name}: {left.get(key)} and {right.get(key)}")
    return differences


def _same_but_for_cobs(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) <= min(one, other) // _COBS_RUN
