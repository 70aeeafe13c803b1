"""How a board's manifest becomes compiler flags, defines, a choice of sources and a linker script: no SCons here."""

from __future__ import annotations

import hashlib
import json
import string
from dataclasses import dataclass, replace
from pathlib import Path

from bench.errors import ConfigError
from bench.rack.manifest import BoardManifest

# Where emitted programs lie below firmware/.
GENERATED = "generated"

# -ffp-contract=off: float32 programs give the same bits with and without a fused multiply-add, on board and host.
COMMON_FLAGS = (
    "-O2",
    "-g",
    "-ffunction-sections",
    "-fdata-sections",
    "-ffp-contract=off",
    "-fstack-usage",
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Wconversion",
    "-Wdouble-promotion",
    "-Werror",
)
# For kernels and programs: a training step of demo_int8 takes 28 % fewer instructions than with -O2, on all three
# cores, for 2 KB of flash; with -Os it takes 4 to 24 % more.
KERNEL_FLAGS = ("-O3",)
CXX_FLAGS = ("-std=c++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", "-fno-use-cxa-atexit")

# Soft floating point where there is no FPU; the M4F's is single precision with 16 double registers.
CORE_FLAGS = {
    "cortex-m4f": ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
    "cortex-m7": ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"),
    "cortex-m33": ("-mcpu=cortex-m33", "-mthumb", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"),
    "cortex-m3": ("-mcpu=cortex-m3", "-mthumb", "-mfloat-abi=soft"),
    "cortex-m0": ("-mcpu=cortex-m0", "-mthumb", "-mfloat-abi=soft"),
    "host": (),
}


@dataclass(frozen=True)
class Program:
    """A training program: its folder, and its id, the first 8 bytes of SHA-256 of plan.json."""

    name: str
    folder: Path
    plan_id: bytes


def find_program(firmware: Path, name: str) -> Program:
    """Looks a program up below `firmware`. Raises ConfigError for an unknown or incomplete one."""
    folder = firmware / GENERATED / name
    names = sorted(plan.parent.name for plan in (firmware / GENERATED).glob("*/plan.json"))
    if name not in names:
        raise ConfigError(
            f"no program {name!r} (custom_program, FTTE_PROGRAM) in {firmware / GENERATED}: choose one of "
            f"{', '.join(names) or '(there are none)'}, or let `bench plan MODEL` or an experiment make one"
        )
    text = (folder / "plan.json").read_bytes()
    try:
        json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{folder / 'plan.json'}: not JSON: {error}") from error
    for needed in ("program.hpp", "program.cpp"):
        if not (folder / needed).is_file():
            raise ConfigError(f"{folder}: {needed} is missing: make the program anew with `bench plan`")
    return Program(name, folder, hashlib.sha256(text).digest()[:8])


def source_filter(manifest: BoardManifest, program: Program, *, testing: bool = False) -> list[str]:
    """PlatformIO's filter of what below firmware/ is compiled into this board's image; a test has a main of its own."""
    folders = ["src", "link", "engine", "federation", f"{GENERATED}/{program.name}", f"hal/{manifest.family}"]
    if manifest.family != "host":
        folders.append("hal/common")
    if manifest.family.startswith("stm32"):
        folders.append("hal/stm32")
    if manifest.family.startswith("stm32") or manifest.family == "mps2":
        folders.append("hal/systick")
    return [f"+<{folder}/>" for folder in folders] + (["-<src/main.cpp>"] if testing else [])


def defines(manifest: BoardManifest, program: Program) -> list[str | tuple[str, str | int]]:
    """Preprocessor defines; strings and braces are quoted for the shell that SCons starts compilers with."""
    plan_id = ",".join(f"0x{byte:02x}" for byte in program.plan_id)
    result: list[str | tuple[str, str | int]] = [
        ("FTTE_ENV", f"'\"{manifest.env}\"'"),
        ("FTTE_PLAN_ID", f"'{{{plan_id}}}'"),
        ("FTTE_BAUD", manifest.baud),
        ("FTTE_CORE_HZ", manifest.core_hz),
        ("FTTE_HSE_HZ", manifest.hse_hz),
        ("FTTE_CHUNK_BYTES", manifest.link_chunk_bytes),
    ]
    if manifest.family == "host":
        result.append("FTTE_HOST")
    if manifest.core == "cortex-m33":
        result.append("FTTE_MPS2_SECURE")
    return result


def linker_script(manifest: BoardManifest, template: str) -> str:
    """Fills the manifest's layout into ldscripts/image.ld.in; addresses in hexadecimal, sizes in bytes."""
    flash, ram = manifest.flash, manifest.ram
    return string.Template(template).substitute(
        flash_base=f"0x{flash.base:08X}",
        flash_size=flash.size,
        image_size=flash.image_size,
        data_base=f"0x{flash.data_base:08X}",
        data_size=flash.data_size,
        ram_base=f"0x{ram.base:08X}",
        ram_size=ram.size,
        stack_size=manifest.stack_size,
    )


def unbounded(manifest: BoardManifest) -> BoardManifest:
    """A board of the kind with 64 MB of flash and of RAM: what does not fit is linked for it, to be measured."""
    size = 1 << 26
    flash = replace(manifest.flash, size=2 * size, image_size=size, data_base=manifest.flash.base + size)
    return replace(manifest, flash=flash, ram=replace(manifest.ram, size=size))


def with_stack(manifest: BoardManifest, stack_bytes: str) -> BoardManifest:
    """A board of the kind with another reserve for the stack: what little a large program leaves, say.

    Raises:
        ConfigError: not a multiple of 8 above 0.
    """
    size = int(stack_bytes) if stack_bytes.isdecimal() else 0
    if size == 0 or size % 8:
        raise ConfigError(f"FTTE_STACK_BYTES={stack_bytes}: a multiple of 8 above 0")
    return replace(manifest, stack_size=size)


def upload_flags(manifest: BoardManifest) -> list[str]:
    """Arguments of `pyocd flash`; without auto_unlock=false pyOCD mass-erases a locked nRF without asking."""
    return [
        f"--target={manifest.pyocd_target}",
        "-Oauto_unlock=false",
        "--format=bin",
        f"--base-address=0x{manifest.flash.base:08X}",
    ]
