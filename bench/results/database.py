"""The result store: every run that the bench made, in one database that many may share.

SQLite in a file by default, any database of SQLAlchemy's by URL. A run goes in whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd
from sqlalchemy import Connection, Engine, Table, create_engine, delete, event, insert, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, IntegrityError

from bench.errors import ConfigError, InfrastructureError
from bench.results import migrations
from bench.results.schema import (
    BOARD,
    BUILD,
    MEASUREMENT,
    NIGHT_RUN,
    REVISION,
    RUN,
    RUN_BOARD,
    RUN_BUILD,
    SERIES,
    SUMMARY,
    TREND,
)
from bench.results.store import Run
from bench.results.store_errors import explained
from bench.results.summarise import summarise

_WAIT_S = 10.0  # for another writer, who needs a second or so for a run
_RACES = 3  # two writers may add the same entry of a dictionary at the same time
_SERIES_KEY = ("variant", "board", "client", "phase", "metric", "kind")
_TREND_KEY = ("experiment", "variant", "env", "phase", "metric", "kind")


@dataclass(frozen=True)
class RunRow:
    """A run's document, as far as the tables know it."""

    columns: Mapping[str, Any]
    boards: Sequence[Mapping[str, Any]]
    builds: Mapping[str, Mapping[str, Any]]
    """By variant."""

    @property
    def envs(self) -> dict[str, str]:
        """The kind of each board."""
        return {board["name"]: board["env"] for board in self.boards}


