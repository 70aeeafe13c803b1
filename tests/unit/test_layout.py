"""Where parameters lie: what trains in RAM, the rest in flash, and together they are the network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.compiler.compile import Compiled, Settings, compile_graph, random_calibration
from bench.compiler.differentiate import Dtype
from bench.compiler.layout import Layout, merged
from bench.compiler.scheme import Trained
from bench.model.graph import INPUT, Graph, Node
from bench.model.plan import BIAS_BITS, LARGEST_BIAS, Rule, Tensor
from bench.model.zoo.builder import Builder

WIDTHS = {"int4": 1, "int8": 1, "int16": 2, "int32": 4, "uint32": 4, "float32": 4}
PART = "list:conv1.weight[:2],dw2.weight[:3],dw2.bias,conv3.weight,fc4.bias,fc4.weight[:1]"
"""Of conv1 and fc4 some input channels, of dw2 three of five channels, of conv3 all but the biases."""
SCHEMES = ("full", "bias", "last-1", PART)
VARIANTS: list[tuple[Dtype, int, Rule]] = [
    ("int8", 1, "compensated"),
    ("int8", 1, "compensated4"),
    ("int8", 1, "truncated"),
    ("int8", 4, "compensated"),
    ("float32", 1, "compensated"),
    ("float32", 4, "compensated"),
]


def network(seed: int = 0) -> Graph:
    """Channels of several magnitudes, so that they have exponents of their own."""
    net = Builder("net", (6, 6, 3), seed)
    net.conv(5, 3)
    net.depthwise(3, stride=2)
    net.conv(7, 1)
    net.dense(4, activation="linear")
    random = np.random.default_rng(seed)
    nodes = []
    for node in net.graph().nodes:
        assert node.weights is not None
        sizes = 2.0 ** -(np.arange(node.shape[2]) % 3) if node.name != "fc4" else np.ones(node.shape[2])
        weights = (node.weights * sizes.reshape(-1, 1, 1, 1)).astype(np.float32)
        bias = random.normal(0, 0.3, node.shape[2]).astype(np.float32)
        nodes.append(dataclasses.replace(node, weights=weights, bias=bias))
    return Graph("net", (6, 6, 3), tuple(nodes))


def compiled(scheme: str, dtype: Dtype = "int8", batch: int = 1, rule: Rule = "compensated") -> Compiled:
    graph = network()
    return compile_graph(graph, Settings(scheme, dtype, batch, rule), random_calibration(graph))


@pytest.fixture(
    scope="module",
    params=[(s, *v) for s in SCHEMES for v in VARIANTS],
    ids=lambda case: f"{case[0][:6]}-{case[1]}-{case[2]}-{case[3]}",
)
def program(request: pytest.FixtureRequest) -> Compiled:
    return compiled(*request.param)


def span(tensor: Tensor) -> range:
    """Its bytes; of four bits each, two numbers share one."""
    size = math.prod(tensor.shape) * WIDTHS[tensor.dtype]
    return range(tensor.offset, tensor.offset + (-(-size // 2) if tensor.dtype == "int4" else size))


def bytes_of(layout: Layout, kind: str) -> list[range]:
    return [span(t) for t in layout.tensors if t.kind == kind]


def test_tensors_share_no_byte_and_lie_where_their_elements_may(program: Compiled) -> None:
    taken: set[int] = set()
    for tensor in program.layout.tensors:
        assert tensor.offset % WIDTHS[tensor.dtype] == 0, tensor.name
        own = set(span(tensor))
        assert not own & taken, tensor.name
        taken |= own
    assert max(taken) < program.layout.params_bytes
    assert len({tensor.name for tensor in program.layout.tensors}) == len(program.layout.tensors)


def test_what_goes_down_comes_first_then_residuals_then_state(program: Compiled) -> None:
    """Biases before weights: words first, so that no byte is lost between them."""
    layout = program.layout
    starts = [0]
    for kind in ("bias", "weight", "residual", "state"):
        spans = bytes_of(layout, kind)
        assert all(span.start >= starts[-1] for span in spans), kind
        starts.append(max([starts[-1], *(span.stop for span in spans)]))
    _, _, down, up, end = starts
    assert (layout.down_bytes, layout.up_bytes) == (down, up)
    assert end <= layout.params_bytes < end + 4
    assert layout.params_bytes % 4 == 0
    sent = sum(len(span) for kind in ("bias", "weight") for span in bytes_of(layout, kind))
    assert layout.down_bytes == sent, "nothing but parameters is sent down"


def stored(values: NDArray[np.float32], exponents: NDArray[np.int64], low: int, high: int) -> NDArray[np.float64]:
    """The nearest stored integer, halves up, clipped; as a real value again."""
    quantum = 2.0 ** -exponents.astype(np.float64)
    integers = np.floor(values.astype(np.float64) / quantum + 0.5)
    real: NDArray[np.float64] = np.clip(integers, low, high) * quantum
    return real


def channel_exponents(program: Compiled, node: Node) -> NDArray[np.int64]:
    """Of a layer's weights, by output channel; zero for float32."""
    if program.exponents is None:
        return np.zeros(node.shape[2], np.int64)
    scale = program.exponents.weights[node.name]
    return scale.exponent - np.array(scale.lift)


