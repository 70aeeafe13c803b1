"""The plan of a training program: what its parameter bytes mean.

`plan.json` lies beside the program's source (docs/architecture.md, "Program and plan"). A stored integer v of a tensor
with exponent e stands for v * 2^-e. An int8 weight may have a residual r that refines it: the weight is then
(q * 256 + r) * 2^-(e + 8). float32 tensors have exponent 0.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from bench.errors import ConfigError

FIRMWARE = Path(__file__).parents[2] / "firmware"
PROGRAM_FOLDERS = ("programs", "generated")
"""Where programs lie below FIRMWARE: written by hand, or emitted."""

RESIDUAL_BITS = 8

LARGEST_BIAS = 2**29
"""Of a stored int32 bias: what the kernels clip to (firmware/engine/int8/update.hpp)."""

Values = dict[str, NDArray[np.float64]]
"""Real values of a model's weights and biases, by tensor name."""

_DTYPES: dict[str, np.dtype[np.generic]] = {
    "int8": np.dtype("int8"),
    "int32": np.dtype("<i4"),
    "float32": np.dtype("<f4"),
}


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Tensor(_Section):
    """One tensor of the parameters: where it lies and how its values are stored."""

    name: str = Field(min_length=1)
    kind: Literal["weight", "bias", "residual"]
    shape: tuple[int, ...] = Field(min_length=1, strict=False)
    dtype: Literal["int8", "int32", "float32"]
    offset: int = Field(ge=0)
    """Bytes from the start of the parameters."""
    exponent: int = Field(default=0, ge=-128, le=127)
    of: str | None = None
    """Of a residual: the weight that it refines."""

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of storage."""
        return self.size * _DTYPES[self.dtype].itemsize

    @property
    def fan_in(self) -> int:
        """Inputs of one output unit: all axes but the last, as weights are laid out with outputs last."""
        return math.prod(self.shape[:-1])


class InputSpec(_Section):
    """A sample: int8 features [channels, height, width]."""

    shape: tuple[int, ...] = Field(min_length=1, strict=False)
    exponent: int


class Layer(_Section):
    """One operator of the network, in the order of the forward pass; what a program's wiring follows."""

    op: Literal["conv2d", "max_pool2x2", "dense"]
    weights: str | None = None
    bias: str | None = None
    stride: int = Field(default=1, ge=1)
    pad: int = Field(default=0, ge=0)
    relu: bool = False
    exponent: int | None = None
    """Of the stored output; absent for float32 and where the output is an accumulator."""