class Store:
    """An open result store. Safe in one thread; several processes may have the same one open."""

    def __init__(self, engine: Engine, where: str) -> None:
        """Use `Store.open`."""
        self.engine = engine
        self.where = where
        self._known: dict[str, dict[tuple[Any, ...], int]] = {}

    @classmethod
    def open(cls, where: str | Path, *, create: bool = True, wait_s: float = _WAIT_S) -> Self:
        """Opens a store, which is made when it is not there, and brought to the present schema when it is older.

        Args:
            where: a file of SQLite, or an SQLAlchemy URL (`postgresql+psycopg://user@host/bench`).
            create: make a file that is not there; else that is an error.
            wait_s: how long another process's writing is waited for.

        Raises:
            ConfigError: no store, one of a newer bench, or a URL that SQLAlchemy cannot use; none there.
            InfrastructureError: it is locked, damaged, or cannot be reached.
        """
        if not create and "://" not in str(where) and not Path(where).exists():
            raise ConfigError(
                f"result store {where}: there is none: `bench run` and `bench nightly` make it, `bench store import` "
                "fills it from older runs; or name another with --store"
            )
        engine, shown = _engine(where, wait_s)
        store = cls(engine, shown)
        try:
            store._prepare()
        except BaseException:
            store.close()
            raise
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the database back."""
        self.engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the store."""
        with explained(self.where), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that takes place whole or not at all, and at one time with no other."""
        try:
            with (
                explained(self.where),
                self.engine.connect().execution_options(writing=True) as connection,
                connection.begin(),
            ):
                yield connection
        except BaseException:
            self._known.clear()  # entries that were added and are undone
            raise

    def add(self, run: Run) -> bool:
        """Adds a finished run; returns False when it is there already.

        Raises:
            ConfigError: the store has another run of this name.
            InfrastructureError: the store is locked, full or damaged; then nothing of the run is in it.
        """
        digest = _digest(run.document, run.frame())
        return self.add_table(run_row(run.document), run.frame(), digest)

    def add_table(self, row: RunRow, table: pd.DataFrame, digest: str) -> bool:
        """The same of a run that is a row and a data frame of measurements."""
        for attempt in range(1, _RACES + 1):
            try:
                with self.writing() as connection:
                    if (present := self._digest_of(connection, row.columns["name"])) is not None:
                        return self._same(row, digest, present)
                    self._insert(connection, row, table, digest)
                    return True
            except Exception as error:
                if not isinstance(error.__cause__, IntegrityError) or attempt == _RACES:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def remove(self, name: str) -> bool:
        """Takes a run out; returns False when there is none of this name."""
        with self.writing() as connection:
            key = connection.execute(select(RUN.c.id).where(RUN.c.name == name)).scalar()
            if key is None:
                return False
            for table in (MEASUREMENT, SUMMARY, RUN_BOARD, RUN_BUILD, NIGHT_RUN):
                connection.execute(delete(table).where(table.c.run_id == key))
            connection.execute(delete(RUN).where(RUN.c.id == key))
        return True

    def check(self, *, quick: bool = False) -> None:
        """Looks at the database file page by page; `quick` does not compare indices with their tables.

        Raises InfrastructureError: it is damaged.
        """
        if self.engine.dialect.name != "sqlite":
            return
        with self.reading() as connection:
            found = connection.exec_driver_sql(f"PRAGMA {'quick' if quick else 'integrity'}_check").scalars().all()
        if list(found) != ["ok"]:
            raise InfrastructureError(
                f"result store {self.where} is damaged ({found[0]}): move it away, and `bench store import "
                "reports/runs/*` makes a new one: each run's folder has all of its figures"
            )

    def _prepare(self) -> None:
        with self.reading() as connection:
            version = migrations.version_of(connection, self.where)
        if version == migrations.SCHEMA:
            return
        with self.writing() as connection:
            # Another process may have been faster.
            version = migrations.version_of(connection, self.where)
            if version == 0:
                migrations.create(connection)
            elif version < migrations.SCHEMA:
                self._copy(version)
                migrations.migrate(connection, version)

    def _copy(self, version: int) -> None:
        """An older file as it was, beside it, before it is changed. Whoever has the lock to write may read it still."""
        file = self.engine.url.database
        if self.engine.dialect.name != "sqlite" or not file or file == ":memory:":
            return
        copy = Path(f"{file}.schema-{version}")
        partial = Path(f"{copy}.partial")
        try:
            with explained(self.where):
                partial.unlink(missing_ok=True)
                with _closing(sqlite3.connect(file)) as old, _closing(sqlite3.connect(partial)) as new:
                    old.backup(new)
                partial.replace(copy)
        except OSError as error:
            raise InfrastructureError(f"{copy}: the store as it was cannot be kept: {error.strerror}") from error

    def _digest_of(self, connection: Connection, name: str) -> str | None:
        return connection.execute(select(RUN.c.digest).where(RUN.c.name == name)).scalar()

    def _same(self, row: RunRow, digest: str, present: str) -> bool:
        if digest != present:
            raise ConfigError(
                f"result store {self.where}: it has another run of the name {row.columns['name']}: rename the folder, "
                "and `run` in its results.json and measurements.csv"
            )
        return False

    def _insert(self, connection: Connection, row: RunRow, table: pd.DataFrame, digest: str) -> None:
        revision = self._ids(connection, REVISION, [(row.columns["sha"], row.columns["dirty"])])[0]
        columns = {key: value for key, value in row.columns.items() if key not in ("sha", "dirty")}
        new = connection.execute(insert(RUN).values(**columns, revision_id=revision, digest=digest))
        run_id = new.inserted_primary_key[0] if new.inserted_primary_key else None
        boards = self._ids(connection, BOARD, [_key(BOARD, board) for board in row.boards])
        if boards:
            connection.execute(
                insert(RUN_BOARD), [{"run_id": run_id, "board_id": board} for board in dict.fromkeys(boards)]
            )
        builds = self._ids(connection, BUILD, [_key(BUILD, build) for build in row.builds.values()])
        if builds:
            connection.execute(
                insert(RUN_BUILD),
                [
                    {"run_id": run_id, "build_id": build, "variant": variant}
                    for variant, build in zip(row.builds, builds, strict=True)
                ],
            )
        if not table.empty:
            self._insert_figures(connection, run_id, row, table)

    def _insert_figures(self, connection: Connection, run_id: Any, row: RunRow, table: pd.DataFrame) -> None:
        # Entries of the dictionary are looked up once a series, not once a row.
        groups = table.groupby(list(_SERIES_KEY), sort=False)
        numbers = groups.ngroup().to_numpy()
        keys = list(
            table.loc[~table.duplicated(list(_SERIES_KEY)), list(_SERIES_KEY)].itertuples(index=False, name=None)
        )
        ids = self._ids(connection, SERIES, keys)
        rounds, values = table["round"].tolist(), table["value"].tolist()
        connection.execute(
            insert(MEASUREMENT),
            [
                {"run_id": run_id, "series_id": ids[number], "round": round_, "value": value}
                for number, round_, value in zip(numbers.tolist(), rounds, values, strict=True)
            ],
        )
        summary = summarise(table, row.envs)
        experiment = row.columns["experiment"]
        keys = [
            (experiment, *key)
            for key in summary[["variant", "env", "phase", "metric", "kind"]].itertuples(index=False, name=None)
        ]
        trends = self._ids(connection, TREND, keys)
        connection.execute(
            insert(SUMMARY),
            [
                {"trend_id": trend, "run_id": run_id, "value": value}
                for trend, value in zip(trends, summary["value"].tolist(), strict=True)
            ],
        )

    def _ids(self, connection: Connection, table: Table, keys: Sequence[tuple[Any, ...]]) -> list[int]:
        """Keys of a dictionary table's rows, which are added where they are new."""
        columns = [column for column in table.columns if column.name != "id"]
        known = self._known.setdefault(table.name, {})
        if any(key not in known for key in keys):
            since = max(known.values(), default=0)
            for id_, *key in connection.execute(select(table.c.id, *columns).where(table.c.id > since)):
                known[tuple(key)] = id_
        missing = [key for key in dict.fromkeys(keys) if key not in known]
        if missing:
            names = [column.name for column in columns]
            connection.execute(insert(table), [dict(zip(names, key, strict=True)) for key in missing])
            since = max(known.values(), default=0)
            for id_, *key in connection.execute(select(table.c.id, *columns).where(table.c.id > since)):
                known[tuple(key)] = id_
        return [known[key] for key in keys]


