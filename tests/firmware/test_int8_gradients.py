"""The int8 gradients point where an independent autodiff (JAX) says, once the peaks have settled.

On heavy-tailed random values operator by operator, and on a network's own on Fashion-MNIST, all its kernels in a chain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from engine_targets import Argument, HostTarget
from float32_reference import Array, Axis, Conv, Double, Pool, Upsampling, differentiated, double, packed
from int8_backward_cases import SOURCES, Map, Step, conv_gradient_arguments
from int8_quantised import Stored, StoredWeights, cosine

from bench.data import fashion_mnist

HOST = HostTarget("int8-backward", SOURCES)
SETTLE, MEASURED = 20, 8
LEAST = 0.99

THREE = Axis(12, 12, 3, 1, 1)
CONV = Conv(THREE, THREE, 8, 16, 1)
GROUPED = Conv(Axis(12, 6, 3, 2, 1), Axis(12, 6, 3, 2, 1), 8, 16, 4)
POINTWISE = Conv(Axis(8, 8, 1, 1, 0), Axis(8, 8, 1, 1, 0), 24, 16, 1)
DENSE = Conv(Axis(4, 1, 4, 1, 0), Axis(4, 1, 4, 1, 0), 16, 10, 1)
DEPTHWISE = Conv(THREE, THREE, 8, 8, 8)
POOL = Pool(Axis(12, 6, 3, 2, 1), Axis(12, 6, 3, 2, 1), 8)
APART = Pool(Axis(12, 6, 2, 2, 0), Axis(12, 6, 2, 2, 0), 8)
UPSAMPLING = Upsampling(6, 6, 8, 12, 12, 2)

Draw = Callable[[np.random.Generator, tuple[int, ...]], Double]
DRAWS: dict[str, Draw] = {
    "gaussian": lambda generator, shape: generator.normal(0, 1, shape),
    "laplace": lambda generator, shape: generator.laplace(0, 1, shape),
}


def incoming(generator: np.random.Generator, draw: Draw, shape: tuple[int, ...]) -> Stored:
    """A gradient as it is stored: of a size that differs much from step to step, with up to a bit to spare."""
    real = draw(generator, shape) * 2.0 ** generator.uniform(-8, 2)
    stored = Stored.of(real)
    return Stored.of(real, stored.exponent - int(generator.integers(2)))


def real_weights(generator: np.random.Generator, draw: Draw, shape: tuple[int, ...]) -> Double:
    """[out_c, ...], of a magnitude that differs from channel to channel."""
    magnitude = 2.0 ** generator.uniform(-4, 0, shape[0])
    return draw(generator, shape) * magnitude.reshape(-1, *[1] * (len(shape) - 1))


@dataclass
class Case:
    """One operator's input gradient: a step's call into the map, and what JAX says."""

    x_shape: tuple[int, ...]
    step: Callable[[np.random.Generator, Map], Double]


def conv_case(conv: Conv, draw: Draw, depthwise: bool = False) -> Case:
    terms = conv.rows.kernel * conv.columns.kernel * (conv.out_c // conv.groups)
    w = StoredWeights.of(real_weights(np.random.default_rng(5), draw, conv.w_shape), terms=terms)
    name, values = "conv2d_input_gradient", w.values
    if depthwise:
        name, values = f"depthwise{name[4:]}", np.ascontiguousarray(w.values[..., 0].transpose(1, 2, 0))

    def step(generator: np.random.Generator, gx: Map) -> Double:
        gy = incoming(generator, draw, conv.y_shape)
        arguments = conv_gradient_arguments(conv, gy.values, (gy.exponent, w.exponent), values, values.shape[-1] // 2,
                                            w.lift)  # fmt: skip
        gx.write(HOST, name, *arguments)
        return differentiated(conv.jax, gy.real, np.zeros(conv.x_shape), w.real, np.zeros(conv.out_c))[1][0]

    return Case(conv.x_shape, step)


def avg_pool_case(draw: Draw) -> Case:
    def step(generator: np.random.Generator, gx: Map) -> Double:
        gy = incoming(generator, draw, POOL.y_shape)
        gx.write(HOST, "avg_pool_gradient", POOL.fields, gy.values, gy.exponent)
        return differentiated(POOL.jax_average, gy.real, np.zeros(POOL.x_shape))[1][0]

    return Case(POOL.x_shape, step)


def max_pool_case(pool: Pool, draw: Draw) -> Case:
    def step(generator: np.random.Generator, gx: Map) -> Double:
        gy, x = incoming(generator, draw, pool.y_shape), draw(generator, pool.x_shape)
        winners = packed(pool.winners(x), 2 if pool.taps == 4 else 4)
        gx.write(HOST, "max_pool_gradient", pool.fields, gy.values, gy.exponent, winners)
        return differentiated(pool.jax_maximum, gy.real, x)[1][0]

    return Case(pool.x_shape, step)


def upsample_case(draw: Draw) -> Case:
    def step(generator: np.random.Generator, gx: Map) -> Double:
        gy = incoming(generator, draw, UPSAMPLING.y_shape)
        gx.write(HOST, "upsample_gradient", UPSAMPLING.fields, gy.values, gy.exponent)
        return differentiated(UPSAMPLING.jax, gy.real, np.zeros(UPSAMPLING.x_shape))[1][0]

    return Case(UPSAMPLING.x_shape, step)


def add_case(draw: Draw) -> Case:
    def step(generator: np.random.Generator, gx: Map) -> Double:
        a = incoming(generator, draw, (400,))
        b = Stored.of(draw(generator, (400,)) * 2.0 ** (-a.exponent + generator.uniform(3, 7)))
        gx.write(HOST, "add_gradients", 400, a.values, a.exponent, b.values, b.exponent)
        return a.real + b.real

    return Case((400,), step)


CASES: dict[str, Callable[[Draw], Case]] = {
    "conv2d": lambda draw: conv_case(CONV, draw),
    "grouped": lambda draw: conv_case(GROUPED, draw),
    "pointwise": lambda draw: conv_case(POINTWISE, draw),
    "dense": lambda draw: conv_case(DENSE, draw),
    "depthwise2d": lambda draw: conv_case(DEPTHWISE, draw, depthwise=True),
    "avg_pool": avg_pool_case,
    "max_pool": lambda draw: max_pool_case(APART, draw),
    "max_pool, overlapping": lambda draw: max_pool_case(POOL, draw),
    "upsample": upsample_case,
    "add": add_case,
}


@pytest.mark.parametrize("distribution", DRAWS)
@pytest.mark.parametrize("name", CASES)
def test_an_input_gradient_points_where_autodiff_says(name: str, distribution: str) -> None:
    case = CASES[name](DRAWS[distribution])
    generator = np.random.default_rng(9)
    gx = Map(case.x_shape, generator.random(case.x_shape) < 0.6)
    cosines, sizes = [], []
    for index in range(SETTLE + MEASURED):
        exact = np.where(gx.gate, case.step(generator, gx), 0)
        found = gx.values.reshape(gx.shape) * 2.0**-gx.exponent
        if index >= SETTLE:
            cosines.append(cosine(found, exact))
            sizes.append(np.linalg.norm(found) / np.linalg.norm(exact))
    assert np.mean(cosines) >= LEAST
    assert np.mean(sizes) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("distribution", DRAWS)
@pytest.mark.parametrize("depthwise", [False, True])
def test_a_weight_update_goes_where_autodiff_says(distribution: str, depthwise: bool) -> None:
    generator, draw = np.random.default_rng(4), DRAWS[distribution]
    conv = DEPTHWISE if depthwise else CONV
    weights = StoredWeights.of(real_weights(generator, draw, conv.w_shape))
    x, gy = Stored.of(np.maximum(draw(generator, conv.x_shape), 0)), incoming(generator, draw, conv.y_shape)
    slope = differentiated(conv.jax, gy.real, x.real, weights.real, np.zeros(conv.out_c))[1][1]
    found = moved_by_one_step(conv, weights, gy, x, slope, depthwise)
    assert cosine(found, -slope) >= LEAST


def moved_by_one_step(
    conv: Conv, weights: StoredWeights, gy: Stored, x: Stored, slope: Double, depthwise: bool
) -> Double:
    """Of weights [out_c, kernel_h, kernel_w, group_in]; the rate is such that the longest step takes four units."""
    stored, name = weights, "conv2d_update"
    if depthwise:
        turned = np.ascontiguousarray(weights.values[..., 0].transpose(1, 2, 0))
        stored, name = StoredWeights(turned, weights.lift, weights.exponent, 2), "depthwise2d_update"
    trained = stored.trained("accumulated")
    rate = max(1, round(65536 * float((4 * weights.units() / np.maximum(np.abs(slope), 1e-30)).min())))
    step = Step(rate, 12)
    HOST.call(name, step.sgd, *trained.arguments(2, conv, gy.values, gy.exponent, x.values, x.exponent))
    moved = stored.moved(trained)
    return moved.transpose(2, 0, 1)[..., None] if depthwise else moved


FIRST = Conv(Axis(14, 14, 3, 1, 1), Axis(14, 14, 3, 1, 1), 1, 12, 1)
HALVED = Pool(Axis(14, 7, 2, 2, 0), Axis(14, 7, 2, 2, 0), 12)
MIDDLE = Conv(Axis(7, 7, 3, 1, 1), Axis(7, 7, 3, 1, 1), 12, 12, 12)
MIXED = Conv(Axis(7, 7, 1, 1, 0), Axis(7, 7, 1, 1, 0), 12, 12, 1)
WHOLE = Pool(Axis(7, 1, 7, 7, 0), Axis(7, 1, 7, 7, 0), 12)
LAST = Conv(Axis(1, 1, 1, 1, 0), Axis(1, 1, 1, 1, 0), 12, 10, 1)
LAYERS = (FIRST, MIDDLE, MIXED, LAST)


def forward(weights: list[jax.Array], x: jax.Array) -> dict[str, jax.Array]:
    """conv 3x3, ReLU, max-pooling, depthwise 3x3, ReLU, conv 1x1 and a skip connection, ReLU, global average, dense."""
    zeros = jnp.zeros(12)
    maps = {"x": x}
    maps["first"] = jax.nn.relu(FIRST.jax(x, weights[0], zeros))
    maps["halved"] = HALVED.jax_maximum(maps["first"])
    maps["middle"] = jax.nn.relu(MIDDLE.jax(maps["halved"], weights[1], zeros))
    maps["mixed"] = jax.nn.relu(MIXED.jax(maps["middle"], weights[2], zeros) + maps["halved"])
    maps["whole"] = WHOLE.jax_average(maps["mixed"])
    maps["logits"] = LAST.jax(maps["whole"], weights[3], jnp.zeros(10))
    return maps


class Chain:
    """The network's backward pass by int8 kernels, with peaks that stay from sample to sample."""

    def __init__(self, weights: list[StoredWeights], exponents: dict[str, int]) -> None:
        self._weights = weights
        self._exponents = exponents
        self._maps = {name: Map(shape) for name, shape in
                      {"whole": WHOLE.y_shape, "mixed": WHOLE.x_shape, "middle": MIXED.x_shape, "skip": HALVED.y_shape,
                       "halved": HALVED.y_shape, "first": HALVED.x_shape}.items()}  # fmt: skip

    def _write(self, to: str, name: str, before: list[Argument], gate: Array | None) -> Stored:
        gx = self._maps[to]
        gx.gate = gate
        gx.write(HOST, name, *before)
        return Stored(gx.values, gx.exponent)

    def _through(self, layer: int, gy: Stored, to: str, gate: Array | None) -> Stored:
        w, conv = self._weights[layer], LAYERS[layer]
        values, name = w.values, "conv2d_input_gradient"
        if conv is MIDDLE:
            values, name = np.ascontiguousarray(values[..., 0].transpose(1, 2, 0)), "depthwise2d_input_gradient"
        arguments = conv_gradient_arguments(conv, gy.values, (gy.exponent, w.exponent), values, 1, w.lift)
        return self._write(to, name, arguments, gate)

    def backward(self, real: dict[str, Array], loss_gradient: Array, slopes: list[Double]) -> list[Double]:
        """The steps of the four layers' weights; `slopes` (their exact gradients) only choose the rate."""
        maps = {name: Stored.of(value, self._exponents[name]) for name, value in real.items() if name != "logits"}
        is_open = {name: stored.values > 0 for name, stored in maps.items()}
        logits = Stored.of(loss_gradient)
        whole = self._through(3, logits, "whole", None)
        pooled: list[Argument] = [WHOLE.fields, whole.values, whole.exponent]
        mixed = self._write("mixed", "avg_pool_gradient", pooled, is_open["mixed"])
        middle = self._through(2, mixed, "middle", is_open["middle"])
        skipped = self._through(1, middle, "skip", None)
        halved = self._write("halved", "add_gradients", [skipped.values.size, skipped.values, skipped.exponent,
                                                         mixed.values, mixed.exponent], None)  # fmt: skip
        winners = packed(HALVED.winners(maps["first"].values), 2)
        first = self._write("first", "max_pool_gradient", [HALVED.fields, halved.values, halved.exponent, winners],
                            is_open["first"])  # fmt: skip
        pairs = ((first, "x"), (middle, "halved"), (mixed, "middle"), (logits, "whole"))
        return [
            moved_by_one_step(conv, w, gy, maps[x], slope, conv is MIDDLE)
            for conv, w, (gy, x), slope in zip(LAYERS, self._weights, pairs, slopes, strict=True)
        ]