class Plan(_Section):
    """A validated plan. `plan_id` ties a board's image to it."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    dtype: Literal["int8", "float32"]
    classes: int = Field(ge=2, le=255)
    input: InputSpec
    params_bytes: int = Field(gt=0)
    down_bytes: int = Field(gt=0)
    arena_bytes: int = Field(gt=0)
    sample_bytes: int = Field(gt=0)
    macs_forward: int = Field(ge=0)
    macs_backward: int = Field(ge=0)
    layers: tuple[Layer, ...] = Field(default=(), strict=False)
    tensors: tuple[Tensor, ...] = Field(min_length=1, strict=False)
    _plan_id: bytes = PrivateAttr(default=b"")

    @property
    def plan_id(self) -> bytes:
        """First 8 bytes of SHA-256 of plan.json; empty for a plan that was not loaded from a file."""
        return self._plan_id

    @property
    def trained(self) -> tuple[Tensor, ...]:
        """Weights and biases: the tensors that `decode` returns."""
        return tuple(tensor for tensor in self.tensors if tensor.kind != "residual")

    @model_validator(mode="after")
    def _consistent(self) -> "Plan":
        if self.down_bytes > self.params_bytes:
            raise ValueError(f"down_bytes {self.down_bytes} is more than params_bytes {self.params_bytes}")
        if math.prod(self.input.shape) != self.sample_bytes:
            raise ValueError(f"sample_bytes {self.sample_bytes} is not the product of input.shape {self.input.shape}")
        _check_layout(self)
        _check_residuals(self)
        _check_layers(self)
        return self

    def decode(self, params: bytes) -> Values:
        """Real values of weights (residuals included) and biases.

        Args:
            params: `params_bytes` bytes, or `down_bytes` bytes: residuals then count as zero.

        Raises:
            ConfigError: another length.
        """
        if len(params) not in (self.params_bytes, self.down_bytes):
            raise ConfigError(
                f"program {self.name}: {len(params)} bytes of parameters; "
                f"the plan says {self.down_bytes} (down) or {self.params_bytes} (all)"
            )
        residuals = {tensor.of: tensor for tensor in self.tensors if tensor.kind == "residual"}
        values: Values = {}
        for tensor in self.trained:
            stored = _stored(params, tensor).astype(np.float64)
            residual = residuals.get(tensor.name)
            if residual is not None and len(params) == self.params_bytes:
                stored = stored + _stored(params, residual) * 2.0**-RESIDUAL_BITS
            values[tensor.name] = np.ldexp(stored, -tensor.exponent)
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

    def initial(self, seed: int) -> Values:
        """Seeded initial values: weights He-normal (standard deviation sqrt(2 / fan-in)), biases zero.

        The values do not depend on the number format: programs with the same tensors begin alike.
        """
        generator = np.random.default_rng(seed)
        values: Values = {}
        for tensor in self.trained:
            if tensor.kind == "bias":
                values[tensor.name] = np.zeros(tensor.shape)
            else:
                values[tensor.name] = generator.normal(0.0, math.sqrt(2.0 / tensor.fan_in), tensor.shape)
        return values


def program_folder(name: str, firmware: Path = FIRMWARE) -> Path:
    """Folder of a program.

    Raises:
        ConfigError: there is none of that name; the message lists those that there are.
    """
    known: set[str] = set()
    for parent in PROGRAM_FOLDERS:
        known.update(path.parent.name for path in (firmware / parent).glob("*/plan.json"))
        if name in known and (firmware / parent / name / "plan.json").is_file():
            return firmware / parent / name
    raise ConfigError(
        f"no program {name!r} in {firmware / PROGRAM_FOLDERS[0]}; there are: {', '.join(sorted(known)) or 'none'}"
    )


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


def _stored(params: bytes, tensor: Tensor) -> NDArray[np.float64]:
    flat = np.frombuffer(params, _DTYPES[tensor.dtype], tensor.size, tensor.offset)
    return flat.reshape(tensor.shape).astype(np.float64)


def _encode(value: NDArray[np.float64], tensor: Tensor) -> bytes:
    dtype = _DTYPES[tensor.dtype]
    scaled = np.ldexp(value, tensor.exponent)
    if tensor.dtype == "float32":
        return scaled.astype(dtype).tobytes()
    low, high = (-128, 127) if tensor.dtype == "int8" else (-LARGEST_BIAS, LARGEST_BIAS)
    return np.clip(np.floor(scaled + 0.5), low, high).astype(dtype).tobytes()


def _check_layout(plan: Plan) -> None:
    """Every byte of the parameters belongs to one tensor, those that are sent down before those that are not."""
    end = 0
    for tensor in sorted(plan.tensors, key=lambda tensor: tensor.offset):
        if tensor.offset != end:
            raise ValueError(f"tensor {tensor.name}: offset {tensor.offset}, but the tensor before ends at {end}")
        if tensor.offset % _DTYPES[tensor.dtype].itemsize:
            raise ValueError(f"tensor {tensor.name}: offset {tensor.offset} is not aligned for {tensor.dtype}")
        down = tensor.offset + tensor.bytes <= plan.down_bytes
        if (tensor.kind == "residual") == down or (not down and tensor.offset < plan.down_bytes):
            raise ValueError(
                f"tensor {tensor.name}: residuals lie behind down_bytes {plan.down_bytes}, all else before"
            )
        end += tensor.bytes
    if end != plan.params_bytes:
        raise ValueError(f"the tensors take {end} bytes, params_bytes is {plan.params_bytes}")
    if len({tensor.name for tensor in plan.tensors}) != len(plan.tensors):
        raise ValueError("tensor names must differ")


def _check_residuals(plan: Plan) -> None:
    weights = {tensor.name: tensor for tensor in plan.tensors if tensor.kind == "weight"}
    refined: set[str] = set()
    for tensor in plan.tensors:
        if tensor.kind != "residual":
            if tensor.of is not None:
                raise ValueError(f"tensor {tensor.name}: only a residual has `of`")
            continue
        weight = weights.get(tensor.of or "")
        if weight is None or weight.name in refined or weight.dtype != "int8" or tensor.dtype != "int8":
            raise ValueError(f"tensor {tensor.name}: must be int8 and refine one int8 weight that no other refines")
        if weight.shape != tensor.shape or tensor.exponent != weight.exponent + RESIDUAL_BITS:
            raise ValueError(
                f"tensor {tensor.name}: must have the shape of {weight.name} "
                f"and exponent {weight.exponent + RESIDUAL_BITS}"
            )
        refined.add(weight.name)


def _check_layers(plan: Plan) -> None:
    kinds = {tensor.name: tensor.kind for tensor in plan.tensors}
    for index, layer in enumerate(plan.layers):
        for name, kind in ((layer.weights, "weight"), (layer.bias, "bias")):
            if (name is None) != (layer.op == "max_pool2x2") or (name is not None and kinds.get(name) != kind):
                raise ValueError(f"layers.{index}: {layer.op} with {kind} {name!r}, which is no such tensor")
