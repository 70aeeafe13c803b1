"""Executed instructions of a virtual board, exact, by phase: what the QEMU plug-in writes."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Final

from bench.errors import InfrastructureError

PHASES: Final = ("boot", "idle", "link", "train", "evaluate")

# struct totals of bench/virtual/qemu_plugin/phase_counter.c, little-endian: magic, version, phases, sequence (odd while
# the totals are being changed), instructions of each phase, transitions, boots.
_MAGIC = b"FTTECNT1"
_SLOTS = 16
_LAYOUT = struct.Struct(f"<8sIIQ{_SLOTS}QQQ")
_SEQUENCE_AT = 16
_ATTEMPTS = 10_000  # a change takes the plug-in well under a microsecond


class PhaseCounter:
    """The totals of one virtual board since its process started, over resets and restarts of the image.

    A total holds what was executed up to the last change of phase; the phase that the board is in is not in it yet.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def read(self) -> dict[str, int]:
        """Instructions by phase, cumulative.

        Raises InfrastructureError when there is no count: no image with a descriptor has run.
        """
        return dict(zip(PHASES, self._load()[4 : 4 + len(PHASES)], strict=True))

    def transitions(self) -> int:
        """How often the phase was set."""
        return int(self._load()[4 + _SLOTS])

    def boots(self) -> int:
        """How often the image started from its entry point."""
        return int(self._load()[4 + _SLOTS + 1])

    def _load(self) -> tuple[int, ...]:
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise InfrastructureError(
                f"{self.path}: no instruction count: {error.strerror}; the board has not run an image with a descriptor"
            ) from error
        try:
            for _ in range(_ATTEMPTS):
                data = os.pread(fd, _LAYOUT.size, 0)
                if len(data) != _LAYOUT.size or data[:8] != _MAGIC:
                    raise InfrastructureError(f"{self.path}: not an instruction count")
                again = os.pread(fd, 8, _SEQUENCE_AT)
                if again == data[_SEQUENCE_AT : _SEQUENCE_AT + 8] and again[0] % 2 == 0:
                    return _LAYOUT.unpack(data)
        finally:
            os.close(fd)
        raise InfrastructureError(f"{self.path}: half-written for good: the emulator was killed; restart the board")
