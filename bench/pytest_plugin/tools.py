"""What a session on a rack works with, made when its first test needs it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

import pytest

from bench.errors import BenchError
from bench.pytest_plugin.boards import Programs, RackBoard
from bench.pytest_plugin.cohort import Cohort, Trained
from bench.pytest_plugin.leases import Leases
from bench.pytest_plugin.options import Options, session_folder


class Tools:
    """Boards, leases, programs, and runs that tests share."""

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self._options = options
        self._folder = session_folder(config)
        self.state = options.state or self._folder / "state"
        """Where emulated boards keep their flash."""
        self.leases = Leases(
            options.inventory,
            self.state,
            self._folder / "logs",
            wait_s=options.wait_s,
            may_flash=not options.skip_flash,
        )
        programs = Programs()
        self.boards = {entry.name: RackBoard(entry, self.leases, programs) for entry in options.boards}
        self._trained: dict[tuple[str, tuple[str, ...]], Trained] = {}

    def cohort(self, names: Sequence[str]) -> Cohort:
        """These boards."""
        boards = tuple(self.boards[name] for name in names)
        return Cohort(boards, self.leases, self._folder, self.state, self._options.wait_s)

    def trained(self, cohort: Cohort, experiment: str) -> Trained:
        """A run of the experiment on the cohort, the session's only one."""
        key = (experiment, cohort.names)
        if key not in self._trained:
            self._trained[key] = cohort.train(experiment)
        return self._trained[key]

    def mend(self, names: Collection[str], reason: str) -> None:
        """Brings boards back after an infrastructure error; one that does not come is opened anew by the next test."""
        for name, board in self.leases.held().items():
            if name in names:
                board.log(f"pytest: {reason}; trying once more")
                with suppress(BenchError):
                    board.recover()
                    continue
                self.leases.keep([other for other in self.leases.held() if other != name])