def held(program: Compiled, node: Node) -> Mapping[str, NDArray[np.float64]]:
    """A layer's weights and biases as RAM and flash hold them, put together again; float32 or real values of int8."""
    values = program.plan.decode(program.plan.encode_down(doubles(program.initial)))
    tables, exponents = program.layout.tables, channel_exponents(program, node)
    depthwise = node.conv.groups > 1
    parts = []
    if f"{node.name}.weight" in values:
        parts.append(values[f"{node.name}.weight"])
    if f"{node.name}_weight" in tables:
        table = tables[f"{node.name}_weight"].astype(np.float64)
        lasting = exponents[-table.shape[-1] :] if depthwise else exponents.reshape(-1, 1, 1, 1)
        parts.append(np.ldexp(table, -lasting))
    weights = np.concatenate(parts, axis=-1)
    if f"{node.name}_bias" in tables:
        assert f"{node.name}.bias" not in values
        bias = np.ldexp(tables[f"{node.name}_bias"].astype(np.float64), -bias_exponents(program, node))
    else:
        bias = values[f"{node.name}.bias"]
    return {"weight": weights.transpose(2, 0, 1)[..., None] if depthwise else weights, "bias": bias}


def bias_exponents(program: Compiled, node: Node) -> NDArray[np.int64]:
    if program.exponents is None:
        return np.zeros(node.shape[2], np.int64)
    source = node.inputs[0]
    first = program.exponents.input if source == INPUT else program.exponents.outputs[source]
    return channel_exponents(program, node) + first + BIAS_BITS


def doubles(values: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float64]]:
    return {name: value.astype(np.float64) for name, value in values.items()}


def test_channels_have_exponents_of_their_own() -> None:
    """Else the tests of values here would prove little; and a frozen channel of dw2 is finer than a trained one."""
    exponents = compiled(PART).exponents
    assert exponents is not None
    assert len(set(exponents.weights["conv1"].lift)) > 1
    trained, frozen = exponents.weights["dw2"].lift[:3], exponents.weights["dw2"].lift[3:]
    assert len({*trained}) > 1
    assert trained[-2:] != frozen


def test_ram_and_flash_together_hold_the_network(program: Compiled) -> None:
    for node in program.graph.convs:
        assert node.weights is not None
        assert node.bias is not None
        found = held(program, node)
        if program.exponents is None:
            np.testing.assert_array_equal(found["weight"], node.weights)
            np.testing.assert_array_equal(found["bias"], node.bias)
        else:
            by_channel = channel_exponents(program, node).reshape(-1, 1, 1, 1)
            np.testing.assert_array_equal(found["weight"], stored(node.weights, by_channel, -128, 127))
            limits = (-LARGEST_BIAS, LARGEST_BIAS)
            np.testing.assert_array_equal(found["bias"], stored(node.bias, bias_exponents(program, node), *limits))


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_layers_are_split_between_the_channels_that_train_and_those_that_do_not(dtype: Dtype) -> None:
    program = compiled(PART, dtype)
    trained = {tensor.name: tensor.shape for tensor in program.plan.trained}
    assert trained == {
        "conv1.weight": (5, 3, 3, 2),
        "dw2.weight": (3, 3, 3),
        "dw2.bias": (5,),
        "conv3.weight": (7, 1, 1, 5),
        "fc4.weight": (4, 3, 3, 1),
        "fc4.bias": (4,),
    }
    assert {name: table.shape for name, table in program.layout.tables.items()} == {
        "conv1_weight": (5, 3, 3, 1),
        "conv1_bias": (5,),
        "dw2_weight": (3, 3, 2),
        "conv3_bias": (7,),
        "fc4_weight": (4, 3, 3, 6),
    }
    assert {table.dtype.name for name, table in program.layout.tables.items() if "weight" in name} == {dtype}


def test_a_depthwise_layer_lies_with_its_channels_last() -> None:
    program = compiled(PART, "float32")
    weights = program.graph.node("dw2").weights
    assert weights is not None
    for channel in range(5):
        place = program.initial["dw2.weight"] if channel < 3 else program.layout.tables["dw2_weight"]
        np.testing.assert_array_equal(place[:, :, channel % 3], weights[channel, :, :, 0])


