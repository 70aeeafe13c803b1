"""Exponents: near the real network, the least error, and within what the arithmetic can do."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import reference_quantised as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.compiler.adapters import insert
from bench.compiler.quantise import least_error_exponents, lift_limit, quantise
from bench.compiler.scheme import choose
from bench.errors import ConfigError
from bench.model import graph as g
from bench.model.graph import INPUT, Add, AvgPool, Graph, MaxPool, Upsample
from bench.model.zoo import load_zoo, zoo_names
from bench.model.zoo.builder import Builder

INPUT_EXPONENT = 6


def smooth_samples(graph: Graph, count: int = 4, seed: int = 3) -> np.ndarray:
    """Random numbers on a grid four times as coarse, interpolated: what neighbours in an image have in common."""
    height, width, channels = graph.input_shape
    coarse = np.random.default_rng(seed).normal(0, 0.8, (count, height // 4 + 2, width // 4 + 2, channels))
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2)
    fine = sum(fine[:, dy : dy + height, dx : dx + width] for dy in range(4) for dx in range(4)) / 16
    return np.clip(fine, -2, 127 / 64).astype(np.float32)


def as_stored(samples: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(samples * 2**INPUT_EXPONENT), -128, 127).astype(np.int8)


def real(graph, exponents, maps):
    """Stored integers as the real values that they stand for."""
    values = {}
    for node in graph.nodes:
        exponent = exponents.outputs.get(node.name)
        if exponent is None:
            source = exponents.outputs.get(node.inputs[0], exponents.input)
            exponent = source + exponents.weights[node.name].exponent
        values[node.name] = maps[node.name] * 2.0**-exponent
    return values


def cosine(a, b):
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


def check_limits(graph, exponents):
    """Everything that the kernels ask of exponents."""
    known = {INPUT: exponents.input, **exponents.outputs}
    for node in graph.nodes:
        e = [known[name] for name in node.inputs]
        if node.is_conv:
            scale = exponents.weights[node.name]
            assert len(scale.lift) == node.shape[2]
            assert min(scale.lift) == 0
            assert max(scale.lift) <= lift_limit(node)
        if node.name not in exponents.outputs:
            assert node is graph.nodes[-1]
            assert 0 <= e[0] + scale.exponent <= 30
            continue
        y = known[node.name]
        if node.is_conv:
            assert min(e[0] + scale.exponent - lift - y for lift in scale.lift) >= 0
            assert max(e[0] + scale.exponent - lift - y for lift in scale.lift) <= 30
        elif isinstance(node.op, Add):
            assert max(*e, y) - min(e) <= 15
            assert max(*e, y) - y <= 22
        elif isinstance(node.op, AvgPool):
            assert 0 <= y - e[0] <= 7
        else:
            assert isinstance(node.op, MaxPool | Upsample)
            assert y == e[0]
        if node.activation == "relu6":
            assert 6 * 2.0**y in range(3, 128)
    if graph.nodes[-1].is_conv:
        assert not any(exponents.weights[graph.nodes[-1].name].lift)


# --- networks ---

SCHEMES = [(name, "full") for name in zoo_names()]
SCHEMES += [("ds-cnn", "low-rank-4"), ("resnet-8", "lite-residual"), ("lenet-5", "lite-residual+full")]


@pytest.mark.parametrize(("name", "scheme"), SCHEMES)
def test_the_quantised_network_computes_what_the_real_one_does(name, scheme):
    graph = insert(load_zoo(name), scheme)
    samples = smooth_samples(graph)
    exponents = quantise(graph, samples, trained=choose(graph, scheme))
    check_limits(graph, exponents)
    unseen = smooth_samples(graph, seed=11)
    wanted = reference.float_forward(graph, as_stored(unseen) / 2.0**INPUT_EXPONENT)
    got = real(graph, exponents, reference.quantised_forward(graph, exponents, as_stored(unseen)))
    last = graph.nodes[-1].name
    assert cosine(wanted[last], got[last]) >= 0.95
    assert np.linalg.norm(got[last]) == pytest.approx(np.linalg.norm(wanted[last]), rel=0.3)


def test_what_an_adapter_adds_fits_its_sum_once_it_has_trained():
    """Rehearsed: the branch is no longer zero, and its map has an exponent of its own."""
    graph = insert(load_zoo("ds-cnn"), "low-rank-4")
    rehearsed = with_weights(graph, "conv3_lora_b", lambda w: w + 0.05)
    samples = smooth_samples(graph)
    before = quantise(graph, samples, trained=choose(graph, "low-rank-4"))
    after = quantise(graph, samples, rehearsed=rehearsed, trained=choose(graph, "low-rank-4"))
    check_limits(graph, before)
    check_limits(graph, after)
    assert after.weights["conv3_lora_b"].exponent == math.floor(math.log2(127 / 0.05))
    assert after.outputs["conv3_lora_b"] > before.outputs["conv3_lora_b"]


# --- exponents ---


def with_weights(graph, name, change):
    """The network with one layer's weights changed."""
    nodes = [
        dataclasses.replace(node, weights=change(node.weights).astype(np.float32)) if node.name == name else node
        for node in graph.nodes
    ]
    return dataclasses.replace(graph, nodes=tuple(nodes))


