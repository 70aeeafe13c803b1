"""How long a large result store takes to answer: a thousand runs of ten thousand rows.

    python -m bench.benchmarks.store [--runs 1000] [--rows 10000]

Runs are of one experiment on five kinds of boards, one a night, with figures that differ from run to run. They go in as
`bench run` adds them, twenty and timed; the others are made of those by the database itself. The store is in the cache
folder, and is deleted afterwards.

Limits are of wall time. Processor time beside it tells a slow answer from a busy machine: what is told here waits for
next to nothing else, as the store of a thousand runs is in the page cache when it is asked.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection, insert, select

from bench.benchmarks.files import cache_folder, write_document
from bench.benchmarks.markdown import table
from bench.progress import Reporter
from bench.report.trends import write_trends
from bench.results import queries
from bench.results.database import Store, run_row
from bench.results.schema import RUN
from bench.results.table import UNITS

REPORT_LIMIT_S, QUERY_LIMIT_S = 10.0, 1.0
_TIMED = 20
_AT_ONCE = 20  # runs of a transaction
_BOARDS = {
    "plus2": "netduinoplus2", "h405": "olimex_stm32_h405", "n2": "netduino2", "iot": "b_l475e_iot01a",
    "bit": "microbit",
}  # fmt: skip
_FIGURES = (
    ("", "sram_static", "counted"), ("", "sram_arena", "counted"), ("train", "sram_stack_high_water", "counted"),
    ("train", "sram_total", "counted"), ("train", "instructions", "counted"), ("", "samples", "counted"),
    ("download", "payload_down", "counted"), ("upload", "payload_up", "counted"), ("download", "wire_down", "counted"),
    ("upload", "wire_up", "counted"), ("compute", "energy", "modelled"), ("link", "energy", "modelled"),
    ("idle", "energy", "modelled"), ("train", "step_time", "modelled"), ("", "round_time", "modelled"),
    ("", "local_accuracy", "counted"), ("", "local_loss", "counted"), ("", "saturated", "counted"),
)  # fmt: skip
_COHORT = (("accuracy", "counted"), ("loss", "counted"), ("elapsed", "modelled"))
_VARIANTS = ("int8", "float32")


def main() -> int:
    """Returns the exit code: 1 when a limit is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.benchmarks.store", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=10_000, help="of each run")
    parser.add_argument("--output", type=Path, metavar="FILE.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="store-") as folder:
        found = measure(Path(folder) / "results.db", options.runs, options.rows)
    write_document(options.output, "store", found)
    times = found["times"]
    print(f"{found['runs']} runs, {found['rows']:,} rows, {found['bytes'] / 1e6:,.0f} MB; a run of {options.rows:,} "
          f"rows is added in {found['add_s']:.2f} s, {found['add_processor_s']:.2f} s of processor\n")  # fmt: skip
    rows = [(row["what"], f"{row['s']:.3f} s", f"{row['processor_s']:.3f} s", f"{row['limit_s']:g} s") for row in times]
    print(table(("what", "wall", "processor", "limit"), rows))
    return int(any(row["s"] > row["limit_s"] for row in times))


def measure(path: Path, runs: int, rows: int) -> dict[str, Any]:
    """Fills a store and asks it."""
    with Store.open(path) as store, Reporter() as reporter:
        added = _fill(store, runs, rows, reporter)
    times: list[dict[str, Any]] = []

    def timed(name: str, limit: float, call: Callable[[Store], object]) -> None:
        """Of a store that was just opened, as commands do."""
        begun, own = time.monotonic(), time.process_time()
        with Store.open(path) as store:
            call(store)
        took = {"s": time.monotonic() - begun, "processor_s": time.process_time() - own}
        times.append({"what": name, **took, "limit_s": limit})

    middle = f"night-{runs // 2:05}"
    timed("all runs", QUERY_LIMIT_S, queries.runs)
    timed("all boards", QUERY_LIMIT_S, queries.boards)
    timed("all builds", QUERY_LIMIT_S, queries.builds)
    timed("every row of a run", QUERY_LIMIT_S, lambda store: queries.measurements(store, middle))
    timed("a metric of a run", QUERY_LIMIT_S, lambda store: queries.measurements(store, middle, metric="accuracy"))
    timed(
        "a metric over all runs, every kind of board",
        QUERY_LIMIT_S,
        lambda store: queries.trends(store, metric="energy"),
    )
    timed("a metric over all runs, one kind of board", QUERY_LIMIT_S,
          lambda store: queries.trends(store, metric="instructions", env="microbit"))  # fmt: skip
    timed("all metrics of the last 30 runs", QUERY_LIMIT_S, lambda store: queries.trends(store, last=30))
    timed("the page of trends of all runs", REPORT_LIMIT_S, lambda store: write_trends(store, path.parent))
    with Store.open(path) as store:
        figures = len(queries.measurements(store, middle))
    return {
        "runs": runs, "rows": runs * figures, "bytes": path.stat().st_size,
        "add_s": statistics.median(wall for wall, _ in added),
        "add_processor_s": statistics.median(own for _, own in added), "times": times,
    }  # fmt: skip


def _fill(store: Store, runs: int, rows: int, reporter: Reporter) -> list[tuple[float, float]]:
    """Returns seconds and processor seconds of each run that was added as `bench run` does it."""
    frame = _frame(rows)
    took: list[tuple[float, float]] = []
    for number in range(min(_TIMED, runs)):
        table_ = _of_run(frame, number)
        begun, own = time.monotonic(), time.process_time()
        store.add_table(run_row(_document(number)), table_, f"digest-{number}")
        took.append((time.monotonic() - begun, time.process_time() - own))
        reporter.count("runs", number + 1, runs)
    for first in range(_TIMED, runs, _AT_ONCE):
        last = min(first + _AT_ONCE, runs)
        with store.writing() as connection:
            for number in range(first, last):
                _copy(connection, number)
        reporter.count("runs", last, runs)
    return took


def _copy(connection: Connection, number: int) -> None:
    """One of the first runs again as another one, with other values, made by the database itself."""
    row = run_row(_document(number)).columns
    source = connection.execute(select(RUN).where(RUN.c.id == number % _TIMED + 1)).mappings().one()
    values = {**source, **{key: row[key] for key in ("name", "started", "finished", "document")}}
    values.pop("id")
    key = connection.execute(insert(RUN).values(**values)).inserted_primary_key
    target = key[0] if key else None
    for name, columns in _COPIED.items():
        connection.exec_driver_sql(
            f"INSERT INTO {name} (run_id, {', '.join(columns)}) "
            f"SELECT ?, {', '.join(columns.values())} FROM {name} WHERE run_id = ?",
            (target, source["id"]),
        )


_OTHER = "value + (random() % 1000) / 100.0"
_COPIED = {
    "run_board": {"board_id": "board_id"},
    "run_build": {"variant": "variant", "build_id": "build_id"},
    "measurement": {"series_id": "series_id", "round": "round", "value": _OTHER},
    "summary": {"trend_id": "trend_id", "value": _OTHER},
}


def _document(number: int) -> dict[str, Any]:
    started = datetime(2024, 1, 1, 1, tzinfo=UTC) + timedelta(days=number)
    return {
        "schema": 1, "run": f"night-{number:05}", "experiment": {"name": "night"}, "seed": 1,
        "started": started.isoformat(), "finished": (started + timedelta(minutes=5)).isoformat(),
        "environment": {"revision": f"{number // 3:040x}"},
        "boards": [{"name": name, "env": env, "ram_bytes": 131072} for name, env in _BOARDS.items()],
        "variants": {name: {"program": f"night_{name}", "plan_id": f"{number // 10:016x}"} for name in _VARIANTS},
    }  # fmt: skip


def _frame(rows: int) -> pd.DataFrame:
    """The figures of a run: of so many rounds that there are so many rows."""
    per_round = len(_VARIANTS) * (len(_BOARDS) * len(_FIGURES) + len(_COHORT))
    records = [
        (variant, board, f"client-{place}", round_, phase, metric, kind)
        for round_ in range(1, -(-rows // per_round) + 1)
        for variant in _VARIANTS
        for place, board in enumerate(_BOARDS, start=1)
        for phase, metric, kind in _FIGURES
    ]
    records += [
        (variant, "", "", round_, "", metric, kind)
        for round_ in range(1, -(-rows // per_round) + 1)
        for variant in _VARIANTS
        for metric, kind in _COHORT
    ]
    frame = pd.DataFrame(records, columns=["variant", "board", "client", "round", "phase", "metric", "kind"])
    frame = frame.sort_values("round", kind="stable").head(rows).reset_index(drop=True)
    return frame.assign(unit=frame["metric"].map(UNITS))


def _of_run(frame: pd.DataFrame, number: int) -> pd.DataFrame:
    values = np.random.default_rng(number).normal(1000.0, 10.0, len(frame))
    return frame.assign(run=f"night-{number:05}", value=values)


if __name__ == "__main__":
    sys.exit(main())
