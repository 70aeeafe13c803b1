"""Where the tests run kernels: on the host through ctypes, and on Cortex-M cores executed by Unicorn.

Every target calls the functions of a probe (`*_probe.cpp`: kernels under plain C names) with the same arguments:
integers, and numpy arrays that the function may write (`None` is a null pointer). The image for a core is compiled with
the flags of that core's board.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import unicorn
from capstone import CS_ARCH_ARM, CS_MODE_MCLASS, CS_MODE_THUMB, Cs
from elftools.elf.elffile import ELFFile
from numpy.typing import NDArray
from unicorn import arm_const

from bench.fleet.engine import compile_shared
from bench.rack.manifest import load_manifest

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
sys.path.insert(0, str(FIRMWARE / "platform" / "builder"))
import build_settings  # noqa: E402  (not a package: PlatformIO loads it by path)

BOARD_OF_CORE = {"cortex-m0": "microbit", "cortex-m3": "netduino2", "cortex-m4f": "netduinoplus2"}

CPU_MODELS = {
    "cortex-m0": arm_const.UC_CPU_ARM_CORTEX_M0,
    "cortex-m3": arm_const.UC_CPU_ARM_CORTEX_M3,
    "cortex-m4f": arm_const.UC_CPU_ARM_CORTEX_M4,
}

Argument = int | NDArray[np.generic] | None


class Target(Protocol):
    """Something that runs kernels."""

    def call(self, name: str, *arguments: Argument) -> int:
        """Calls a function of the probe; arrays are updated. Returns what it returns, as signed 32 bits."""


class HostTarget:
    """`files` compiled for the host, as the fleet compiles the engine."""

    def __init__(self, name: str, files: Sequence[Path]) -> None:
        self._library = ctypes.CDLL(str(compile_shared(files, FIRMWARE, f"probe-{name}")))

    def call(self, name: str, *arguments: Argument) -> int:
        function = getattr(self._library, name)
        function.restype = ctypes.c_int32
        return int(function(*(_host_argument(argument) for argument in arguments)))


def _host_argument(argument: Argument) -> ctypes.c_int32 | ctypes.c_void_p:
    if argument is None:
        return ctypes.c_void_p(None)
    if isinstance(argument, int):
        return ctypes.c_int32(argument)
    assert argument.flags.c_contiguous
    return ctypes.c_void_p(argument.ctypes.data)


class CoreTarget:
    """`files` compiled for a Cortex-M core and executed by Unicorn; counts the instructions of each call."""

    FLASH, RAM, RAM_BYTES, STOP = 0x0800_0000, 0x2000_0000, 0x0002_0000, 0x0807_FF00

    def __init__(self, core: str, name: str, folder: Path, files: Sequence[Path]) -> None:
        self.core = core
        self.instructions = 0
        """Of the last call."""
        self.symbols, segments = _load(_link(core, name, folder, files))
        self._cpu = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self._cpu.ctl_set_cpu_model(CPU_MODELS[core])
        self._cpu.mem_map(self.FLASH, 0x0008_0000, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        self._cpu.mem_map(self.RAM, self.RAM_BYTES, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        for address, content in segments:
            self._cpu.mem_write(address, content)
        if core == "cortex-m4f":  # CPACR: full access to CP10 and CP11; FPEXC: on
            access = self._cpu.reg_read(arm_const.UC_ARM_REG_C1_C0_2)
            self._cpu.reg_write(arm_const.UC_ARM_REG_C1_C0_2, access | 0xF << 20)
            self._cpu.reg_write(arm_const.UC_ARM_REG_FPEXC, 1 << 30)
        self._decoder = Cs(CS_ARCH_ARM, CS_MODE_THUMB | CS_MODE_MCLASS)
        self._block_lengths: dict[tuple[int, int], int] = {}
        self._cpu.hook_add(unicorn.UC_HOOK_BLOCK, self._count)

    def call(self, name: str, *arguments: Argument) -> int:
        words, placed = self._place(arguments)
        stack = self.RAM + self.RAM_BYTES - 0x100
        registers = (arm_const.UC_ARM_REG_R0, arm_const.UC_ARM_REG_R1, arm_const.UC_ARM_REG_R2, arm_const.UC_ARM_REG_R3)
        for register, word in zip(registers, words, strict=False):
            self._cpu.reg_write(register, word)
        for index, word in enumerate(words[len(registers) :]):  # AAPCS: the fifth argument on is at the stack pointer
            self._cpu.mem_write(stack + 4 * index, word.to_bytes(4, "little"))
        self._cpu.reg_write(arm_const.UC_ARM_REG_SP, stack)
        self._cpu.reg_write(arm_const.UC_ARM_REG_LR, self.STOP | 1)
        self.instructions = 0
        self._cpu.emu_start(self.symbols[name] | 1, self.STOP)
        assert self._cpu.reg_read(arm_const.UC_ARM_REG_PC) == self.STOP
        for address, array in placed:
            content = self._cpu.mem_read(address, array.nbytes)
            array[...] = np.frombuffer(bytes(content), array.dtype).reshape(array.shape)
        return int(np.uint32(self._cpu.reg_read(arm_const.UC_ARM_REG_R0)).astype(np.int32))

    def _place(self, arguments: Sequence[Argument]) -> tuple[list[int], list[tuple[int, NDArray[np.generic]]]]:
        """Copies arrays into RAM, 8-byte aligned. Arrays that share memory on the host share it here too."""
        words: list[int] = []
        placed: list[tuple[int, NDArray[np.generic]]] = []
        free = self.RAM
        for argument in arguments:
            if argument is None or isinstance(argument, int):
                words.append((argument or 0) % 2**32)
                continue
            shared = [at + argument.ctypes.data - other.ctypes.data for at, other in placed
                      if 0 <= argument.ctypes.data - other.ctypes.data <= other.nbytes - argument.nbytes]  # fmt: skip
            if shared:
                words.append(shared[0])
                continue
            self._cpu.mem_write(free, argument.tobytes())
            words.append(free)
            placed.append((free, argument))
            free += (argument.nbytes + 15) & ~7
        assert free < self.RAM + self.RAM_BYTES - 0x1000, "the arguments leave no room for the stack"
        return words, placed

    def _count(self, cpu: unicorn.Uc, address: int, size: int, data: object) -> None:
        """Adds a block's instructions; those an IT block skips count too, as they are fetched and take a cycle."""
        length = self._block_lengths.get((address, size))
        if length is None:
            code = bytes(cpu.mem_read(address, size))
            length = sum(1 for _ in self._decoder.disasm(code, address))
            self._block_lengths[address, size] = length
        self.instructions += length


