"""Nights in the result store: which runs belong to which, the figures of several, and what was found in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sqlalchemy import and_, func, insert, select, update

from bench.errors import ConfigError
from bench.results.database import Store
from bench.results.schema import FINDING, NIGHT, NIGHT_RUN, REVISION, RUN, SUMMARY, TREND

OPEN_STATES = ("open", "suspect")


@dataclass(frozen=True)
class NightRun:
    """A run as a part of a night."""

    cell: str
    attempt: int
    run: str
    definition: str
    exact: bool


def begin_night(store: Store, name: str, matrix: str, started: str) -> int:
    """The night's key; it may have begun before, and was interrupted."""
    with store.writing() as connection:
        key = connection.execute(select(NIGHT.c.id).where(NIGHT.c.name == name)).scalar()
        if key is None:
            new = connection.execute(insert(NIGHT).values(name=name, matrix=matrix, started=started))
            key = new.inserted_primary_key[0] if new.inserted_primary_key else None
    return int(key or 0)


def add_night_run(store: Store, night: int, part: NightRun) -> None:
    """Says that a run of the store is a night's; once. Raises ConfigError where the store has no such run."""
    with store.writing() as connection:
        run = connection.execute(select(RUN.c.id).where(RUN.c.name == part.run)).scalar()
        if run is None:
            raise ConfigError(f"result store {store.where}: no run of the name {part.run}: `bench store import` it")
        key = and_(NIGHT_RUN.c.night_id == night, NIGHT_RUN.c.cell == part.cell, NIGHT_RUN.c.attempt == part.attempt)
        values = {"run_id": run, "definition": part.definition, "exact": int(part.exact)}
        if connection.execute(select(func.count()).select_from(NIGHT_RUN).where(key)).scalar():
            connection.execute(update(NIGHT_RUN).where(key).values(**values))
        else:
            connection.execute(insert(NIGHT_RUN).values(night_id=night, cell=part.cell, attempt=part.attempt, **values))


def night_figures(store: Store, night: int, nights: int) -> pd.DataFrame:
    """Figures of a night and of up to so many nights before it of the same matrix, oldest first: `night_id, cell,
    attempt, definition, exact, trend_id, variant, env, phase, metric, kind, value`."""
    matrix = select(NIGHT.c.matrix).where(NIGHT.c.id == night).scalar_subquery()
    recent = (
        select(NIGHT.c.id)
        .where(NIGHT.c.matrix == matrix, NIGHT.c.id <= night)
        .order_by(NIGHT.c.id.desc())
        .limit(nights + 1)
    )
    query = (
        select(
            NIGHT_RUN.c.night_id, NIGHT_RUN.c.cell, NIGHT_RUN.c.attempt, NIGHT_RUN.c.definition, NIGHT_RUN.c.exact,
            SUMMARY.c.trend_id, TREND.c.variant, TREND.c.env, TREND.c.phase, TREND.c.metric, TREND.c.kind,
            SUMMARY.c.value,
        )
        .join(SUMMARY, SUMMARY.c.run_id == NIGHT_RUN.c.run_id)
        .join(TREND, TREND.c.id == SUMMARY.c.trend_id)
        .where(NIGHT_RUN.c.night_id.in_(recent))
        .order_by(NIGHT_RUN.c.night_id, NIGHT_RUN.c.attempt)
    )  # fmt: skip
    with store.reading() as connection:
        answer = connection.execute(query)
        columns = list(answer.keys())
        return pd.DataFrame.from_records([tuple(row) for row in answer], columns=columns)


def night_names(store: Store) -> dict[int, str]:
    """Names of all nights, oldest first, by key."""
    with store.reading() as connection:
        return {row.id: row.name for row in connection.execute(select(NIGHT.c.id, NIGHT.c.name).order_by(NIGHT.c.id))}


def findings(store: Store, *, states: Sequence[str] | None = None, trends: Sequence[int] | None = None) -> pd.DataFrame:
    """What was found, oldest first: `finding, night, night_id, since, cell, variant, env, phase, metric, kind,
    direction, how, state, before, after, tolerance, closed, note, trend_id, sha`."""
    first_run = (
        select(NIGHT_RUN.c.night_id, func.min(NIGHT_RUN.c.run_id).label("run_id"))
        .group_by(NIGHT_RUN.c.night_id)
        .subquery()
    )
    query = (
        select(
            FINDING.c.id.label("finding"), NIGHT.c.name.label("night"), FINDING.c.night_id,
            NIGHT.c.started.label("since"),
            TREND.c.experiment.label("cell"), TREND.c.variant, TREND.c.env, TREND.c.phase, TREND.c.metric, TREND.c.kind,
            FINDING.c.direction, FINDING.c.how, FINDING.c.state, FINDING.c.before, FINDING.c.after, FINDING.c.tolerance,
            FINDING.c.closed, FINDING.c.note, FINDING.c.trend_id, REVISION.c.sha,
        )
        .join(TREND, TREND.c.id == FINDING.c.trend_id)
        .join(NIGHT, NIGHT.c.id == FINDING.c.night_id)
        .join(first_run, first_run.c.night_id == FINDING.c.night_id, isouter=True)
        .join(RUN, RUN.c.id == first_run.c.run_id, isouter=True)
        .join(REVISION, REVISION.c.id == RUN.c.revision_id, isouter=True)
        .order_by(FINDING.c.id)
    )  # fmt: skip
    if states is not None:
        query = query.where(FINDING.c.state.in_(states))
    if trends is not None:
        query = query.where(FINDING.c.trend_id.in_(trends))
    with store.reading() as connection:
        answer = connection.execute(query)
        columns = list(answer.keys())
        return pd.DataFrame.from_records([tuple(row) for row in answer], columns=columns)


def write_findings(
    store: Store, night: int, new: Sequence[Mapping[str, Any]], changed: Mapping[int, Mapping[str, Any]], finished: str
) -> None:
    """Adds findings, changes those by their key, and closes the night: all of it or nothing, and once."""
    with store.writing() as connection:
        if connection.execute(select(NIGHT.c.finished).where(NIGHT.c.id == night)).scalar():
            return
        if new:
            connection.execute(insert(FINDING), [dict(row) for row in new])
        for key, values in changed.items():
            connection.execute(update(FINDING).where(FINDING.c.id == key).values(**values))
        connection.execute(update(NIGHT).where(NIGHT.c.id == night).values(finished=finished))


def accept(store: Store, keys: Sequence[int], note: str, at: str) -> None:
    """Open findings are as they should be: from their night on, that is the level.

    Raises ConfigError, naming those that are not open; then none is accepted.
    """
    with store.writing() as connection:
        query = select(FINDING.c.id).where(FINDING.c.id.in_(keys), FINDING.c.state.in_(OPEN_STATES))
        present = set(connection.execute(query).scalars())
        if absent := [str(key) for key in keys if key not in present]:
            raise ConfigError(
                f"result store {store.where}: no open regression {', '.join(absent)}: `bench regressions`"
            )
        connection.execute(update(FINDING).where(FINDING.c.id.in_(keys)).values(state="accepted", closed=at, note=note))
