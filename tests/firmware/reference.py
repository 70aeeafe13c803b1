"""The int8 engine once more, in plain numpy for clarity: what the kernels' headers say, in 64-bit integers.

Written from the headers, not from the C++: windows are padded and sliced, sums are einsums, shifts are divisions. It is
what the kernels are compared with, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]


@dataclass(frozen=True)
class Conv:
    """Convolution: x [in_h, in_w, in_c], weights [kernel_h, kernel_w, in_c, out_c]."""

    in_h: int
    in_w: int
    in_c: int
    out_c: int
    kernel_h: int
    kernel_w: int
    stride: int
    pad: int

    @property
    def out_h(self) -> int:
        return (self.in_h + 2 * self.pad - self.kernel_h) // self.stride + 1

    @property
    def out_w(self) -> int:
        return (self.in_w + 2 * self.pad - self.kernel_w) // self.stride + 1

    @property
    def fields(self) -> tuple[int, ...]:
        """In the order of Conv2dShape."""
        return (self.in_h, self.in_w, self.in_c, self.out_h, self.out_w, self.out_c, self.kernel_h, self.kernel_w,
                self.stride, self.pad)  # fmt: skip

    def windows(self, x: NDArray[np.generic]) -> NDArray[np.generic]:
        """[out_h, out_w, kernel_h, kernel_w, in_c], zeros outside."""
        padded = np.pad(x, ((self.pad, self.pad), (self.pad, self.pad), (0, 0)))
        views = np.lib.stride_tricks.sliding_window_view(padded, (self.kernel_h, self.kernel_w), axis=(0, 1))
        chosen = views[:: self.stride, :: self.stride][: self.out_h, : self.out_w]
        return np.ascontiguousarray(chosen.transpose(0, 1, 3, 4, 2))

    def scatter(self, windows: Int) -> Int:
        """The transpose of `windows`: adds each window's values up where they came from."""
        padded = np.zeros((self.in_h + 2 * self.pad, self.in_w + 2 * self.pad, self.in_c), np.int64)
        for oy in range(self.out_h):
            for ox in range(self.out_w):
                y, x = oy * self.stride, ox * self.stride
                padded[y : y + self.kernel_h, x : x + self.kernel_w] += windows[oy, ox]
        return padded[self.pad : self.pad + self.in_h, self.pad : self.pad + self.in_w]


def wide(array: NDArray[np.generic]) -> Int:
    return array.astype(np.int64)