def error(values, exponent):
    return np.square(np.clip(np.rint(values * 2.0**exponent), -128, 127) / 2.0**exponent - values).mean()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.sampled_from(["normal", "laplace", "uniform"]), st.integers(-20, 20))
def test_the_exponent_has_the_least_error_of_all(seed, kind, scale):
    draw = getattr(np.random.default_rng(seed), kind)
    values = draw(-1, 1, 300) * 2.0**scale
    best = int(least_error_exponents(values[None])[0])
    assert error(values, best) == min(error(values, exponent) for exponent in range(best - 8, best + 9))


def test_an_outlier_is_clipped_where_that_is_worth_it():
    values = np.append(np.full(100_000, 0.3), 1.2)
    assert least_error_exponents(values[None])[0] == 8, "the outlier alone would ask for 6"


def test_weights_that_train_can_grow_to_twice_their_largest():
    graph = load_zoo("lenet-5")
    samples = smooth_samples(graph)
    still = quantise(graph, samples)
    growing = quantise(graph, samples, trained=choose(graph, "list:conv2.weight[:3],fc5"))
    assert growing.weights["fc5"].exponent == still.weights["fc5"].exponent - 1
    by_channel = [[s.exponent - lift for lift in s.lift] for s in (still.weights["conv2"], growing.weights["conv2"])]
    assert [b - a for a, b in zip(*by_channel, strict=True)] == [-1] * 16
    assert growing.weights["fc4"] == still.weights["fc4"]


def test_of_a_depthwise_layer_only_the_channels_that_train_have_room():
    graph = load_zoo("ds-cnn")
    samples = smooth_samples(graph)
    still = quantise(graph, samples).weights["dw2"]
    growing = quantise(graph, samples, trained=choose(graph, "list:dw2.weight[:5]")).weights["dw2"]
    change = [(growing.exponent - b) - (still.exponent - a) for a, b in zip(still.lift, growing.lift, strict=True)]
    assert change == [-1] * 5 + [0] * 59


def test_a_rehearsed_network_fits_as_well():
    graph = load_zoo("lenet-5")
    samples = smooth_samples(graph)
    rehearsed = with_weights(graph, "fc4", lambda w: 8 * w)
    alone, both = quantise(graph, samples), quantise(graph, samples, rehearsed=rehearsed)
    assert both.weights["fc4"].exponent == alone.weights["fc4"].exponent - 3
    assert both.outputs["fc4"] == alone.outputs["fc4"] - 3
    assert both.weights["fc3"] == alone.weights["fc3"]


def test_channels_of_different_size_have_exponents_of_their_own():
    graph = load_zoo("ds-cnn")
    sizes = 2.0 ** -(np.arange(64) % 4)
    graph = with_weights(graph, "conv3", lambda w: np.sign(w) * sizes[:, None, None, None] * 0.9)
    lift = quantise(graph, smooth_samples(graph)).weights["conv3"].lift
    assert lift == tuple(3 - i % 4 for i in range(64))


