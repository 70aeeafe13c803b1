"""One thing that the doctor has found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """How bad it is. An `ERROR` lets no run succeed; a `WARNING` may let one fail; a `NOTE` is for information."""

    NOTE = 0
    WARNING = 1
    ERROR = 2


@dataclass(frozen=True)
class Finding:
    """What is wrong, where, and how to mend it. `reach` says that the way to the board is at fault: exit code 3."""

    level: Level
    where: str
    """A board of the inventory, an environment, or a device of this machine."""
    check: str
    what: str
    mend: str = ""
    reach: bool = False

    def document(self) -> dict[str, object]:
        """For JSON."""
        level = self.level.name.lower()
        return {"level": level, "where": self.where, "check": self.check, "what": self.what, "mend": self.mend}

    def __str__(self) -> str:
        """One line, or two where there is something to mend."""
        text = f"{self.level.name.lower():7}  {self.where}: {self.check}: {self.what}"
        return f"{text}\n         to mend: {self.mend}" if self.mend else text


def exit_code(findings: Iterable[Finding]) -> int:
    """0 without errors, 3 when a way to a board is at fault, else 1."""
    errors = [finding for finding in findings if finding.level is Level.ERROR]
    if not errors:
        return 0
    return 3 if any(finding.reach for finding in errors) else 1
