"""Adapters: a network computes the same with them as without, until they have trained."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import reference_quantised as reference

from bench.compiler.adapters import insert
from bench.errors import ConfigError
from bench.model import graph as g
from bench.model.graph import Add, AvgPool, Upsample
from bench.model.zoo import load_zoo
from bench.model.zoo.builder import Builder

FITTING = [
    (name, scheme)
    for scheme, names in {
        "low-rank-2": ("mlp", "lenet-5", "ds-cnn", "resnet-8", "autoencoder", "mcunet-5fps"),
        "lite-residual": ("demo-cnn", "lenet-5", "ds-cnn", "resnet-8", "mcunet-5fps"),
    }.items()
    for name in names
]


def outputs(graph, samples):
    return reference.float_forward(graph, samples)[graph.nodes[-1].name]


def samples_for(graph, count=2):
    return np.random.default_rng(5).normal(0, 0.7, (count, *graph.input_shape))


@pytest.mark.parametrize(("name", "scheme"), FITTING)
def test_nothing_changes_at_first(name, scheme):
    plain = load_zoo(name)
    adapted = insert(plain, scheme)
    assert len(adapted.nodes) > len(plain.nodes)
    assert adapted.parameters > plain.parameters
    samples = samples_for(plain)
    assert np.array_equal(outputs(plain, samples), outputs(adapted, samples))


@pytest.mark.parametrize(("name", "scheme"), FITTING)
def test_every_adapter_has_a_say_in_the_output(name, scheme):
    """With other weights than zero in its last convolution, each one changes what the network computes."""
    plain = load_zoo(name)
    adapted = insert(plain, scheme)
    samples = samples_for(plain, 1)
    before = outputs(plain, samples)
    last = [node.name for node in adapted.convs if node.name.endswith(("_lora_b", "_lite_out"))]
    for changed in (last[0], last[-1]):
        nodes = [
            dataclasses.replace(node, weights=np.full_like(node.weights, 0.3)) if node.name == changed else node
            for node in adapted.nodes
        ]
        after = outputs(dataclasses.replace(adapted, nodes=tuple(nodes)), samples)
        assert not np.allclose(before, after), changed


def test_a_scheme_without_adapters_leaves_the_network_alone():
    graph = load_zoo("ds-cnn")
    assert insert(graph, "sparse-10") is graph


def test_low_rank_goes_beside_a_layer_and_takes_its_activation():
    graph = insert(load_zoo("mlp"), "low-rank-4+bias")
    assert graph.node("fc1").activation == "linear"
    a, b, total = (graph.node(f"fc1_{part}") for part in ("lora_a", "lora_b", "sum"))
    assert a.inputs == graph.node("fc1").inputs
    assert a.shape == (1, 1, 4)
    assert a.conv.kernel == (28, 28)
    assert b.inputs == (a.name,)
    assert not b.weights.any()
    assert (total.inputs, total.activation) == (("fc1", b.name), "relu")
    assert graph.node("fc2").inputs == ("fc1_sum",)
    assert "fc3_lora_a" not in [node.name for node in graph.nodes], "the last layer trains anyway"


def test_low_rank_leaves_larger_kernels_and_depthwise_layers_alone():
    graph = insert(load_zoo("ds-cnn"), "low-rank-4")
    beside = {node.name.removesuffix("_lora_a") for node in graph.nodes if node.name.endswith("_lora_a")}
    assert beside == {"conv3", "conv5", "conv7", "conv9"}


def test_lite_residual_goes_around_residual_blocks():
    graph = insert(load_zoo("resnet-8"), "lite-residual")
    around = {node.name.removesuffix("_lite_pool"): node for node in graph.nodes if isinstance(node.op, AvgPool)}
    assert set(around) - {"pool1"} == {"add1", "add2", "add3"}
    assert around["add1"].inputs == ("conv1",)
    assert around["add2"].inputs == ("add1_sum",)
    assert graph.node("add1").activation == "linear"
    assert graph.node("add1_sum").activation == "relu"


def test_lite_residual_goes_around_inverted_blocks_and_those_inside_a_residual_block_only_once():
    graph = insert(load_zoo("mcunet-5fps"), "lite-residual")
    around = [node.name.removesuffix("_lite_conv") for node in graph.nodes if node.name.endswith("_lite_conv")]
    # conv0 is no block; dw1-conv2 is one without expansion; the block in front of each sum belongs to the sum's.
    assert around == ["conv2", "conv5", "add9", "conv12", "add16", "conv19", "add23", "conv26", "add30", "add34",
                      "conv37", "add41", "add45", "conv48"]  # fmt: skip


def test_a_lite_residual_branch():
    """resnet-8's second block: 32x32x16 in, 16x16x32 out."""
    graph = insert(load_zoo("resnet-8"), "lite-residual")
    pool, conv, out, up = (graph.node(f"add2_lite_{part}") for part in ("pool", "conv", "out", "up"))
    assert pool.shape == (16, 16, 16)
    assert (conv.shape, conv.conv.stride, conv.conv.groups, conv.activation) == ((8, 8, 16), (2, 2), 8, "relu")
    assert out.shape == (8, 8, 32)
    assert not out.weights.any()
    assert isinstance(up.op, Upsample)
    assert up.shape == graph.node("add2").shape == (16, 16, 32)


def test_maps_of_odd_size_are_rounded_up():
    """ds-cnn's 25x5: pooled to 13x3, and cut off after upsampling."""
    graph = insert(load_zoo("ds-cnn"), "lite-residual")
    assert graph.node("conv3_lite_pool").shape == (13, 3, 64)
    assert graph.node("conv3_lite_up").shape == (25, 5, 64)


def test_the_channels_of_a_group_divide_whatever_the_block_reads():
    net = Builder("net", (12, 12, 12), 0)
    net.depthwise(3)
    net.conv(20, 1)
    net.global_average()
    net.dense(3, activation="linear")
    conv = insert(net.graph(), "lite-residual").node("conv2_lite_conv")
    assert conv.conv.groups == 4
    assert conv.shape[2] == 16
    assert conv.weights.shape == (16, 3, 3, 3)


def test_a_residual_block_may_end_the_network():
    net = Builder("net", (1, 1, 24), 0)
    start = net.dense(16)
    net.dense(16, activation="linear")
    net.add(start, net.last)
    graph = insert(net.graph(), "low-rank-1")
    assert isinstance(graph.nodes[-1].op, Add)
    assert graph.node("add1").inputs == ("fc1_sum", "fc2"), "fc2 is the last layer"
    assert np.array_equal(outputs(net.graph(), samples_for(graph)), outputs(graph, samples_for(graph)))


@pytest.mark.parametrize(("name", "scheme"), [("mlp", "lite-residual"), ("demo-cnn", "low-rank-4")])
def test_a_network_without_a_place_for_them_is_refused(name, scheme):
    with pytest.raises(ConfigError, match=scheme):
        insert(load_zoo(name), scheme)


def test_adapters_are_always_the_same():
    one, two = (insert(load_zoo("ds-cnn"), "low-rank-4") for _ in range(2))
    assert all(np.array_equal(a.weights, b.weights) for a, b in zip(one.convs, two.convs, strict=True))
    assert g.macs(one, one.node("conv3_lora_a")) == 25 * 5 * 64 * 4
