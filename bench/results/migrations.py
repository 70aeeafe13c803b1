"""Older stores are brought to the present schema, step by step, in one transaction; a copy is kept beside a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, insert, inspect, select, update

from bench.errors import ConfigError
from bench.results.schema import ABOUT, METADATA

FORMAT = "ftte-bench results"
SCHEMA = 2

_NIGHTS = """
CREATE TABLE night (
    id INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL UNIQUE, matrix TEXT DEFAULT '' NOT NULL,
    started TEXT DEFAULT '' NOT NULL, finished TEXT DEFAULT '' NOT NULL);
CREATE TABLE night_run (
    night_id INTEGER NOT NULL REFERENCES night (id), cell TEXT DEFAULT '' NOT NULL, attempt INTEGER NOT NULL,
    run_id INTEGER NOT NULL REFERENCES run (id), definition TEXT DEFAULT '' NOT NULL,
    exact INTEGER DEFAULT '0' NOT NULL, PRIMARY KEY (night_id, cell, attempt)) WITHOUT ROWID;
CREATE TABLE finding (
    id INTEGER NOT NULL PRIMARY KEY, trend_id INTEGER NOT NULL REFERENCES trend (id),
    night_id INTEGER NOT NULL REFERENCES night (id), direction TEXT DEFAULT '' NOT NULL, how TEXT DEFAULT '' NOT NULL,
    state TEXT DEFAULT '' NOT NULL, "before" DOUBLE NOT NULL, "after" DOUBLE NOT NULL, tolerance DOUBLE NOT NULL,
    closed TEXT DEFAULT '' NOT NULL, note TEXT DEFAULT '' NOT NULL);
CREATE INDEX finding_of_trend ON finding (trend_id);
"""


def _add_nights(connection: Connection) -> None:
    """Schema 2: nights, and what was found in them. Written out, as the tables of later schemas may differ."""
    text = _NIGHTS
    if connection.dialect.name == "postgresql":
        text = text.replace("INTEGER NOT NULL PRIMARY KEY", "SERIAL PRIMARY KEY")
        text = text.replace("DOUBLE ", "DOUBLE PRECISION ").replace(" WITHOUT ROWID", "")
    for statement in filter(str.strip, text.split(";")):
        connection.exec_driver_sql(statement)


_STEPS: Mapping[int, Callable[[Connection], None]] = {1: _add_nights}
"""From each older version to the next."""


def version_of(connection: Connection, where: str) -> int:
    """The store's schema version; 0 for an empty database.

    Raises ConfigError: the database is something else, or of a newer bench.
    """
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return 0
    about: dict[str, str] = {}
    if "about" in tables:
        about = {row.key: row.value for row in connection.execute(select(ABOUT.c.key, ABOUT.c.value))}
    if about.get("format") != FORMAT:
        raise ConfigError(f"result store {where}: a database of something else: give another with --store")
    version = int(about["schema"])
    if version > SCHEMA:
        raise ConfigError(
            f"result store {where}: written by a newer bench (schema {version}, this one knows {SCHEMA}): update this "
            "bench, or give another store with --store"
        )
    return version


def create(connection: Connection) -> None:
    """The tables of a new store."""
    METADATA.create_all(connection)
    connection.execute(insert(ABOUT), [{"key": "format", "value": FORMAT}, {"key": "schema", "value": str(SCHEMA)}])


def migrate(connection: Connection, version: int) -> None:
    """Carries out the steps from `version` to the present schema."""
    for step in range(version, SCHEMA):
        _STEPS[step](connection)
    connection.execute(update(ABOUT).where(ABOUT.c.key == "schema").values(value=str(SCHEMA)))
