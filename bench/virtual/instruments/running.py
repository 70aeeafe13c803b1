"""Starts an emulated meter in a process of its own, and ends it with whoever started it."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bench
from bench.errors import InfrastructureError
from bench.virtual.instruments.spec import BoardFeed, Faults, InstrumentSpec, Script, VirtualMeterKind
from bench.virtual.instruments.waveform import Truth

_START_S = 20.0
_STOP_S = 5.0


@dataclass(frozen=True)
class RunningInstrument:
    """Where a meter's port is, and where it says after each recording what the current was."""

    port: str
    folder: Path

    def truth(self) -> Truth:
        """Of the last recording that ended."""
        return Truth(**json.loads((self.folder / "truth.json").read_text(encoding="utf-8")))


@contextlib.contextmanager
def running(
    kind: VirtualMeterKind, feed: Script | BoardFeed, faults: Faults | None = None
) -> Iterator[RunningInstrument]:
    """An emulated meter until the block ends. Raises InfrastructureError when it does not start."""
    root = str(Path(bench.__file__).resolve().parents[1])
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
    with tempfile.TemporaryDirectory(prefix="bench-meter-") as folder:
        spec = InstrumentSpec(kind, folder, feed, faults or Faults())
        log = Path(folder, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "bench.virtual.instruments", "--child", "--spec", spec.to_json()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                env=environment,
                start_new_session=True,
            )
        try:
            yield RunningInstrument(_port(process, log), Path(folder))
        finally:
            _end(process)


def _port(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        ready = selector.select(_START_S)
    line = process.stdout.readline() if ready else ""
    answer = json.loads(line) if line.startswith("{") else {}
    if "port" not in answer:
        said = answer.get("error") or log.read_text(encoding="utf-8", errors="replace").strip()
        raise InfrastructureError(f"the emulated meter does not start: {said or 'it says nothing'}")
    return str(answer["port"])


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
