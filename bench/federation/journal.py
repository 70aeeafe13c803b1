"""What a run has finished, kept so that a kill at any moment loses at most the server step under way.

One JSON line an event, each behind the CRC-32 of its text, appended and synced to disk before the run goes on. What
a run goes on from after a step lies in a file of its own, complete before the line that names it is written. A torn
last line is what a kill in mid-write leaves: it is cut off. A wrong line anywhere else means that the file was damaged.
"""

import io
import json
import os
import threading
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.errors import ConfigError
from bench.results.files import sync_folder, write_atomically, writing
from bench.results.table import Measurement

VERSION = 2


@dataclass(frozen=True)
class FinishedRound:
    """The newest finished round (server step) of a variant: its number, and what the run goes on from after it."""

    round: int
    state: Mapping[str, Any]


class Journal:
    """A run's journal in a folder of its own; made when it does not exist.

    Raises:
        ConfigError: the folder holds the journal of another experiment, or a damaged one.
        InfrastructureError: the disk is full or the folder cannot be written.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        self._folder = folder
        self._path = folder / "journal.jsonl"
        self._events: list[dict[str, Any]] = []
        self._lock = threading.Lock()  # boards' threads tell of recoveries
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for torn in folder.glob(".*.json.*"):  # a state that a kill kept from becoming whole
                torn.unlink()
            if self._path.exists():
                self._load()
        if not self._events:
            self.record("begin", version=VERSION, digest=digest)
        begun = self._events[0]
        if begun.get("version") != VERSION or begun.get("digest") != digest:
            raise ConfigError(
                f"{self._path}: this run was begun with another experiment, program, rack or version of the bench; "
                "run without --resume to begin anew"
            )

    def record(self, event: str, **fields: Any) -> None:
        """Appends an event; it is on the disk when this returns."""
        entry = {"event": event, **fields}
        text = json.dumps(entry, separators=(",", ":"), sort_keys=True)
        with self._lock, writing(self._path), self._path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                _write_all(file, f"{zlib.crc32(text.encode()):08x} {text}\n".encode())
                os.fsync(file.fileno())
            except BaseException:  # Ctrl-C as well: no later line may follow half a one
                os.truncate(self._path, before)
                raise
            if before == 0:
                sync_folder(self._folder)
            self._events.append(entry)

    def finish_round(self, variant: str, round_: int, state: Mapping[str, Any], rows: Sequence[Measurement]) -> None:
        """Keeps what the run goes on from after a round, as JSON can hold it, and the round's rows."""
        before = self._last(variant)
        name = f"{variant}-{round_:05d}.json"
        data = json.dumps(state, separators=(",", ":"), sort_keys=True).encode()
        write_atomically(self._folder / name, data)
        self.record(
            "round",
            variant=variant,
            round=round_,
            file=name,
            crc32=zlib.crc32(data),
            rows=[asdict(row) for row in rows],
        )
        if before is not None and before["file"] != name:
            (self._folder / before["file"]).unlink(missing_ok=True)

    def last_round(self, variant: str) -> FinishedRound | None:
        """Where to go on; None when no round of the variant is finished. Raises ConfigError for a damaged file."""
        last = self._last(variant)
        if last is None:
            return None
        path = self._folder / last["file"]
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path}: the journal names this file: {error}; run without --resume") from error
        if zlib.crc32(data) != last["crc32"]:
            raise ConfigError(f"{path}: damaged; run without --resume to begin anew")
        return FinishedRound(last["round"], json.loads(data))

    def _last(self, variant: str) -> dict[str, Any] | None:
        """The event of a variant's newest finished round."""
        rounds = (event for event in reversed(self._events) if event["event"] == "round")
        return next((event for event in rounds if event["variant"] == variant), None)

    def rows(self) -> list[Measurement]:
        """The rows of all finished rounds, in the order in which they were finished."""
        return [Measurement(**row) for event in self._events if event["event"] == "round" for row in event["rows"]]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The recorded events of a kind, oldest first."""
        return [event for event in self._events if event["event"] == kind]

    def _load(self) -> None:
        data = self._path.read_bytes()
        good = 0
        for number, line in enumerate(data.splitlines(keepends=True), start=1):
            entry = _parse(line)
            if entry is None:
                if good + len(line) < len(data):
                    raise ConfigError(f"{self._path}: line {number} is damaged; run without --resume to begin anew")
                os.truncate(self._path, good)
                break
            self._events.append(entry)
            good += len(line)


def _write_all(file: io.FileIO, data: bytes) -> None:
    """Unbuffered, so that no half line is left for a later flush; a full disk may take part of it first."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _parse(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n") or line[8:9] != b" ":
        return None
    text = line[9:-1]
    try:
        if int(line[:8], 16) != zlib.crc32(text):
            return None
        entry = json.loads(text)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and "event" in entry else None
