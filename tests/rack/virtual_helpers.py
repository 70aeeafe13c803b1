"""What the tests of the virtual boards share: racks, pyOCD as a user runs it, a small image, and a look at /proc."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.virtual.spec import VirtualBoardSpec

COUNT = 1_000_000  # turns of the counted loop in virtual_probe.c


@dataclass(frozen=True)
class Kind:
    """An emulated board as pyOCD and the test image's compiler know it."""

    env: str
    machine: str
    target: str
    core: str
    uart: str

    @property
    def base(self) -> int:
        return self.spec("x").flash_base

    def spec(self, name: str, **changes: object) -> VirtualBoardSpec:
        return VirtualBoardSpec.for_env(name, self.env, self.machine, **changes)


KINDS = {
    "f405": Kind("netduinoplus2", "netduinoplus2", "stm32f412xg", "cortex-m4", "-DUART=0x40011400 -DIRQ=71"),
    "h405": Kind("olimex_stm32_h405", "olimex-stm32-h405", "stm32f412xg", "cortex-m4", "-DUART=0x40004400 -DIRQ=38"),
    "f205": Kind("netduino2", "netduino2", "stm32f412xg", "cortex-m3", "-DUART=0x40011400 -DIRQ=71"),
    "l475": Kind(
        "b_l475e_iot01a", "b-l475e-iot01a", "stm32l475xg", "cortex-m4", "-DUART=0x40013800 -DIRQ=37 -DUART_L4"
    ),
    "nrf52": Kind("nrf52840_dk", "nrf52840-dk", "nrf52840", "cortex-m4", "-DUART=0x40002000 -DIRQ=2 -DUART_NRF52"),
    "nrf51": Kind("microbit", "microbit", "nrf51822", "cortex-m0", "-DUART=0x40002000 -DIRQ=2 -DUART_NRF51"),
}

_SCRIPT = """
MEMORY {{ FLASH (rx): ORIGIN = {base}, LENGTH = 128K  RAM (rw): ORIGIN = 0x20000000, LENGTH = {ram} }}
SECTIONS {{
  .vectors : {{ KEEP(*(.vectors)) }} > FLASH
  .descriptor {base} + 0x200 : {{ KEEP(*(.descriptor)) }} > FLASH
  .phase : {{ phase_start = .; *(.phase) phase_end = .; }} > FLASH
  .text : {{ *(.text*) *(.rodata*) . = ALIGN(4); }} > FLASH
  .bss (NOLOAD) : {{ *(.bss*) *(COMMON) *(.noinit) }} > RAM
  stack_top = 0x20000000 + {ram};
  /DISCARD/ : {{ *(.ARM.exidx* .ARM.extab* .eh_frame*) }}
}}
"""


def build_image(kind: Kind, folder: Path, *, step: Path | None = None) -> Path:
    """Builds virtual_probe.c; returns the raw image, beside its ELF file.

    `step`: an object for a board with an FPU, with a function counted_step() that is counted in place of the loop.
    """
    script, elf = folder / f"{kind.env}.ld", folder / f"{kind.env}.elf"
    script.write_text(_SCRIPT.format(base=hex(kind.base), ram="16K" if step is None else "64K"))
    command = ["arm-none-eabi-gcc", f"-mcpu={kind.core}", "-mthumb", "-O1", "-ffreestanding", "-nostdlib"]
    command += ["-Wall", "-Werror", *kind.uart.split(), f'-DCOUNT="{COUNT}"', "-Wl,--build-id=none"]
    source = Path(__file__).with_name("virtual_probe.c")
    if step is not None:
        command += ["-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", '-DCOUNTED_CALL="counted_step"', str(step)]
        command += ["--specs=nano.specs", "-lm", "-lc", "-lgcc", "-Wl,--gc-sections"]
    subprocess.run([*command, "-T", str(script), str(source), "-o", str(elf)], check=True)
    image = elf.with_suffix(".bin")
    subprocess.run(["arm-none-eabi-objcopy", "-O", "binary", str(elf), str(image)], check=True)
    return image


def symbol(image: Path, name: str) -> int:
    """The address of a symbol of a built image."""
    lines = subprocess.run(
        ["arm-none-eabi-nm", str(image.with_suffix(".elf"))], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    return next(int(line.split()[0], 16) for line in lines if line.split()[-1] == name)


def pyocd_command(verb: str, kind: Kind, probe: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "pyocd", verb, "-W", "-t", kind.target, "-u", probe, *arguments]


def pyocd(verb: str, kind: Kind, probe: str, *arguments: str, ok: bool = True) -> str:
    """Runs unmodified pyOCD and returns what it said."""
    done = subprocess.run(
        pyocd_command(verb, kind, probe, *arguments),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    said = done.stdout + done.stderr
    assert (done.returncode == 0) == ok, said
    return said


def flash(kind: Kind, probe: str, image: Path, base: int | None = None) -> str:
    return pyocd("flash", kind, probe, str(image), "--base-address", hex(kind.base if base is None else base))


def wait_until(what: str, condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Waits for a condition that only looking can tell."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.01)


def processes_with(text: str) -> list[int]:
    """Processes that have a text in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and text in (entry / "cmdline").read_bytes().decode(errors="replace"):
                found.append(int(entry.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
