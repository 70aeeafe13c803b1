"""Where runs are kept: `runs/<id>/results.json` and `measurements.csv`, and `latest`, which points at the newest.

`results.json` says what was run and what it came to, `measurements.csv` holds every figure, and `currents.json`, where
a meter recorded, excerpts of the current. Each is written whole or not at all, the document last: a folder with
`results.json` is a finished run.
"""

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from bench.errors import ConfigError
from bench.results.files import sync_folder, write_atomically, writing
from bench.results.table import COLUMNS, Measurement, compare_counted, frame

DOCUMENT = "results.json"
TABLE = "measurements.csv"
CURRENTS = "currents.json"


class _Part(BaseModel):
    """What readers of a document rely on; it may hold more."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Board(_Part):
    name: str
    env: str = ""
    physical: bool | None = None
    ram_bytes: int | None = Field(default=None, gt=0)


class _Seat(_Part):
    board: str


class _Variant(_Part):
    clients: dict[str, _Seat] = Field(default_factory=dict)


class _Experiment(_Part):
    targets: dict[str, float] = Field(default_factory=dict)


class _Dropped(_Part):
    variant: str
    round: int
    client: str
    reason: str


class _Current(_Part):
    board: str
    program: str
    what: str
    excerpt: dict[str, Any]


class _Check(_Part):
    name: str
    passed: bool
    detail: str


class _Document(_Part):
    schema_version: Literal[1] = Field(alias="schema")
    run: str
    experiment: _Experiment = _Experiment()
    environment: dict[str, Any] = Field(default_factory=dict)
    boards: list[_Board] = Field(default_factory=list)
    variants: dict[str, _Variant] = Field(default_factory=dict)
    dropped: list[_Dropped] = Field(default_factory=list)
    checks: list[_Check] = Field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its document and its rows; and currents, each with `board`, `program`, `what` and an
    `excerpt` (`bench/meters/excerpt.py`)."""

    folder: Path
    document: Mapping[str, Any]
    rows: tuple[Measurement, ...]
    currents: tuple[Mapping[str, Any], ...] = ()

    def frame(self) -> pd.DataFrame:
        """The rows as a data frame."""
        return frame(self.rows)


def write_run(
    folder: Path, document: Mapping[str, Any], rows: Sequence[Measurement], currents: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Writes a finished run into its folder, which is made when it is not there.

    Raises:
        ConfigError: a field of the document is wrong, a figure is there twice, or a row is of another run.
        InfrastructureError: the disk is full or the folder cannot be written.
    """
    _check_document(folder / DOCUMENT, document)
    _check_rows(document, rows)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / TABLE, _csv(rows))
    if currents:
        write_atomically(folder / CURRENTS, json.dumps(currents, allow_nan=False, separators=(",", ":")).encode())
    write_atomically(folder / DOCUMENT, text.encode() + b"\n")


def load_run(folder: Path) -> Run:
    """Reads a finished run. Raises ConfigError, naming the file and what is wrong with it."""
    path = folder / DOCUMENT
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: there is no such file: not a finished run; `bench run --resume` finishes it"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: not a run's document: its outermost level is not an object")
    _check_document(path, document)
    rows = tuple(load_rows(folder / TABLE))
    _check_rows(document, rows)
    return Run(folder, document, rows, _load_currents(folder / CURRENTS))


def _load_currents(path: Path) -> tuple[Mapping[str, Any], ...]:
    if not path.is_file():
        return ()
    try:
        return tuple(current.model_dump() for current in TypeAdapter(list[_Current]).validate_json(path.read_bytes()))
    except (OSError, ValidationError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def load_rows(path: Path) -> list[Measurement]:
    """Reads and validates a table of measurements. Raises ConfigError, naming file and line."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ConfigError(f"{path}: line 1: the columns must be {','.join(COLUMNS)}")
            return [_row(path, reader.line_num, record) for record in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def point_latest(reports: Path, folder: Path) -> None:
    """Makes `reports/latest` point at a run; there is no moment at which it points at nothing.

    Raises:
        ConfigError: `reports/latest` is there and is no link.
        InfrastructureError: the folder cannot be written.
    """
    link = reports / "latest"
    if link.exists() and not link.is_symlink():
        raise ConfigError(f"{link}: not a link: move it away, so that the bench can point it at the newest run")
    temporary = reports / f".latest.{os.getpid()}"
    with writing(link):
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.path.relpath(folder.resolve(), reports.resolve()), target_is_directory=True)
        temporary.replace(link)
        sync_folder(reports)


def find_run(reports: Path, name: str | None) -> Path:
    """Folder of a finished run, given by its name or folder; the newest when `name` is None. Raises ConfigError."""
    candidates = [reports / "latest"] if name is None else [Path(name), reports / "runs" / name]
    for candidate in candidates:
        if (candidate / DOCUMENT).is_file():
            return candidate.resolve()
    if name is None:
        raise ConfigError(f"{reports}: no finished run there: `bench run demo` makes one")
    finished = sorted(path.parent.name for path in (reports / "runs").glob(f"*/{DOCUMENT}"))
    known = f"finished runs: {', '.join(finished)}" if finished else "there are none"
    raise ConfigError(f"{name}: no finished run of that name in {reports / 'runs'}; {known}")


def compare_runs(one: Path, other: Path) -> list[str]:
    """What differs in the counted figures of two finished runs; empty when they are the same. Raises ConfigError."""
    return compare_counted(load_run(one).rows, load_run(other).rows)


def _check_document(path: Path, document: Mapping[str, Any]) -> None:
    try:
        _Document.model_validate(document)
    except ValidationError as error:
        faults = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()]
        raise ConfigError(f"{path}: not a run's document: {'; '.join(faults)}") from error


def _check_rows(document: Mapping[str, Any], rows: Sequence[Measurement]) -> None:
    strangers = {row.run for row in rows} - {document.get("run")}
    if strangers:
        raise ConfigError(f"run {document.get('run')}: rows of another run: {', '.join(sorted(strangers))}")
    keys = Counter(row.key for row in rows)
    for key, times in keys.items():
        if times > 1:
            name = " ".join(str(part) for part in key if part != "")
            raise ConfigError(f"run {document.get('run')}: the figure `{name}` is there {times} times")


def _csv(rows: Sequence[Measurement]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        cells = [getattr(row, column) for column in COLUMNS]
        cells[COLUMNS.index("value")] = _number(row.value)
        writer.writerow(cells)
    return text.getvalue().encode()


def _number(value: float) -> str:
    """The shortest text that reads back as the same number; whole numbers without a point."""
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


def _row(path: Path, line: int, record: Mapping[str, Any]) -> Measurement:
    try:
        return Measurement(**{**record, "round": int(record["round"]), "value": float(record["value"])})
    except (ConfigError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: line {line}: {error}") from error
