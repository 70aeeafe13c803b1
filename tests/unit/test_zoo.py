"""The zoo's networks are the published ones: multiply-accumulates, parameters, and shapes along the way."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from bench.errors import ConfigError
from bench.model import graph as g
from bench.model import zoo
from bench.model.zoo import load_zoo, zoo_names
from bench.model.zoo.builder import Builder

# Multiply-accumulates and parameters with batch normalisation folded. MLPerf Tiny's Keras models have four numbers more
# for each normalised channel: 24,908 (ds-cnn, 64 channels x 9 layers), 78,666 (resnet-8), 221,794 (mobilenet),
# 269,992 (autoencoder), as their summaries say.
PUBLISHED = {
    "demo-cnn": (12 * 12 * 12 * 9 + 6 * 6 * 12 * 10, 4_450),
    "mlp": (784 * 64 + 64 * 32 + 32 * 10, 784 * 64 + 64 * 32 + 32 * 10 + 64 + 32 + 10),
    "lenet-5": (416_520, 61_706),
    "ds-cnn": (2_656_768, 24_908 - 4 * 9 * 64),
    "resnet-8": (12_501_632, 78_666 - 4 * (3 * 16 + 2 * 32 + 2 * 64)),
    "mobilenet-v1-0.25": (7_489_664, 221_794 - 4 * 2_736),
    "autoencoder": (264_192, 269_992 - 4 * (8 * 128 + 8)),
}
TABLE = Path(zoo.__file__).with_name("mcunet_5fps.csv")


def macs(graph: g.Graph) -> int:
    return sum(g.macs(graph, node) for node in graph.nodes)


@pytest.mark.parametrize("name", PUBLISHED)
def test_macs_and_parameters_are_the_published_ones(name):
    graph = load_zoo(name)
    assert (macs(graph), graph.parameters) == PUBLISHED[name]


def test_mcunet_is_its_table_row_by_row():
    graph = load_zoo("mcunet-5fps")
    with TABLE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(graph.nodes) == 51
    for row, node in zip(rows, graph.nodes, strict=True):
        assert g.macs(graph, node) == int(row["macs"]), node.name
        assert node.shape == tuple(int(row[key]) for key in ("out_h", "out_w", "out_c")), node.name
        source = graph.shape_of(node.inputs[0])
        assert source == tuple(int(row[key]) for key in ("in_h", "in_w", "in_c")), node.name
        assert g.is_depthwise(graph, node) == (row["op"] == "depthwise_conv_2d"), node.name
        assert node.activation == (row["activation"] or "linear"), node.name
    assert round(macs(graph) / 1e6, 2) == 22.46


def test_mcunet_s_sums_read_the_layers_that_the_table_names():
    graph = load_zoo("mcunet-5fps")
    assert graph.node("add9").inputs == ("conv5", "conv8")
    assert graph.node("add34").inputs == ("add30", "conv33")


def test_the_largest_map_of_mcunet_is_as_measured():
    """The forward peak that was measured, 163,840 bytes: the map between layers 3 and 4, and what is made of it."""
    graph = load_zoo("mcunet-5fps")
    assert max(graph.node(n.inputs[0]).size + n.size for n in graph.nodes[1:] if n.is_conv) == 163_840


@pytest.mark.parametrize("name", zoo_names())
def test_a_seed_gives_the_same_weights_and_another_seed_others(name):
    first, again, other = load_zoo(name), load_zoo(name), load_zoo(name, seed=1)
    weights = [[node.weights for node in graph.convs] for graph in (first, again, other)]
    assert all(np.array_equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))
    assert all(np.count_nonzero(node.bias) == 0 for node in first.convs)


def test_weights_have_he_s_variance():
    """2 / fan_in in front of a ReLU, 1 / fan_in in front of nothing."""
    graph = load_zoo("mlp")
    assert graph.node("fc1").weights.std() == pytest.approx((2 / 784) ** 0.5, rel=0.01)
    assert graph.node("fc3").weights.std() == pytest.approx((1 / 32) ** 0.5, rel=0.1)


def test_residual_branches_begin_small():
    graph = load_zoo("resnet-8")
    branch, beside = graph.node("conv8"), graph.node("conv9")
    assert branch.weights.std() * branch.weights[0].size ** 0.5 == pytest.approx(0.5, rel=0.15)
    assert beside.weights.std() * beside.weights[0].size ** 0.5 == pytest.approx(1.0, rel=0.15)


def test_padding_same_is_tensorflow_s_and_a_number_is_pytorch_s():
    """An even map and stride 2: TensorFlow pads below and to the right only."""
    net = Builder("net", (8, 8, 1), 0)
    same = net.conv(4, 3, stride=2)
    number = net.conv(4, 3, stride=2, pad=1, source="input")
    net.add(same, number)
    graph = net.graph()
    assert graph.node(same).shape == graph.node(number).shape == (4, 4, 4)
    assert graph.node(same).conv.pad == (0, 0)
    assert graph.node(number).conv.pad == (1, 1)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("ds-cnn", (28, 28, 1)), ("lenet-5", (20, 24, 3)), ("resnet-8", (14, 14, 1)), ("mobilenet-v1-0.25", (32, 32, 1))],
)
def test_another_input_and_other_classes(name, shape):
    graph = load_zoo(name, input_shape=shape, classes=7)
    assert graph.input_shape == shape
    assert graph.nodes[-1].shape == (1, 1, 7)


def test_an_autoencoder_reconstructs_inputs_of_any_size():
    graph = load_zoo("autoencoder", input_shape=(1, 1, 64))
    assert graph.reconstructs
    assert graph.outputs == 64


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "lenet"}, "lenet-5"),
        ({"name": "demo-cnn", "input_shape": (3, 3, 1)}, "too small"),
        ({"name": "mcunet-5fps", "input_shape": (64, 64, 3)}, "128x128x3"),
        ({"name": "autoencoder", "classes": 10}, "no classes"),
        ({"name": "mlp", "input_shape": (0, 1, 1)}, "at least 1"),
        ({"name": "mlp", "classes": 0}, "at least 1"),
        ({"name": "mlp", "classes": 300}, "255"),
    ],
)
def test_what_an_architecture_does_not_allow_is_refused(arguments, said):
    with pytest.raises(ConfigError, match=said):
        load_zoo(**arguments)
