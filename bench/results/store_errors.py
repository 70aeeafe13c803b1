"""What a database's errors mean to whoever has to act, and that nothing is lost by them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError

from bench.errors import BenchError, ConfigError, InfrastructureError

_KEPT = "each run's folder has all of its figures"
_ADVICE = {
    "BUSY": ("is locked by another process", "wait until it has ended, and repeat; nothing was written"),
    "LOCKED": ("is locked by another process", "wait until it has ended, and repeat; nothing was written"),
    "FULL": (
        "cannot grow: the disk is full",
        "make room, and repeat; nothing was written, and what was there is whole",
    ),
    "READONLY": ("cannot be written", "check the rights of the file and its folder; nothing was written"),
    "CANTOPEN": ("cannot be opened", "check that its folder is there, and their rights"),
    "PERM": ("cannot be opened", "check the rights of the file and its folder"),
    "IOERR": ("cannot be read or written", "check the disk and its room; an unfinished change is undone"),
    "CORRUPT": (
        "is damaged",
        f"move it away, and `bench store import reports/runs/*` makes a new one: {_KEPT}; or take a copy of the file",
    ),
    "NOTADB": ("is no SQLite database", f"move it away, or give another with --store; {_KEPT}"),
}


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turns SQLAlchemy's errors inside into the bench's, naming the store and what to do."""
    try:
        yield
    except SQLAlchemyError as error:
        raise explain(where, error) from error
    except sqlite3.Error as error:
        raise _of_sqlite(where, error) from error


def explain(where: str, error: SQLAlchemyError) -> BenchError:
    """The bench's error for one of SQLAlchemy's."""
    if isinstance(error, DBAPIError):
        if isinstance(error.orig, sqlite3.Error):
            return _of_sqlite(where, error.orig)
        told = str(error.orig).strip().splitlines()
        return InfrastructureError(
            f"result store {where}: {told[0] if told else type(error.orig).__name__}: check that its server runs, and "
            "user, password and database in the URL; nothing was written"
        )
    if isinstance(error, NoSuchModuleError):
        return ConfigError(f"result store {where}: no such kind of database: {error}")
    return InfrastructureError(f"result store {where}: {error}")


def _of_sqlite(where: str, error: sqlite3.Error) -> BenchError:
    name = getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_")
    what, advice = _ADVICE.get(name.split("_", maxsplit=1)[0], (f"fails: {error}", f"repeat; {_KEPT}"))
    return InfrastructureError(f"result store {where} {what}: {advice}")
