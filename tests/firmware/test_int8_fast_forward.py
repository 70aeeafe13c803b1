"""The int8 forward kernels that are made for one layer give the general kernels' bits, on each core.

The layers are those that the probe lists; all of their rows, and some of them, as a fused chain asks for them. Nothing
around the output is written, scratch no further than the compiler says, and no instruction count depends on data.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_targets import BOARD_OF_CORE, Argument, CoreTarget
from float32_reference import Axis, Conv
from int8_backward_cases import int8s, ints, splits
from int8_forward_cases import SOURCES as GENERAL
from int8_forward_cases import biases, content, guarded
from numpy.typing import NDArray

from bench.compiler.differentiate import conv_scratch, depthwise_scratch
from bench.compiler.scheme import Trained
from bench.model.graph import INPUT, Conv2d, Graph, Node

FAST = Path(__file__).resolve().parents[2] / "firmware" / "engine" / "int8" / "fast"
PROBE = Path(__file__).with_name("int8_fast_forward_probe.cpp")
KERNELS = {"conv2d.cpp", "depthwise2d.cpp"}
FAST_KERNELS = ("depthwise2d.cpp", "packed_rows.cpp")
SOURCES = [*(path for path in GENERAL if path.name in KERNELS), *(FAST / name for name in FAST_KERNELS), PROBE]


@pytest.fixture(scope="module", params=BOARD_OF_CORE)
def core(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CoreTarget:
    return CoreTarget(request.param, "int8-fast-forward", tmp_path_factory.mktemp("image"), SOURCES)


def cases(core: CoreTarget, kind: str) -> list[tuple[int, Conv, int]]:
    """Number, shape and trained channels of each of the probe's cases."""
    found, count = [], 1
    while len(found) < count:
        fields = ints(*range(15))
        count = core.call(f"{kind}_case", len(found), fields)
        in_h, in_w, in_c, out_h, out_w, out_c, kernel_h, kernel_w, stride_h, stride_w, top, left, groups = map(
            int, fields[:13]
        )
        rows, columns = Axis(in_h, out_h, kernel_h, stride_h, top), Axis(in_w, out_w, kernel_w, stride_w, left)
        found.append((len(found), Conv(rows, columns, in_c, out_c, groups), int(fields[13])))
    return found


def scratch_bytes(conv: Conv, trained_in: int, kind: str) -> int:
    """As the compiler plans it."""
    op = Conv2d((conv.rows.kernel, conv.columns.kernel), (conv.rows.stride, conv.columns.stride),
                (conv.rows.pads[0], conv.columns.pads[0]), conv.groups)  # fmt: skip
    w_shape = (conv.out_c, conv.rows.kernel, conv.columns.kernel, conv.in_c // conv.groups)
    node = Node("layer", op, (INPUT,), conv.y_shape, "linear", np.zeros(w_shape, np.float32), np.zeros(conv.out_c))
    if kind == "depthwise2d":
        return depthwise_scratch(node, "int8")
    graph = Graph("net", conv.x_shape, (node,), "mean_squared_error")
    return conv_scratch(graph, node, Trained(bias=False, in_channels=trained_in), "int8")


def arguments(generator: np.random.Generator, conv: Conv, trained_in: int, kind: str) -> list[Argument]:
    """x, trained and frozen weights, bias. Of extreme values too, so that sums reach their limits."""
    shape = (*conv.w_shape[1:3], conv.in_c) if kind == "depthwise2d" else conv.w_shape
    x, w = int8s(generator, *conv.x_shape), int8s(generator, *shape)
    if generator.random() < 0.3:
        x, w = (generator.choice(np.array([-128, 127], np.int8), a.shape) for a in (x, w))
    return [x, *splits(w, trained_in), biases(generator, conv.out_c)]


@pytest.mark.parametrize("kind", ["conv2d", "depthwise2d"])
def test_the_general_kernel_s_bits(core: CoreTarget, kind: str) -> None:
    generator = np.random.default_rng(1)
    for number, conv, trained_in in cases(core, kind):
        counts = set()
        for _ in range(4):
            given = arguments(generator, conv, trained_in, kind)
            expected = run(core, kind, number, conv, trained_in, given, -1, fast=False)
            found = run(core, kind, number, conv, trained_in, given, -1, fast=True)
            counts.add(core.instructions)
            np.testing.assert_array_equal(found, expected, err_msg=f"{kind} {number}: {conv}")
        assert len(counts) == 1, (kind, number, counts)


@pytest.mark.parametrize("kind", ["conv2d", "depthwise2d"])
def test_rows_are_the_same_one_at_a_time(core: CoreTarget, kind: str) -> None:
    generator = np.random.default_rng(2)
    for number, conv, trained_in in cases(core, kind):
        given = arguments(generator, conv, trained_in, kind)
        whole = run(core, kind, number, conv, trained_in, given, -1, fast=False)
        rows = [run(core, kind, number, conv, trained_in, given, row, fast=True) for row in range(conv.rows.outputs)]
        np.testing.assert_array_equal(np.concatenate(rows), whole, err_msg=f"{kind} {number}: {conv}")


def run(
    core: CoreTarget,
    kind: str,
    number: int,
    conv: Conv,
    trained_in: int,
    given: list[Argument],
    row: int,
    *,
    fast: bool,
) -> NDArray[np.int8]:
    """Of one row, or with -1 of all."""
    size = (conv.rows.outputs if row < 0 else 1) * conv.columns.outputs * conv.out_c
    planned = scratch_bytes(conv, trained_in, kind)
    taps = conv.rows.kernel * conv.columns.kernel * conv.in_c
    scratch, y = guarded(planned if fast else max(planned, taps)), guarded(size)
    core.call(kind, number, int(fast), row, *given, scratch, y)
    content(scratch, len(scratch) - 8)
    return content(y, size).copy()
