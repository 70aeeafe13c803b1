"""The deepest stack of an image, from frame sizes and the call graph."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bench.compiler.stack import worst_stack
from bench.errors import ConfigError
from bench.rack.manifest import load_manifest

START = """
#include <cstdint>
extern "C" void Reset_Handler();
__attribute__((section(".vectors"), used)) const void* const vectors[2] = {nullptr, (const void*)&Reset_Handler};
volatile int32_t sink;
template <int kBytes>
__attribute__((noinline)) void fill() {
  volatile uint8_t room[kBytes];
  for (int i = 0; i < kBytes; ++i) room[i] = 1;
  sink = room[kBytes / 2];
}
"""


def linked(folder: Path, code: str, core: str = "-mcpu=cortex-m4") -> Path:
    """An image of START and `code`, with GCC's frame sizes beside it."""
    source, elf = folder / "image.cpp", folder / "image.elf"
    source.write_text(START + code)
    flags = ["arm-none-eabi-g++", core, "-mthumb", "-O1", "-g", "-fno-exceptions", "-fstack-usage"]
    subprocess.run([*flags, "-c", str(source), "-o", str(folder / "image.o")], check=True, cwd=folder)
    link = [*flags, str(folder / "image.o"), "-nostartfiles", "--specs=nano.specs", "-Wl,-Ttext=0x8000000"]
    subprocess.run([*link, "-Wl,-e,Reset_Handler", "-o", str(elf)], check=True, capture_output=True)
    return elf


NETDUINO2 = load_manifest("netduino2")
EXCEPTION = 32 + 4


def test_the_deepest_of_two_paths_counts_templates_included(tmp_path: Path) -> None:
    elf = linked(tmp_path, 'extern "C" void Reset_Handler() { fill<64>(); fill<400>(); sink = 1; }')
    report = worst_stack(elf, NETDUINO2)
    assert 400 <= report.thread_bytes <= 400 + 32
    assert report.interrupt_bytes == EXCEPTION
    assert report.chain[0][0] == "Reset_Handler"
    assert report.chain[1][0].startswith("void fill<"), "the frames of a template's instances are told by its line"


def test_frames_along_a_chain_add_up(tmp_path: Path) -> None:
    code = "__attribute__((noinline)) void middle() { fill<100>(); volatile int x[50]; x[3] = 1; sink = x[3]; }\n"
    elf = linked(tmp_path, code + 'extern "C" void Reset_Handler() { middle(); sink = 2; }')
    assert 300 <= worst_stack(elf, NETDUINO2).thread_bytes <= 300 + 48


def test_recursion_has_no_bound(tmp_path: Path) -> None:
    code = "__attribute__((noinline)) int32_t again(int32_t n) { return n < 2 ? sink : again(n - 1) * again(n - 2); }\n"
    elf = linked(tmp_path, code + 'extern "C" void Reset_Handler() { sink = again(sink); }')
    with pytest.raises(ConfigError, match="recursion has no bound: again"):
        worst_stack(elf, NETDUINO2)


def test_a_call_through_a_pointer_must_be_declared(tmp_path: Path) -> None:
    code = 'void (*volatile target)() = fill<8>;\nextern "C" void Reset_Handler() { target(); sink = 3; }'
    with pytest.raises(ConfigError, match="Reset_Handler calls through a pointer: declare"):
        worst_stack(linked(tmp_path, code), NETDUINO2)