def run_row(document: Mapping[str, Any]) -> RunRow:
    """What the tables keep of a run's document."""
    environment = document.get("environment", {})
    columns = {
        "name": document["run"],
        "experiment": str(document.get("experiment", {}).get("name") or ""),
        "seed": int(document.get("seed") or 0),
        "command": str(document.get("command") or ""),
        "rack": str(document.get("rack") or ""),
        "started": str(document.get("started") or ""),
        "finished": str(document.get("finished") or ""),
        "failed_checks": sum(not check["passed"] for check in document.get("checks", [])),
        "document": json.dumps(document, ensure_ascii=False, separators=(",", ":")),
        "sha": str(environment.get("revision") or ""),
        "dirty": int(bool(environment.get("dirty"))),
    }
    boards = [
        {
            **{key: str(board.get(key) or "") for key in ("name", "env", "core", "probe", "probe_firmware", "supply")},
            "ram_bytes": int(board.get("ram_bytes") or 0),
            "physical": int(bool(board.get("physical"))),
        }
        for board in document.get("boards", [])
    ]
    builds = {
        name: {
            "plan": str(variant.get("plan_id") or ""),
            **{key: str(variant.get(key) or "") for key in ("program", "model", "scheme", "dtype", "strategy")},
        }
        for name, variant in document.get("variants", {}).items()
    }
    return RunRow(columns, boards, builds)


def _key(table: Table, row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[column.name] for column in table.columns if column.name != "id")


def _digest(document: Mapping[str, Any], table: pd.DataFrame) -> str:
    hashed = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    hashed.update(table.to_csv(index=False).encode())
    return hashed.hexdigest()


@contextmanager
def _closing(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        yield connection
    finally:
        connection.close()


def _engine(where: str | Path, wait_s: float) -> tuple[Engine, str]:
    """The engine, and the store's name without a password."""
    try:
        url = make_url(str(where)) if "://" in str(where) else make_url("sqlite://").set(database=str(where))
        if url.get_backend_name() != "sqlite":
            with explained(url.render_as_string()):
                return create_engine(url, pool_pre_ping=True), url.render_as_string()
        if url.database and url.database != ":memory:":
            _check_folder(Path(url.database))
        engine = create_engine(url, connect_args={"timeout": wait_s})
    except ArgumentError as error:
        raise ConfigError(f"result store {where}: not a URL of SQLAlchemy's: {error}") from error
    except ImportError as error:
        raise ConfigError(
            f"result store {where}: {error}: install the database's driver (for PostgreSQL: "
            "pip install 'ftte-bench[postgresql]')"
        ) from error
    _transactions(engine)
    return engine, url.database or "in memory"


def _check_folder(file: Path) -> None:
    if file.is_dir():
        raise ConfigError(f"result store {file}: is a folder: name a file in it, such as {file / 'results.db'}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"result store {file}: its folder cannot be made: {error.strerror}") from error


def _transactions(engine: Engine) -> None:
    """Python's sqlite3 begins no transaction before changes of tables, and takes the lock late: two writers that have
    both read would then refuse each other. So transactions are begun here, those that write with the lock at once."""

    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
