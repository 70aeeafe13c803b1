"""Where an emulated meter's current comes from: what it asks, and a script that answers."""

from __future__ import annotations

import time
from collections import deque
from typing import Protocol

from bench.virtual.instruments.spec import Script, Stretch


class Feed(Protocol):
    """What the board does, in the instrument's time."""

    character_s: float
    """How long a character takes on the console's line."""

    def begin(self) -> None:
        """Forgets what was before: a recording begins."""

    def take(self) -> list[Stretch]:
        """What has happened since the last call."""


class ScriptFeed:
    """Plays a script from its start in each recording, then its last stretch in real time."""

    character_s = 10 / 115200

    def __init__(self, script: Script) -> None:
        self._script = script
        self._left: deque[Stretch] = deque()
        self._at = 0.0

    def begin(self) -> None:
        """See Feed."""
        self._left = deque(self._script.stretches)
        self._at = time.monotonic()

    def take(self) -> list[Stretch]:
        """See Feed."""
        now = time.monotonic()
        passed, self._at = now - self._at, now
        last = self._script.stretches[-1]
        if self._script.speed == 0:
            taken = list(self._left) or [Stretch(passed, last.current_ua, last.does)]
            self._left.clear()
            return taken
        passed *= self._script.speed
        taken = []
        while self._left and passed > 0:
            stretch = self._left.popleft()
            seconds = min(stretch.seconds, passed)
            if seconds < stretch.seconds:
                self._left.appendleft(Stretch(stretch.seconds - seconds, stretch.current_ua, stretch.does))
            taken.append(Stretch(seconds, stretch.current_ua, stretch.does))
            passed -= seconds
        return [*taken, Stretch(passed, last.current_ua, last.does)] if passed > 0 else taken