# --- residuals and state ---


def test_a_residual_has_the_shape_and_scale_of_its_weight(program: Compiled) -> None:
    plan = program.plan
    expected = {}
    if plan.rule == "compensated4":
        expected = {t.name: ("int4", t.exponent + 4) for t in plan.trained if t.kind == "weight"}
    if plan.dtype == "int8" and plan.rule == "compensated":
        for tensor in plan.trained:
            if tensor.kind == "weight":
                expected[tensor.name] = ("int16" if plan.batch > 1 else "int8", tensor.exponent + 8)
            elif plan.batch > 1:
                expected[tensor.name] = ("int32", tensor.exponent)
    residuals = [tensor for tensor in program.layout.tensors if tensor.kind == "residual"]
    assert {t.of: (t.dtype, t.exponent) for t in residuals} == expected
    for residual in residuals:
        of = program.layout.tensor(residual.of or "")
        assert of is not None
        assert (residual.shape, residual.lift, residual.axis) == (of.shape, of.lift, of.axis)


def test_state_is_a_word_for_each_gradient_s_peak_or_float_sums_of_a_batch(program: Compiled) -> None:
    plan = program.plan
    state = {tensor.name: (tensor.shape, tensor.dtype) for tensor in plan.tensors if tensor.kind == "state"}
    scaled = [call.name for call in program.arranged.calls if call.peak]
    expected: dict[str, tuple[tuple[int, ...], str]] = {}
    if plan.dtype == "int8" and scaled:
        expected["gradient.peaks"] = ((len(scaled),), "uint32")
    if plan.dtype == "float32" and plan.batch > 1:
        expected |= {f"{t.name}.gradient": ((math.prod(t.shape),), "float32") for t in plan.trained}
    if plan.batch > 1:
        expected["batch.filled"] = ((1,), "uint32")
    assert state == expected
    peaks = program.layout.peaks
    assert peaks.keys() == (set(scaled) if plan.dtype == "int8" else set())
    assert sorted(peaks.values()) == list(range(len(peaks)))


def test_a_full_int8_program_takes_two_bytes_a_weight_and_four_a_bias() -> None:
    """And four for each input gradient's peak: those of dw2, conv3 and fc4."""
    program = compiled("full")
    weights = sum(node.weights.size for node in program.graph.convs if node.weights is not None)
    biases = sum(node.shape[2] for node in program.graph.convs)
    layout = program.layout
    assert layout.down_bytes == weights + 4 * biases
    assert layout.up_bytes == 2 * weights + 4 * biases
    assert len(layout.peaks) == 3
    assert layout.params_bytes == -(-layout.up_bytes // 4) * 4 + 4 * 3
    assert not layout.tables


# --- values ---


def test_initial_values_survive_the_way_down(program: Compiled) -> None:
    """Once rounded, exactly; and as rounded as flash would have them."""
    plan = program.plan
    assert program.initial.keys() == {tensor.name for tensor in plan.trained}
    first = plan.decode(plan.encode_down(doubles(program.initial)))
    again = plan.decode(plan.encode_down(first))
    for tensor in plan.trained:
        assert program.initial[tensor.name].shape == tensor.shape
        np.testing.assert_array_equal(first[tensor.name], again[tensor.name])


def test_merged_is_the_inverse_of_the_split(program: Compiled) -> None:
    whole = merged(program.graph, doubles(program.initial))
    for node, other in zip(program.graph.convs, whole.convs, strict=True):
        assert node.name == other.name
        np.testing.assert_array_equal(node.weights, other.weights)
        np.testing.assert_array_equal(node.bias, other.bias)


def test_merged_changes_what_trained_and_nothing_else() -> None:
    """Every trained value gets 10 more; as many of each layer's weights change as train, its first channels."""
    program = compiled(PART, "float32")
    chosen = program.arranged.schedule.chosen
    whole = merged(program.graph, {name: value + 10.0 for name, value in doubles(program.initial).items()})
    for node, other in zip(program.graph.convs, whole.convs, strict=True):
        trained = chosen.get(node.name, Trained(bias=False, in_channels=0))
        assert node.weights is not None
        assert other.weights is not None
        moved = other.weights - node.weights > 5
        expected = np.zeros(node.weights.shape, dtype=bool)
        if node.conv.groups > 1:
            expected[: trained.in_channels] = True
        else:
            expected[..., : trained.in_channels] = True
        np.testing.assert_array_equal(moved, expected)
        assert node.bias is not None
        assert other.bias is not None
        np.testing.assert_array_equal(other.bias - node.bias > 5, np.full(node.shape[2], trained.bias))
        assert other.weights.dtype == np.float32
