"""What can be asked of a result store; answers are pandas frames."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Select, and_, func, or_, select

from bench.errors import ConfigError
from bench.results.database import Store
from bench.results.schema import (
    BOARD,
    BUILD,
    MEASUREMENT,
    REVISION,
    RUN,
    RUN_BOARD,
    RUN_BUILD,
    SERIES,
    SUMMARY,
    TREND,
)
from bench.results.store import Run
from bench.results.table import COLUMNS, UNITS, rows_of


def runs(store: Store, *, experiment: str | None = None, revision: str | None = None) -> pd.DataFrame:
    """A row for each run, oldest first: `run, experiment, started, finished, failed_checks, seed, command, rack, sha,
    dirty`."""
    query = select(
        RUN.c.name.label("run"), RUN.c.experiment, RUN.c.started, RUN.c.finished, RUN.c.failed_checks, RUN.c.seed,
        RUN.c.command, RUN.c.rack, REVISION.c.sha, REVISION.c.dirty,
    ).join(REVISION)  # fmt: skip
    if experiment is not None:
        query = query.where(RUN.c.experiment == experiment)
    if revision is not None:
        query = query.where(REVISION.c.sha.startswith(revision, autoescape=True))
    return _frame(store, query.order_by(RUN.c.started, RUN.c.id))


def boards(store: Store) -> pd.DataFrame:
    """A row for each state in which a board was seen (probe, its firmware, supply), with its number of runs."""
    query = (
        select(
            BOARD.c.name.label("board"), BOARD.c.env, BOARD.c.core, BOARD.c.ram_bytes, BOARD.c.physical, BOARD.c.probe,
            BOARD.c.probe_firmware, BOARD.c.supply, func.count().label("runs"), func.min(RUN.c.started).label("first"),
            func.max(RUN.c.started).label("last"),
        )
        .join(RUN_BOARD, RUN_BOARD.c.board_id == BOARD.c.id)
        .join(RUN, RUN.c.id == RUN_BOARD.c.run_id)
        .group_by(*BOARD.columns)
        .order_by(BOARD.c.name, func.min(RUN.c.started))
    )  # fmt: skip
    return _frame(store, query)


def builds(store: Store) -> pd.DataFrame:
    """A row for each program that ran, by its plan id, with its number of runs."""
    query = (
        select(
            BUILD.c.program, BUILD.c.plan, BUILD.c.model, BUILD.c.scheme, BUILD.c.dtype, BUILD.c.strategy,
            func.count().label("runs"), func.min(RUN.c.started).label("first"), func.max(RUN.c.started).label("last"),
        )
        .join(RUN_BUILD, RUN_BUILD.c.build_id == BUILD.c.id)
        .join(RUN, RUN.c.id == RUN_BUILD.c.run_id)
        .group_by(*BUILD.columns)
        .order_by(BUILD.c.program, func.min(RUN.c.started))
    )  # fmt: skip
    return _frame(store, query)


def measurements(store: Store, run: str, *, metric: str | None = None, variant: str | None = None) -> pd.DataFrame:
    """A run's rows, with the columns of measurements.csv. Raises ConfigError where there is no such run."""
    keys = _frame(store, select(RUN.c.id).where(RUN.c.name == run))["id"]
    if keys.empty:
        raise ConfigError(f"result store {store.where}: no run of the name {run}: `bench store list` shows them")
    query = (
        select(SERIES, MEASUREMENT.c.round, MEASUREMENT.c.value)
        .join(SERIES, SERIES.c.id == MEASUREMENT.c.series_id)
        .where(MEASUREMENT.c.run_id == int(keys[0]))
        .order_by(MEASUREMENT.c.series_id, MEASUREMENT.c.round)
    )
    if metric is not None:
        query = query.where(SERIES.c.metric == metric)
    if variant is not None:
        query = query.where(SERIES.c.variant == variant)
    table = _frame(store, query)
    return table.assign(run=run, unit=table["metric"].map(UNITS))[list(COLUMNS)]


def load_stored(store: Store, run: str) -> Run:
    """A run as its folder would give it. Raises ConfigError where there is no such run."""
    table = measurements(store, run)
    with store.reading() as connection:
        document = connection.execute(select(RUN.c.document).where(RUN.c.name == run)).scalar_one()
    return Run(Path(run), json.loads(document), tuple(rows_of(table)))


