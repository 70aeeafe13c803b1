"""The float evaluation that calibration uses agrees with an independent one in jax, and both with numbers by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import ConfigError
from bench.model.evaluate import forward
from bench.model.graph import INPUT, Add, AvgPool, Conv2d, Graph, MaxPool, Node, Op, Shape, Upsample
from tests import reference_network


def conv(name: str, source: str, shape: Shape, group_in: int, window: Conv2d, activation: str = "linear") -> Node:
    """A convolution with random parameters."""
    draw = np.random.default_rng(len(name) + shape[2])
    kernel = draw.normal(0, 0.4, (shape[2], *window.kernel, group_in)).astype(np.float32)
    bias = draw.normal(0, 0.4, shape[2]).astype(np.float32)
    return Node(name, window, (source,), shape, activation, kernel, bias)  # type: ignore[arg-type]


def everything(loss: str = "softmax_cross_entropy") -> Graph:
    """Every operator, with padding that differs from side to side, and windows that leave rows out."""
    nodes = (
        conv("stem", INPUT, (5, 7, 4), 3, Conv2d((3, 2), (2, 1), (1, 0)), "relu6"),
        conv("deep", "stem", (5, 7, 4), 1, Conv2d((3, 3), (1, 1), (1, 1), groups=4), "relu"),
        conv("pair", "deep", (5, 7, 4), 2, Conv2d((1, 3), (1, 1), (0, 1), groups=2)),
        Node("sum", Add(), ("pair", "stem"), (5, 7, 4), "relu"),
        Node("max", MaxPool((3, 3), (2, 2), (1, 1)), ("sum",), (3, 4, 4)),
        Node("mean", AvgPool((2, 2), (2, 2), (0, 1)), ("max",), (1, 2, 4)),
        Node("large", Upsample(2), ("mean",), (2, 3, 4)),
        conv("dense", "large", (1, 1, 6), 4, Conv2d((2, 3))),
    )
    return Graph("everything", (9, 8, 3), nodes, loss)  # type: ignore[arg-type]


def samples(graph: Graph, count: int, seed: int = 0) -> np.ndarray:
    """Random ones, [n, h, w, c]."""
    return np.random.default_rng(seed).normal(0, 1.5, (count, *graph.input_shape)).astype(np.float32)


def test_every_node_s_output_is_the_reference_s() -> None:
    graph = everything()
    batch = samples(graph, 3)
    found = forward(graph, batch)
    assert list(found) == [node.name for node in graph.nodes]
    for i, sample in enumerate(batch):
        for name, wanted in reference_network.outputs(graph, sample).items():
            assert found[name].shape == (3, *graph.shape_of(name))
            assert found[name].dtype == np.float32
            np.testing.assert_allclose(found[name][i], wanted, rtol=1e-4, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_window(data: st.DataObject) -> None:
    side = st.integers(1, 4)
    kernel, stride = data.draw(st.tuples(side, side)), data.draw(st.tuples(side, side))
    size = data.draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    pad = (data.draw(st.integers(0, kernel[0] - 1)), data.draw(st.integers(0, kernel[1] - 1)))
    # The most windows that begin in the map or before it; fewer are possible too.
    most = [(size[i] - 1 + pad[i]) // stride[i] + 1 for i in (0, 1)]
    out = tuple(data.draw(st.integers(1, limit)) for limit in most)
    kind = data.draw(st.sampled_from([MaxPool, AvgPool, "conv", "depthwise"]))
    if kind in ("conv", "depthwise"):
        groups = 4 if kind == "depthwise" else data.draw(st.sampled_from([1, 2]))
        node = conv("a", INPUT, (*out, 4), 4 // groups, Conv2d(kernel, stride, pad, groups))
    else:
        node = Node("a", kind(kernel, stride, pad), (INPUT,), (*out, 4))
    graph = Graph("one", (*size, 4), (node,), "mean_squared_error")
    batch = samples(graph, 2)
    found = forward(graph, batch)["a"]
    for i in (0, 1):
        np.testing.assert_allclose(found[i], reference_network.outputs(graph, batch[i])["a"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("op", "out", "wanted"),
    [
        (MaxPool((2, 2), (2, 2), (1, 1)), (2, 2, 1), [-1, -2, -4, -5]),  # padding never wins
        (AvgPool((2, 2), (2, 2), (1, 1)), (2, 2, 1), [-0.25, -1.25, -2.75, -7]),  # and counts as zeros
        (
            Upsample(2),
            (5, 6, 1),
            [-1, -1, -2, -2, -3, -3] * 2 + [-4, -4, -5, -5, -6, -6] * 2 + [-7, -7, -8, -8, -9, -9],
        ),
    ],
)
def test_numbers_by_hand(op: Op, out: Shape, wanted: list[float]) -> None:
    graph = Graph("hand", (3, 3, 1), (Node("a", op, (INPUT,), out),), "mean_squared_error")
    sample = -np.arange(1, 10, dtype=np.float32).reshape(1, 3, 3, 1)
    np.testing.assert_array_equal(forward(graph, sample)["a"].ravel(), np.asarray(wanted, np.float32))
    np.testing.assert_array_equal(reference_network.outputs(graph, sample[0])["a"].ravel(), wanted)


def test_many_samples_are_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = everything()
    batch = samples(graph, 7)
    whole = forward(graph, batch)["dense"]
    monkeypatch.setattr("bench.model.evaluate.LARGEST_PATCHES", 1000)
    np.testing.assert_allclose(forward(graph, batch)["dense"], whole, rtol=1e-6)


def test_samples_of_another_shape_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"everything.*\(3, 9, 8\).*\(9, 8, 3\)"):
        forward(everything(), np.zeros((1, 3, 9, 8), np.float32))


# The reference itself: derivatives against differences.


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mean_squared_error"])
def test_the_reference_s_gradients_are_differences_of_its_loss(loss: str) -> None:
    graph = everything(loss)
    sample = samples(graph, 1)[0]
    value, found = reference_network.gradients(graph, sample, 2)
    y = forward(graph, sample[None])["dense"].ravel().astype(np.float64)
    by_hand = np.log(np.exp(y).sum()) - y[2] if loss[0] == "s" else np.mean((y - np.eye(6)[2]) ** 2)
    assert value == pytest.approx(by_hand, rel=1e-5)
    draw = np.random.default_rng(5)
    step = 1e-6
    for name in found:
        for part in (0, 1):
            params = {key: [np.array(a) for a in pair] for key, pair in reference_network.parameters(graph).items()}
            spot = tuple(draw.integers(size) for size in params[name][part].shape)
            losses = []
            for sign in (1, -2):
                params[name][part][spot] += sign * step
                losses.append(
                    reference_network.gradients(graph, sample, 2, {k: tuple(v) for k, v in params.items()})[0]
                )
            difference = (losses[0] - losses[1]) / (2 * step)
            assert found[name][part][spot] == pytest.approx(difference, rel=1e-4, abs=1e-8)


def test_gradients_of_maps_lead_to_those_of_biases() -> None:
    graph = everything()
    sample = samples(graph, 1)[0]
    _, found = reference_network.gradients(graph, sample, 1)
    maps = reference_network.map_gradients(graph, sample, 1)
    assert maps[INPUT].shape == graph.input_shape
    for name in ("pair", "dense"):  # linear: the bias's derivative is the map's, summed over positions
        np.testing.assert_allclose(found[name][1], maps[name].sum(axis=(0, 1)), rtol=1e-6, atol=1e-9)


def test_a_reconstruction_is_compared_with_the_sample() -> None:
    node = conv("same", INPUT, (1, 1, 6), 6, Conv2d((1, 1)))
    graph = Graph("auto", (1, 1, 6), (node,), "mean_squared_error")
    sample = samples(graph, 1)[0]
    y = forward(graph, sample[None])["same"][0]
    assert reference_network.gradients(graph, sample, 0)[0] == pytest.approx(np.mean((y - sample) ** 2), rel=1e-5)
