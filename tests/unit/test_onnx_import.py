"""Networks from ONNX files compute what ONNX's reference implementation computes; what is not possible is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from bench.errors import ConfigError
from bench.model.evaluate import forward
from bench.model.graph import Graph, is_depthwise
from bench.model.onnx_import import load_onnx
from tests.unit.onnx_models import channels_last, check, model, node, normalisation, save, weights

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "onnx"
CONV = node("Conv", "x w b", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
KERNEL = {"w": (4, 3, 3, 3), "b": (4,)}


def ops(graph: Graph) -> list[str]:
    """Operators and activations, in order."""
    return [
        type(n.op).__name__ + ("" if n.activation == "linear" else f"+{n.activation}") for n in graph.nodes
    ]  # fmt: skip


# Convolutions.


@pytest.mark.parametrize(
    ("kernel", "attributes"),
    [
        ((4, 3, 3, 3), {}),
        ((4, 3, 3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ((4, 3, 3, 3), {"pads": [0, 1, 2, 1]}),
        ((4, 3, 3, 2), {"pads": [1, 0, 0, 1], "strides": [1, 3]}),
        ((4, 3, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 3]}),
        ((4, 3, 4, 2), {"auto_pad": "SAME_LOWER", "strides": [2, 1]}),
        ((4, 3, 5, 5), {"auto_pad": "VALID"}),
        ((6, 1, 3, 3), {"group": 3, "pads": [1, 1, 1, 1]}),
        ((3, 1, 3, 3), {"group": 3, "pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ((4, 3, 1, 1), {"dilations": [2, 2]}),
        ((4, 3, 8, 9), {}),
    ],
)
def test_convolutions(tmp_path: Path, kernel: tuple[int, ...], attributes: dict[str, Any]) -> None:
    conv = node("Conv", "x w b", "y", kernel_shape=list(kernel[2:]), **attributes)
    check(tmp_path, [conv], weights(w=kernel, b=kernel[:1]), (1, 3, 8, 9))


def test_a_convolution_with_two_groups_and_without_bias(tmp_path: Path) -> None:
    graph = check(tmp_path, [node("Conv", "x w", "y", group=2)], weights(w=(6, 2, 3, 3)), (1, 4, 6, 5))
    assert graph.nodes[0].conv.groups == 2


def test_a_1d_network_has_height_1(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w b", "a", kernel_shape=[3], pads=[1, 0], strides=[2]),
        node("Relu", "a", "r"),
        node("MaxPool", "r", "p", kernel_shape=[2], strides=[2], pads=[0, 1]),
        node("AveragePool", "p", "q", kernel_shape=[2]),
        node("GlobalAveragePool", "q", "g"),
        node("Flatten", "g", "f"),
        node("Gemm", "f w2", "y", transB=1),
    ]
    graph = check(tmp_path, nodes, weights(w=(5, 4, 3), b=(5,), w2=(3, 5)), (1, 4, 21))
    assert graph.input_shape == (1, 21, 4)


def pad_for_pool(x: np.ndarray, attributes: dict[str, Any], fill: float) -> np.ndarray:
    """Pads as the operator's specification says: the reference's pools read pads as top, bottom, left, right."""
    pads = attributes.get("pads", [0] * 4)
    if attributes.get("auto_pad", "").startswith("SAME"):
        sides = zip(x.shape[2:], attributes["kernel_shape"], attributes["strides"], strict=True)
        total = [max(((size - 1) // stride) * stride + kernel - size, 0) for size, kernel, stride in sides]
        less, more = [amount // 2 for amount in total], [amount - amount // 2 for amount in total]
        pads = less + more if attributes["auto_pad"] == "SAME_UPPER" else more + less
    return np.pad(x, [(0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])], constant_values=fill)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_window_is_as_in_the_reference_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    side = st.integers(1, 4)
    op = data.draw(st.sampled_from(["Conv", "MaxPool", "AveragePool"]))
    kernel, strides = data.draw(st.tuples(side, side)), data.draw(st.tuples(side, side))
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
    mode = data.draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if mode == "NOTSET":
        attributes["pads"] = [data.draw(st.integers(0, size - 1)) for size in kernel * 2]
    else:
        attributes["auto_pad"] = mode
    if op == "AveragePool":
        attributes["count_include_pad"] = data.draw(st.integers(0, 1))
    dims = (1, 2, *data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9))))
    proto = model([node(op, "x w" if op == "Conv" else "x", "y", **attributes)], weights(w=(3, 2, *kernel)), dims)
    x = np.random.default_rng(1).normal(size=dims).astype(np.float32)
    refusal = ""
    try:
        graph = load_onnx(save(tmp_path, proto), loss="mean_squared_error")
    except ConfigError as error:
        refusal = str(error)
    if refusal:
        assert re.search("fewer elements|does not fit|does not give|not possible", refusal)
        return
    if op != "Conv":
        x_reference = pad_for_pool(x, attributes, -np.inf if op == "MaxPool" else 0)
        proto = model([node(op, "x", "y", kernel_shape=kernel, strides=strides)], dims=x_reference.shape)
    else:
        x_reference = x
    wanted = channels_last(np.asarray(ReferenceEvaluator(proto).run(None, {"x": x_reference})[0]))
    found = forward(graph, channels_last(x))[graph.nodes[-1].name]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


# Pools.


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [2, 2], "strides": [2, 2]},
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        {"kernel_shape": [3, 2], "strides": [2, 3], "ceil_mode": 1},
        {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    ],
)
def test_max_pools(tmp_path: Path, attributes: dict[str, Any]) -> None:
    check(tmp_path, [node("MaxPool", "x", "y", **attributes)], dims=(1, 3, 7, 8))


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [2, 2], "strides": [2, 2]},
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1},
        {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 1, 0]},  # no window reaches that row
    ],
)
def test_average_pools(tmp_path: Path, attributes: dict[str, Any]) -> None:
    check(tmp_path, [node("AveragePool", "x", "y", **attributes)], dims=(1, 3, 8, 8))


@pytest.mark.parametrize(
    ("nodes", "dims"),
    [
        ([node("GlobalAveragePool", "x", "y")], (1, 3, 4, 6)),
        ([node("GlobalMaxPool", "x", "y")], (1, 3, 4, 6)),
        ([node("ReduceMean", "x", "y", axes=[2, 3])], (1, 3, 4, 6)),
        ([node("ReduceMean", "x", "y", axes=[-1, -2], keepdims=0)], (1, 3, 4, 6)),
    ],
)
def test_global_pools(tmp_path: Path, nodes: list[Any], dims: tuple[int, ...]) -> None:
    graph = check(tmp_path, nodes, dims=dims)
    assert graph.nodes[-1].shape == (1, 1, 3)


def test_a_mean_whose_axes_are_an_input(tmp_path: Path) -> None:
    axes = {"axes": np.array([2, 3], np.int64)}
    check(tmp_path, [node("ReduceMean", "x axes", "y")], axes, opset=18)


@pytest.mark.parametrize("factor", [2, 3])
def test_enlarging_by_a_whole_factor(tmp_path: Path, factor: int) -> None:
    scales = {"s": np.array([1, 1, factor, factor], np.float32)}
    modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    nodes = [node("MaxPool", "x", "p", kernel_shape=[2, 2], strides=[2, 2]), node("Resize", "p _ s", "y", **modes)]
    assert ops(check(tmp_path, nodes, scales)) == ["MaxPool", "Upsample"]


# Dense layers and flattening.


@pytest.mark.parametrize("flatten", [
    [node("Flatten", "c", "f")],
    [node("Reshape", "c minus", "f")],
    [node("Shape", "c", "s"), node("Gather", "s zero", "n"), node("Unsqueeze", "n axis", "u"),
     node("Concat", "u rest", "t", axis=0), node("Reshape", "c t", "f")],
])  # fmt: skip
def test_weights_after_flattening_are_permuted(tmp_path: Path, flatten: list[Any]) -> None:
    constants = {
        "minus": np.array([0, -1]), "zero": np.array(0), "axis": np.array([0]), "rest": np.array([-1]),
    }  # fmt: skip
    nodes = [node("Conv", "x w b", "c"), *flatten, node("Gemm", "f w2 b2", "y", alpha=0.5, beta=2.0)]
    drawn = weights(w=(4, 3, 3, 3), b=(4,), w2=(4 * 6 * 5, 7), b2=(7,))
    graph = check(tmp_path, nodes, {**drawn, **constants}, (1, 3, 8, 7))
    assert graph.nodes[-1].conv.kernel == (6, 5)


def test_matrix_product_and_sum_are_one_dense_layer(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x w", "m"), node("Add", "b m", "a"), node("Relu", "a", "r"), node("MatMul", "r v", "y")]
    graph = check(tmp_path, nodes, weights(w=(10, 6), b=(6,), v=(6, 3)), (1, 10), keep_layout=True)
    assert ops(graph) == ["Conv2d+relu", "Conv2d"]


def test_a_dense_layer_at_every_position_is_a_1x1_convolution(tmp_path: Path) -> None:
    nodes = [node("Conv", "x k", "c"), node("Transpose", "c", "t", perm=[0, 2, 3, 1]), node("MatMul", "t w", "m"),
             node("Transpose", "m", "y", perm=[0, 3, 1, 2])]  # fmt: skip
    graph = check(tmp_path, nodes, weights(k=(4, 3, 3, 3), w=(4, 5)))
    assert graph.nodes[-1].conv.kernel == (1, 1)


def test_weights_computed_from_constants(tmp_path: Path) -> None:
    """As an exporter leaves them that does not fold: transposed, reshaped, scaled."""
    nodes = [
        node("Reshape", "w shape", "w1"),
        node("Constant", "", "half", value_float=0.5),
        node("Mul", "w1 half", "w2"),
        node("Conv", "x w2 b", "c"),
        node("Flatten", "c", "f"),
        node("Transpose", "v", "vt", perm=[1, 0]),
        node("MatMul", "f vt", "y"),
    ]
    drawn = weights(w=(4 * 3 * 9,), b=(4,), v=(5, 4 * 36))
    check(tmp_path, nodes, {**drawn, "shape": np.array([4, 3, 3, 3])})


# Channels last, as Keras has them.


def test_a_channels_last_input_needs_no_transposing(tmp_path: Path) -> None:
    nodes = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        node("Conv", "t w b", "c", auto_pad="SAME_UPPER", strides=[2, 2]),
        node("Relu", "c", "r"),
        node("Transpose", "r", "u", perm=[0, 2, 3, 1]),
        node("Reshape", "u flat", "f"),
        node("MatMul", "f v", "y"),
    ]
    drawn = weights(w=(4, 3, 3, 3), b=(4,), v=(4 * 4 * 5, 6))
    graph = check(tmp_path, nodes, {**drawn, "flat": np.array([-1, 80])}, (1, 8, 10, 3),
                  keep_layout=True)  # fmt: skip
    assert graph.input_shape == (8, 10, 3)
    assert ops(graph) == ["Conv2d+relu", "Conv2d"]


def test_a_mean_in_channels_last(tmp_path: Path) -> None:
    nodes = [
        CONV,
        node("Transpose", "y", "t", perm=[0, 2, 3, 1]),
        node("ReduceMean", "t", "z", axes=[1, 2], keepdims=0),
    ]
    assert ops(check(tmp_path, nodes, weights(**KERNEL))) == ["Conv2d", "AvgPool"]


def test_a_flat_input_that_becomes_a_map(tmp_path: Path) -> None:
    nodes = [node("Reshape", "x map", "m"), node("Conv", "m w", "y")]
    graph = check(tmp_path, nodes, {**weights(w=(2, 1, 3, 3)), "map": np.array([-1, 1, 6, 7])}, (1, 42))
    assert graph.input_shape == (6, 7, 1)


# Padding by an operator of its own.


def test_a_pad_belongs_to_the_convolution_after_it(tmp_path: Path) -> None:
    nodes = [node("Pad", "x pads", "p"), node("Conv", "p w b", "y", pads=[1, 0, 0, 0], strides=[2, 2])]
    pads = {"pads": np.array([0, 0, 0, 1, 0, 0, 1, 2])}
    graph = check(tmp_path, nodes, {**weights(**KERNEL), **pads})
    assert graph.nodes[0].conv.pad == (1, 1)


def test_zeros_around_a_map_without_negative_elements_do_not_change_its_maximum(tmp_path: Path) -> None:
    nodes = [CONV, node("Relu", "y", "r"), node("Pad", "r pads", "p"),
             node("MaxPool", "p", "z", kernel_shape=[3, 3], strides=[2, 2])]  # fmt: skip
    pads = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    graph = check(tmp_path, nodes, {**weights(**KERNEL), **pads})
    assert ops(graph) == ["Conv2d+relu", "MaxPool"]
    with pytest.raises(ConfigError, match="maximum over zeros"):
        check(tmp_path, [node("Pad", "x pads", "p"), node("MaxPool", "p", "z", kernel_shape=[3, 3])], pads)


def test_an_average_over_padded_zeros(tmp_path: Path) -> None:
    nodes = [node("Pad", "x pads", "p"), node("AveragePool", "p", "z", kernel_shape=[3, 3], strides=[2, 2])]
    check(tmp_path, nodes, {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])})


# Batch normalisation.

NORM = node("BatchNormalization", "y s b_ m v", "z", epsilon=1e-3)
STATISTICS = {key.replace("tb", "b_").removeprefix("t"): value for key, value in normalisation("t", 4).items()}


def test_a_normalisation_after_a_convolution_is_folded_into_it(tmp_path: Path) -> None:
    graph = check(tmp_path, [CONV, NORM, node("Relu", "z", "r")], {**weights(**KERNEL), **STATISTICS})
    assert ops(graph) == ["Conv2d+relu"]


def test_one_after_a_dense_layer_too(tmp_path: Path) -> None:
    nodes = [node("Gemm", "x w", "y"), NORM]
    assert ops(check(tmp_path, nodes, {**weights(w=(9, 4)), **STATISTICS}, (1, 9), keep_layout=True)) == ["Conv2d"]


@pytest.mark.parametrize("attributes", [{"group": 1}, {"group": 2}, {"group": 4}])
def test_one_before_a_convolution_without_padding_is_folded_into_that(
    tmp_path: Path, attributes: dict[str, Any]
) -> None:
    nodes = [CONV, node("Relu", "y", "r"), node("BatchNormalization", "r s b_ m v", "z"),
             node("Conv", "z w2", "q", **attributes)]  # fmt: skip
    drawn = weights(**KERNEL, w2=(8, 4 // attributes["group"], 3, 3))
    assert ops(check(tmp_path, nodes, {**drawn, **STATISTICS})) == ["Conv2d+relu", "Conv2d"]


def test_one_before_a_padded_convolution_is_a_depthwise_convolution(tmp_path: Path) -> None:
    """The zeros around the map would not be zeros of the normalised map."""
    nodes = [node("BatchNormalization", "x s b_ m v", "z"), node("Conv", "z w", "q", pads=[1, 1, 1, 1])]
    notes: list[str] = []
    graph = check(tmp_path, nodes, {**weights(w=(2, 4, 3, 3)), **STATISTICS}, (1, 4, 6, 6), notes=notes)
    assert is_depthwise(graph, graph.nodes[0])
    assert "depthwise" in notes[0]


def test_one_before_a_dense_layer_over_a_map(tmp_path: Path) -> None:
    nodes = [CONV, node("Relu", "y", "r"), node("BatchNormalization", "r s b_ m v", "z"), node("Flatten", "z", "f"),
             node("MatMul", "f w2", "q")]  # fmt: skip
    graph = check(tmp_path, nodes, {**weights(**KERNEL, w2=(256, 3)), **STATISTICS})
    assert ops(graph) == ["Conv2d+relu", "Conv2d"]


def test_one_after_flattening_has_a_factor_for_every_element(tmp_path: Path) -> None:
    flat = [node("Flatten", "x", "f"), node("BatchNormalization", "f s b m v", "z")]
    statistics = {key[1:]: value for key, value in normalisation("t", 3 * 20).items()}
    graph = check(tmp_path, [*flat, node("Gemm", "z w", "q")], {**weights(w=(60, 4)), **statistics}, (1, 3, 4, 5))
    assert ops(graph) == ["Conv2d"]
    with pytest.raises(ConfigError, match=r"n_z.*every position"):
        check(tmp_path, flat, statistics, (1, 3, 4, 5))


def test_one_in_front_of_an_activation_after_a_sum(tmp_path: Path) -> None:
    nodes = [node("Conv", "x w b", "y", pads=[1, 1, 1, 1]), node("Relu", "y", "r"), node("Add", "r y", "a"),
             node("BatchNormalization", "a s b_ m v", "z"), node("Relu", "z", "q"),
             node("Conv", "q w2", "out")]  # fmt: skip
    graph = check(tmp_path, nodes, {**weights(**KERNEL, w2=(2, 4, 1, 1)), **STATISTICS})
    assert ops(graph) == ["Conv2d", "Conv2d+relu", "Add", "Conv2d+relu", "Conv2d"]


def test_a_normalised_input(tmp_path: Path) -> None:
    constants = {"mean": np.array([0.4, 0.5, 0.6], np.float32).reshape(3, 1, 1), "std": np.array(0.25, np.float32)}
    nodes = [node("Sub", "x mean", "a"), node("Div", "a std", "c"), node("Conv", "c w b", "y")]
    assert ops(check(tmp_path, nodes, {**weights(**KERNEL), **constants})) == ["Conv2d"]


# Activations.


def test_clips_are_activations(tmp_path: Path) -> None:
    zero, six = np.array(0, np.float32), np.array(6, np.float32)
    drawn = weights(**KERNEL) | {"zero": zero, "six": six}
    assert ops(check(tmp_path, [CONV, node("Clip", "y zero six", "z")], drawn)) == ["Conv2d+relu6"]
    assert ops(check(tmp_path, [CONV, node("Clip", "y zero", "z")], drawn)) == ["Conv2d+relu"]
    old = node("Clip", "y", "z", min=0.0, max=6.0)
    assert ops(check(tmp_path, [CONV, old], weights(**KERNEL), opset=9)) == ["Conv2d+relu6"]


def test_an_activation_after_a_max_pool_moves_before_it(tmp_path: Path) -> None:
    nodes = [CONV, node("MaxPool", "y", "p", kernel_shape=[2, 2], strides=[2, 2]), node("Relu", "p", "z")]
    assert ops(check(tmp_path, nodes, weights(**KERNEL))) == ["Conv2d+relu", "MaxPool"]


@pytest.mark.parametrize("before", [
    [node("AveragePool", "x", "y", kernel_shape=[2, 2])],
    [node("Identity", "x", "y")],
    [node("MaxPool", "x", "y", kernel_shape=[2, 2])],
])  # fmt: skip
def test_where_nothing_can_carry_it_a_convolution_is_made_for_it(tmp_path: Path, before: list[Any]) -> None:
    graph = check(tmp_path, [*before, node("Relu", "y", "z")])
    assert graph.nodes[-1].activation == "relu"
    assert is_depthwise(graph, graph.nodes[-1])


def test_a_map_that_others_read_before_its_activation(tmp_path: Path) -> None:
    nodes = [CONV, node("Relu", "y", "r"), node("Conv", "r w2", "c", pads=[1, 1, 1, 1]), node("Add", "y c", "z")]
    graph = check(tmp_path, nodes, weights(**KERNEL, w2=(4, 4, 3, 3)))
    assert ops(graph) == ["Conv2d", "Conv2d+relu", "Conv2d", "Add"]


def test_activations_that_change_nothing_disappear(tmp_path: Path) -> None:
    nodes = [CONV, node("Relu", "y", "r"), node("Relu", "r", "r2"), node("GlobalAveragePool", "r2", "g"),
             node("Relu", "g", "z")]  # fmt: skip
    assert ops(check(tmp_path, nodes, weights(**KERNEL))) == ["Conv2d+relu", "AvgPool"]


def test_two_of_the_same_activation_are_one(tmp_path: Path) -> None:
    nodes = [CONV, node("Relu", "y", "a"), node("Relu", "y", "b_"), node("MaxPool", "a", "p", kernel_shape=[1, 1]),
             node("Add", "p b_", "z")]  # fmt: skip
    assert ops(check(tmp_path, nodes, weights(**KERNEL))) == ["Conv2d+relu", "MaxPool", "Add"]


def test_sums(tmp_path: Path) -> None:
    drawn = weights(**KERNEL, w2=(4, 3, 1, 1))
    pair = [CONV, node("Conv", "x w2", "q")]
    assert ops(check(tmp_path, [*pair, node("Add", "y q", "a"), node("Relu", "a", "z")], drawn))[2] == "Add+relu"
    assert ops(check(tmp_path, [*pair, node("Sum", "y q y", "z")], drawn))[2:] == ["Add", "Add"]
    assert ops(check(tmp_path, [CONV, node("Add", "y y", "z")], drawn)) == ["Conv2d"]


# The end, the loss, the batch.

HEAD = [node("Flatten", "x", "f"), node("Gemm", "f w", "y")]
MATRIX = {"w": (3 * 64, 5)}


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_a_softmax_at_the_end_is_the_loss_s(tmp_path: Path, op: str) -> None:
    notes: list[str] = []
    path = save(tmp_path, model([*HEAD, node(op, "y", "z", axis=1)], weights(**MATRIX)))
    graph = load_onnx(path, notes=notes)
    assert (ops(graph), graph.loss) == (["Conv2d"], "softmax_cross_entropy")
    assert f"{op} 'n_z' is left out" in notes[0]
    with pytest.raises(ConfigError, match=r"Softmax 'n_z'.*without it"):
        load_onnx(path, loss="mean_squared_error")


def test_the_loss_follows_from_the_shapes(tmp_path: Path) -> None:
    assert load_onnx(save(tmp_path, model(HEAD, weights(**MATRIX)))).loss == "softmax_cross_entropy"
    assert load_onnx(save(tmp_path, model(HEAD, weights(**MATRIX))), loss="mean_squared_error").loss == (
        "mean_squared_error"
    )
    same = model([node("Gemm", "x w", "y")], weights(w=(20, 20)), (1, 20))
    assert load_onnx(save(tmp_path, same)).loss == "mean_squared_error"
    assert load_onnx(save(tmp_path, same), loss="softmax_cross_entropy").loss == "softmax_cross_entropy"


def test_an_open_batch_is_1_and_a_fixed_one_is_noted(tmp_path: Path) -> None:
    flat = [node("Reshape", "x shape", "f"), node("Gemm", "f w", "y")]
    notes: list[str] = []
    check(tmp_path, flat, {**weights(**MATRIX), "shape": np.array([-1, 192])}, ("N", 3, 8, 8), notes=notes)
    assert not notes
    check(tmp_path, flat, {**weights(**MATRIX), "shape": np.array([16, 192])}, (16, 3, 8, 8), notes=notes)
    assert "batches of 16" in notes[0]


def test_open_sizes_are_filled_from_the_shape_asked_for(tmp_path: Path) -> None:
    nodes = [CONV, node("GlobalAveragePool", "y", "z")]
    graph = check(tmp_path, nodes, weights(**KERNEL), ("N", 3, "H", "W"), input_shape=(4, 4, 3))
    assert graph.input_shape == (4, 4, 3)
    with pytest.raises(ConfigError, match=r"\['N', 3, 'H', 'W'\].*--input"):
        load_onnx(tmp_path / "net.onnx")
    with pytest.raises(ConfigError, match="does not go with"):
        load_onnx(tmp_path / "net.onnx", input_shape=(4, 4, 1))


def test_names_are_the_exporter_s_as_identifiers(tmp_path: Path) -> None:
    proto = model([CONV, node("Relu", "y", "r"), node("Conv", "r w2", "z")], weights(**KERNEL, w2=(4, 4, 1, 1)))
    proto.graph.node[0].name = "/layer1/layer1.0/conv1/Conv"
    proto.graph.node[2].name = "/class/Conv_1"
    graph = load_onnx(save(tmp_path, proto), loss="mean_squared_error")
    assert [n.name for n in graph.nodes] == ["layer1_0_conv1", "layer_class"]
    assert graph.nodes[0].origin == "/layer1/layer1.0/conv1/Conv"
    assert graph.name == "net"


# Anything together.


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_sequence_of_operators_computes_the_same(tmp_path: Path, data: st.DataObject) -> None:
    """Normalisations, activations, pools, sums and convolutions in any order, some read twice."""
    nodes, constants, shape, earlier = [], dict[str, Any](), (4, 9, 9), dict[tuple[int, ...], list[str]]()
    last = "x"
    kinds = ["relu", "relu6", "norm", "conv", "depthwise", "max", "average", "add", "scale", "branch"]
    for i, kind in enumerate(data.draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=9))):
        out, prefix = f"t{i}", f"p{i}"
        known = earlier.setdefault(shape, [])
        if kind in ("relu", "branch"):
            nodes.append(node("Relu", last, out))
        elif kind == "relu6":
            constants |= {"zero": np.array(0, np.float32), "six": np.array(6, np.float32)}
            nodes.append(node("Clip", f"{last} zero six", out))
        elif kind == "norm":
            constants |= normalisation(prefix, shape[0], seed=i)
            nodes.append(node("BatchNormalization", f"{last} {prefix}s {prefix}b {prefix}m {prefix}v", out))
        elif kind == "scale":
            constants |= weights(i, **{prefix: (shape[0], 1, 1)})
            nodes.append(node("Mul", f"{prefix} {last}", out))
        elif kind in ("conv", "depthwise"):
            pad, stride = data.draw(st.integers(0, 1)), data.draw(st.integers(1, 2))
            if min(shape[1:]) + 2 * pad < 3:
                continue
            group = shape[0] if kind == "depthwise" else data.draw(st.sampled_from([1, 2]))
            constants |= weights(i, **{prefix: (4, 4 // group, 3, 3), f"{prefix}b": (4,)})
            attributes = {"pads": [pad] * 4, "strides": [stride] * 2, "group": group}
            nodes.append(node("Conv", f"{last} {prefix} {prefix}b", out, **attributes))
            shape = (4, *((size + 2 * pad - 3) // stride + 1 for size in shape[1:]))
        elif kind in ("max", "average"):
            if min(shape[1:]) < 2:
                continue
            nodes.append(node("MaxPool" if kind == "max" else "AveragePool", last, out, kernel_shape=[2, 2]))
            shape = (4, *(size - 1 for size in shape[1:]))
        elif known:
            nodes.append(node("Add", f"{last} {data.draw(st.sampled_from(known))}", out))
        else:
            continue
        known.append(last)
        last = out if kind != "branch" else last
    if last != "x":
        end = [n.output[0] for n in nodes].index(last)
        check(tmp_path, nodes[: end + 1], constants, (1, 4, 9, 9))


# What frameworks really write.


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.onnx")), ids=lambda path: path.stem)
def test_exports_compute_what_the_framework_computed(path: Path) -> None:
    expected = np.load(path.with_suffix(".npz"))
    notes: list[str] = []
    graph = load_onnx(path, notes=notes)
    found = forward(graph, expected["sample"][None])[graph.nodes[-1].name].ravel().astype(np.float64)
    if any("oftmax" in note for note in notes):
        found = found - np.log(np.exp(found).sum())
        found = found if "Log" in notes[0] else np.exp(found)
    np.testing.assert_allclose(found, expected["result"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "layers"), [
    ("torch_resnet_script", 12), ("torch_resnet_dynamo", 12), ("torch_mobile_dynamo", 6), ("torch_series_script", 5),
    ("torch_autoencoder_script", 4), ("keras_residual", 6), ("keras_image", 7), ("keras_series", 5),
])  # fmt: skip
def test_exports_leave_nothing_unfolded(name: str, layers: int) -> None:
    graph = load_onnx(GOLDEN / f"{name}.onnx")
    assert len(graph.nodes) == layers, ops(graph)
