"""The training program as C++: straight-line calls of the kernel library, constants in flash, nothing on the stack.

program.hpp   sizes                     program.cpp  layers, offsets, step and inference
tables.hpp    frozen weights, declared  tables.cpp   and defined
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping

import numpy as np

from bench.compiler import rows
from bench.compiler.calls import Emission, describe, identifier, shape_of
from bench.compiler.calls_float32 import Float32
from bench.compiler.calls_int8 import Int8
from bench.compiler.layout import Array
from bench.model.plan import Plan
from bench.model.wire import segments_of, spans_of

Dialect = Int8 | Float32
_C_TYPES = {"int8": "int8_t", "int32": "int32_t", "float32": "float"}
# Kernels with a variant for some cores or for one layer (firmware/engine/int8/fast and float32/fast).
_FAST = {
    "int8": {
        "add",
        "add_gradients",
        "avg_pool_gradient",
        "conv2d",
        "conv2d_input_gradient",
        "conv2d_update",
        "depthwise2d",
        "depthwise2d_input_gradient",
        "pack_gate",
        "update_bias",
    },
    "float32": {"conv2d", "conv2d_input_gradient", "conv2d_update"},
}
_BANNER = "// Emitted by `bench plan`: do not edit."


def emit(emission: Emission, dialect: Dialect, plan: Plan) -> Mapping[str, str]:
    """The sources by file name."""
    return {
        "program.hpp": _header(plan),
        "program.cpp": _program(emission, dialect, plan),
        "tables.hpp": _tables_header(emission.layout.tables),
        "tables.cpp": _tables(emission.layout.tables),
    }


def _header(plan: Plan) -> str:
    return f"""{_BANNER}
// {plan.model}, scheme {plan.scheme}, {plan.dtype}; plan.json describes it to the host.
#pragma once

#include <cstdint>

