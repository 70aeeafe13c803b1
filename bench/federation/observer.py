"""Who wants to know what happens in a run: progress on a terminal, logs, tests."""

from collections.abc import Sequence
from typing import Protocol

from bench.federation.client import Update
from bench.results.table import Measurement


class Observer(Protocol):
    """Is told what happens; called from several threads."""

    def round_started(self, variant: str, round_: int, rounds: int, clients: Sequence[str]) -> None:
        """A round, or a second attempt at it, begins with these clients."""
        ...

    def client_progress(self, client: str, done: int, total: int) -> None:
        """A client has made so many of its steps."""
        ...

    def client_done(self, client: str, update: Update) -> None:
        """A client has answered, and its update was accepted."""
        ...

    def client_dropped(self, client: str, reason: str) -> None:
        """A client is left out of this round."""
        ...

    def round_finished(self, variant: str, round_: int, rows: Sequence[Measurement]) -> None:
        """The round is aggregated, evaluated and in the journal."""
        ...
