"""The operators of the float32 engine twice more, both in float64: in JAX, whose autodiff gives the gradients, and in
plain numpy, whose central differences confirm that autodiff.

Neither knows of the kernels: only what the headers call x, y and weights is the same (maps [h][w][c]).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

jax.config.update("jax_enable_x64", True)

Array = NDArray[Any]
Double = NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """How windows walk along one axis."""

    size: int
    outputs: int
    kernel: int
    stride: int
    pad: int

    @property
    def pads(self) -> tuple[int, int]:
        """Before and after; negative after: what no window reads."""
        return self.pad, (self.outputs - 1) * self.stride + self.kernel - self.size - self.pad


@dataclass(frozen=True)
class Conv:
    """A convolution; its weights are [out_c, kernel_h, kernel_w, in_c / groups]."""

    rows: Axis
    columns: Axis
    in_c: int
    out_c: int
    groups: int

    @property
    def fields(self) -> Array:
        """In the order of Conv2dShape."""
        r, c = self.rows, self.columns
        return np.array([r.size, c.size, self.in_c, r.outputs, c.outputs, self.out_c, r.kernel, c.kernel, r.stride,
                         c.stride, r.pad, c.pad, self.groups], np.int32)  # fmt: skip

    @property
    def group_in(self) -> int:
        return self.in_c // self.groups

    @property
    def x_shape(self) -> tuple[int, int, int]:
        return self.rows.size, self.columns.size, self.in_c

    @property
    def y_shape(self) -> tuple[int, int, int]:
        return self.rows.outputs, self.columns.outputs, self.out_c

    @property
    def w_shape(self) -> tuple[int, int, int, int]:
        return self.out_c, self.rows.kernel, self.columns.kernel, self.group_in

    def jax(self, x: jax.Array, w: jax.Array, bias: jax.Array) -> jax.Array:
        y = jax.lax.conv_general_dilated(x[None], w, (self.rows.stride, self.columns.stride),
                                         (self.rows.pads, self.columns.pads), feature_group_count=self.groups,
                                         dimension_numbers=("NHWC", "OHWI", "NHWC"))  # fmt: skip
        return y[0] + bias

    def numpy(self, x: Double, w: Double, bias: Double) -> Double:
        grouped = windows(self.rows, self.columns, x).reshape(
            *self.y_shape[:2], self.rows.kernel, self.columns.kernel, self.groups, self.group_in
        )
        weights = w.reshape(self.groups, -1, *w.shape[1:])
        y = np.einsum("yxhwgi,gohwi->yxgo", grouped, weights)
        return y.reshape(self.y_shape) + bias


@dataclass(frozen=True)
class Pool:
    """Windows over each channel by itself."""

    rows: Axis
    columns: Axis
    channels: int

    @property
    def fields(self) -> Array:
        """In the order of PoolShape."""
        r, c = self.rows, self.columns
        return np.array([r.size, c.size, self.channels, r.outputs, c.outputs, r.kernel, c.kernel, r.stride, c.stride,
                         r.pad, c.pad], np.int32)  # fmt: skip

    @property
    def taps(self) -> int:
        return self.rows.kernel * self.columns.kernel

    @property
    def x_shape(self) -> tuple[int, int, int]:
        return self.rows.size, self.columns.size, self.channels

    @property
    def y_shape(self) -> tuple[int, int, int]:
        return self.rows.outputs, self.columns.outputs, self.channels

    def _jax(self, x: jax.Array, start: float, combine: Callable[..., Any]) -> jax.Array:
        # reduce_window takes no negative padding: what no window reads is cut off before.
        keep = [axis.size + min(0, axis.pads[1]) for axis in (self.rows, self.columns)]
        pads = [(axis.pad, max(0, axis.pads[1])) for axis in (self.rows, self.columns)]
        return jax.lax.reduce_window(x[: keep[0], : keep[1]], start, combine,
                                     (self.rows.kernel, self.columns.kernel, 1),
                                     (self.rows.stride, self.columns.stride, 1), [*pads, (0, 0)])  # fmt: skip

    def jax_average(self, x: jax.Array) -> jax.Array:
        return self._jax(x, 0.0, jax.lax.add) / self.taps

    def jax_maximum(self, x: jax.Array) -> jax.Array:
        return self._jax(x, -jnp.inf, jax.lax.max)

    def numpy_average(self, x: Double) -> Double:
        return windows(self.rows, self.columns, x).mean(axis=(2, 3))

    def numpy_maximum(self, x: Double) -> Double:
        return windows(self.rows, self.columns, x, -np.inf).max(axis=(2, 3))

    def winners(self, x: Array) -> Array:
        """The winning tap of each window, the first of equals: [elements of y]."""
        under = windows(self.rows, self.columns, x.astype(np.float64), -np.inf)
        return under.reshape(*self.y_shape[:2], self.taps, self.channels).argmax(axis=2).reshape(-1)


@dataclass(frozen=True)
class Upsampling:
    """Each element factor x factor times, cut off at out_h x out_w."""

    in_h: int
    in_w: int
    channels: int
    out_h: int
    out_w: int
    factor: int

    @property
    def fields(self) -> Array:
        """In the order of UpsampleShape."""
        return np.array([self.in_h, self.in_w, self.channels, self.out_h, self.out_w, self.factor], np.int32)

    @property
    def x_shape(self) -> tuple[int, int, int]:
        return self.in_h, self.in_w, self.channels

    @property
    def y_shape(self) -> tuple[int, int, int]:
        return self.out_h, self.out_w, self.channels

    def jax(self, x: jax.Array) -> jax.Array:
        return jnp.repeat(jnp.repeat(x, self.factor, 0), self.factor, 1)[: self.out_h, : self.out_w]

    def numpy(self, x: Double) -> Double:
        return x[np.arange(self.out_h) // self.factor][:, np.arange(self.out_w) // self.factor]


def windows(rows: Axis, columns: Axis, x: Array, outside: float = 0.0) -> Array:
    """[out_h, out_w, kernel_h, kernel_w, c]."""
    pads = [(axis.pad, max(0, axis.pads[1])) for axis in (rows, columns)]
    padded = np.pad(x, (*pads, (0, 0)), constant_values=outside)
    views = np.lib.stride_tricks.sliding_window_view(padded, (rows.kernel, columns.kernel), axis=(0, 1))
    return views[:: rows.stride, :: columns.stride][: rows.outputs, : columns.outputs].transpose(0, 1, 3, 4, 2)


def packed(numbers: Array, bits: int) -> Array:
    """Numbers of 1, 2, 4 or 8 bits in bytes, the first in the lowest bits."""
    per_byte = 8 // bits
    flat = np.zeros(-(-numbers.size // per_byte) * per_byte, np.uint64)
    flat[: numbers.size] = numbers.reshape(-1)
    shifted = flat.reshape(-1, per_byte) << np.arange(0, 8, bits, dtype=np.uint64)
    return shifted.sum(axis=1).astype(np.uint8)


def double(array: Array) -> jax.Array:
    return jnp.asarray(array, jnp.float64)


def differentiated(function: Callable[..., jax.Array], slope: Array, *arguments: Array) -> tuple[Double, list[Double]]:
    """function(arguments), and the gradients of <slope, function(arguments)> with respect to each argument, by JAX."""

    def both(slope: jax.Array, *arguments: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        value, pull = jax.vjp(function, *arguments)
        return value, pull(slope)

    value, gradients = jax.jit(both)(double(slope), *map(double, arguments))
    return np.asarray(value), [np.asarray(gradient) for gradient in gradients]


def central_difference(
    function: Callable[..., Double], slope: Array, arguments: Sequence[Array], index: int, direction: Double
) -> float:
    """d <slope, function(arguments)> / dt with argument `index` moving by t * direction."""
    step = 1e-6
    values = []
    for sign in (1, -1):
        moved = [argument.astype(np.float64) for argument in arguments]
        moved[index] += sign * step * direction
        values.append(float((slope * function(*moved)).sum()))
    return (values[0] - values[1]) / (2 * step)
