"""A fused call as C++: a function that makes the rows of a chain's output, asking each operator for the rows it needs.

The maps inside the chain are windows of rows (firmware/engine/fused/rows.hpp) in the call's scratch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from bench.compiler.calls import Emission, Operands, layer, value
from bench.compiler.differentiate import Call, Schedule
from bench.model import graph as g
from bench.model.graph import INPUT, Node


class Dialect(Protocol):
    """A number format's kernel calls."""

    def rowwise(self, call: Call, on: Operands) -> str:
        """A forward call on rows of its maps."""


def statement(call: Call, *, infer: bool) -> str:
    """The call of the function."""
    winners = f", {'false' if infer else 'true'}" if "winners" in call.writes else ""
    return f"{function_name(call)}(params, arena{winners});"


def function_name(call: Call) -> str:
    """Of a fused call."""
    return "rows_" + "_".join(stage.layer for stage in call.stages)


def function(emission: Emission, dialect: Dialect, call: Call, element: str) -> str:
    """The definition.

    Args:
        emission: the program.
        dialect: of its kernels.
        call: a fused one.
        element: C++ type of a map's elements.
    """
    schedule = emission.arranged.schedule
    last = call.stages[-1]
    node, row = _node(last), _row_elements(schedule, last.writes["y"])
    training = ", bool training" if "winners" in call.writes else ""
    lines = [
        *_windows(emission, call, element),
        f"const {element}* const input = {value(call.reads['x'])};",
    ]
    for stage in call.stages:
        lines += _maker(emission, dialect, call, stage, element)
    lines += [
        f"{element}* y = {value(last.writes['y'])};",
        f"for (int32_t row = 0; row < {node.shape[0]}; ++row, y += {row}) make_{node.name}(row, y);",
    ]
    kept = ", ".join(f"{call.windows[name] // _row_bytes(schedule, name)} of {name}" for name in call.windows)
    note = f": a row of {node.name} at a time" + (f"; rows kept: {kept}" if kept else "")
    body = "\n".join(f"  {line}" for line in lines)
    return (
        f"// {', '.join(stage.layer for stage in call.stages)}{note}.\n"
        f"[[gnu::noinline]] void {function_name(call)}([[maybe_unused]] const uint8_t* params, uint8_t* arena"
        f"{training}) {{\n{body}\n}}"
    )


def _windows(emission: Emission, call: Call, element: str) -> Iterator[str]:
    schedule, start = emission.arranged.schedule, emission.arranged.scratch.get(call.name, 0)
    for name, size in call.windows.items():
        rows = size // _row_bytes(schedule, name)
        yield f"RowWindow<{element}> of_{name}(at(arena, {start}), {_row_elements(schedule, name)}, {rows});"
        start += size


def _maker(emission: Emission, dialect: Dialect, call: Call, stage: Call, element: str) -> Iterator[str]:
    """The function that makes one row of a stage's output."""
    schedule, node = emission.arranged.schedule, _node(stage)
    windowed = isinstance(node.op, g.Window)
    yield f"const auto make_{node.name} = [&](int32_t row, {element}* y) {{"
    if windowed:
        yield f"  const auto rows = strip({layer(node)}::kShape, row);"
    first, last = ("rows.first", "rows.last") if windowed else ("row", "row + 1")
    for role, name in stage.reads.items():
        source = f"input + {first} * {_row_elements(schedule, name)}"
        if name in call.windows:
            source = f"of_{name}.rows({first}, {last}, make_{name})"
        yield f"  const {element}* const {role} = {source};"
    maps = {role: role for role in (*stage.reads, "y")}
    if "winners" in stage.writes:
        size = schedule.values[stage.writes["winners"]].bytes // node.shape[0]
        maps["winners"] = f"training ? bits(arena, Arena::{stage.writes['winners']}) + row * {size} : nullptr"
    scratch = f"at(arena, {_scratch_offset(emission, call)})" if stage.scratch else "nullptr"
    on = Operands("rows.shape", _row_elements(schedule, stage.writes["y"]), maps, scratch)
    yield f"  {dialect.rowwise(stage, on)}"
    yield "};"


def _scratch_offset(emission: Emission, call: Call) -> int:
    """Behind the windows: the stages take turns with it."""
    return emission.arranged.scratch[call.name] + sum(call.windows.values())


def _shape(schedule: Schedule, name: str) -> tuple[int, int, int]:
    return schedule.graph.input_shape if name == INPUT else schedule.graph.node(name).shape


def _row_elements(schedule: Schedule, name: str) -> int:
    _, width, channels = _shape(schedule, name)
    return width * channels


def _row_bytes(schedule: Schedule, name: str) -> int:
    return _row_elements(schedule, name) * (1 if schedule.dtype == "int8" else 4)


def _node(call: Call) -> Node:
    assert call.node is not None
    return call.node