def trends(
    store: Store,
    *,
    experiment: str | None = None,
    metric: str | None = None,
    env: str | None = None,
    last: int | None = None,
) -> pd.DataFrame:
    """How figures went from run to run, by kind of board: `experiment, variant, env, phase, metric, kind, run, started,
    sha, value`, oldest first. `env` is empty for figures of the cohort.

    Args:
        store: where from.
        experiment: of this name alone.
        metric: this one alone.
        env: on this kind of board alone; "" is the cohort.
        last: of each experiment's newest runs only.
    """
    # Texts are joined to the numbers here: they are few, and the rows are many.
    series, chosen = (
        select(TREND),
        select(RUN.c.id, RUN.c.name.label("run"), RUN.c.started, REVISION.c.sha).join(REVISION),
    )
    for column, wanted in ((TREND.c.experiment, experiment), (TREND.c.metric, metric), (TREND.c.env, env)):
        if wanted is not None:
            series = series.where(column == wanted)
    values = select(SUMMARY.c.trend_id, SUMMARY.c.run_id, SUMMARY.c.value)
    values = values.where(SUMMARY.c.trend_id.in_(series.with_only_columns(TREND.c.id)))
    if last is not None:
        newest = _newest(last)
        values, chosen = values.where(SUMMARY.c.run_id.in_(newest)), chosen.where(RUN.c.id.in_(newest))
    runs_ = _frame(store, chosen.order_by(RUN.c.started, RUN.c.id))
    texts = _frame(store, series.order_by(TREND.c.id)).set_index("id")
    numbers = _frame(store, values)
    order = pd.Series(range(len(runs_)), index=runs_["id"])
    place = order.reindex(numbers["run_id"]).to_numpy()
    sorted_ = np.lexsort((numbers["trend_id"].to_numpy(), place))
    numbers, place = numbers.iloc[sorted_].reset_index(drop=True), place[sorted_]
    left = texts.loc[numbers["trend_id"]].reset_index(drop=True)
    right = runs_[["run", "started", "sha"]].iloc[place].reset_index(drop=True)
    return pd.concat([left, right, numbers[["value"]]], axis=1)


def _newest(last: int) -> Select[tuple[int]]:
    """Keys of each experiment's newest so many runs."""
    place = func.row_number().over(partition_by=RUN.c.experiment, order_by=(RUN.c.started.desc(), RUN.c.id.desc()))
    newest = select(RUN.c.id, place.label("place")).subquery()
    return select(newest.c.id).where(newest.c.place <= last)


def _frame(store: Store, query: Select[Any]) -> pd.DataFrame:
    with store.reading() as connection:
        answer = connection.execute(query)
        columns = list(answer.keys())
        # A row of SQLAlchemy's has its columns as attributes, and pandas looks for one called dtype.
        return pd.DataFrame.from_records([tuple(row) for row in answer], columns=columns)


@dataclass(frozen=True)
class Trends:
    """Figures over runs, without a text for each: `series` has a row for each figure that is followed, `runs` one for
    each run, oldest first, and `values` has `trend_id, run_id, value`, which are `id` of those."""

    series: pd.DataFrame
    runs: pd.DataFrame
    values: pd.DataFrame


def trend_values(store: Store, metrics: Mapping[str, str], *, last: int) -> Trends:
    """Figures of some metrics, each of one phase, in each experiment's newest runs: for plots of many at once."""
    chosen = _newest(last)
    runs_query = (
        select(RUN.c.id, RUN.c.name.label("run"), RUN.c.experiment, RUN.c.started, RUN.c.failed_checks, REVISION.c.sha)
        .join(REVISION)
        .where(RUN.c.id.in_(chosen))
        .order_by(RUN.c.started, RUN.c.id)
    )
    wanted = [and_(TREND.c.metric == metric, TREND.c.phase == phase) for metric, phase in metrics.items()]
    series = select(TREND).where(or_(*wanted))
    values = select(SUMMARY.c.trend_id, SUMMARY.c.run_id, SUMMARY.c.value).where(
        SUMMARY.c.trend_id.in_(series.with_only_columns(TREND.c.id)), SUMMARY.c.run_id.in_(chosen)
    )
    return Trends(_frame(store, series), _frame(store, runs_query), _frame(store, values))