def test_lifts_leave_room_for_the_sums_of_the_input_gradient():
    """576 outputs of a 1x1 kernel: 17 - 10 bits; 3x3 with 64: 17 - 10; depthwise: 7; 160 of 5x5: 5."""
    net = Builder("net", (8, 8, 4), 0)
    nodes = [net.conv(576, 1), net.conv(64, 3), net.depthwise(3), net.conv(160, 5), net.dense(3, activation="linear")]
    graph = net.graph()
    assert [lift_limit(graph.node(name)) for name in nodes] == [7, 7, 7, 5, 7]
    spread = with_weights(graph, nodes[3], lambda w: w * 2.0 ** -(np.arange(160) % 12)[:, None, None, None])
    assert max(quantise(spread, smooth_samples(graph)).weights[nodes[3]].lift) == 5


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_every_limit_holds_whatever_the_sizes_of_the_weights(data):
    """A network with all operators, its layers scaled up and down by up to 2^6, and biases too."""
    net = Builder("net", (9, 9, 3), data.draw(st.integers(0, 1000)))
    start = net.conv(8, 3, activation=data.draw(st.sampled_from(["relu", "relu6", "linear"])))
    net.depthwise(3, activation="relu6")
    net.add(
        start, net.conv(8, 1, activation="linear"), activation=data.draw(st.sampled_from(["relu", "relu6", "linear"]))
    )
    net.max_pool(2)
    net.conv(12, 3)
    net.global_average()
    net.dense(6)
    net.dense(4, activation=data.draw(st.sampled_from(["linear", "relu"])))
    graph = insert(net.graph(), data.draw(st.sampled_from(["full", "lite-residual", "low-rank-1"])))
    scales = st.integers(-6, 6)
    nodes = []
    for node in graph.nodes:
        if node.is_conv:
            weights = node.weights * np.float32(2.0 ** data.draw(scales))
            bias = np.full_like(node.bias, 2.0 ** data.draw(scales) * data.draw(st.sampled_from([0, 1, -1])))
            node = dataclasses.replace(node, weights=weights, bias=bias)
        nodes.append(node)
    graph = dataclasses.replace(graph, nodes=tuple(nodes))
    samples = smooth_samples(graph)
    try:
        exponents = quantise(graph, samples, trained=choose(graph, "bias"))
    except ConfigError as error:
        if "outputs are in steps" not in str(error):  # they may be 2^42 times as large as they began
            raise
        return
    check_limits(graph, exponents)
    reference.quantised_forward(graph, exponents, as_stored(samples))


def test_terms_of_very_different_size_are_brought_together():
    """A sum shifts left by 15 at most: the finer term has to be coarser than it would like."""
    net = Builder("net", (4, 4, 2), 0)
    large = net.conv(4, 1, activation="linear")
    small = net.conv(4, 1, activation="linear", source=INPUT)
    net.add(large, small)
    net.dense(3, activation="linear")
    graph = with_weights(net.graph(), large, lambda w: w * 2.0**10)
    graph = with_weights(graph, small, lambda w: w * 2.0**-12)
    exponents = quantise(graph, smooth_samples(graph))
    check_limits(graph, exponents)
    assert exponents.outputs[small] - exponents.outputs[large] == 15


def test_large_biases_stay_within_int32():
    graph = load_zoo("mlp")
    nodes = [
        dataclasses.replace(n, weights=n.weights * np.float32(2e-5), bias=n.bias + np.float32(1000))
        if n.name == "fc2" else n for n in graph.nodes
    ]  # fmt: skip
    graph = dataclasses.replace(graph, nodes=tuple(nodes))
    exponents = quantise(graph, smooth_samples(graph))
    assert 1000 * 2.0 ** (exponents.outputs["fc1"] + exponents.weights["fc2"].exponent) <= 2**20
    check_limits(graph, exponents)


def test_channels_of_zeros_do_not_decide_anything():
    graph = load_zoo("ds-cnn")
    samples = smooth_samples(graph)
    whole = quantise(graph, samples).weights["conv3"]
    pruned = quantise(with_weights(graph, "conv3", lambda w: w * (np.arange(64) > 0)[:, None, None, None]), samples)
    assert pruned.weights["conv3"].exponent == whole.exponent
    assert pruned.weights["conv3"].lift == (0, *whole.lift[1:])


# --- refused ---


def test_samples_and_rehearsals_of_another_network_are_refused():
    graph = load_zoo("lenet-5")
    samples = smooth_samples(graph)
    for wrong in (samples[0], samples[:, :20], samples[:0]):
        with pytest.raises(ConfigError, match="samples of shape"):
            quantise(graph, wrong)
    with pytest.raises(ConfigError, match="finite"):
        quantise(graph, np.full_like(samples, np.nan))
    with pytest.raises(ConfigError, match="another"):
        quantise(graph, samples, rehearsed=load_zoo("mlp"))


def test_values_that_int8_cannot_hold_are_refused():
    graph = load_zoo("lenet-5")
    samples = smooth_samples(graph)
    with pytest.raises(ConfigError, match="not finite"):
        quantise(with_weights(graph, "fc3", lambda w: np.full_like(w, 3e38)), samples)
    with pytest.raises(ConfigError, match="last layer"):
        quantise(with_weights(graph, "fc5", lambda w: w * 1e9), samples)


def test_the_loss_of_an_autoencoder_reads_sums_too():
    graph = load_zoo("autoencoder", input_shape=(1, 1, 64))
    assert "fc10" not in quantise(graph, smooth_samples(graph)).outputs
    assert g.is_dense(graph, graph.nodes[-1])
