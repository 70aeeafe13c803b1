"""The rack as tests see it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from bench.errors import ConfigError
from bench.pytest_plugin import capabilities

if TYPE_CHECKING:
    from pathlib import Path

    from bench.pytest_plugin.boards import RackBoard
    from bench.pytest_plugin.cohort import Cohort
    from bench.pytest_plugin.tools import Tools
    from bench.rack.inventory import Inventory


class Rack:
    """The value of the fixture `rack`: the boards that were chosen, by name."""

    def __init__(self, inventory: Inventory, tools: Tools) -> None:
        self.inventory = inventory
        self._tools = tools

    @property
    def path(self) -> Path:
        """Of the inventory."""
        return self.inventory.path

    @property
    def state(self) -> Path:
        """Where emulated boards keep their flash."""
        return self._tools.state

    @property
    def boards(self) -> dict[str, RackBoard]:
        """By name, in the inventory's order."""
        return self._tools.boards

    def __getitem__(self, name: str) -> RackBoard:
        return self.boards[name]

    def __iter__(self) -> Iterator[RackBoard]:
        return iter(self.boards.values())

    def __len__(self) -> int:
        return len(self.boards)

    def matching(self, **asked: Any) -> list[RackBoard]:
        """The boards with these capabilities, those of `@pytest.mark.board(...)`. Raises ConfigError for others."""
        capabilities.check(asked)
        if "one" in asked:
            raise ConfigError("one=...: is of a test on one board; of several, `[:1]` or cohort(most=1) is one")
        return [board for board in self if capabilities.unmet(board.entry, asked) is None]

    def cohort(self, *, boards: int = 1, most: int | None = None, **asked: Any) -> Cohort:
        """All boards with these capabilities at once, the first `most` of them; fewer than `boards` skip the test.

        Raises ConfigError for what no board can be asked for.
        """
        capabilities.check_size({"boards": boards} if most is None else {"boards": boards, "most": most})
        found = self.matching(**asked)[:most]
        if len(found) < boards:
            pytest.skip(f"{len(found)} boards of {self.path} match, {boards} are needed")
        return self._tools.cohort([board.name for board in found])
