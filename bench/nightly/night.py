"""One night: cell after cell as time allows, then the comparison, then the reruns that it asks for.

What has been done is in the night's folder after each cell (`night.json`), so that a night can be killed at any moment
and gone on with. Each cell is a `bench run` of its own: one that hangs or crashes takes no other along.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

import pandas as pd

from bench.errors import BenchError, ConfigError, InfrastructureError
from bench.nightly.compare import compare, conclude
from bench.nightly.detect import Rule
from bench.nightly.matrix import Cell
from bench.results.database import Store
from bench.results.files import write_atomically, writing
from bench.results.folders import folder_name, folders_of
from bench.results.nights import NightRun, add_night_run, begin_night
from bench.results.store import load_run

STATE = "night.json"
Status = Literal["waiting", "done", "failed", "cut", "no time"]
_SHORTEST_S = 5.0  # of time that is left: with less, no cell is begun


@dataclass(frozen=True)
class CellState:
    """How far a cell is. `run` is its finished run; `cut`: time was up in the middle of it, or all was stopped."""

    status: Status = "waiting"
    run: str = ""
    seconds: float = 0.0
    reason: str = ""
    rerun: str = ""


@dataclass(frozen=True)
class NightState:
    """`night.json`."""

    night: str
    matrix: str
    started: str
    cells: dict[str, CellState]
    finished: str = ""

    def write(self, folder: Path) -> None:
        """Raises InfrastructureError: the disk is full; the file before is still there."""
        write_atomically(folder / STATE, json.dumps(asdict(self), indent=2).encode() + b"\n")

    @staticmethod
    def read(folder: Path) -> NightState:
        """Raises ConfigError, naming the file."""
        path = folder / STATE
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            states = {name: CellState(**state) for name, state in document.pop("cells").items()}
            return NightState(cells=states, **document)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"{path}: not a night's state: {error}; move its folder away") from error


class Runner(Protocol):
    """Runs a cell's experiment; `resume` goes on with what was cut off. Returns the finished run's folder, which is in
    the store then. Raises BenchError, OutOfTime when `seconds` were not enough."""

    def __call__(self, cell: Cell, folder: Path, *, seconds: float | None, resume: bool) -> Path: ...


class OutOfTime(InfrastructureError):  # noqa: N818  (a state, as BoardSilent is)
    """The night's time is up."""


@dataclass(frozen=True)
class Told:
    """What a night says: lines, and how far it is."""

    say: Callable[[str], None] = lambda _text: None
    count: Callable[[str, int, int], None] = lambda _what, _done, _total: None


@dataclass(frozen=True)
class Outcome:
    """How a night ended. `regressions` are all that are open; `suspects` could not be run again in time."""

    state: NightState
    folder: Path
    regressions: pd.DataFrame
    suspects: Sequence[str]

    def count(self, status: Status) -> int:
        """Cells in a status."""
        return sum(state.status == status for state in self.state.cells.values())


class Night:
    """A night's folder and state."""

    def __init__(self, reports: Path, folder: Path, state: NightState, cells: Sequence[Cell]) -> None:
        """Use `new` or `unfinished`."""
        self._reports = reports
        self.folder = folder
        self.state = state
        self._cells = {cell.name: cell for cell in cells}

    @classmethod
    def new(cls, reports: Path, matrix: str, cells: Sequence[Cell], now: datetime | None = None) -> Night:
        """Begins a night. Raises InfrastructureError: its folder cannot be written."""
        started = now or datetime.now(UTC)
        name = folder_name(matrix, started)
        folder = reports / "nights" / name
        with writing(folder):
            (folder / "cells").mkdir(parents=True, exist_ok=True)
        state = NightState(name, matrix, started.isoformat(timespec="seconds"), {c.name: CellState() for c in cells})
        state.write(folder)
        return cls(reports, folder, state, cells)

    @classmethod
    def unfinished(cls, reports: Path, matrix: str, cells: Sequence[Cell]) -> Night:
        """The newest night of the matrix that was not finished; cells that are new since are added.

        Raises ConfigError where there is none.
        """
        for folder in reversed(folders_of(reports / "nights", matrix)):
            if (folder / STATE).is_file() and not (state := NightState.read(folder)).finished:
                wanted = {cell.name: state.cells.get(cell.name, CellState()) for cell in cells}
                return cls(reports, folder, replace(state, cells=wanted), cells)
        raise ConfigError(f"{reports / 'nights'}: no unfinished night of {matrix}: without --resume a new one begins")

    def run(
        self,
        store: Store,
        runner: Runner,
        rule: Rule,
        boards: Callable[[Cell], Sequence[tuple[str, str]]],
        *,
        minutes: float | None = None,
        told: Told | None = None,
    ) -> Outcome:
        """Runs what is left of the night, and compares it.

        Args:
            store: where runs and findings go.
            runner: runs a cell.
            rule: what counts as a change.
            boards: name and environment of the boards that a cell runs on.
            minutes: that it may take from now on.
            told: hears of it.

        Raises:
            InfrastructureError: disk or store fail; the night can be gone on with.
        """
        told = told or Told()
        deadline = None if minutes is None else time.monotonic() + 60 * minutes
        key = begin_night(store, self.state.night, self.state.matrix, self.state.started)
        work = _Work(self, store, key, runner, boards, deadline, told)
        order = self._order()
        for number, name in enumerate(order, start=1):
            told.count("cells", number - 1, len(order))
            if self.state.cells[name].status != "done":
                work.first(self._cells[name])
        told.count("cells", len(order), len(order))
        comparison = compare(store, key, rule)
        again = [name for name in comparison.suspects if work.again(self._cells[name])]
        if again:
            comparison = compare(store, key, rule)
        regressions = conclude(store, comparison)
        self.update(finished=datetime.now(UTC).isoformat(timespec="seconds"))
        return Outcome(self.state, self.folder, regressions, comparison.suspects)

    def set(self, cell: str, state: CellState) -> None:
        """Keeps a cell's state, on the disk too."""
        self.update(cells={**self.state.cells, cell: state})

    def update(self, **values: object) -> None:
        """Keeps fields of the state, on the disk too."""
        self.state = replace(self.state, **values)  # type: ignore[arg-type]
        self.state.write(self.folder)

    def _order(self) -> list[str]:
        """What was left out longest comes first; otherwise as in the file."""
        ago = dict.fromkeys(self.state.cells, 0)
        for state in self._earlier():
            for name in ago:
                if name in state.cells and state.cells[name].status == "done":
                    ago[name] = 0
                else:
                    ago[name] += 1
        return sorted(ago, key=lambda name: -ago[name])

    def took_s(self, cell: str) -> float:
        """What a cell took the last time; 0 when that is not known."""
        times = [state.cells[cell].seconds for state in self._earlier() if cell in state.cells]
        return next((seconds for seconds in reversed(times) if seconds), 0.0)

    def _earlier(self) -> list[NightState]:
        """Up to ten nights of the matrix before this one, oldest first; what cannot be read is not there."""
        found = []
        for folder in folders_of(self._reports / "nights", self.state.matrix)[-11:]:
            if folder.name != self.folder.name:
                try:
                    found.append(NightState.read(folder))
                except ConfigError:
                    continue
        return found


