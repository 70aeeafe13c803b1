"""Which boards this process has locked and opened now.

A board that is taken is kept for the tests that follow, so that it is started and flashed once. Where another process
has one that is wanted, all that this process has is given back before it waits, and boards are taken in the order of
their names: no two processes can wait for each other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.rack.board import Board
from bench.rack.inventory import Inventory
from bench.rack.locks import BoardInUseError
from bench.rack.rack import Rack

_POLL_S = 0.2

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Held:
    board: Board
    stack: ExitStack


class Leases:
    """Boards taken, by name."""

    def __init__(self, inventory: Inventory, state: Path, logs: Path, *, wait_s: float, may_flash: bool) -> None:
        """`state` is where emulated boards keep their flash, `logs` has a log for each board."""
        self._inventory = inventory
        self._state = state
        self._logs = logs
        self._wait_s = wait_s
        self._may_flash = may_flash
        self._held: dict[str, _Held] = {}

    def board(self, name: str) -> Board:
        """The board, taken if need be. Raises InfrastructureError."""
        if name not in self._held:
            self.take({name})
        return self._held[name].board

    def log_of(self, name: str) -> Path:
        """Where the board's log is, taken or not."""
        return self._logs / f"{name}.log"

    def held(self) -> dict[str, Board]:
        """The boards that this process has now."""
        return {name: held.board for name, held in self._held.items()}

    def take(self, names: Collection[str]) -> None:
        """Has these boards, and perhaps others.

        Raises InfrastructureError: one is in use for longer than may be waited, or does not start.
        """
        if all(name in self._held for name in names):
            return
        try:
            self._open(names)
        except BoardInUseError:
            self.keep(())
            waited(lambda: self._open(names), self._wait_s, lambda: self.keep(()))

    def keep(self, names: Collection[str]) -> None:
        """Gives back all boards but these."""
        for name in [name for name in self._held if name not in names]:
            self._held.pop(name).stack.close()

    def _open(self, names: Collection[str]) -> None:
        for name in sorted(set(names) - self._held.keys()):
            with ExitStack() as stack:
                rack = stack.enter_context(
                    Rack.open(self._inventory, [name], purpose="pytest", state_dir=self._state, log_dir=self._logs)
                )
                board = rack.boards[name]
                board.may_flash = self._may_flash
                self._held[name] = _Held(board, stack.pop_all())


def waited(action: Callable[[], _T], wait_s: float, between: Callable[[], object] = lambda: None) -> _T:
    """Carries out what needs boards that others may have, for `wait_s` again and again. Raises BoardInUseError."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return action()
        except BoardInUseError as error:
            between()
            if time.monotonic() >= deadline:
                raise BoardInUseError(f"{error}; --rack-wait=S waits, here {wait_s:g} s") from error
            threading.Event().wait(_POLL_S)
