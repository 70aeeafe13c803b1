"""A cell's experiment as a command of its own: `bench run`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from bench import process
from bench.errors import ConfigError, DeviceError, InfrastructureError
from bench.nightly.matrix import Cell
from bench.nightly.night import OutOfTime
from bench.results.files import write_atomically
from bench.results.folders import begun_at, folders_of, unfinished_runs
from bench.results.store import DOCUMENT

_MISSED = 1  # of `bench run`: the run is whole, and missed a target


@dataclass(frozen=True)
class Command:
    """Runs cells as a person would by hand, with the experiment's file and all output in the night's folder."""

    reports: Path
    rack: Path
    state: Path
    store: str

    def __call__(self, cell: Cell, folder: Path, *, seconds: float | None, resume: bool) -> Path:
        """See Runner."""
        file = folder / "cells" / f"{cell.name}.toml"
        write_atomically(file, cell.toml().encode())
        runs = self.reports / "runs"
        before = _finished(runs, cell.name)
        # What an earlier night left unfinished is not this night's: it may be of another revision of the bench.
        resume = resume and any(begun_at(run) >= begun_at(folder) for run in unfinished_runs(runs, cell.name))
        command = [
            sys.executable, "-m", "bench", "run", str(file), "--rack", str(self.rack), "--reports", str(self.reports),
            "--state", str(self.state), "--store", self.store, *(["--resume"] if resume else []),
        ]  # fmt: skip
        log = file.with_suffix(".log")
        try:
            ended = process.run(command, timeout_s=seconds)
        except process.NotEndedError as error:
            write_atomically(log, error.output.encode())
            raise OutOfTime(f"cell {cell.name}: not done within {seconds:.0f} s; see {log}") from error
        write_atomically(log, ended.output.encode())
        new = sorted(_finished(runs, cell.name) - before)
        if ended.code not in (0, _MISSED) or not new:
            lines = [line for line in ended.output.splitlines() if line.strip()]
            reason = f"{(lines or ['it said nothing'])[-1].removeprefix('bench: ')}; see {log}"
            raise _ERRORS.get(ended.code, DeviceError)(reason)
        return runs / new[-1]


_ERRORS = {ConfigError.exit_code: ConfigError, InfrastructureError.exit_code: InfrastructureError}


def _finished(runs: Path, cell: str) -> set[str]:
    """Names of a cell's finished runs."""
    return {path.name for path in folders_of(runs, cell) if (path / DOCUMENT).is_file()}
