"""The folder of the claims: what was found so far, its files, and one writer at a time."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.benchmarks.files import write_document
from bench.claims.page import write_page
from bench.claims.protocol import Experiment
from bench.claims.studies import STUDIES
from bench.claims.verdicts import Row, claims, stored_run
from bench.errors import ConfigError, InfrastructureError
from bench.results.files import write_atomically, writing


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Makes the folder and keeps other runs of the claims out of it while this one writes.

    Raises:
        InfrastructureError: another process writes into it, which is named, or it cannot be made.
    """
    with writing(folder):
        (folder / "bench").mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".claims.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)  # the file stays, for a lock file that goes away can be locked twice


def _lock(descriptor: int, folder: Path) -> None:
    with writing(folder):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            raise InfrastructureError(
                f"{folder}: process {holder} writes its claims here: wait for it, or give another --output"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


class Pages:
    """What was found so far, this time and before, of the same experiment.

    Args:
        folder: that all files are written into.
        experiment: that the studies are of.
        command: that makes claims.json, which says so.

    Raises:
        ConfigError: the folder's studies are damaged.
    """

    def __init__(self, folder: Path, experiment: Experiment, command: str = "make claims") -> None:
        self._folder = folder
        self._experiment = experiment.model_dump(mode="json")
        self._command = command
        self._document = folder / "bench" / "claims_studies.json"
        stored = _stored(self._document)
        same = stored.get("experiment") == self._experiment
        self.studies: dict[str, list[Row]] = stored["studies"] if same else {}
        self.speeds: dict[str, Any] | None = stored.get("speeds")

    def add(self, name: str, rows: Sequence[Row], *, finished: bool) -> bool:
        """Puts a study in the place of what there is of it. False: what there is has more, and stays.

        Args:
            name: of the study.
            rows: one for each case.
            finished: whether all its runs were made. If so, fewer runs at the same seeds are an answer, and replace it.
        """
        stored = self.studies.get(name, [])
        fuller = _seeds(stored) > _seeds(rows) or (not finished and _runs(stored) > _runs(rows))
        if not fuller:
            self.studies[name] = list(rows)
        return not fuller

    def write(self) -> None:
        """Writes all files. Raises InfrastructureError when the disk is full; each file is the old or the new one."""
        ordered = {name: self.studies[name] for name in STUDIES if name in self.studies}
        content = {"experiment": self._experiment, "studies": ordered, "speeds": self.speeds}
        write_document(self._document, "claims", content)
        write_page(content, self._folder)
        found = claims(ordered, self.speeds, self._experiment["protocol"]["dataset"], self._command)
        write_atomically(self._folder / "claims.json", (json.dumps(found, indent=1) + "\n").encode())


def _stored(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for rows in stored["studies"].values():
            for run in (run for row in rows for run in row["runs"]):
                stored_run(run)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: damaged, or not written by this command ({type(error).__name__}: {error}): delete it and run the "
            "same command; the cache has the runs"
        ) from error
    return stored


def _seeds(rows: Sequence[Row]) -> set[int]:
    return {run["seed"] for row in rows for run in row["runs"]}


def _runs(rows: Sequence[Row]) -> int:
    return sum(len(row["runs"]) for row in rows)
