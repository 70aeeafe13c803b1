"""The layers for which `make kernels` counts each kernel, and the functions that call them, as C++.

Goals are instructions per multiply-accumulate (per element, where there is none), storing the result included. Floors
are what an inner loop alone takes that fills the registers: with the DSP extension 15 instructions for 2 rows of four
weights at 2 positions (columns.hpp), 21 for 4 rows at one; with an FPU 16 VFMA and 2 VLDM for 4 rows at 4 positions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.benchmarks.cortex import CPU_MODELS, WITH_FPU

DSP = WITH_FPU  # the cores with the DSP extension are those with an FPU, of the boards' cores


@dataclass(frozen=True)
class Shape:
    """Of a convolution, as Conv2dShape; padded so that a map keeps its size, but for the stride."""

    size: int
    in_c: int
    out_c: int
    kernel: int = 1
    stride: int = 1
    depthwise: bool = False
    dense: bool = False

    @property
    def outputs(self) -> int:
        """Rows and columns of the output."""
        return 1 if self.dense else -(-self.size // self.stride)

    @property
    def macs(self) -> int:
        """Nominal: taps outside the map count."""
        return self.outputs**2 * self.kernel**2 * self.out_c * (1 if self.depthwise else self.in_c)

    @property
    def cpp(self) -> str:
        """The initialiser."""
        pad = 0 if self.dense else (self.kernel - 1) // 2
        groups = self.in_c if self.depthwise else 1
        sizes = (self.size, self.size, self.in_c, self.outputs, self.outputs, self.out_c, self.kernel, self.kernel)
        return f"{{{', '.join(map(str, sizes))}, {self.stride}, {self.stride}, {pad}, {pad}, {groups}}}"


@dataclass(frozen=True)
class KernelCase:
    """One kernel for one layer. `calls`: C++ of the call. `goals` and `floors`: by core."""

    name: str
    calls: str
    work: int
    unit: str
    shape: Shape | None = None
    cores: tuple[str, ...] = tuple(CPU_MODELS)
    goals: Mapping[str, float] = field(default_factory=dict)
    floors: Mapping[str, float] = field(default_factory=dict)
    declares: str = ""


def _on(value: float, *, m3: float | None = None, m0: float | None = None) -> dict[str, float]:
    """For each core with the DSP extension, and others where given."""
    others = {"cortex-m3": m3, "cortex-m0": m0}
    return {**dict.fromkeys(DSP, value), **{core: of for core, of in others.items() if of is not None}}


_FLOOR = _on(15 / 16)


def _conv(name: str, shape: Shape, call: str, **more: Mapping[str, float]) -> KernelCase:
    return KernelCase(name, call, shape.macs, "MAC", shape, **more)  # type: ignore[arg-type]


_POINTWISE = Shape(8, 64, 32)
_WIDENING = Shape(8, 32, 64)  # whose input gradient sums over 64 channels, as _POINTWISE's output does
_SQUARE = Shape(8, 16, 16, kernel=3)
_FIRST = Shape(32, 3, 16, kernel=3, stride=2)
_DENSE = Shape(1, 256, 64, dense=True)
_WINDOWS = {kernel: Shape(16, 32, 32, kernel=kernel, depthwise=True) for kernel in (3, 5, 7)}
_ELEMENTS = 2048


def _forward(kernel: str) -> str:
    return f"int8::fast::{kernel}<Layer, 0>(Layer::kShape, b.x, {{nullptr, b.w, 0}}, b.bias, b.scratch, b.y);"


def _gradient(kernel: str) -> str:
    return (
        f"int8::fast::{kernel}<Layer, 0, kScratch>(sgd, b.y, 9, {{nullptr, b.w, 0}}, b.gate, &b.peak, b.scratch, b.x);"
    )


def _update(shape: Shape) -> str:
    rows = shape.in_c
    weights = f"int8::TrainedWeights<Rule>{{b.w, b.residuals, {rows}, Layer::kLift, Layer::kExponent}}"
    if shape.depthwise:
        return f"int8::depthwise2d_update<Rule>(sgd, 3, Layer::kShape, b.y, 9, b.x, 5, {rows}, {weights});"
    return (
        f"int8::fast::conv2d_update<Rule, Layer, {rows}, {rows}, kScratch>(sgd, 3, b.y, 9, b.x, 5, {weights}, "
        "b.scratch);"
    )


def _elements(name: str, call: str, declares: str = "") -> KernelCase:
    return KernelCase(f"int8 {name}", call, _ELEMENTS, "element", declares=declares)


_POOL = "struct Layer { static constexpr PoolShape kShape{8, 8, 32, 1, 1, 8, 8, 8, 8, 0, 0}; };"

INT8 = (
    _conv("int8 conv2d 1x1 64→32", _POINTWISE, _forward("conv2d"),
          goals=_on(1.45, m0=5.5), floors=_FLOOR),
    _conv("int8 conv2d 3x3 16→16", _SQUARE, _forward("conv2d"), goals=_on(1.8), floors=_FLOOR),
    _conv("int8 conv2d 3x3 3→16 stride 2", _FIRST, _forward("conv2d"), floors=_FLOOR),
    _conv("int8 dense 256→64", _DENSE, _forward("conv2d"), goals=_on(1.6, m0=5.0), floors=_on(21 / 16)),
    *(
        _conv(f"int8 depthwise2d {k}x{k} 32", shape, _forward("depthwise2d"), goals=_on(4.0))
        for k, shape in _WINDOWS.items()
    ),
    _conv("int8 conv2d_input_gradient 1x1 64→32", _POINTWISE, _gradient("conv2d_input_gradient"),
          goals=_on(1.5), floors=_FLOOR),
    _conv("int8 conv2d_input_gradient 1x1 32→64", _WIDENING, _gradient("conv2d_input_gradient"),
          goals=_on(1.5), floors=_FLOOR),
    _conv("int8 conv2d_input_gradient 3x3 16→16", _SQUARE, _gradient("conv2d_input_gradient"), floors=_FLOOR),
    _conv("int8 dense_input_gradient 256→64", _DENSE, _gradient("conv2d_input_gradient")),
    _conv("int8 depthwise2d_input_gradient 3x3 32", _WINDOWS[3], _gradient("depthwise2d_input_gradient")),
    _conv("int8 conv2d_update 1x1 64→32", _POINTWISE, _update(_POINTWISE), floors=_FLOOR),
    _conv("int8 conv2d_update 3x3 16→16", _SQUARE, _update(_SQUARE), floors=_FLOOR),
    _conv("int8 dense_update 256→64", _DENSE, _update(_DENSE)),
    _conv("int8 depthwise2d_update 3x3 32", _WINDOWS[3], _update(_WINDOWS[3])),
    _elements("add", f"int8::fast::add<1, 0, 1, -128, 127>({_ELEMENTS}, b.x, b.w, b.y);"),
    _elements("add_gradients",
              f"int8::fast::add_gradients(sgd, {_ELEMENTS}, b.x, 3, b.w, 4, b.gate, &b.peak, b.y);"),
    _elements("pack_gate", f"int8::fast::pack_gate({_ELEMENTS}, b.x, {{0, 127}}, b.gate);"),
    _elements("update_bias", "int8::fast::update_bias(sgd, 3, b.y, 9, 64, 32, b.bias, kLifts, 14);"),
    _elements("avg_pool", "int8::avg_pool(Layer::kShape, b.x, 0, b.y);", _POOL),
    _elements("avg_pool_gradient",
              "int8::fast::avg_pool_gradient<Layer>(sgd, b.y, 9, b.gate, &b.peak, b.x);", _POOL),
)  # fmt: skip

_FLOATS: tuple[tuple[str, Shape, str], ...] = (
    ("conv2d 1x1 64→32", _POINTWISE,
     "float32::fast::conv2d(Layer::kShape, f.x, {nullptr, f.w, 0}, f.bias, kRange, f.scratch, f.y);"),
    ("conv2d 3x3 16→16", _SQUARE,
     "float32::fast::conv2d(Layer::kShape, f.x, {nullptr, f.w, 0}, f.bias, kRange, f.scratch, f.y);"),
    ("dense 256→64", _DENSE,
     "float32::fast::conv2d(Layer::kShape, f.x, {nullptr, f.w, 0}, f.bias, kRange, f.scratch, f.y);"),
    ("dense_input_gradient 256→64", _DENSE,
     "float32::fast::conv2d_input_gradient(Layer::kShape, f.y, {nullptr, f.w, 0}, f.gate, f.x);"),
    ("dense_update 256→64", _DENSE,
     "float32::fast::conv2d_update<float32::Immediate>(0.01F, Layer::kShape, f.y, f.x, 256, f.w, 256);"),
    ("depthwise2d 3x3 16", Shape(8, 16, 16, kernel=3, depthwise=True),
     "float32::depthwise2d(Layer::kShape, f.x, {nullptr, f.w, 0}, f.bias, kRange, f.y);"),
    ("conv2d_input_gradient 1x1 64→32", _POINTWISE,
     "float32::fast::conv2d_input_gradient(Layer::kShape, f.y, {nullptr, f.w, 0}, f.gate, f.x);"),
    ("conv2d_update 1x1 64→32", _POINTWISE,
     "float32::fast::conv2d_update<float32::Immediate>(0.01F, Layer::kShape, f.y, f.x, 64, f.w, 64);"),
)  # fmt: skip
_FLOAT_GOALS = {"conv2d 1x1 64→32": (1.30, 18 / 16), "conv2d_update 1x1 64→32": (1.7, 1.4)}

FLOAT32 = tuple(
    KernelCase(f"float32 {name}", call, shape.macs, "MAC", shape, cores=WITH_FPU,
               goals=_on(_FLOAT_GOALS[name][0]) if name in _FLOAT_GOALS else {},
               floors=_on(_FLOAT_GOALS[name][1]) if name in _FLOAT_GOALS else {})
    for name, shape, call in _FLOATS
)  # fmt: skip

CASES = (*INT8, *FLOAT32)

_HEAD = """// The kernels whose instructions `make kernels` counts, under plain C names.
#include <cstdint>
#include <limits>

