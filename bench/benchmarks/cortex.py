"""Kernels on Cortex-M cores that Unicorn executes: compiled with a board's flags, called one by one, counted exactly.

A call's arguments are integers, and numpy arrays that the function may write (`None` is a null pointer). Its profile
says how often each block of code ran and was left by a branch; instructions, modelled cycles and the functions
executed follow from that.
"""

from __future__ import annotations

import subprocess
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import unicorn as _unicorn
from capstone import CS_ARCH_ARM, CS_MODE_MCLASS, CS_MODE_THUMB, Cs, CsInsn
from elftools.elf.elffile import ELFFile
from numpy.typing import NDArray
from unicorn import arm_const

from bench.project import project_root

unicorn: Any = _unicorn  # its annotations are partial
FIRMWARE = project_root() / "firmware"
sys.path.insert(0, str(FIRMWARE / "platform" / "builder"))
import build_settings  # noqa: E402  (not a package: PlatformIO loads it by path)

COMPILER = "arm-none-eabi-g++"

CPU_MODELS = {
    "cortex-m0": arm_const.UC_CPU_ARM_CORTEX_M0,
    "cortex-m3": arm_const.UC_CPU_ARM_CORTEX_M3,
    "cortex-m4f": arm_const.UC_CPU_ARM_CORTEX_M4,
    "cortex-m7": arm_const.UC_CPU_ARM_CORTEX_M7,
    "cortex-m33": arm_const.UC_CPU_ARM_CORTEX_M33,
}
WITH_FPU = ("cortex-m4f", "cortex-m7", "cortex-m33")

Argument = int | NDArray[np.generic] | None


@dataclass
class Profile:
    """What a call executed: blocks by (address, bytes), and how often each was left by a taken branch."""

    runs: Counter[tuple[int, int]] = field(default_factory=Counter)
    left: Counter[tuple[int, int]] = field(default_factory=Counter)


class CoreTarget:
    """`files` compiled for a Cortex-M core and executed by Unicorn; counts the instructions of each call."""

    FLASH, RAM, RAM_BYTES, STOP = 0x0800_0000, 0x2000_0000, 0x0002_0000, 0x0807_FF00

    def __init__(self, core: str, name: str, folder: Path, files: Sequence[Path]) -> None:
        self.core = core
        self.profile = Profile()
        """Of the last call."""
        self._image = link(core, name, folder, files)
        self.symbols, segments = _load(self._image)
        self._cpu = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self._cpu.ctl_set_cpu_model(CPU_MODELS[core])
        self._cpu.mem_map(self.FLASH, 0x0008_0000, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        self._cpu.mem_map(self.RAM, self.RAM_BYTES, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        for address, content in segments:
            self._cpu.mem_write(address, content)
        if core in WITH_FPU:  # CPACR: full access to CP10 and CP11; FPEXC: on
            access = self._cpu.reg_read(arm_const.UC_ARM_REG_C1_C0_2)
            self._cpu.reg_write(arm_const.UC_ARM_REG_C1_C0_2, access | 0xF << 20)
            self._cpu.reg_write(arm_const.UC_ARM_REG_FPEXC, 1 << 30)
        self._decoder = Cs(CS_ARCH_ARM, CS_MODE_THUMB | CS_MODE_MCLASS)
        self._decoder.detail = True
        self._blocks: dict[tuple[int, int], list[CsInsn]] = {}
        self._before: tuple[int, int] | None = None
        self._cpu.hook_add(unicorn.UC_HOOK_BLOCK, self._count)

    @property
    def instructions(self) -> int:
        """Of the last call; those that an IT block skips count too, as they are fetched and take a cycle."""
        return sum(runs * len(self.block(at)) for at, runs in self.profile.runs.items())

    def block(self, at: tuple[int, int]) -> list[CsInsn]:
        """A block's instructions."""
        if at not in self._blocks:
            self._blocks[at] = list(self._decoder.disasm(bytes(self._cpu.mem_read(*at)), at[0]))
        return self._blocks[at]

    def code_bytes(self, *, without: str) -> int:
        """Bytes of the functions that the last call executed, literals included, but for one of them."""
        functions = _functions(self._image)
        starts = [start for start, _, _ in functions]
        executed = {functions[bisect_right(starts, address) - 1] for address, _ in self.profile.runs}
        return sum(size for _, size, name in executed if name != without)

    def call(self, name: str, *arguments: Argument) -> int:
        """Calls a function; arrays are updated. Returns what it returns, as signed 32 bits."""
        words, placed = self._place(arguments)
        stack = self.RAM + self.RAM_BYTES - 0x100
        registers = (arm_const.UC_ARM_REG_R0, arm_const.UC_ARM_REG_R1, arm_const.UC_ARM_REG_R2, arm_const.UC_ARM_REG_R3)
        for register, word in zip(registers, words, strict=False):
            self._cpu.reg_write(register, word)
        for index, word in enumerate(words[len(registers) :]):  # AAPCS: the fifth argument on is at the stack pointer
            self._cpu.mem_write(stack + 4 * index, word.to_bytes(4, "little"))
        self._cpu.reg_write(arm_const.UC_ARM_REG_SP, stack)
        self._cpu.reg_write(arm_const.UC_ARM_REG_LR, self.STOP | 1)
        self.profile, self._before = Profile(), None
        self._cpu.emu_start(self.symbols[name] | 1, self.STOP)
        assert self._cpu.reg_read(arm_const.UC_ARM_REG_PC) == self.STOP
        if self._before is not None:
            self.profile.left[self._before] += 1  # the return
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

    def _count(self, _cpu: object, address: int, size: int, _data: object) -> None:
        before, at = self._before, (address, size)
        if before is not None and before[0] + before[1] != address:
            self.profile.left[before] += 1
        self.profile.runs[at] += 1
        self._before = at


def compiler_version() -> str:
    """The first line of what the cross compiler says about itself."""
    done = subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


def link(core: str, name: str, folder: Path, files: Sequence[Path]) -> Path:
    """Compiles and links `files` as a board with that core has them. Returns the image."""
    image = folder / f"{name}-{core}.elf"
    command = [
        COMPILER,
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


def _symbols(image: Path) -> Iterator[tuple[str, int, int, str]]:
    """Name, address without the Thumb bit, size and type."""
    with image.open("rb") as stream:
        table: Any = ELFFile(stream).get_section_by_name(".symtab")
        for symbol in table.iter_symbols():
            yield symbol.name, symbol["st_value"] & ~1, symbol["st_size"], symbol["st_info"]["type"]


def _functions(image: Path) -> list[tuple[int, int, str]]:
    """(address, size, name), sorted by address; libgcc's have no size."""
    return sorted((at, size, name) for name, at, size, kind in _symbols(image) if kind == "STT_FUNC")


def _load(image: Path) -> tuple[dict[str, int], list[tuple[int, bytes]]]:
    with image.open("rb") as stream:
        elf = ELFFile(stream)
        segments = [
            (segment["p_paddr"], segment.data()) for segment in elf.iter_segments("PT_LOAD") if segment["p_filesz"]
        ]
    return {name: at for name, at, _, _ in _symbols(image)}, segments
