"""Differentiation at compile time: just what the trained parameters ask for is computed and kept."""

from __future__ import annotations

import pytest

from bench.compiler.compile import with_adapters
from bench.compiler.differentiate import Dtype, Schedule, differentiate
from bench.compiler.scheme import choose
from bench.model import graph as g
from bench.model.zoo import load_zoo

MODELS = ("demo-cnn", "lenet-5", "ds-cnn", "resnet-8", "mobilenet-v1-0.25", "autoencoder")
SCHEMES = ("full", "bias", "last-1", "last-2", "sparse-10", "low-rank-2", "lite-residual")
NO_PLACE = {("demo-cnn", "low-rank-2"), ("autoencoder", "lite-residual")}
"""Where there is no layer for an adapter."""
EVERYTHING = [(model, scheme) for model in MODELS for scheme in SCHEMES if (model, scheme) not in NO_PLACE]


def schedule(model: str, scheme: str, dtype: Dtype = "int8") -> Schedule:
    graph = with_adapters(load_zoo(model), scheme)
    return differentiate(graph, choose(graph, scheme), dtype)


@pytest.mark.parametrize(("model", "scheme"), EVERYTHING)
def test_nothing_is_computed_that_nobody_reads(model: str, scheme: str) -> None:
    found = schedule(model, scheme)
    read = {name for call in found.calls for name in call.reads.values()}
    for call in found.calls:
        for name in call.writes.values():
            assert name in read, f"{call.name} writes {name} for nobody"
    assert set(found.values) == {name for call in found.calls for name in call.writes.values()}


@pytest.mark.parametrize(("model", "scheme"), EVERYTHING)
def test_each_trained_parameter_is_updated_once_and_no_other(model: str, scheme: str) -> None:
    found = schedule(model, scheme)
    kinds = {"update_bias": "bias", "conv2d_update": "weight", "depthwise2d_update": "weight"}
    updated = [(call.layer, kinds[call.kernel]) for call in found.calls if call.kernel in kinds]
    wanted = [(name, "bias") for name, trained in found.chosen.items() if trained.bias]
    wanted += [(name, "weight") for name, trained in found.chosen.items() if trained.in_channels]
    assert sorted(updated) == sorted(wanted)


def crossing(found: Schedule) -> set[str]:
    """Values that the forward pass writes and the backward pass reads, the loss's gradient aside."""
    forward = {name for call in found.calls if call.forward for name in call.writes.values()}
    forward -= {name for call in found.calls for role, name in call.writes.items() if role == "gradient"}
    return {name for call in found.calls if not call.forward for name in call.reads.values() if name in forward}


@pytest.mark.parametrize("model", ["lenet-5", "ds-cnn", "resnet-8"])
def test_biases_keep_no_activation(model: str) -> None:
    """Bits of gates and winners: nothing else."""
    found = schedule(model, "bias")
    assert {found.values[name].kind for name in crossing(found)} <= {"gate", "winners"}


def test_the_last_layers_need_nothing_of_those_before() -> None:
    found = schedule("lenet-5", "last-2")
    assert crossing(found) == {"fc3", "fc4", "gate_fc4"}
    backward = {call.name for call in found.calls if not call.forward}
    assert backward == {"update_bias:fc5", "conv2d_update:fc5", "conv2d_input_gradient:fc5",
                        "update_bias:fc4", "conv2d_update:fc4"}  # fmt: skip


def test_a_sparse_layer_keeps_only_the_channels_that_train() -> None:
    found = schedule("ds-cnn", "sparse-10")
    saved = {name: value for name, value in found.values.items() if value.kind == "saved"}
    assert saved
    for name, value in saved.items():
        node = found.graph.node(name.removeprefix("saved_"))
        height, width, channels = found.graph.shape_of(node.inputs[0])
        kept = found.chosen[node.name].in_channels
        assert 0 < kept < channels
        assert value.elements == height * width * kept


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_gates_are_bits(dtype: Dtype) -> None:
    found = schedule("resnet-8", "full", dtype)
    gates = [value for value in found.values.values() if value.kind == "gate"]
    assert gates
    assert all(value.bytes == (value.elements + 7) // 8 for value in gates)


def test_a_relu_in_front_of_a_max_pool_is_gated_behind_it() -> None:
    """A quarter of the bits do."""
    found = schedule("demo-cnn", "full")
    gates = {name: value.elements for name, value in found.values.items() if value.kind == "gate"}
    assert gates == {"gate_pool1": 6 * 6 * 12}


def test_nominal_macs_are_output_positions_times_taps() -> None:
    found = schedule("demo-cnn", "full")
    assert found.macs_forward == 12 * 12 * 12 * 9 + 432 * 10
    assert found.macs_backward == 12 * 12 * 12 * 9 + 2 * 432 * 10, "the first layer's input needs no gradient"


def test_the_macs_of_the_benchmark_network_are_the_published_ones() -> None:
    """Lin et al., MCUNetV3: 22.46 M forward; of the shipped sparse scheme 9.93 M backward, 0.78 M of it weights'."""
    found = schedule("mcunet-5fps", "tte-49kb")
    weights = sum(call.macs for call in found.calls if call.kernel.endswith("_update"))
    assert (found.macs_forward, found.macs_backward) == (22_455_104, 9_929_600)
    assert 0.77e6 < weights < 0.79e6


def test_a_map_that_is_read_twice_gets_the_sum_of_both_gradients() -> None:
    found = schedule("resnet-8", "full")
    joins = [call for call in found.calls if call.kernel == "add_gradients"]
    branching = [name for name, readers in found.graph.consumers().items() if len(readers) > 1 and name != g.INPUT]
    assert {call.layer for call in joins} == set(branching)
