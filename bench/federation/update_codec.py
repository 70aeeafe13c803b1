"""The update codec: what clients send up and the server sends down, in few bits.

An update is what training moved, on the integer grid of the parameters' own storage, in blocks with a scale of their
own (firmware/federation/update.hpp has the format); with error feedback, what is not sent stays at the client and is
added to its next update. A download is the exact difference to a version that the client has
(firmware/federation/download.hpp). Boards run the C++ of both; this is the same bit by bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.errors import ConfigError
from bench.federation.bit_fields import BitReader, Integers
from bench.federation.download_codec import decode_download, encode_download
from bench.federation.update_blocks import LARGEST, CodecSettings, Rows, quantise, read_blocks, write_blocks
from bench.model.plan import Plan, Tensor, Values
from bench.model.wire import KINDS, RESIDUAL_BITS, Span, max_update_bytes, segments_of, spans_of

__all__ = ["CodecSettings", "Encoded", "UpdateCodec"]

FORMAT_VERSION = 1
_UPDATE = 1

FLOAT32_BITS = 20
"""A float32 parameter's unit is 2^-20."""


class Encoded(NamedTuple):
    """A message, what error feedback keeps (int32 [values]), and how often something was cut to fit."""

    blob: bytes
    residual: NDArray[np.int32]
    clipped: int


class UpdateCodec:
    """Codes the updates of one program.

    Values are in the order of `plan.trained`, each tensor's in its own; arrays of them are flat.

    Args:
        plan: of the program.
        settings: server and clients must have the same.

    Raises:
        ConfigError: a tensor whose storage the codec does not know.
    """

    def __init__(self, plan: Plan, settings: CodecSettings) -> None:
        self.plan = plan
        self.settings = settings
        self.spans = spans_of(plan)
        self.segments = segments_of(plan)
        self._rows = Rows.of(tuple(span.count for span in self.spans))
        self._units = np.concatenate([_exponents(tensor, plan) for tensor in plan.trained])
        wide = [np.full(span.count, span.error_bytes == 4) for span in self.spans]
        limits = np.where(np.concatenate(wide), 2**31 - 1, 2**15 - 1)
        self._highest, self._lowest = limits, -limits - 1

    @property
    def values(self) -> int:
        """Of an update."""
        return self._rows.values

    @property
    def max_bytes(self) -> int:
        """No update is longer."""
        return max_update_bytes(self.values, len(self._rows.lengths), self.settings.bits)

    @property
    def base_bytes(self) -> int:
        """That a client keeps to take differences to: what was sent down."""
        return self.plan.down_bytes

    @property
    def error_bytes(self) -> int:
        """That a client keeps as error feedback."""
        if not self.settings.error_feedback:
            return 0
        return sum(span.count * span.error_bytes for span in self.spans)

    @property
    def state_bytes(self) -> int:
        """That a client keeps from round to round."""
        return self.base_bytes + self.error_bytes

    def grid(self, params: bytes, base: bytes) -> Integers:
        """How far parameters are from the base, in units of the grid: int64 [values].

        float32 differences are rounded and cut to ±2^30; what is not a number is 0. Others are exact.

        Args:
            params: `up_bytes` or `params_bytes` bytes.
            base: `down_bytes` bytes.

        Raises:
            ConfigError: another length.
        """
        return self._grid(params, base)[0]

    def encode(self, params: bytes, base: bytes, residual: NDArray[np.int32] | None = None) -> Encoded:
        """A client's update.

        Args:
            params: after training, `up_bytes` or `params_bytes` bytes.
            base: what was sent down before, `down_bytes` bytes.
            residual: what error feedback kept of the last update; None for a first one. Without error feedback it must
                be None.

        Raises:
            ConfigError: a length that is not the plan's, or a residual without error feedback.
        """
        deltas, clipped = self._grid(params, base)
        if residual is not None:
            if not self.settings.error_feedback or residual.shape != deltas.shape:
                raise ConfigError(f"program {self.plan.name}: a residual of {residual.shape}, with {self.settings}")
            deltas = deltas + residual
        p = np.clip(deltas, -LARGEST, LARGEST)
        clipped += int(np.count_nonzero(p != deltas))
        blocks = self._rows.spread(p)
        quantised = quantise(blocks, self._rows, self.settings)
        blob = write_blocks(quantised, self._rows, self.settings, self._header())
        if not self.settings.error_feedback:
            return Encoded(blob, np.zeros(len(p), np.int32), clipped)
        left = (blocks - quantised.levels * quantised.scales[:, None])[self._rows.inside]
        kept = np.clip(left, self._lowest, self._highest)
        return Encoded(blob, kept.astype(np.int32), clipped + int(np.count_nonzero(kept != left)))

    def decode(self, blob: bytes) -> NDArray[np.int32]:
        """What an update adds to the base, in units of the grid: int32 [values].

        Raises:
            ConfigError: it has another version, other settings or another number of values, or it is malformed.
        """
        header = self._header()
        if blob[: len(header)] != header:
            raise ConfigError(
                f"update: begins with {blob[: len(header)].hex()}; "
                f"{self.values} values with {self.settings} begin with {header.hex()}"
            )
        quantised = read_blocks(BitReader(blob), 8 * len(header), self._rows, self.settings)
        return (quantised.levels * quantised.scales[:, None])[self._rows.inside].astype(np.int32)

    def to_real(self, deltas: NDArray[np.int32]) -> Values:
        """Grid differences as real values, by tensor name and in its shape."""
        real = np.ldexp(deltas.astype(np.float64), -self._units)
        ends = np.cumsum([tensor.size for tensor in self.plan.trained])
        parts = np.split(real, ends[:-1])
        return {tensor.name: part.reshape(tensor.shape) for tensor, part in zip(self.plan.trained, parts, strict=True)}

    def encode_down(self, new: bytes, old: bytes) -> bytes:
        """What turns an old version of `down_bytes` bytes into the new. Raises ConfigError for another length."""
        return encode_download(self.segments, new, old)

    def decode_down(self, blob: bytes, old: bytes) -> bytes:
        """The new version. Raises ConfigError for a message that is malformed or for other lengths."""
        return decode_download(self.segments, blob, old)

    def _header(self) -> bytes:
        settings = self.settings
        head = bytes([FORMAT_VERSION << 4 | _UPDATE, settings.flags, settings.keep - 1])
        return head + self.values.to_bytes(4, "little")

    def _grid(self, params: bytes, base: bytes) -> tuple[Integers, int]:
        """Differences, and how many were cut or no numbers."""
        plan = self.plan
        if len(params) not in (plan.up_bytes, plan.params_bytes) or len(base) != plan.down_bytes:
            raise ConfigError(
                f"program {plan.name}: {len(params)} bytes of parameters and {len(base)} of the base; "
                f"the plan says {plan.up_bytes} (up) or {plan.params_bytes} (all), and {plan.down_bytes}"
            )
        parts, clipped = [], 0
        for tensor, span in zip(plan.trained, self.spans, strict=True):
            if tensor.dtype == "float32":
                part, cut = _float_differences(params, base, span)
                clipped += cut
            else:
                part = _integer_differences(params, base, span)
            parts.append(part)
        return np.concatenate(parts), clipped