@dataclass(frozen=True)
class _Work:
    """What running cells needs."""

    night: Night
    store: Store
    key: int
    runner: Runner
    boards: Callable[[Cell], Sequence[tuple[str, str]]]
    deadline: float | None
    told: Told

    def first(self, cell: Cell) -> None:
        """A cell's run of the night, if there is time for it."""
        before = self.night.state.cells[cell.name]
        left = self._left()
        if left is not None and left < max(self.night.took_s(cell.name), _SHORTEST_S):
            if before.status != "cut":
                self.night.set(cell.name, replace(before, status="no time"))
            self.told.say(f"{cell.name}: no time left for it tonight")
            return
        begun = time.monotonic()
        # What is being run may be cut off in any way: it is noted before.
        self.night.set(cell.name, replace(before, status="cut"))
        self.told.say(f"{cell.name}{': goes on' if before.status == 'cut' else ''}")
        try:
            run = self._run(cell, left, resume=before.status == "cut")
            self._keep(cell, 1, run)
        except OutOfTime:
            self.told.say(f"{cell.name}: cut off, for time is up; `bench nightly --resume` goes on with it")
            return
        except BenchError as error:
            self.night.set(cell.name, CellState("failed", reason=str(error)))
            self.told.say(f"{cell.name}: failed: {error}")
            return
        seconds = time.monotonic() - begun
        self.night.set(cell.name, CellState("done", run.name, seconds))
        self.told.say(f"{cell.name}: {seconds:.0f} s")

    def again(self, cell: Cell) -> bool:
        """The rerun that confirms; returns whether there was time for it and it ended well."""
        state, left = self.night.state.cells[cell.name], self._left()
        if left is not None and left < max(state.seconds, _SHORTEST_S):
            self.told.say(f"{cell.name}: something has changed, but no time is left to run it again")
            return False
        self.told.say(f"{cell.name}: something has changed; it is run again before that is believed")
        try:
            run = self._run(cell, left, resume=False)
            self._keep(cell, 2, run)
        except BenchError as error:
            self.told.say(f"{cell.name}: the rerun came to nothing: {error}")
            return False
        self.night.set(cell.name, replace(state, rerun=run.name))
        return True

    def _run(self, cell: Cell, seconds: float | None, *, resume: bool) -> Path:
        """Once more where it was the rack's fault."""
        try:
            return self.runner(cell, self.night.folder, seconds=seconds, resume=resume)
        except OutOfTime:
            raise
        except InfrastructureError as error:
            left = self._left()
            if left is not None and left < _SHORTEST_S:
                raise
            self.told.say(f"{cell.name}: {error}; tried once more")
            return self.runner(cell, self.night.folder, seconds=left, resume=True)

    def _keep(self, cell: Cell, attempt: int, run: Path) -> None:
        self.store.add(loaded := load_run(run))
        clocks = [cell.experiment.section_of(variant).get("clock") for variant in cell.experiment.model.variants]
        physical = any(board.get("physical") for board in loaded.document.get("boards", []))
        exact = not physical and "wall" not in clocks
        part = NightRun(cell.name, attempt, run.name, cell.definition(self.boards(cell)), exact)
        add_night_run(self.store, self.key, part)

    def _left(self) -> float | None:
        return None if self.deadline is None else self.deadline - time.monotonic()
