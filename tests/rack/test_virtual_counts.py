"""Two emulators count alike: a training step takes as many instructions on Unicorn's Cortex-M4F as on QEMU's.

The same objects are linked into an image for each, so that not a kernel, not a floating-point instruction and not a
library function differs.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import serial
from virtual_helpers import KINDS, build_image, wait_until

from bench.meters.counter import PhaseCounter
from bench.virtual.rack import VirtualRack

ROOT = Path(__file__).resolve().parents[2]
FIRMWARE = ROOT / "firmware"

sys.path.insert(0, str(FIRMWARE / "platform" / "builder"))
import build_settings  # noqa: E402  (not a package: PlatformIO loads it by path)

STEP = """
#include "engine/program.hpp"
#include "program.hpp"

alignas(8) static uint8_t params[ftte::program::kParamsBytes];
alignas(8) static uint8_t arena[ftte::program::kArenaBytes];
static int8_t sample[ftte::program::kSampleBytes];
volatile uint32_t steps;

extern "C" void counted_step() {
  steps = steps + 1;
  uint32_t state = steps;
  for (int8_t& feature : sample) feature = static_cast<int8_t>((state = state * 1664525U + 1013904223U) >> 24);
  kProgram.begin(params);
  kProgram.step(params, arena, sample, static_cast<uint8_t>(steps % 10), 1000, steps);
}
"""


def compile_step(program: str, dtype: str, folder: Path) -> Path:
    """The program, its kernels and counted_step(), as one object."""
    (folder / "step.cpp").write_text(STEP)
    generated = FIRMWARE / build_settings.GENERATED / program
    sources = [folder / "step.cpp", *generated.glob("*.cpp"), *(FIRMWARE / "engine" / dtype).rglob("*.cpp")]
    flags = [*build_settings.CORE_FLAGS["cortex-m4f"], *build_settings.CXX_FLAGS, *build_settings.KERNEL_FLAGS]
    flags += ["-ffp-contract=off", "-ffunction-sections", f"-I{FIRMWARE}", f"-I{generated}"]
    result = folder / "step.o"
    command = ["arm-none-eabi-g++", *flags, *map(str, sources), "-r", "-nostdlib", "-o", str(result)]
    subprocess.run(command, check=True)
    return result


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_a_training_step_is_counted_alike(dtype: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    step = compile_step(request.getfixturevalue(f"{dtype}_program"), dtype, tmp_path)
    names = ("f405", "nrf52")
    for name in names:
        kind = KINDS[name]
        image = build_image(kind, tmp_path, step=step).read_bytes()
        (tmp_path / name).mkdir()
        (tmp_path / name / "flash.bin").write_bytes(image + b"\xff" * (kind.spec(name).flash_size - len(image)))
    counted: dict[str, list[int]] = {name: [] for name in names}
    with VirtualRack([KINDS[name].spec(name) for name in names], tmp_path) as rack:
        for name in names:
            counter = PhaseCounter(rack.endpoints[name].counter or "")
            wait_until(f"{name} has booted", lambda path=counter.path: path.exists() and path.stat().st_size > 0)
            with serial.Serial(rack.endpoints[name].serial, 115200, timeout=20) as port:
                for _ in range(3):
                    port.write(bytes([1]) + b"c")
                    assert port.read_until(b"done\n").endswith(b"done\n")
                    counted[name].append(counter.read()["train"])
    assert counted["nrf52"] == counted["f405"]
    assert counted["f405"][0] > 200_000, "that is no training step"
