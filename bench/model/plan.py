"""The plan of a training program: what its parameter bytes mean.

`plan.json` lies beside the emitted source (docs/architecture.md, "Program and plan"). A stored integer v with exponent
e stands for v * 2^-e; in a tensor with a `lift`, channel c has exponent `exponent - lift[c]`. A residual is added to
the tensor that it is `of`: it holds what is finer than that one's quantum. float32 tensors have exponent 0.
"""

import hashlib
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from bench.errors import ConfigError
from bench.project import root_path

FIRMWARE = root_path() / "firmware"
GENERATED = "generated"
"""Where emitted programs lie below FIRMWARE."""

RESIDUAL_BITS = {"compensated": 8, "compensated4": 4}
"""By which a weight's residual is finer than the weight, by update rule."""

BIAS_BITS = 8
"""By which a stored int8 program's bias is finer than the sums that it adds to (firmware/engine/int8/fixed.hpp)."""

LARGEST_BIAS = 2**29
"""Of a stored int32 bias: what the kernels clip to (firmware/engine/int8/update.hpp)."""

Rule = Literal["compensated", "compensated4", "truncated"]
"""What becomes of steps below an int8 weight's quantum (firmware/engine/int8/update.hpp)."""

Values = dict[str, NDArray[np.float64]]
"""Real values of a model's weights and biases, by tensor name."""

_DTYPES: dict[str, np.dtype[np.generic]] = {
    "int4": np.dtype("u1"),
    "int8": np.dtype("int8"),
    "int16": np.dtype("<i2"),
    "int32": np.dtype("<i4"),
    "uint32": np.dtype("<u4"),
    "float32": np.dtype("<f4"),
}


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Tensor(_Section):
    """One tensor of the parameters: where it lies and how its values are stored."""

    name: str = Field(min_length=1)
    kind: Literal["weight", "bias", "residual", "state"]
    shape: tuple[int, ...] = Field(min_length=1, strict=False)
    dtype: Literal["int4", "int8", "int16", "int32", "uint32", "float32"]
    """int4: two to a byte, the first in its low half."""
    offset: int = Field(ge=0)
    """Bytes from the start of the parameters."""
    exponent: int = Field(default=0, ge=-128, le=127)
    lift: tuple[int, ...] = Field(default=(), strict=False)
    """What each channel's exponent is less than `exponent`; empty: nothing."""
    axis: Literal[0, -1] = 0
    """Of the channels that `lift` is of."""
    of: str | None = None
    """Of a residual: the tensor that it refines."""

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of storage."""
        return -(-self.size // 2) if self.dtype == "int4" else self.size * _DTYPES[self.dtype].itemsize

    @property
    def exponents(self) -> NDArray[np.int64]:
        """Exponents, of a shape that broadcasts against the tensor's."""
        if not self.lift:
            return np.full((1,) * len(self.shape), self.exponent, dtype=np.int64)
        shape = [1] * len(self.shape)
        shape[self.axis] = -1
        return self.exponent - np.asarray(self.lift, dtype=np.int64).reshape(shape)


class InputSpec(_Section):
    """A sample: int8 features [height, width, channels]."""

    shape: tuple[int, int, int] = Field(strict=False)
    exponent: int


class LayerSpec(_Section):
    """One layer, for tables: what it is, its nominal MACs, what of it trains."""

    name: str
    op: str
    output: tuple[int, int, int] = Field(strict=False)
    macs_forward: int = Field(ge=0)
    macs_backward: int = Field(ge=0)
    weights: int = Field(ge=0)
    """Parameters, biases included."""
    trained: int = Field(ge=0)
    """Of these, how many train."""


class BlockSpec(_Section):
    """A stretch of the arena (bytes) and the kernel calls, half-open, during which it is taken."""

    name: str
    kind: str
    offset: int = Field(ge=0)
    size: int = Field(ge=0)
    lower: int = Field(ge=0)
    upper: int = Field(gt=0)


