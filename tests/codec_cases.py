"""Plans, parameters and settings to code updates of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.federation.update_codec import CodecSettings
from bench.model.plan import BlockSpec, InputSpec, LayerSpec, Plan, Tensor

_WIDTHS = {"int4": 1, "int8": 1, "int16": 2, "int32": 4, "float32": 4}
_RESIDUAL_BITS = {"int8": 8, "int4": 4, "int16": 8, "int32": 0}

STORAGES = (
    ("float32", None),
    ("int32", None),
    ("int32", "int32"),
    ("int8", None),
    ("int8", "int8"),
    ("int8", "int4"),
    ("int8", "int16"),
)
"""Of a tensor and its residual: all that a compiler lays out."""

SETTINGS = [
    CodecSettings(bits, keep, error_feedback, entropy)
    for bits in (8, 4, 2, 1)
    for keep in (256, 64, 1)
    for error_feedback in (False, True)
    for entropy in (False, True)
]


def make_plan(tensors: list[tuple[int, str, str | None]]) -> Plan:
    """A plan with trained tensors of (size, storage, storage of the residual), those of four bytes first."""
    placed: list[Tensor] = []
    end = 0

    def place(name: str, kind: str, size: int, dtype: str, exponent: int, of: str | None = None) -> None:
        nonlocal end
        end = -(-end // _WIDTHS[dtype]) * _WIDTHS[dtype]
        fields = {"name": name, "kind": kind, "shape": (size,), "dtype": dtype, "offset": end, "exponent": exponent}
        placed.append(Tensor.model_validate({**fields, "of": of}))
        end += placed[-1].bytes

    ordered = sorted(enumerate(tensors), key=lambda item: -_WIDTHS[item[1][1]])
    for index, (size, dtype, _) in ordered:
        place(f"t{index}", "weight" if dtype == "int8" else "bias", size, dtype, 0 if dtype == "float32" else 5 + index)
    down = end
    for index, (size, _, residual) in ordered:
        if residual is not None:
            place(f"t{index}.residual", "residual", size, residual, 5 + index + _RESIDUAL_BITS[residual], f"t{index}")
    up, params = end, -(-end // 4) * 4
    layer = LayerSpec(name="a", op="conv2d", output=(1, 1, 1), macs_forward=0, macs_backward=0, weights=0, trained=0)
    return Plan(
        name="drawn", model="drawn", scheme="full", dtype="int8", loss="softmax_cross_entropy", classes=2,
        input=InputSpec(shape=(1, 1, 1), exponent=0), batch=1, rule="compensated", calibration="none",
        params_bytes=params, down_bytes=down, up_bytes=up, arena_bytes=8, lower_bound_bytes=0, sample_bytes=1,
        constants_bytes=0, constants_sha256="0" * 64, macs_forward=0, macs_backward=0, layers=(layer,), calls=("a:a",),
        blocks=(BlockSpec(name="x", kind="map", offset=0, size=8, lower=0, upper=1),), tensors=tuple(placed),
    )  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Something to code."""

    plan: Plan
    settings: CodecSettings
    seed: int
    spread: float
    """Of differences, in bits: 0 is none, 32 is any bytes."""

    def bytes(self) -> tuple[bytes, bytes]:
        """Parameters after training, and the base."""
        return parameters(self.plan, np.random.default_rng(self.seed), self.spread)


def parameters(plan: Plan, generator: np.random.Generator, spread: float) -> tuple[bytes, bytes]:
    """Random parameters and a base that differ by about `spread` bits of each number's storage (32: by anything)."""
    base = np.frombuffer(generator.bytes(plan.params_bytes), np.uint8).copy()
    params = base.copy()
    if spread >= 32:
        return generator.bytes(plan.params_bytes), base[: plan.down_bytes].tobytes()
    for tensor in plan.tensors:
        if tensor.kind == "state":
            continue
        if tensor.dtype == "float32":
            old = generator.normal(size=tensor.size).astype("<f4")
            new = old + (2.0 ** (spread - 24) * generator.normal(size=tensor.size)).astype("<f4")
        elif tensor.dtype == "int4":
            old = new = np.frombuffer(generator.bytes(tensor.bytes), np.uint8)
        else:
            dtype = {"int8": "i1", "int16": "<i2", "int32": "<i4"}[tensor.dtype]
            bits = 8 * np.dtype(dtype).itemsize
            scale = 2.0 ** min(spread, bits - 1) * (spread > 0)
            old = _rounded(0.25 * 2.0 ** (bits - 1) * generator.normal(size=tensor.size), dtype)
            new = _rounded(old + scale * generator.laplace(size=tensor.size), dtype)
            if tensor.kind == "residual":
                new = _rounded(scale * generator.laplace(size=tensor.size), dtype)
        place = slice(tensor.offset, tensor.offset + tensor.bytes)
        base[place], params[place] = np.frombuffer(old.tobytes(), np.uint8), np.frombuffer(new.tobytes(), np.uint8)
    return params.tobytes(), base[: plan.down_bytes].tobytes()


def _rounded(values: NDArray[np.float64], dtype: str) -> NDArray[np.generic]:
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


def settings() -> st.SearchStrategy[CodecSettings]:
    """Any."""
    return st.builds(
        CodecSettings,
        bits=st.sampled_from((8, 4, 2, 1)),
        keep=st.one_of(st.just(256), st.integers(1, 256)),
        error_feedback=st.booleans(),
        entropy=st.booleans(),
    )


def plans() -> st.SearchStrategy[Plan]:
    """Small, with all kinds of storage."""
    tensor = st.builds(lambda size, storage: (size, *storage), st.integers(1, 150), st.sampled_from(STORAGES))
    return st.builds(make_plan, st.lists(tensor, min_size=1, max_size=4))


def cases() -> st.SearchStrategy[Case]:
    """Any plan, with differences from none to any bytes."""
    spread = st.one_of(st.sampled_from((0.0, 32.0)), st.floats(0, 31))
    return st.builds(Case, plans(), settings(), st.integers(0, 2**32 - 1), spread)
