"""What the int8 engine is for: gradients that point the right way, steps that are not lost, training that learns."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference as ref
from engine_targets import HostTarget
from numpy.typing import NDArray

from bench.data import fashion_mnist
from bench.errors import ConfigError
from bench.fleet import engine as engine_module
from bench.fleet.engine import Engine, compile_shared, learning_rate_q16
from bench.model.plan import Values

CONV = ref.Conv(14, 14, 1, 12, 3, 3, 1, 0)
SHAPE = np.array(CONV.fields, np.int32)
POOL = np.array([12, 12, 12], np.int32)
DENSE = np.array([432, 10], np.int32)
COSINE = 0.99


@pytest.fixture(scope="module")
def data() -> fashion_mnist.Dataset:
    return fashion_mnist.load()


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine("demo_int8")


@pytest.fixture(scope="module")
def host() -> HostTarget:
    return HostTarget("demo_int8")


@pytest.fixture(scope="module")
def trained(engine: Engine, data: fashion_mnist.Dataset) -> bytes:
    """Half-trained parameters: gradients of the size that training really meets."""
    start = engine.plan.encode_down(engine.plan.initial(1))
    params, _ = engine.train(start, data.train_x[:2000], data.train_y[:2000], learning_rate=0.05, seed=1)
    return params


def cosine(a: NDArray[np.generic], b: NDArray[np.generic] | jax.Array) -> float:
    a, b = np.asarray(a, np.float64).reshape(-1), np.asarray(b, np.float64).reshape(-1)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def convolve(x: jax.Array, w: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def stored(params: bytes, engine: Engine, name: str) -> NDArray[np.generic]:
    tensor = next(tensor for tensor in engine.plan.tensors if tensor.name == name)
    dtype = np.int8 if tensor.dtype == "int8" else np.int32
    return np.frombuffer(params, dtype, tensor.size, tensor.offset).reshape(tensor.shape).copy()


def gradient_from_update(host: HostTarget, kernel: str, shape: NDArray[np.int32], gy: NDArray[np.int8],
                         x: NDArray[np.int8], weights: tuple[int, ...]) -> NDArray[np.float64]:  # fmt: skip
    """The weight gradient that an update kernel applies, read off zero weights in the scale that fills their range."""
    for exponent in range(-20, 30):  # from too coarse a unit to the first that fits
        q, r = np.zeros(weights, np.int8), np.zeros(weights, np.int8)
        sgd = np.array([65536, 1, 0, 0], np.uint32)
        host.call(kernel, shape, sgd, gy, x, np.array([exponent, 0, 0], np.int32), q, r)
        if sgd[2] == 0:
            return -(q * 256.0 + r)
    raise AssertionError("no scale fits")


def test_each_operator_s_gradient_points_as_autodiff_s_does(
    host: HostTarget, engine: Engine, data: fashion_mnist.Dataset, trained: bytes
) -> None:
    """Real images, real weights: every backward kernel on the int8 inputs it meets, against JAX on the same numbers."""
    conv_w, conv_b = stored(trained, engine, "conv.weight"), stored(trained, engine, "conv.bias")
    dense_w, dense_b = stored(trained, engine, "dense.weight"), stored(trained, engine, "dense.bias")
    seen = 0
    for index in range(40):
        x = data.test_x[index].reshape(14, 14, 1)
        y, patch = np.zeros((12, 12, 12), np.int8), np.zeros(9, np.int8)
        host.call("int8_conv2d", SHAPE, x, conv_w, conv_b, 6, 1, patch, y)
        pooled, winners = np.zeros((6, 6, 12), np.int8), np.zeros(108, np.uint8)
        host.call("int8_max_pool", POOL, y, pooled, winners)
        logits, g, result = np.zeros(10, np.int32), np.zeros(10, np.int8), np.zeros(3, np.int32)
        host.call("int8_dense_logits", DENSE, pooled, dense_w, dense_b, logits)
        label = int(data.test_y[index])
        slope = jax.grad(lambda z, label=label: -jax.nn.log_softmax(z)[label])(jnp.asarray(logits / 2.0**12))
        host.call("int8_softmax_cross_entropy", 10, logits, 12, label, g, np.zeros(10, np.uint32), result)
        if np.abs(slope).max() < 2**-9:
            continue  # learned to the last bit: no gradient to speak of
        seen += 1
        assert cosine(g, slope) >= COSINE

        dx, dw = jax.vjp(lambda a, b: a @ b, jnp.asarray(pooled.reshape(-1) * 1.0), jnp.asarray(dense_w * 1.0))[1](
            jnp.asarray(g * 1.0)
        )
        masked = jnp.where(pooled.reshape(-1) > 0, dx, 0)
        g_pooled = np.zeros(432, np.int8)
        host.call("int8_dense_input_gradient", DENSE, g, np.array([0, 0, 0], np.int32), dense_w, pooled, g_pooled)
        assert cosine(g_pooled, masked) >= COSINE
        found = gradient_from_update(host, "int8_dense_update", DENSE, g, pooled, (432, 10))
        assert cosine(found, dw) >= COSINE

        g_map = np.zeros((12, 12, 12), np.int8)
        host.call("int8_max_pool_gradient", POOL, g_pooled, winners, g_map)
        image, weights = jnp.asarray(x[None] * 1.0), jnp.asarray(conv_w * 1.0)
        pull = jax.vjp(convolve, image, weights)[1]
        dx, dw = pull(jnp.asarray(g_map[None] * 1.0))
        found = gradient_from_update(host, "int8_conv2d_update", SHAPE, g_map, x, (3, 3, 1, 12))
        assert cosine(found, dw) >= COSINE
        gx = np.zeros((14, 14, 1), np.int8)
        host.call("int8_conv2d_input_gradient", SHAPE, g_map, np.array([0, 0, 0], np.int32), conv_w, None, gx)
        assert cosine(gx, dx) >= COSINE
    assert seen >= 20


def test_the_whole_step_points_as_autodiff_s_does(engine: Engine, data: fashion_mnist.Dataset, trained: bytes) -> None:
    """All rounding together: the mean gradient over 200 images, at the real values of the stored weights."""
    down = trained[: engine.plan.down_bytes]
    before = engine.plan.decode(down)
    total = {name: np.zeros(value.shape) for name, value in before.items()}
    for index in range(200):
        after, _ = engine.train(down, data.test_x[index : index + 1], data.test_y[index : index + 1],
                                learning_rate=0.05, seed=index)  # fmt: skip
        for name, value in engine.plan.decode(after).items():
            total[name] += before[name] - value

    def loss(values: dict[str, jax.Array], x: jax.Array, label: jax.Array) -> jax.Array:
        y = convolve(x[None], values["conv.weight"])[0]
        y = jnp.maximum(y + values["conv.bias"], 0).reshape(6, 2, 6, 2, 12).max(axis=(1, 3)).reshape(-1)
        return -jax.nn.log_softmax(y @ values["dense.weight"] + values["dense.bias"])[label]

    images = jnp.asarray(data.test_x[:200].transpose(0, 2, 3, 1) / 64.0)
    labels = jnp.asarray(data.test_y[:200])
    weights = {name: jnp.asarray(value) for name, value in before.items()}
    exact = jax.grad(lambda v: jax.vmap(loss, (None, 0, 0))(v, images, labels).mean())(weights)
    for name, value in exact.items():
        assert cosine(total[name], value) >= 0.97, name


def test_training_lowers_the_loss(engine: Engine, data: fashion_mnist.Dataset) -> None:
    plan = engine.plan
    start = plan.encode_down(plan.initial(2))
    before = engine.infer(start, data.test_x, data.test_y)
    params, result = engine.train(start, data.train_x[:3000], data.train_y[:3000], learning_rate=0.04, seed=2)
    after = engine.infer(params, data.test_x, data.test_y)
    assert before.accuracy < 0.25
    assert after.accuracy > 0.72
    assert after.loss < 0.4 * before.loss
    assert result.samples == 3000
    assert before.loss > result.loss > 0
    assert result.accuracy == result.correct / 3000
    assert (after.predictions == data.test_y).mean() == pytest.approx(after.accuracy)


def test_int8_learns_as_well_as_float32(engine: Engine, data: fashion_mnist.Dataset) -> None:
    accuracies = []
    for program in (engine, Engine("demo_float32")):
        params = program.plan.encode_down(program.plan.initial(4))
        for rate in (0.05, 0.02, 0.005):
            params, _ = program.train(params, data.train_x[:4000], data.train_y[:4000], learning_rate=rate, seed=4)
        accuracies.append(program.infer(params, data.test_x, data.test_y).accuracy)
    assert min(accuracies) > 0.8
    assert accuracies[0] > accuracies[1] - 0.02


def rank_one(host: HostTarget, q: NDArray[np.int8], r: NDArray[np.int8], g: int, seed: int, exponent: int) -> int:
    """One dense update of all weights by the same gradient g; returns how many were clipped."""
    sgd = np.array([65536, seed, 0, 0], np.uint32)
    shape = np.array([1, q.size], np.int32)
    gy = np.full(q.size, g, np.int8)
    host.call("int8_dense_update", shape, sgd, gy, np.array([1], np.int8), np.array([exponent, 0, 0], np.int32), q, r)
    return int(sgd[2])


def test_small_steps_are_not_lost(host: HostTarget) -> None:
    """4,096 steps of 1/4096 of an int8 unit, each 16 times below the residual's grid, move every weight by one unit."""
    weights = 500
    q, r = np.full((1, weights), 10, np.int8), np.zeros((1, weights), np.int8)
    for seed in range(4096):
        rank_one(host, q, r, 1, seed, exponent=12)
    moved = 10 - (q * 256.0 + r) / 256
    assert moved.mean() == pytest.approx(1.0, abs=0.01)
    assert moved.std() < 0.1