class Plan(_Section):
    """A validated plan. `plan_id` ties a board's image to it."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    model: str
    scheme: str
    dtype: Literal["int8", "float32"]
    loss: Literal["softmax_cross_entropy", "mean_squared_error"]
    classes: int = Field(ge=1, le=255)
    input: InputSpec
    batch: int = Field(ge=1)
    rule: Rule
    calibration: str
    """Where the exponents come from."""
    params_bytes: int = Field(gt=0)
    """Of the trained parameters and all that training keeps beside them."""
    down_bytes: int = Field(gt=0)
    """What the server sends: the trained parameters."""
    up_bytes: int = Field(gt=0)
    """What comes back: these and their residuals."""
    base_bytes: int = Field(default=0, ge=0)
    """Of the copy of what was sent down, in a federated client's state; 0 where parameters travel whole."""
    error_bytes: int = Field(default=0, ge=0)
    """Of its error feedback."""
    arena_bytes: int = Field(gt=0)
    lower_bound_bytes: int = Field(ge=0)
    """No placement of this order of calls takes a smaller arena."""
    sample_bytes: int = Field(gt=0)
    constants_bytes: int = Field(ge=0)
    """Frozen weights and biases in flash."""
    constants_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of their bytes, so that plans with other constants differ."""
    macs_forward: int = Field(ge=0)
    macs_backward: int = Field(ge=0)
    layers: tuple[LayerSpec, ...] = Field(min_length=1, strict=False)
    calls: tuple[str, ...] = Field(min_length=1, strict=False)
    """Kernel calls of a training step in order, `kernel:layer`."""
    blocks: tuple[BlockSpec, ...] = Field(min_length=1, strict=False)
    tensors: tuple[Tensor, ...] = Field(min_length=1, strict=False)
    _plan_id: bytes = PrivateAttr(default=b"")

    @property
    def plan_id(self) -> bytes:
        """First 8 bytes of SHA-256 of plan.json; empty for a plan that was not loaded from a file."""
        return self._plan_id

    @property
    def trained(self) -> tuple[Tensor, ...]:
        """Weights and biases that train: the tensors that `decode` returns."""
        return tuple(tensor for tensor in self.tensors if tensor.kind in ("weight", "bias"))

    def identity(self) -> dict[str, Any]:
        """Which program it is, as results name it."""
        named = {name: getattr(self, name) for name in ("model", "scheme", "dtype", "batch", "calibration")}
        return {"program": self.name, "plan_id": self.plan_id.hex(), **named}

    def live_bytes(self, step: int) -> int:
        """Bytes of the arena that are taken during a kernel call."""
        return sum(self.live_by_kind(step).values())

    def live_by_kind(self, step: int) -> dict[str, int]:
        """The same by kind. What lies over a block that dies with the call (an output over its input) counts once."""
        found: dict[str, int] = {}
        taken: list[tuple[int, int]] = []
        live = [block for block in self.blocks if block.lower <= step < block.upper]
        for block in sorted(live, key=lambda block: block.lower):
            end = block.offset + block.size
            shared = sum(max(0, min(end, other_end) - max(block.offset, other)) for other, other_end in taken)
            found[block.kind] = found.get(block.kind, 0) + block.size - shared
            taken.append((block.offset, end))
        return found

    @model_validator(mode="after")
    def _consistent(self) -> "Plan":
        if not self.down_bytes <= self.up_bytes <= self.params_bytes:
            raise ValueError(f"down {self.down_bytes} <= up {self.up_bytes} <= params {self.params_bytes} bytes fails")
        if math.prod(self.input.shape) != self.sample_bytes:
            raise ValueError(f"sample_bytes {self.sample_bytes} is not the product of input.shape {self.input.shape}")
        _check_layout(self)
        _check_residuals(self)
        return self

    def decode(self, params: bytes) -> Values:
        """Real values of weights and biases, residuals included.

        Args:
            params: `up_bytes` or `params_bytes` bytes, or `down_bytes` bytes: residuals then count as zero.

        Raises:
            ConfigError: another length.
        """
        if len(params) not in (self.params_bytes, self.up_bytes, self.down_bytes):
            raise ConfigError(
                f"program {self.name}: {len(params)} bytes of parameters; "
                f"the plan says {self.down_bytes} (down), {self.up_bytes} (up) or {self.params_bytes} (all)"
            )
        values = {tensor.name: _real(params, tensor) for tensor in self.trained}
        for tensor in self.tensors:
            if tensor.kind == "residual" and tensor.of is not None and tensor.offset + tensor.bytes <= len(params):
                values[tensor.of] = values[tensor.of] + _real(params, tensor)
        return values

    def encode_down(self, values: Mapping[str, NDArray[np.float64]]) -> bytes:
        """The bytes that the server sends: values rounded to nearest (halves up) and clipped to their tensor's range.

        Args:
            values: a real array for every weight and bias, of the tensor's shape.

        Raises:
            ConfigError: a tensor is missing, unknown, of another shape, or not finite.
        """
        names = {tensor.name for tensor in self.trained}
        if set(values) != names:
            raise ConfigError(f"program {self.name}: values for {sorted(values)}, the plan has {sorted(names)}")
        down = bytearray(self.down_bytes)
        for tensor in self.trained:
            value = np.asarray(values[tensor.name], dtype=np.float64)
            if value.shape != tensor.shape or not np.isfinite(value).all():
                raise ConfigError(
                    f"program {self.name}: tensor {tensor.name} has shape {value.shape} (the plan says {tensor.shape}) "
                    "or values that are not finite"
                )
            down[tensor.offset : tensor.offset + tensor.bytes] = _encode(value, tensor)
        return bytes(down)


def program_folder(name: str, firmware: Path = FIRMWARE) -> Path:
    """Folder of an emitted program.

    Raises:
        ConfigError: there is none of that name; the message lists those that there are.
    """
    folder = firmware / GENERATED / name
    if (folder / "plan.json").is_file():
        return folder
    known = ", ".join(sorted(path.parent.name for path in (firmware / GENERATED).glob("*/plan.json"))) or "none"
    raise ConfigError(
        f"no program {name!r} in {firmware / GENERATED}; there are: {known} (`bench plan MODEL` makes one)"
    )


def load_initial(name: str, firmware: Path = FIRMWARE) -> Values:
    """Real values that a program's trained tensors begin with.

    Raises:
        ConfigError: the file is missing or damaged.
    """
    path = program_folder(name, firmware) / "initial.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {key: stored[key].astype(np.float64) for key in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path}: {error}: make the program anew with `bench plan`") from error


def load_plan(name: str, firmware: Path = FIRMWARE) -> Plan:
    """Reads and validates a program's plan.json.

    Raises:
        ConfigError: naming the file and each wrong field.
    """
    path = program_folder(name, firmware) / "plan.json"
    blob = path.read_bytes()
    try:
        plan = Plan.model_validate(json.loads(blob))
    except ValueError as error:  # also of JSON and of pydantic's ValidationError
        raise ConfigError(f"{path}: {_problems(error)}") from error
    if plan.name != name:
        raise ConfigError(f"{path}: name: is {plan.name!r}, the folder is {name!r}")
    plan._plan_id = hashlib.sha256(blob).digest()[:8]
    return plan


def _problems(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return f"not JSON: {error}"
    lines = [f"{'.'.join(map(str, item['loc'])) or 'plan'}: {item['msg']}" for item in error.errors()]
    return f"{len(lines)} problem(s)\n  " + "\n  ".join(lines)


def _real(params: bytes, tensor: Tensor) -> NDArray[np.float64]:
    if tensor.dtype == "int4":
        flat = _halves(np.frombuffer(params, np.uint8, tensor.bytes, tensor.offset))[: tensor.size]
    else:
        flat = np.frombuffer(params, _DTYPES[tensor.dtype], tensor.size, tensor.offset)
    return np.ldexp(flat.reshape(tensor.shape).astype(np.float64), -tensor.exponents)


def _halves(pairs: NDArray[np.uint8]) -> NDArray[np.generic]:
    """Two's complement numbers of four bits, the low half of each byte first."""
    halves = np.stack([pairs << 4, pairs & 0xF0], axis=-1).reshape(-1)
    return halves.view(np.int8) >> 4


