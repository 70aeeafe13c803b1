"""What the import of ONNX files refuses: with file, node and what to do, never with a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from bench.errors import ConfigError
from bench.model.graph import Graph
from bench.model.onnx_import import load_onnx
from tests.unit.onnx_models import model, node, save, weights

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "onnx"
CONV = node("Conv", "x w", "y", kernel_shape=[3, 3])
KERNEL = {"w": (4, 3, 3, 3)}


def refused(folder: Path, proto: onnx.ModelProto, **settings: Any) -> str:
    """The message, which names the file."""
    path = save(folder, proto)
    with pytest.raises(ConfigError) as caught:
        load_onnx(path, **{"loss": "mean_squared_error", **settings})
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        ([node("Sigmoid", "x", "y")], "is no activation the compiler has"),
        ([node("LeakyRelu", "x", "y")], "ReLU or ReLU6"),
        ([node("Conv", "x w", "y", dilations=[2, 2])], "dilated by [2, 2]"),
        ([node("ConvTranspose", "x w", "y")], "is not an operator the compiler takes"),
        ([CONV, node("Clip", "y", "z", min=-1.0, max=1.0)], "clips to -1..1"),
        ([node("AveragePool", "x", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1])], "count_include_pad"),
        ([node("AveragePool", "x", "y", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)], "ceil_mode"),
        ([node("Pad", "x", "y", mode="reflect", pads=[0, 0, 1, 1, 0, 0, 1, 1]), ], "pads by reflect"),
        ([node("Pad", "x", "p", pads=[0, 1, 0, 0, 0, 0, 0, 0]), node("MaxPool", "p", "y", kernel_shape=[2, 2])],
         "along the channels"),
        ([node("Pad", "x", "y", pads=[0, 0, 1, 1, 0, 0, 1, 1])], "does not depend on the input through any layer"),
        ([CONV, node("Pad", "y", "z", pads=[0, 0, 1, 1, 0, 0, 1, 1])], "output 'z' is padded"),
        ([CONV, node("Reshape", "y shape", "r"), node("MaxPool", "r", "z", kernel_shape=[2, 2])], "rearrangement"),
        ([node("MaxPool", "x", "y i", kernel_shape=[2, 2]), node("Cast", "i", "f", to=1), node("Add", "y f", "z")],
         "second output 'i' is used"),
        ([node("Mul", "x x", "y")], "computes with two maps"),
        ([node("MatMul", "x x", "y")], "multiplies two computed tensors"),
        ([CONV, node("Softmax", "y", "z")], "over 6 of 144 outputs"),
        ([node("Flatten", "x", "f"), node("Softmax", "f", "s"), node("Gemm", "s m", "z")], "comes after Softmax 'n_s'"),
        ([node("GlobalAveragePool", "x", "p"), node("Add", "x p", "z")], "equal maps are added"),
        ([CONV, node("Flatten", "y", "f", axis=2), node("Gemm", "f v", "z")], "dense layer over part"),
        ([node("ReduceMean", "x", "y", axes=[1])], "reduces axes [1]"),
        ([CONV, node("Transpose", "y", "t", perm=[0, 2, 1, 3]), node("MaxPool", "t", "z", kernel_shape=[2, 2])],
         "rearrangement"),
        ([node("QuantizeLinear", "x scale", "q"), node("DequantizeLinear", "q scale", "y")], "already quantised"),
        ([node("BatchNormalization", "x three three three minus", "y")], "variance that is not positive"),
        ([node("Dropout", "x half yes", "y")], "at random"),
        ([node("Cast", "x", "i", to=7), node("Cast", "i", "y", to=1)], "casts the network's data"),
        ([node("MaxPool", "x", "y", kernel_shape=[9, 9])], "does not fit its input"),
        ([CONV, node("Relu", "x", "dead"), node("Relu", "y", "z")], ""),
    ],
)  # fmt: skip
def test_operators_and_attributes_that_are_not_taken(tmp_path: Path, nodes: list[Any], says: str) -> None:
    old = any(n.op_type == "Pad" or (n.op_type == "Clip" and n.attribute) for n in nodes)
    three = np.ones(3, np.float32)
    constants = {
        "m": np.ones((192, 4), np.float32), "v": np.ones((36, 4), np.float32), "scale": np.array(0.1, np.float32),
        "three": three, "minus": -three, "half": np.array(0.5, np.float32), "yes": np.array(True),
        "shape": np.array([1, 4, 4, 9]),
    }  # fmt: skip
    proto = model(nodes, {**weights(**KERNEL), **constants}, opset=9 if old else 17)
    if not says:
        assert load_onnx(save(tmp_path, proto), loss="mean_squared_error").nodes[-1].activation == "relu"
        return
    message = refused(tmp_path, proto)
    assert says in message
    assert "output '" in message


def test_a_message_names_node_operator_and_output(tmp_path: Path) -> None:
    assert "node 'n_y' (Sigmoid, output 'y'): is no activation" in refused(tmp_path, model([node("Sigmoid", "x", "y")]))


def test_control_flow(tmp_path: Path) -> None:
    def branch(op: str) -> onnx.GraphProto:
        return helper.make_graph(
            [node(op, "x", op)], op, [], [helper.make_tensor_value_info(op, TensorProto.FLOAT, None)]
        )

    choice = node("If", "yes", "y", then_branch=branch("Relu"), else_branch=branch("Neg"))
    assert "control flow" in refused(tmp_path, model([choice], {"yes": np.array(True)}))


def test_operators_of_other_domains(tmp_path: Path) -> None:
    proto = model([node("FusedConv", "x w", "y", domain="com.microsoft")], weights(**KERNEL))
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert "com.microsoft.FusedConv" in refused(tmp_path, proto)


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    proto = model([CONV], weights(**KERNEL))
    proto.graph.input.append(helper.make_tensor_value_info("second", TensorProto.FLOAT, [1, 3]))
    assert "2 inputs (x, second)" in refused(tmp_path, proto)
    proto = model([CONV, node("Relu", "y", "z")], weights(**KERNEL))
    proto.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, None))
    assert "2 outputs (z, y)" in refused(tmp_path, proto)


@pytest.mark.parametrize(
    ("dims", "says"),
    [
        ((1, 3, "height", 8), "only the batch may be open"),
        ((1, 3, 8, 8, 8), "more than height, width and channels"),
        ((3,), "has no batch axis"),
        ((1, 3, 1 << 20, 8), "elements"),
    ],
)
def test_inputs_that_are_no_sample(tmp_path: Path, dims: tuple[Any, ...], says: str) -> None:
    message = refused(tmp_path, model([node("Relu", "x", "y")], dims=dims))
    assert says in message
    assert "input 'x'" in message


def test_an_input_that_is_not_float(tmp_path: Path) -> None:
    proto = model([node("Cast", "x", "f", to=1), node("Relu", "f", "y")], kind=TensorProto.UINT8)
    assert "input 'x' is UINT8" in refused(tmp_path, proto)


def test_weights_that_are_not_float(tmp_path: Path) -> None:
    proto = model([node("Flatten", "x", "f"), node("MatMul", "f w", "y")], {"w": np.ones((192, 4), np.int32)})
    assert "weights ('w') are int32" in refused(tmp_path, proto)


def test_weights_that_the_sample_decides(tmp_path: Path) -> None:
    proto = model([node("Conv", "x x", "y")], dims=(1, 1, 4, 4))
    assert "weights ('x') are not constants" in refused(tmp_path, proto)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(tmp_path: Path, value: float) -> None:
    drawn = weights(**KERNEL)
    drawn["w"][1, 2, 0, 1] = value
    message = refused(tmp_path, model([CONV], drawn))
    assert "node 'n_y'" in message
    assert "NaN or infinity" in message


def test_weights_that_leave_float32_by_folding(tmp_path: Path) -> None:
    drawn = weights(**KERNEL) | {"big": np.array(3e38, np.float32)}
    drawn["w"] *= 1e6
    assert "float32's range" in refused(tmp_path, model([CONV, node("Mul", "y big", "z")], drawn))


def test_too_many_classes_for_softmax(tmp_path: Path) -> None:
    proto = model([node("Gemm", "x w", "y")], weights(w=(8, 300)), (1, 8))
    assert "300 outputs" in refused(tmp_path, proto, loss="softmax_cross_entropy")


def test_a_model_no_microcontroller_holds(tmp_path: Path) -> None:
    proto = model([CONV], weights(**KERNEL))
    proto.graph.initializer[0].dims[:] = [1 << 12, 1 << 13]
    assert "128 MB of parameters" in refused(tmp_path, proto)
    path = tmp_path / "big.onnx"
    with path.open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(ConfigError, match="65 MB; no microcontroller"):
        load_onnx(path)


def test_versions_that_cannot_be_read(tmp_path: Path) -> None:
    newer = model([CONV], weights(**KERNEL))
    newer.ir_version = 99
    assert "IR version 99" in refused(tmp_path, newer)
    for version in (6, 999):
        assert f"opset {version}; 7 to " in refused(tmp_path, model([CONV], weights(**KERNEL), opset=version))
    none = model([CONV], weights(**KERNEL))
    del none.opset_import[:]
    assert "opset none" in refused(tmp_path, none)


def test_what_onnx_s_own_checker_rejects(tmp_path: Path) -> None:
    proto = model([CONV], weights(**KERNEL))
    proto.graph.node[0].input[0] = "nothing"
    assert "not a valid ONNX model" in refused(tmp_path, proto)


def test_weights_in_another_file(tmp_path: Path) -> None:
    proto = model([CONV], weights(**KERNEL))
    path = tmp_path / "net.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="net.data", size_threshold=0)
    graph = load_onnx(path, loss="mean_squared_error")
    np.testing.assert_array_equal(graph.nodes[0].weights, weights(**KERNEL)["w"].transpose(0, 2, 3, 1))
    (tmp_path / "net.data").write_bytes(b"short")
    with pytest.raises(ConfigError, match=r"weights 'w' lie in 'net.data'"):
        load_onnx(path)
    (tmp_path / "net.data").unlink()
    with pytest.raises(ConfigError, match=r"weights 'w' lie in 'net.data'.*next to the model"):
        load_onnx(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"not a model at all", "not an ONNX file"),
        (b"\x08\x08", "holds no graph"),
        ((GOLDEN / "torch_mobile_script.onnx").read_bytes()[:500], "not an ONNX file"),
    ],
)
def test_files_that_are_no_model(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        load_onnx(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_onnx(tmp_path / "none.onnx")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_onnx(tmp_path)


def test_arguments_that_are_not_possible(tmp_path: Path) -> None:
    path = save(tmp_path, model([CONV], weights(**KERNEL)))
    with pytest.raises(ConfigError, match="loss 'hinge' is not known"):
        load_onnx(path, loss="hinge")
    with pytest.raises(ConfigError, match="all positive"):
        load_onnx(path, input_shape=(0, 1, 1))


# Never a traceback, whatever the bytes.

FILES = [path.read_bytes() for path in sorted(GOLDEN.glob("*.onnx"))]
FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def survives(folder: Path, content: bytes) -> None:
    """A network or a ConfigError."""
    path = folder / "net.onnx"
    path.write_bytes(content)
    message = str(path)
    try:
        assert isinstance(load_onnx(path), Graph)
    except ConfigError as error:
        message = str(error)
    assert message.startswith(str(path))


@FUZZ
@given(content=st.sampled_from(FILES), data=st.data())
def test_damaged_files(tmp_path: Path, content: bytes, data: st.DataObject) -> None:
    damaged = bytearray(content)
    spot = st.integers(0, len(content) - 1)
    for position in data.draw(st.lists(spot, max_size=8)):
        damaged[position] ^= data.draw(st.integers(1, 255))
    if data.draw(st.booleans()):
        start = data.draw(spot)
        del damaged[start : start + data.draw(st.sampled_from([1, 2, 3, len(content)]))]
    survives(tmp_path, bytes(damaged))


@FUZZ
@given(content=st.binary(max_size=200))
@example(b"\x00")
def test_arbitrary_bytes(tmp_path: Path, content: bytes) -> None:
    survives(tmp_path, content)


def _numbers(proto: onnx.ModelProto) -> list[Callable[[int], None]]:
    """What sets each number that shapes the walk: attributes, dimensions of the input, constants of shapes."""
    found: list[Callable[[int], None]] = []
    for owner in proto.graph.node:
        for attribute in owner.attribute:
            if attribute.ints:
                found += [
                    lambda value, a=attribute, i=i: a.ints.__setitem__(i, value) for i in range(len(attribute.ints))
                ]
            elif attribute.type == onnx.AttributeProto.INT:
                found.append(lambda value, a=attribute: setattr(a, "i", value))
    for tensor in proto.graph.initializer:
        if tensor.data_type == TensorProto.INT64:
            array = onnx.numpy_helper.to_array(tensor).copy()
            found += [
                lambda value, t=tensor, a=array, i=i: (
                    a.flat.__setitem__(i, value),
                    setattr(t, "raw_data", a.tobytes()),
                )
                for i in range(array.size)
            ]  # type: ignore[misc]
    for dim in proto.graph.input[0].type.tensor_type.shape.dim:
        found.append(lambda value, d=dim: setattr(d, "dim_value", value))
    return found


@FUZZ
@given(content=st.sampled_from(FILES), data=st.data())
def test_numbers_that_make_no_sense(tmp_path: Path, content: bytes, data: st.DataObject) -> None:
    proto = onnx.load_model_from_string(content)
    setters = _numbers(proto)
    numbers = st.one_of(st.integers(-3, 40), st.sampled_from([-(1 << 63), -(1 << 31), 1 << 20, 1 << 31, (1 << 63) - 1]))
    for setter in data.draw(st.lists(st.sampled_from(setters), min_size=1, max_size=3)):
        setter(data.draw(numbers))
    survives(tmp_path, proto.SerializeToString())


def test_classes_that_lie_over_several_positions_are_refused(tmp_path: Path) -> None:
    """Flattened channels first they would get other numbers here, where maps lie channels last."""
    nodes = [CONV, node("Flatten", "y", "z")]
    proto = model(nodes, weights(**KERNEL))
    assert "its classes would change their numbers" in refused(tmp_path, proto, loss="softmax_cross_entropy")
    load_onnx(save(tmp_path, proto), loss="mean_squared_error")
