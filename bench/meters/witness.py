"""What a virtual board's core really touched of its RAM: a second witness beside the stack's paint.

The QEMU plug-in ram_witness watches every store. For each phase it keeps the lowest address stored to in the stack, the
bytes of each region that were stored to, and stores to RAM outside of all regions.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.errors import InfrastructureError
from bench.meters.counter import PHASES
from bench.rack.image import ImageDescriptor

_MAGIC: Final = b"FTTEWIT1"
_SLOTS = 16
_REGIONS = ("stack", "static", "federation", "arena")
# struct of bench/virtual/qemu_plugin/ram_witness.c: magic, then for each phase the lowest stack pointer, the lowest
# store in the stack, stores outside, and one above the highest byte stored to of each region (0: none).
_HEADER = struct.Struct("<8s")
_PHASE = struct.Struct(f"<IIQ{len(_REGIONS)}I")


@dataclass(frozen=True)
class Touched:
    """Of one phase, in bytes. `stack` by the lowest store, `stack_pointer` by the lowest value of the register."""

    stack: int
    stack_pointer: int
    arena: int
    outside: int


class Witness:
    """The file that the plug-in writes, of one image."""

    def __init__(self, path: Path, image: ImageDescriptor) -> None:
        self._path = path
        self._image = image

    def arguments(self) -> str:
        """What the plug-in is loaded with."""
        image = self._image
        regions = {
            "stack": (image.stack_limit, image.stack_top),
            "static": (image.stack_top, image.stack_top + image.static_bytes + _SLACK),
            "federation": (image.federation_base, image.federation_base + image.federation_size),
            "arena": (image.arena_base, image.arena_base + image.arena_size),
        }
        values = {
            "record": str(self._path),
            "word": f"0x{image.phase_word:x}",
            "ram": f"0x{image.ram_base:x}:0x{image.ram_base + image.ram_size:x}",
            **{name: f"0x{low:x}:0x{high:x}" for name, (low, high) in regions.items()},
        }
        return ",".join(f"{name}={value}" for name, value in values.items())

    def touched(self, phase: str) -> Touched:
        """What was touched in a phase since the start. Raises InfrastructureError without the plug-in's file."""
        try:
            blob = self._path.read_bytes()
        except OSError as error:
            raise InfrastructureError(f"{self._path}: no witness: {error.strerror}") from error
        if len(blob) != _HEADER.size + _SLOTS * _PHASE.size or blob[:8] != _MAGIC:
            raise InfrastructureError(f"{self._path}: not what the witness writes")
        found = _PHASE.unpack_from(blob, _HEADER.size + PHASES.index(phase) * _PHASE.size)
        lowest_pointer, lowest_store, outside, *highest = found
        top = self._image.stack_top
        return Touched(
            stack=top - lowest_store if lowest_store else 0,
            stack_pointer=top - lowest_pointer if lowest_pointer else 0,
            arena=max(0, highest[_REGIONS.index("arena")] - self._image.arena_base),
            outside=outside,
        )


_SLACK = 8
"""Alignment in front of .data, which the descriptor does not count."""