def _encode(value: NDArray[np.float64], tensor: Tensor) -> bytes:
    dtype = _DTYPES[tensor.dtype]
    scaled = np.ldexp(value, tensor.exponents)
    if tensor.dtype == "float32":
        return scaled.astype(dtype).tobytes()
    low, high = (-128, 127) if tensor.dtype == "int8" else (-LARGEST_BIAS, LARGEST_BIAS)
    return np.clip(np.floor(scaled + 0.5), low, high).astype(dtype).tobytes()


def _check_layout(plan: Plan) -> None:
    """What is sent down comes first, then residuals, then state; nothing overlaps, and gaps are for alignment only."""
    ends = {"weight": plan.down_bytes, "bias": plan.down_bytes, "residual": plan.up_bytes, "state": plan.params_bytes}
    starts = {"weight": 0, "bias": 0, "residual": plan.down_bytes, "state": plan.up_bytes}
    end = 0
    for tensor in sorted(plan.tensors, key=lambda tensor: tensor.offset):
        width = _DTYPES[tensor.dtype].itemsize
        if not end <= tensor.offset < end + width:
            raise ValueError(f"tensor {tensor.name}: offset {tensor.offset}, but the tensor before ends at {end}")
        if tensor.offset % width:
            raise ValueError(f"tensor {tensor.name}: offset {tensor.offset} is not aligned for {tensor.dtype}")
        end = tensor.offset + tensor.bytes
        if tensor.offset < starts[tensor.kind] or end > ends[tensor.kind]:
            raise ValueError(
                f"tensor {tensor.name}: a {tensor.kind} lies from byte {starts[tensor.kind]} to {ends[tensor.kind]}"
            )
    if not end <= plan.params_bytes < end + 4:
        raise ValueError(f"the tensors take {end} bytes, params_bytes is {plan.params_bytes}")
    if len({tensor.name for tensor in plan.tensors}) != len(plan.tensors):
        raise ValueError("tensor names must differ")


def _check_residuals(plan: Plan) -> None:
    trained = {tensor.name: tensor for tensor in plan.trained}
    refined: set[str] = set()
    for tensor in plan.tensors:
        if tensor.lift and len(tensor.lift) != tensor.shape[tensor.axis]:
            raise ValueError(f"tensor {tensor.name}: {len(tensor.lift)} lifts for {tensor.shape[tensor.axis]} channels")
        if tensor.kind != "residual":
            if tensor.of is not None:
                raise ValueError(f"tensor {tensor.name}: only a residual has `of`")
            continue
        refines = trained.get(tensor.of or "")
        if refines is None or refines.name in refined:
            raise ValueError(f"tensor {tensor.name}: must refine a weight or bias that no other refines")
        if (refines.shape, refines.lift, refines.axis) != (tensor.shape, tensor.lift, tensor.axis):
            raise ValueError(f"tensor {tensor.name}: must have the shape and lift of {refines.name}")
        refined.add(refines.name)
