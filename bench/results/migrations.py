"""Older stores are brought to the present schema, step by step, in one transaction; a copy is kept beside a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, insert, inspect, select, update

from bench.errors import ConfigError
from bench.results.schema import ABOUT, METADATA

FORMAT = "ftte-bench results"
SCHEMA = 1

_STEPS: Mapping[int, Callable[[Connection], None]] = {}
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
