"""Who wants to know what happens in a run: progress on a terminal, logs, tests."""

from collections.abc import Sequence
from typing import Protocol

from bench.federation.client import Trained
from bench.results.table import Measurement


class Observer(Protocol):
    """Is told what happens; called from several threads."""

    def client_started(self, variant: str, round_: int, rounds: int | None, client: str) -> None:
        """A client was given work for a round (server step) of so many, None where the run ends by something else."""
        ...

    def client_progress(self, client: str, done: int, total: int) -> None:
        """A client has made so many of its steps."""
        ...

    def client_done(self, client: str, trained: Trained) -> None:
        """A client's update was accepted."""
        ...

    def client_dropped(self, client: str, reason: str) -> None:
        """A client's work came to nothing."""
        ...

    def round_finished(self, variant: str, round_: int, rows: Sequence[Measurement]) -> None:
        """The server has made its step; the model is evaluated and in the journal."""
        ...
