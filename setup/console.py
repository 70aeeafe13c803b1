"""What the steps of set-up share: one line a step, commands whose output goes to a log, one kind of error."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_SILENCE_S = 15.0
_WIDTH = 100


class SetupError(Exception):
    """A step that cannot be carried out; the message says what is missing and what to do."""


def say(message: str) -> None:
    """Announces a step. Standard error: what runs after set-up may print a document."""
    print(f"set-up: {message}", file=sys.stderr, flush=True)


class Shell:
    """Runs commands with their output in a log file, which starts empty.

    Every command inherits the descriptors `keep`: when this process is killed, a lock among them stays held until the
    command that it left behind has ended as well.
    """

    def __init__(self, log: Path, keep: tuple[int, ...] = ()) -> None:
        self.log = log
        self._keep = keep
        log.write_bytes(b"")

    def run(
        self, command: Sequence[str], *, cwd: Path | None = None, text: str | None = None, **environment: str
    ) -> bool:
        """True when the command ends with 0. `text` is its standard input, `environment` is added to this one's."""
        with self.log.open("ab") as log, self._watched():
            log.write(f"$ {shlex.join(command)}\n".encode())
            log.flush()
            try:
                result = subprocess.run(
                    command,
                    cwd=cwd,
                    input=None if text is None else text.encode(),
                    stdin=subprocess.DEVNULL if text is None else None,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=os.environ | environment,
                    pass_fds=self._keep,
                    check=False,
                )
            except OSError as error:
                log.write(f"{error}\n".encode())
                return False
        return result.returncode == 0

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Says every quarter of a minute what a long command is at: the last line of its output."""
        ended = threading.Event()

        def watch() -> None:
            begun = time.monotonic()
            while not ended.wait(_SILENCE_S):
                lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
                say(f"  {time.monotonic() - begun:.0f} s: {lines[-1][:_WIDTH] if lines else 'no output yet'}")

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def last_error(self) -> str:
        """The line of the log that most likely says why the last command failed, and where the rest is."""
        output = self.log.read_text(errors="replace").rsplit("\n$ ", 1)[-1].splitlines()[1:]
        lines = [line.strip() for line in output if line.strip()]
        marked = [line for line in lines if re.match(r"(E|error|fatal|sudo)\b.*[^:]$", line, re.IGNORECASE)]
        cause = (marked or lines[-1:] or ["no output"])[-1]
        return f"{cause} (all of it: {self.log})"


def output_of(*command: str) -> str:
    """Standard output of a command that only looks; empty when it is absent or fails. The locale is C."""
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60, env=os.environ | {"LC_ALL": "C"}
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout if result.returncode == 0 else ""
