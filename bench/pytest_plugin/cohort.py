"""All boards that match, at once; and what a federated run over them came to."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from ruamel.yaml import YAML

from bench.errors import ConfigError
from bench.pytest_plugin.boards import RackBoard, Step
from bench.pytest_plugin.leases import Leases, waited
from bench.pytest_plugin.metrics import Metric
from bench.rack.board import Board
from bench.rack.rack import at_once
from bench.results.table import Measurement

if TYPE_CHECKING:
    import pandas as pd

    from bench.results.store import Run


@dataclass(frozen=True)
class Trained:
    """A finished run: `trained.metric("accuracy")`, `trained.table`, `trained.document`."""

    folder: Path

    @cached_property
    def _run(self) -> Run:
        from bench.results.store import load_run

        return load_run(self.folder)

    @property
    def document(self) -> Mapping[str, Any]:
        """results.json."""
        return self._run.document

    @property
    def rows(self) -> Sequence[Measurement]:
        """The run's measurements."""
        return self._run.rows

    @property
    def table(self) -> pd.DataFrame:
        """The same as a frame."""
        from bench.results.table import frame

        return frame(self.rows)

    def metric(self, name: str, *, board: str = "", variant: str | None = None, phase: str | None = None) -> Metric:
        """A metric of the last round that has it, of the whole cohort or of a board; of the first variant by default.

        Raises ConfigError when there is none.
        """
        variant = variant or next(iter(self.document["variants"]))
        found = [
            row
            for row in self.rows
            if row.metric == name and row.variant == variant and row.board == board and phase in (None, row.phase)
        ]
        if not found:
            there = sorted({row.metric for row in self.rows if row.variant == variant and row.board == board})
            where = f"board {board}" if board else "the cohort"
            raise ConfigError(f"no {name} of {where}, variant {variant}; there are: {', '.join(there)}")
        row = max(found, key=lambda row: row.round)
        return Metric(row.metric, row.value, row.unit, row.kind, board)


@dataclass(frozen=True)
class Lent:
    """Boards that another command may use: what it is told of them."""

    rack: Path
    state: Path

    @property
    def options(self) -> tuple[str, ...]:
        """Of `bench`."""
        return ("--rack", str(self.rack), "--state", str(self.state))


@dataclass(frozen=True)
class Cohort:
    """The value of the fixture `cohort`."""

    boards: tuple[RackBoard, ...]
    leases: Leases
    folder: Path
    state: Path
    wait_s: float

    @property
    def names(self) -> tuple[str, ...]:
        """Of its boards."""
        return tuple(board.name for board in self.boards)

    def step(self, model: str, scheme: str = "full", **more: Any) -> dict[str, Step]:
        """One training step of a program on each board, at the same time."""
        by_name = {board.name: board for board in self.boards}
        self.leases.take(self.names)
        for board in self.boards:
            board.plan(model, scheme, **{key: value for key, value in more.items() if key != "seed"})
        steps: dict[str, Step] = {}

        def step(board: Board) -> None:
            steps[board.name] = by_name[board.name].step(model, scheme, **more)

        at_once([board.opened for board in self.boards], step)
        return {name: steps[name] for name in self.names}

    def train(self, experiment: str = "smoke", *, model: str | None = None, scheme: str | None = None) -> Trained:
        """Runs an experiment on these boards, as `bench run` does. Raises BenchError."""
        from bench.experiment.run import run
        from bench.progress import Reporter

        told = io.StringIO()  # pytest shows it when the test fails
        reporter = Reporter(Console(file=told, highlight=False, width=120))
        try:
            with self.lent() as lent:
                folder = waited(
                    lambda: run(
                        experiment,
                        rack=lent.rack,
                        source=model,
                        scheme=scheme,
                        reports=self.folder / "reports",
                        state_dir=lent.state,
                        command="pytest",
                        reporter=reporter,
                    ),
                    self.wait_s,
                )
        finally:
            print(told.getvalue(), end="")
        return Trained(folder)

    @contextmanager
    def lent(self) -> Iterator[Lent]:
        """Lets go of all boards, so that a command in a process of its own can take these until the block ends."""
        self.leases.keep(())
        yield Lent(self._inventory(), self.state)

    def _inventory(self) -> Path:
        """The cohort as an inventory of its own."""
        entries = [
            board.entry.model_dump(mode="json", exclude_defaults=True, exclude_none=True) for board in self.boards
        ]
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"cohort-{'-'.join(self.names)}.yaml"
        with path.open("w", encoding="utf-8") as file:
            YAML(typ="safe", pure=True).dump({"boards": entries}, file)
        return path