def _link(core: str, name: str, folder: Path, files: Sequence[Path]) -> Path:
    image = folder / f"{name}-{core}.elf"
    manifest = load_manifest(BOARD_OF_CORE[core])
    assert manifest.core == core
    command = [
        "arm-none-eabi-g++",
        *build_settings.CORE_FLAGS[core],
        *(flag for flag in build_settings.COMMON_FLAGS if flag not in ("-fstack-usage", "-g")),
        *build_settings.KERNEL_FLAGS,
        *build_settings.CXX_FLAGS,
        f"-I{FIRMWARE}",
        *map(str, files),
        "-nostartfiles",
        "--specs=nano.specs",
        f"-Wl,-Ttext={CoreTarget.FLASH:#x},-e,{CoreTarget.FLASH:#x}",
        "-o",
        str(image),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return image


def _load(image: Path) -> tuple[dict[str, int], list[tuple[int, bytes]]]:
    with image.open("rb") as stream:
        elf = ELFFile(stream)
        symbols = {symbol.name: symbol["st_value"] & ~1 for symbol in elf.get_section_by_name(".symtab").iter_symbols()}
        segments = [
            (segment["p_paddr"], segment.data()) for segment in elf.iter_segments("PT_LOAD") if segment["p_filesz"]
        ]
    return symbols, segments