def round_half_up(value: Int, shift: int) -> Int:
    """value / 2^shift, halves towards plus infinity."""
    return (value + 2**shift // 2) // 2**shift


def activation(sums: Int, shift: int, relu: bool) -> NDArray[np.int8]:
    return np.clip(round_half_up(sums, shift), 0 if relu else -128, 127).astype(np.int8)


def conv_sums(conv: Conv, x: NDArray[np.int8], w: NDArray[np.int8], bias: NDArray[np.int32]) -> Int:
    products = np.einsum("yxhwi,hwio->yxo", wide(conv.windows(x)), wide(w))
    return products + round_half_up(wide(bias), 8)


def dense_sums(x: NDArray[np.int8], w: NDArray[np.int8], bias: NDArray[np.int32]) -> Int:
    return wide(x) @ wide(w) + round_half_up(wide(bias), 8)


def conv_input_sums(conv: Conv, gy: NDArray[np.int8], w: NDArray[np.int8]) -> Int:
    return conv.scatter(np.einsum("yxo,hwio->yxhwi", wide(gy), wide(w)))


def conv_weight_sums(conv: Conv, gy: NDArray[np.int8], x: NDArray[np.int8]) -> Int:
    return np.einsum("yxhwi,yxo->hwio", wide(conv.windows(x)), wide(gy))


def store_gradient(sums: Int, x: NDArray[np.int8] | None) -> tuple[NDArray[np.int8], int]:
    """Masked by a ReLU's output, scaled to seven bits: the gradient and the shift."""
    masked = sums if x is None else np.where(x > 0, sums, 0)
    largest = int(np.abs(masked).max())
    shift = max(0, largest.bit_length() - 7)
    return np.clip(round_half_up(masked, shift), -127, 127).astype(np.int8), shift


def max_pool(x: NDArray[np.generic]) -> tuple[NDArray[np.generic], NDArray[np.uint8]]:
    """Pooled map, and winners packed as shapes.hpp says."""
    h, w, c = x.shape
    windows = x[: h // 2 * 2, : w // 2 * 2].reshape(h // 2, 2, w // 2, 2, c).transpose(0, 2, 4, 1, 3)
    windows = windows.reshape(h // 2, w // 2, c, 4)
    winners = windows.argmax(axis=3)  # the first of equals
    return np.take_along_axis(windows, winners[..., np.newaxis], 3)[..., 0], pack_winners(winners)


def pack_winners(winners: NDArray[np.generic]) -> NDArray[np.uint8]:
    flat = winners.reshape(-1).astype(np.uint8)
    packed = np.zeros((len(flat) + 3) // 4, np.uint8)
    for element, winner in enumerate(flat):
        packed[element // 4] |= int(winner) << (2 * (element % 4))
    return packed


def max_pool_gradient(gy: NDArray[np.generic], winners: NDArray[np.uint8], h: int, w: int) -> NDArray[np.generic]:
    gx = np.zeros((h, w, gy.shape[2]), gy.dtype)
    for element, value in enumerate(gy.reshape(-1)):
        winner = (winners[element // 4] >> (2 * (element % 4))) & 3
        oy, ox, c = np.unravel_index(element, gy.shape)
        gx[2 * oy + winner // 2, 2 * ox + winner % 2, c] = value
    return gx


def random_numbers(seed: int, stream: int, count: int) -> list[int]:
    """The linear congruential generator behind MurmurHash3's finaliser (fixed.hpp, Random)."""

    def finalise(h: int) -> int:
        h = (h ^ h >> 16) * 0x85EBCA6B % 2**32
        h = (h ^ h >> 13) * 0xC2B2AE35 % 2**32
        return h ^ h >> 16

    state = finalise(seed ^ finalise((stream + 0x9E3779B9) % 2**32))
    numbers = []
    for _ in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        numbers.append(state)
    return numbers


def reduced_rate(rate_q16: int) -> tuple[int, int]:
    """(mantissa, excess): rate_q16 as mantissa * 2^excess with at most 8 significant bits, halves up."""
    excess = max(0, rate_q16.bit_length() - 8)
    return (rate_q16 + 2**excess // 2) // 2**excess, excess


def fit_factor(mantissa: int, right: int, lowest: int) -> tuple[int, int]:
    """mantissa * 2^-right as (multiplier, shift) with shift at most 30; what is smaller still costs bits."""
    wanted = min(max(right, lowest), 40)
    shift = min(wanted, 30)
    return (mantissa + 2 ** (wanted - shift) // 2) // 2 ** (wanted - shift), shift


def update_weights(
    q: NDArray[np.int8],
    r: NDArray[np.int8],
    sums: Int,
    rate_q16: int,
    exponent: int,
    terms: int,
    seed: int,
    stream: int,
) -> tuple[NDArray[np.int8], NDArray[np.int8], int]:
    """(q, r, saturated) after the step rate * sums * 2^exponent, the weights in the order in which they lie."""
    mantissa, excess = reduced_rate(rate_q16)
    pre_shift = max(0, (terms - 1).bit_length() + 14 - 22)
    multiplier, shift = fit_factor(mantissa, 16 - excess - exponent - pre_shift, 1)
    numbers = np.array(random_numbers(seed, stream, sums.size), np.int64).reshape(sums.shape)
    product = round_half_up(sums, pre_shift) * multiplier
    step = (product + numbers // 2 ** (32 - shift)) // 2**shift
    wanted = wide(q) * 256 + wide(r) - step
    fine = np.clip(wanted, -128 * 256 - 128, 127 * 256 + 127)
    new_q = (fine + 128) // 256
    return new_q.astype(np.int8), (fine - 256 * new_q).astype(np.int8), int((fine != wanted).sum())


def update_bias(
    bias: NDArray[np.int32], sums: Int, rate_q16: int, exponent: int, seed: int, stream: int
) -> tuple[NDArray[np.int32], int]:
    """(bias, saturated) after the step rate * sums * 2^exponent."""
    mantissa, excess = reduced_rate(rate_q16)
    right = 16 - excess - exponent
    multiplier, shift = fit_factor(mantissa, right, 0)
    left = min(max(-right, 0), 30)
    numbers = np.array(random_numbers(seed, stream, sums.size), np.int64).reshape(sums.shape)
    product = np.clip(sums * multiplier, -(2**29 >> left), 2**29 >> left)
    step = (product + numbers // 2 ** (32 - shift)) // 2**shift * 2**left
    wanted = wide(bias) - step
    new = np.clip(wanted, -(2**29), 2**29)
    return new.astype(np.int32), int((new != wanted).sum())


def softmax_gradient(logits: Int, exponent: int, label: int) -> tuple[NDArray[np.float64], float, int]:
    """(p - onehot, loss, argmax) in floating point: the integer kernel has stated tolerances, not these bits."""
    z = logits / 2.0**exponent
    shifted = z - z.max()
    p = np.exp(shifted) / np.exp(shifted).sum()
    loss = float(np.log(np.exp(shifted).sum()) - shifted[label])
    p[label] -= 1.0
    return p, loss, int(z.argmax())