def _integer_differences(params: bytes, base: bytes, span: Span) -> Integers:
    stored, refined = next(key for key, kind in KINDS.items() if kind == span.kind)
    dtype = {"int8": "i1", "int32": "<i4", "int16": "<i2"}
    new = np.frombuffer(params, dtype[stored], span.count, span.value).astype(np.int64)
    old = np.frombuffer(base, dtype[stored], span.count, span.value)
    wide = np.asarray((new - old) << RESIDUAL_BITS[refined])
    if refined is None:
        return wide
    if refined == "int4":
        pairs = np.frombuffer(params, np.uint8, (span.count + 1) // 2, span.residual)
        halves = np.stack([pairs & 15, pairs >> 4], axis=1).reshape(-1)[: span.count].astype(np.int64)
        return np.asarray(wide + (halves ^ 8) - 8)
    return np.asarray(wide + np.frombuffer(params, dtype[refined], span.count, span.residual))


def _float_differences(params: bytes, base: bytes, span: Span) -> tuple[Integers, int]:
    """In units of 2^-20, and how many were cut or no numbers."""
    new = np.frombuffer(params, "<f4", span.count, span.value)
    old = np.frombuffer(base, "<f4", span.count, span.value)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.ldexp((new - old).astype(np.float64), FLOAT32_BITS)
    wrong = ~(np.abs(scaled) <= LARGEST)
    fixed = np.rint(np.clip(np.nan_to_num(scaled, nan=0.0, posinf=np.inf, neginf=-np.inf), -LARGEST, LARGEST))
    return fixed.astype(np.int64), int(np.count_nonzero(wrong))


def _exponents(tensor: Tensor, plan: Plan) -> Integers:
    """A value in units of the grid times 2^-exponent is real: int64 [size]."""
    if tensor.dtype == "float32":
        return np.full(tensor.size, FLOAT32_BITS, np.int64)
    residual = next((other for other in plan.tensors if other.of == tensor.name), tensor)
    return np.broadcast_to(residual.exponents, tensor.shape).reshape(-1)
