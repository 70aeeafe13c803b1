"""What of a program's parameters travels, as boards and host agree: which values updates code, and where they lie.

Emitted beside a program whose updates travel coded (bench/compiler/emit.py), and used by the codecs (bench/federation,
firmware/federation).
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import ConfigError
from bench.model.plan import Plan

BLOCK = 64
"""Values of a tensor that share a scale."""

UPDATE_HEADER_BYTES = 7

KINDS = {
    ("int8", None): 0,
    ("int8", "int8"): 1,
    ("int8", "int4"): 2,
    ("int8", "int16"): 3,
    ("int32", None): 4,
    ("int32", "int32"): 5,
    ("float32", None): 6,
}
"""firmware/federation/update.hpp, Kind: by storage of a tensor and of its residual."""

RESIDUAL_BITS = {None: 0, "int8": 8, "int4": 4, "int16": 8, "int32": 0}
"""By which a value of the grid is finer than what is stored, by storage of the residual."""


@dataclass(frozen=True)
class Span:
    """A tensor as boards are told of it (firmware/federation/update.hpp). Offsets and sizes are in bytes."""

    kind: int
    count: int
    value: int
    residual: int
    error: int

    @property
    def error_bytes(self) -> int:
        """That error feedback takes for a value."""
        return 2 if self.kind <= KINDS["int8", "int16"] else 4


def spans_of(plan: Plan) -> tuple[Span, ...]:
    """A plan's trained tensors in order; the error feedback of 32 bits a value lies before that of 16.

    Raises:
        ConfigError: a tensor whose storage the codec does not know.
    """
    residuals = {tensor.of: tensor for tensor in plan.tensors if tensor.kind == "residual"}
    found: list[Span] = []
    for tensor in plan.trained:
        residual = residuals.get(tensor.name)
        stored = (tensor.dtype, residual.dtype if residual else None)
        finer = residual.exponent - tensor.exponent if residual else 0
        if stored not in KINDS or finer != RESIDUAL_BITS[stored[1]]:
            raise ConfigError(
                f"program {plan.name}: tensor {tensor.name}: updates of {stored} by 2^{finer} are unknown"
            )
        found.append(Span(KINDS[stored], tensor.size, tensor.offset, residual.offset if residual else 0, 0))
    end = 0
    offsets = {}
    for index in sorted(range(len(found)), key=lambda index: -found[index].error_bytes):
        offsets[index] = end
        end += found[index].count * found[index].error_bytes
    return tuple(
        Span(span.kind, span.count, span.value, span.residual, offsets[index]) for index, span in enumerate(found)
    )


def blocks_of(values: int) -> int:
    """Of a tensor with so many values."""
    return -(-values // BLOCK)


def max_update_bytes(values: int, blocks: int, bits: int) -> int:
    """No message with so many values in so many blocks is longer."""
    block_bits, value_bits = (9, 2) if bits == 1 else (8, bits)
    return UPDATE_HEADER_BYTES + -(-(blocks * block_bits + values * value_bits) // 8)


@dataclass(frozen=True)
class Segment:
    """Values that lie together: int8, or 32-bit words (int32, or the bits of float32)."""

    words: bool
    count: int

    @property
    def bits(self) -> int:
        """Of a value."""
        return 32 if self.words else 8

    @property
    def bytes(self) -> int:
        """Of all of it."""
        return self.count * self.bits // 8


def segments_of(plan: Plan) -> tuple[Segment, ...]:
    """What a plan sends down, in order of address. What lies between tensors counts as int8."""
    pieces: list[tuple[bool, int]] = []
    end = 0
    for tensor in sorted(plan.trained, key=lambda tensor: tensor.offset):
        pieces += [(False, tensor.offset - end), (tensor.dtype != "int8", tensor.bytes)]
        end = tensor.offset + tensor.bytes
    pieces.append((False, plan.down_bytes - end))
    merged: list[Segment] = []
    for words, size in pieces:
        if not size:
            continue
        count = size // 4 if words else size
        if merged and merged[-1].words == words:
            count += merged.pop().count
        merged.append(Segment(words, count))
    return tuple(merged)