#include "engine/float32/depthwise2d.hpp"
#include "engine/float32/fast/conv2d.hpp"
#include "engine/float32/fast/conv2d_input_gradient.hpp"
#include "engine/float32/fast/conv2d_update.hpp"
#include "engine/int8/avg_pool.hpp"
#include "engine/int8/depthwise2d_update.hpp"
#include "engine/int8/fast/add.hpp"
#include "engine/int8/fast/add_gradients.hpp"
#include "engine/int8/fast/avg_pool_gradient.hpp"
#include "engine/int8/fast/conv2d.hpp"
#include "engine/int8/fast/conv2d_input_gradient.hpp"
#include "engine/int8/fast/conv2d_update.hpp"
#include "engine/int8/fast/depthwise2d.hpp"
#include "engine/int8/fast/depthwise2d_input_gradient.hpp"
#include "engine/int8/fast/pack_gate.hpp"
#include "engine/int8/fast/update_bias.hpp"

using namespace ftte;

namespace {

using Rule = int8::Compensated;
constexpr int32_t kScratch = SCRATCH;
constexpr float32::Range kRange{0.0F, std::numeric_limits<float>::max()};
constexpr int8_t kShiftsOfAll[256] = {SHIFTS};
constexpr int8_t kLifts[256] = {};

// Of a call: as large as any case needs.
struct Bytes {
  int8_t *x, *w, *y, *residuals, *scratch;
  int32_t* bias;
  uint8_t* gate;
  uint32_t peak;
};
struct Floats {
  float *x, *w, *y, *scratch, *bias;
  uint8_t* gate;
};

}  // namespace
"""

_LAYER = """struct Layer {
  static constexpr Conv2dShape kShape SHAPE;
  static constexpr const int8_t* kShifts = kShiftsOfAll;
  static constexpr const int8_t* kLift = kLifts;
  static constexpr int8::Range kRange{0, 127};
  static constexpr int32_t kExponent = 6;
};"""

SCRATCH_BYTES = 8192


def function(index: int) -> str:
    """The C function's name."""
    return f"case_{index}"