def test_a_network_s_gradients_on_fashion_mnist_point_where_autodiff_says() -> None:
    """Weights from He's initialisation; the maps are rounded, so that gates near zero differ too."""
    data = fashion_mnist.load()
    samples = data.train_x[: SETTLE + 24].transpose(0, 2, 3, 1) / 2.0**fashion_mnist.EXPONENT
    generator = np.random.default_rng(11)
    weights = [StoredWeights.of(generator.normal(0, np.sqrt(2 / np.prod(c.w_shape[1:])), c.w_shape)) for c in LAYERS]
    real = [double(w.real) for w in weights]
    run = jax.jit(lambda x: forward(real, x))
    slope_of = jax.jit(jax.grad(lambda ws, x, onehot: -(onehot * jax.nn.log_softmax(forward(ws, x)["logits"])).sum()))
    largest = {name: float(jnp.abs(jax.vmap(run)(double(samples))[name]).max()) for name in run(samples[0])}
    chain = Chain(weights, {name: int(np.floor(np.log2(127 / value))) for name, value in largest.items()})

    settled = []
    for index, (sample, label) in enumerate(zip(samples, data.train_y, strict=False)):
        maps = {name: np.asarray(value) for name, value in run(sample).items()}
        onehot = (np.arange(10) == label).reshape(1, 1, 10)
        slopes = [np.asarray(s) for s in slope_of(real, sample, onehot)]
        steps = chain.backward(maps, np.asarray(jax.nn.softmax(maps["logits"])) - onehot, slopes)
        if index >= SETTLE:
            settled.append([cosine(step, -slope) for step, slope in zip(steps, slopes, strict=True)])
    assert (np.mean(settled, axis=0) >= LEAST).all()