def test_zero_mean_noise_does_not_shrink_weights_though_truncation_does(host: HostTarget) -> None:
    """Gradients of +-0.9 units at random. Truncating each new weight towards zero instead loses weight every time."""
    generator = np.random.default_rng(0)
    start = generator.integers(-60, 61, (1, 2000)).astype(np.int8)
    q, r, truncated = start.copy(), np.zeros_like(start), start.astype(np.float64)
    noise = generator.choice([-115, 115], 400)  # 115 / 128 = 0.9 of a unit
    noise = generator.permutation(np.concatenate([noise, -noise]))  # its sum is zero
    for seed, step in enumerate(noise):
        assert rank_one(host, q, r, int(step), seed, exponent=7) == 0
        truncated = np.trunc(truncated - step / 128)
    mean = np.abs(start.astype(int)).mean()
    assert np.abs(q * 1.0 + r / 256.0).mean() == pytest.approx(mean, rel=0.01)
    assert np.abs(truncated).mean() < 0.5 * mean


@pytest.mark.parametrize(("sign", "end"), [(-1, (127, 127)), (1, (-128, -128))])
def test_weights_clip_at_both_ends_and_are_counted(host: HostTarget, sign: int, end: tuple[int, int]) -> None:
    q, r = np.array([[end[0], 0, end[0]]], np.int8), np.array([[end[1], 0, 0]], np.int8)
    clipped = rank_one(host, q, r, sign * 127, 1, exponent=7)  # almost one unit outwards
    assert clipped == 2
    assert (q[0, 0], r[0, 0]) == end
    assert (q[0, 2], r[0, 2]) == end
    assert abs(int(q[0, 1])) == 1
    assert rank_one(host, q, r, -sign * 127, 2, exponent=7) == 0, "and they come back"
    assert abs(q[0, 0] * 256.0 + r[0, 0]) == abs(end[0] * 256.0 + end[1]) - 254