def source(core: str) -> str:
    """The file with a function for each case that `core` runs: (x, w, y, residuals, scratch, bias, gate)."""
    head = _HEAD.replace("SCRATCH", str(SCRATCH_BYTES)).replace("SHIFTS", ", ".join(["7", "8"] * 128))
    parts = [head]
    for index, case in enumerate(CASES):
        if core in case.cores:
            write: Callable[[int, KernelCase], str] = _of_floats if case.name.startswith("float32") else _of_bytes
            declares = case.declares or (_LAYER.replace("SHAPE", case.shape.cpp) if case.shape is not None else "")
            parts.append(f"namespace {{\nnamespace of_{index} {{\n{declares}\n}}\n}}\n{write(index, case)}")
    return "\n".join(parts)


def _of_bytes(index: int, case: KernelCase) -> str:
    return (
        f'extern "C" void {function(index)}(int8_t* x, int8_t* w, int8_t* y, int8_t* residuals, int8_t* scratch, '
        f"int32_t* bias, uint8_t* gate) {{\n  using namespace of_{index};\n"
        "  [[maybe_unused]] int8::Sgd sgd{655, 1, 0};\n"
        f"  [[maybe_unused]] Bytes b{{x, w, y, residuals, scratch, bias, gate, 5000}};\n  {case.calls}\n}}\n"
    )


def _of_floats(index: int, case: KernelCase) -> str:
    return (
        f'extern "C" void {function(index)}(float* x, float* w, float* y, int8_t*, float* scratch, float* bias, '
        f"uint8_t* gate) {{\n  using namespace of_{index};\n"
        f"  [[maybe_unused]] const Floats f{{x, w, y, scratch, bias, gate}};\n  {case.calls}\n}}\n"
    )
