"""Tables of the result store.

Figures are many and small: a row of `measurement` is two integer keys, a round and a number, clustered by run, and what
all these rows share (variant, board, client, phase, metric, kind) is in the dictionary table `series` once. What is
asked of many runs at once, how a figure went from night to night, is answered from `summary`, which has one number for
each run and kind of board. Texts are never NULL: an empty one is "not known" or "of the whole cohort".
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData()


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _number(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default="0")


def _refers(to: str) -> Column[int]:
    return Column(f"{to}_id", ForeignKey(f"{to}.id"), nullable=False)


def _dictionary(name: str, *columns: Column[str] | Column[int]) -> Table:
    """A table whose rows are all different."""
    table = Table(name, METADATA, Column("id", Integer, primary_key=True), *columns)
    table.append_constraint(UniqueConstraint(*(column.name for column in columns), name=f"{name}_once"))
    return table


ABOUT = Table("about", METADATA, Column("key", Text, primary_key=True), _text("value"))
"""`format`, which names the program that the store is of, and `schema`, its version."""

REVISION = _dictionary("revision", _text("sha"), _number("dirty"))

BOARD = _dictionary(
    "board",
    _text("name"), _text("env"), _text("core"), _number("ram_bytes"), _number("physical"), _text("probe"),
    _text("probe_firmware"), _text("supply"),
)  # fmt: skip
"""A board as it was in some run: with new probe firmware it is another row."""

BUILD = _dictionary(
    "build",
    _text("program"), _text("plan"), _text("model"), _text("scheme"), _text("dtype"), _text("strategy"),
)  # fmt: skip

RUN = Table(
    "run",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    _text("experiment"),
    _number("seed"),
    _text("command"),
    _text("rack"),
    _text("started"),
    _text("finished"),
    _refers("revision"),
    _number("failed_checks"),
    _text("digest"),
    _text("document"),
)
"""`started` and `finished` are ISO 8601 in UTC; `document` is results.json; `digest` tells whether a run that comes a
second time is the same."""

RUN_BOARD = Table(
    "run_board", METADATA, _refers("run"), _refers("board"), PrimaryKeyConstraint("run_id", "board_id"),
    sqlite_with_rowid=False,
)  # fmt: skip
RUN_BUILD = Table(
    "run_build", METADATA, _refers("run"), _text("variant"), _refers("build"),
    PrimaryKeyConstraint("run_id", "variant"), sqlite_with_rowid=False,
)  # fmt: skip

SERIES = _dictionary(
    "series", _text("variant"), _text("board"), _text("client"), _text("phase"), _text("metric"), _text("kind")
)
MEASUREMENT = Table(
    "measurement",
    METADATA,
    _refers("run"),
    _refers("series"),
    Column("round", Integer, nullable=False),
    Column("value", Double, nullable=False),
    PrimaryKeyConstraint("run_id", "series_id", "round"),
    sqlite_with_rowid=False,
)

TREND = _dictionary(
    "trend", _text("experiment"), _text("variant"), _text("env"), _text("phase"), _text("metric"), _text("kind")
)
"""What is compared from run to run: a figure of an experiment's variant on a kind of board, or of the cohort."""
SUMMARY = Table(
    "summary",
    METADATA,
    _refers("trend"),
    _refers("run"),
    Column("value", Double, nullable=False),
    PrimaryKeyConstraint("trend_id", "run_id"),
    sqlite_with_rowid=False,
)

NIGHT = Table(
    "night",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    _text("matrix"),
    _text("started"),
    _text("finished"),
)
"""`matrix` is the name in the nightly file; `finished` is empty until all was compared."""
NIGHT_RUN = Table(
    "night_run", METADATA, _refers("night"), _text("cell"), Column("attempt", Integer, nullable=False), _refers("run"),
    _text("definition"), _number("exact"), PrimaryKeyConstraint("night_id", "cell", "attempt"), sqlite_with_rowid=False,
)  # fmt: skip
"""`definition` is a digest of what was run: nights are compared as long as it is the same. `exact`: all that is counted
is decided by it. Attempt 2 is the rerun that confirms."""
FINDING = Table(
    "finding",
    METADATA,
    Column("id", Integer, primary_key=True),
    _refers("trend"),
    _refers("night"),
    _text("direction"),
    _text("how"),
    _text("state"),
    Column("before", Double, nullable=False),
    Column("after", Double, nullable=False),
    Column("tolerance", Double, nullable=False),
    _text("closed"),
    _text("note"),
)
"""A change of a trend, from `night` on. `direction`: worse, better. `how`: exact, level, step. `state`: open, suspect
(not confirmed yet), unconfirmed, gone, accepted. `closed` names the night or the time at which it was."""
Index("finding_of_trend", FINDING.c.trend_id)
Index("summary_of_run", SUMMARY.c.run_id)
Index("run_of_experiment", RUN.c.experiment, RUN.c.started)