namespace ftte::program {{

inline constexpr uint32_t kParamsBytes = {plan.params_bytes};
inline constexpr uint32_t kArenaBytes = {plan.arena_bytes};
inline constexpr uint32_t kSampleBytes = {plan.sample_bytes};
inline constexpr uint32_t kBaseBytes = {plan.base_bytes};    // of a federated client's state: what was sent down
inline constexpr uint32_t kErrorBytes = {plan.error_bytes};  // and what updates have left unsent

}}  // namespace ftte::program
"""


def _program(emission: Emission, dialect: Dialect, plan: Plan) -> str:
    calls = emission.arranged.calls
    parts_of = [part for call in calls for part in call.parts]
    kernels = sorted({_header_of(call.kernel, plan.dtype) for call in parts_of} - {""} | _always(plan))
    fused = [call for call in calls if call.stages]
    infer = [dialect.statement(call, infer=True) for call in calls if call.forward and not call.training]
    parts = [
        f"{_BANNER}\n// {plan.model}, scheme {plan.scheme}, {plan.dtype}, batch {plan.batch}.",
        '#include "program.hpp"\n\n#include <cstring>\n#include <limits>\n\n#include "engine/program.hpp"\n'
        + ('#include "engine/fused/rows.hpp"\n' if fused else "")
        + ('#include "federation/layout.hpp"\n' if plan.base_bytes else "")
        + "\n".join(f'#include "engine/{plan.dtype}/{kernel}.hpp"' for kernel in kernels)
        + '\n#include "tables.hpp"',
        "namespace ftte::program {\nnamespace {",
        _layers(emission, dialect),
        _offsets("Params", "bytes from the start of the parameters", _params(emission)),
        _offsets(
            "Arena", "bytes from the start of the arena; what shares an offset never lives at once", _arena(emission)
        ),
        _helpers(plan),
        *(rows.function(emission, dialect, call, _C_TYPES[plan.dtype]) for call in fused),
        _begin(plan),
        "StepResult infer([[maybe_unused]] const uint8_t* params, uint8_t* arena, const int8_t* sample,\n"
        "                 [[maybe_unused]] uint8_t label) {\n"
        + _indented(infer)
        + f"\n  return {_result(plan, '0')};\n}}",
        _step(emission, dialect, plan),
        "}  // namespace\n}  // namespace ftte::program",
        _definition(plan),
        _federation(plan),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _federation(plan: Plan) -> str:
    """Where the update codec finds what it sends, and what lies in what comes down (firmware/federation)."""
    if not plan.base_bytes:
        return ""
    spans = [
        f"    {{federation::Kind{{{s.kind}}}, {s.count}, {s.value}, {s.residual}, {s.error}}}," for s in spans_of(plan)
    ]
    segments = [f"    {{{'true' if s.words else 'false'}, {s.count}}}," for s in segments_of(plan)]
    return "\n".join(
        [
            "namespace {",
            "constexpr federation::Span kSpans[] = {",
            *spans,
            "};",
            "constexpr federation::Segment kSegments[] = {",
            *segments,
            "};",
            "}  // namespace",
            f"const federation::Layout kFederation{{{{kSpans, {len(spans)}}}, kSegments, {len(segments)}}};",
        ]
    )


def _always(plan: Plan) -> set[str]:
    fold = {"fold"} if plan.batch > 1 else set()
    return fold | ({"update"} if plan.dtype == "int8" else set())


def _header_of(kernel: str, dtype: str) -> str:
    """The header that declares a kernel."""
    if kernel == "load_sample":
        return "widen_sample" if dtype == "float32" else ""
    shared = {"conv2d_logits": "conv2d", "update_bias": "update" if dtype == "int8" else "update_bias"}
    if kernel in _FAST[dtype]:
        return f"fast/{kernel}"
    return shared.get(kernel, kernel)


def _layers(emission: Emission, dialect: Dialect) -> str:
    blocks = []
    for node in emission.graph.nodes:
        trained = [what for what in ("bias", "weight") if emission.trained(node, what) is not None]
        note = f"; trains {', '.join(trained)}" if trained else ""
        lines = [f"// {describe(emission.graph, node)}{note}", f"struct {node.name} {{"]
        shape = shape_of(emission.graph, node)
        lines += [f"  static constexpr {shape};"] if shape else []
        lines += [f"  {line}" for line in dialect.tables(node)]
        lines.append("};")
        if len(lines) > 3:
            blocks.append("\n".join(lines))
    return "\n\n".join(["namespace layer {", *blocks, "}  // namespace layer"])


def _offsets(name: str, comment: str, entries: Iterable[tuple[str, int]]) -> str:
    lines = [f"  static constexpr uint32_t {entry} = {offset};" for entry, offset in entries]
    return f"// {comment[0].upper()}{comment[1:]}.\nstruct {name} {{\n" + "\n".join(lines) + "\n};"


def _params(emission: Emission) -> list[tuple[str, int]]:
    return [(identifier(tensor.name), tensor.offset) for tensor in emission.layout.tensors]


def _arena(emission: Emission) -> list[tuple[str, int]]:
    offsets = emission.arranged.offsets
    return sorted(offsets.items(), key=lambda item: (item[1], item[0]))


def _helpers(plan: Plan) -> str:
    lines = ["// The caller aligns params and arena to 8 bytes, and every offset is a multiple of its element's size."]
    pointers = {"at": "int8_t", "words": "int32_t", "halves": "int16_t"} if plan.dtype == "int8" else {"at": "float"}
    for name, element in {**pointers, "bits": "uint8_t", "counts": "uint32_t"}.items():
        for const in ("", "const "):
            lines += [
                f"[[maybe_unused]] {const}{element}* {name}({const}uint8_t* base, uint32_t offset) {{",
                f"  return reinterpret_cast<{const}{element}*>(base + offset);",
                "}",
            ]
    if plan.dtype == "float32":
        lines += [
            "[[maybe_unused]] constexpr float kLargest = std::numeric_limits<float>::max();",
            "[[maybe_unused]] constexpr float32::Range kLinear{-kLargest, kLargest};",
            "[[maybe_unused]] constexpr float32::Range kRelu{0.0F, kLargest};",
            "[[maybe_unused]] constexpr float32::Range kRelu6{0.0F, 6.0F};",
            "// A loss that is no number (training has diverged) is reported as the largest.",
            "uint32_t loss_q16(float loss) {",
            "  return loss >= 0.0F && loss < 65535.0F ? static_cast<uint32_t>(loss * 65536.0F) : UINT32_MAX;",
            "}",
        ]
    return "\n".join(lines)


def _begin(plan: Plan) -> str:
    """Residuals and state start at zero."""
    kept = plan.params_bytes - plan.down_bytes
    body = f"std::memset(params + {plan.down_bytes}, 0, {kept});" if kept else "static_cast<void>(params);"
    return f"void begin(uint8_t* params) {{ {body} }}"


def _step(emission: Emission, dialect: Dialect, plan: Plan) -> str:
    lines = [_rate(plan)]
    if emission.layout.peaks:
        lines.append("uint32_t* const peaks = counts(params, Params::gradient_peaks);")
    layer = ""
    for call in emission.arranged.calls:
        if call.layer != layer:
            layer = call.layer
            lines.append("// " + ", ".join(part.layer for part in call.parts))
        lines.append(dialect.statement(call, infer=False))
    if plan.batch > 1:
        lines.append("uint32_t& filled = *counts(params, Params::batch_filled);")
        lines.append(f"if (++filled == {plan.batch}) {{\n" + _indented(["filled = 0;", *dialect.fold()]) + "\n}")
    return (
        "StepResult step(uint8_t* params, uint8_t* arena, const int8_t* sample, [[maybe_unused]] uint8_t label,\n"
        "                uint32_t learning_rate_q16, [[maybe_unused]] uint32_t seed) {\n"
        + _indented(lines)
        + f"\n  return {_result(plan, 'sgd.saturated')};\n}}"
    )


def _rate(plan: Plan) -> str:
    """The learning rate of one sample: its share of the batch's mean."""
    if plan.dtype == "float32":
        return f"const float learning_rate = static_cast<float>(learning_rate_q16) * {1 / 65536 / plan.batch!r}F;"
    rate = "learning_rate_q16" if plan.batch == 1 else f"(learning_rate_q16 + {plan.batch // 2}U) / {plan.batch}U"
    return f"int8::Sgd sgd{{{rate}, seed, 0}};"