def test_a_residual_carries_into_its_weight_and_back(host: HostTarget) -> None:
    q, r = np.array([[5]], np.int8), np.array([[127]], np.int8)
    rank_one(host, q, r, -1, 1, exponent=8)  # + 1/256: 5 + 128/256 rounds up
    assert (q[0, 0], r[0, 0]) == (6, -128)
    rank_one(host, q, r, 1, 1, exponent=8)
    assert (q[0, 0], r[0, 0]) == (5, 127)


def test_a_board_s_order_and_seeds(engine: Engine, data: fashion_mnist.Dataset) -> None:
    """Training is a sequence of steps: sample (first + i) mod N with seed + i; so a run may be cut anywhere."""
    x, y, start = data.train_x[:7], data.train_y[:7], engine.plan.encode_down(engine.plan.initial(5))
    whole, result = engine.train(start, x, y, learning_rate=0.03, seed=40, first=5, count=9)
    part, one = engine.train(start, x, y, learning_rate=0.03, seed=40, first=5, count=4)
    part, two = engine.train(part, x, y, learning_rate=0.03, seed=44, first=9, count=5)
    assert part == whole
    assert one.loss_q16 + two.loss_q16 == result.loss_q16
    ordered, _ = engine.train(start, x, y, learning_rate=0.03, seed=40, order=[5, 6, 0, 1, 2, 3, 4, 5, 6])
    assert ordered == whole
    other, _ = engine.train(start, x, y, learning_rate=0.03, seed=41, first=5, count=9)
    assert other != whole, "the seed feeds the stochastic rounding"
    assert engine.begin(start) == start + bytes(engine.plan.params_bytes - engine.plan.down_bytes)


