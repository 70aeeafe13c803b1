"""Non-volatile memory as a file that is mapped: what is programmed is kept, whatever becomes of the process.

A killed board leaves its flash as a brown-out does: some words programmed, some not. The file is never half written
in any other sense, since it gets its full size before it gets its name.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from pathlib import Path

from bench.errors import InfrastructureError
from bench.virtual.parts import Region

ERASED = 0xFF


class NonVolatile:
    """Flash at `region`, kept in `path`. Programming clears bits, erasing sets them; both tell the listeners."""

    def __init__(self, path: Path, region: Region) -> None:
        """Maps the file, creating it erased. Raises InfrastructureError when its size is not the region's."""
        self.path = path
        self.region = region
        self.version = 0  # changes with the contents
        self.listeners: list[Callable[[int, int], None]] = []  # called with offset and size of what changed
        if not path.exists():
            self._create()
        if path.stat().st_size != region.size:
            raise InfrastructureError(
                f"{path}: {path.stat().st_size} bytes, but the board's flash has {region.size}: remove the file"
            )
        with path.open("r+b") as file:
            self._data = mmap.mmap(file.fileno(), region.size)

    def _create(self) -> None:
        temporary = self.path.with_suffix(f".{os.getpid()}.new")
        temporary.write_bytes(bytes([ERASED]) * self.region.size)
        temporary.replace(self.path)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at an offset from the region's base."""
        return self._data[offset : offset + size]

    def program(self, offset: int, data: bytes) -> None:
        """Clears the bits that are clear in `data`; no bit is ever set."""
        size = len(data)
        old = self._data[offset : offset + size]
        if old.count(ERASED) != size:
            cleared = int.from_bytes(old, "little") & int.from_bytes(data, "little")
            data = cleared.to_bytes(size, "little")
        self._data[offset : offset + size] = data
        self._changed(offset, size)

    def erase(self, offset: int, size: int) -> None:
        """Sets all bits of the range."""
        self._data[offset : offset + size] = bytes([ERASED]) * size
        self._changed(offset, size)

    def overwrite(self, offset: int, data: bytes) -> None:
        """Sets and clears bits, as nothing but a fault does."""
        self._data[offset : offset + len(data)] = data
        self._changed(offset, len(data))

    def is_blank(self, offset: int, size: int) -> bool:
        """Whether the range is erased."""
        return self._data[offset : offset + size].count(ERASED) == size

    def close(self) -> None:
        """Flushes to disk and unmaps."""
        self._data.flush()
        self._data.close()

    def _changed(self, offset: int, size: int) -> None:
        self.version += 1
        for listener in self.listeners:
            listener(offset, size)