def _result(plan: Plan, saturated: str) -> str:
    if plan.dtype == "float32":
        return "step_result(loss_q16(loss.loss), 0, loss.predicted)"
    return f"step_result(loss.loss_q16, {saturated}, loss.predicted)"


def _definition(plan: Plan) -> str:
    dtype = "kInt8" if plan.dtype == "int8" else "kFloat32"
    return f"""const ftte::Program kProgram{{
    ftte::Dtype::{dtype},
    {plan.classes},
    ftte::program::kParamsBytes,
    {plan.down_bytes},
    ftte::program::kArenaBytes,
    ftte::program::kSampleBytes,
    ftte::program::begin,
    ftte::program::step,
    ftte::program::infer,
}};"""


def _indented(lines: Iterable[str]) -> str:
    return textwrap.indent("\n".join(lines), "  ")


def _tables_header(tables: Mapping[str, Array]) -> str:
    declared = "\n".join(f"extern const {_C_TYPES[str(t.dtype)]} {name}[{t.size}];" for name, t in tables.items())
    return (
        f"{_BANNER}\n// Weights and biases that do not train: constants in flash.\n"
        "#pragma once\n\n#include <cstdint>\n\n"
        f"namespace ftte::program::tables {{\n\n{declared}\n\n}}  // namespace ftte::program::tables\n"
    )


def _tables(tables: Mapping[str, Array]) -> str:
    parts = [f'{_BANNER}\n#include "tables.hpp"\n\nnamespace ftte::program::tables {{']
    for name, table in tables.items():
        # Four-byte alignment lets kernels read weights by the word.
        parts.append(f"alignas(4) const {_C_TYPES[str(table.dtype)]} {name}[{table.size}] = {{\n{_numbers(table)}\n}};")
    return "\n\n".join([*parts, "}  // namespace ftte::program::tables"]) + "\n"


def _numbers(table: Array) -> str:
    flat = table.reshape(-1)
    if table.dtype == np.float32:
        # The shortest digits that give the same float back.
        texts, columns = [f"{number!s}F" for number in flat], 8
    else:
        texts, columns = [str(number) for number in flat.tolist()], 24
    rows = (texts[start : start + columns] for start in range(0, len(texts), columns))
    return ",\n".join("    " + ", ".join(row) for row in rows)
