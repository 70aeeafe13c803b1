"""What long work shows: moving bars on a terminal, plain lines elsewhere; always on standard error."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bench.federation.client import Trained
from bench.results.table import Measurement


class Reporter:
    """Carries out `bench.federation.observer.Observer`, and takes all other steps; safe in several threads."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr, highlight=False)
        self._bars = Progress(
            TextColumn("  {task.description:<28}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        self._dropped: list[str] = []
        self._updates = 0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self.console.print(text, markup=False, soft_wrap=True)

    def count(self, what: str, done: int, total: int) -> None:
        """So many of a whole are done: a bar on a terminal, elsewhere a line for every tenth."""
        with self._lock:
            if what not in self._tasks:
                self._tasks[what] = self._bars.add_task(what, total=total)
            self._bars.update(self._tasks[what], completed=done, total=total)
        if not self.console.is_terminal and (done == total or done * 10 // total > (done - 1) * 10 // total):
            self.say(f"  {what}: {done} of {total}")

    def board_step(self, board: str, text: str) -> None:
        """What is being done to a board now."""
        self.say(f"  {board}: {text}")

    def client_started(self, variant: str, round_: int, rounds: int | None, client: str) -> None:
        """See Observer."""
        text = f"{variant} round {round_}" + (f"/{rounds}" if rounds else "") + f" {client}"
        with self._lock:
            if client in self._tasks:
                self._bars.remove_task(self._tasks[client])
            self._tasks[client] = self._bars.add_task(text, total=None)

    def client_progress(self, client: str, done: int, total: int) -> None:
        """See Observer."""
        with self._lock:
            if client in self._tasks:
                self._bars.update(self._tasks[client], completed=done, total=total)

    def client_done(self, client: str, trained: Trained) -> None:
        """See Observer."""
        with self._lock:
            self._updates += 1
            if client in self._tasks:
                self._bars.update(self._tasks[client], completed=trained.samples, total=trained.samples)

    def client_dropped(self, client: str, reason: str) -> None:
        """See Observer."""
        with self._lock:
            self._dropped.append(client)
        self.say(f"  {client} is left out: {reason}")

    def round_finished(self, variant: str, round_: int, rows: Sequence[Measurement]) -> None:
        """See Observer."""
        with self._lock:
            updates, dropped = self._updates, sorted(set(self._dropped))
            took_s = time.monotonic() - self._begun
            self._updates, self._dropped, self._begun = 0, [], time.monotonic()
        figures = {row.metric: row.value for row in rows if not row.board}
        text = f"{variant} round {round_}: accuracy {figures['accuracy']:.4f}, loss {figures['loss']:.3f}"
        if round_ == 0:
            self.say(f"{text} (before training)")
            return
        without = f", without {', '.join(dropped)}" if dropped else ""
        self.say(f"{text}; {updates} updates{without}, {took_s:.1f} s")