def test_threads_may_share_an_engine(engine: Engine, data: fashion_mnist.Dataset) -> None:
    start = engine.plan.encode_down(engine.plan.initial(6))
    barrier = threading.Barrier(4)

    def work(seed: int) -> bytes:
        barrier.wait(timeout=30)
        return engine.train(start, data.train_x[:200], data.train_y[:200], learning_rate=0.03, seed=seed % 2)[0]

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(4)))
    assert results[0] == results[2] != results[1] == results[3]


def test_wrong_arguments_are_refused(engine: Engine, data: fashion_mnist.Dataset) -> None:
    start, x, y = engine.plan.encode_down(engine.plan.initial(1)), data.test_x[:3], data.test_y[:3]
    refused = [
        lambda: engine.infer(start + b"\0", x, y),
        lambda: engine.infer(start, x[:, :, :13], y),
        lambda: engine.infer(start, x.astype(np.float32), y),
        lambda: engine.infer(start, x, y[:2]),
        lambda: engine.infer(start, x, np.array([1, 2, 10], np.uint8)),
        lambda: engine.begin(start[1:]),
        lambda: engine.train(start, x, y, learning_rate=0.01, seed=1, order=[0, 3]),
        lambda: engine.train(start, x, y, learning_rate=0.01, seed=1, order=[-1]),
        lambda: engine.train(start, x, y, learning_rate=1e-7, seed=1),
        lambda: learning_rate_q16(0.0),
        lambda: learning_rate_q16(float("nan")),
        lambda: Engine("no_such_program"),
    ]
    for attempt in refused:
        with pytest.raises(ConfigError):
            attempt()


def test_a_source_that_does_not_compile_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTTE_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "broken.cpp"
    source.write_text("int main( {\n")
    with pytest.raises(ConfigError, match=r"broken\.cpp:1"):
        compile_shared([source], tmp_path, "broken")
    assert not list((tmp_path / "cache").rglob("*.so"))


def test_processes_that_compile_at_once_end_with_one_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTTE_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "small.cpp"
    source.write_text('extern "C" int answer() { return 42; }\n')
    with ThreadPoolExecutor(3) as pool:
        paths = set(pool.map(lambda _: compile_shared([source], tmp_path, "small"), range(3)))
    assert len(paths) == 1
    assert [path.name for path in (tmp_path / "cache" / "engine").iterdir()] == [paths.pop().name]
    source.write_text('extern "C" int answer() { return 43; }\n')
    compile_shared([source], tmp_path, "small")
    assert len(list((tmp_path / "cache" / "engine").iterdir())) == 2, "another content, another library"


def test_a_program_that_is_not_what_its_plan_says_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = engine_module.load_plan("demo_int8")
    lying = plan.model_copy(update={"arena_bytes": plan.arena_bytes + 4})
    monkeypatch.setattr(engine_module, "load_plan", lambda *_: lying)
    with pytest.raises(ConfigError, match=r"arena_bytes is 1836 in program\.cpp and 1840 in plan\.json"):
        Engine("demo_int8")


def test_values_of_the_plan_are_values_of_the_program(engine: Engine, data: fashion_mnist.Dataset) -> None:
    """Exponents in plan.json and in program.cpp agree: the program's loss is that of the decoded values."""
    start = engine.plan.encode_down(engine.plan.initial(8))
    values: Values = engine.plan.decode(start)
    losses = []
    for index in range(50):
        x = data.test_x[index, 0] / 64.0
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3))
        y = np.maximum(np.einsum("yxhw,hwo->yxo", windows, values["conv.weight"][:, :, 0]) + values["conv.bias"], 0)
        pooled = y.reshape(6, 2, 6, 2, 12).max(axis=(1, 3)).reshape(-1)
        logits = pooled @ values["dense.weight"] + values["dense.bias"]
        losses.append(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[data.test_y[index]])
    found = engine.infer(start, data.test_x[:50], data.test_y[:50]).loss
    assert found == pytest.approx(np.mean(losses), rel=0.02)
