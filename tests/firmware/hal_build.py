"""Builds small images over the real HAL for the firmware tests: the boards' own manifests, flags and linker script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.rack.manifest import BoardManifest, load_manifest

ROOT = Path(__file__).resolve().parents[2]
FIRMWARE = ROOT / "firmware"
HAL = FIRMWARE / "hal"

sys.path.insert(0, str(FIRMWARE / "platform" / "builder"))
import build_settings  # noqa: E402  (not a package: PlatformIO loads it by path)

STM32_BOARDS = ("netduinoplus2", "olimex_stm32_h405", "netduino2", "b_l475e_iot01a")
BOARDS = (*STM32_BOARDS, "microbit")
"""Of these QEMU has machines."""
UNICORN_BOARDS = ("nrf52840_dk",)


def hal_sources(family: str) -> list[Path]:
    """What the builder compiles of the HAL for a family."""
    folders = [family]
    if family != "host":
        folders.append("common")
    if family.startswith("stm32"):
        folders += ["stm32", "systick"]
    return [path for folder in folders for path in sorted((HAL / folder).glob("*.cpp"))]


def _defines(manifest: BoardManifest, hse_hz: int | None) -> list[str]:
    values = {
        "FTTE_ENV": f'"{manifest.env}"',
        "FTTE_PLAN_ID": "{1,2,3,4,5,6,7,8}",
        "FTTE_BAUD": manifest.baud,
        "FTTE_CORE_HZ": manifest.core_hz,
        "FTTE_HSE_HZ": manifest.hse_hz if hse_hz is None else hse_hz,
        "FTTE_CHUNK_BYTES": manifest.link_chunk_bytes,
    }
    if manifest.family == "host":
        values["FTTE_HOST"] = 1
    return [f"-D{name}={value}" for name, value in values.items()]


def build(env: str, main: Path, folder: Path, *, hse_hz: int | None = None) -> Path:
    """Compiles and links `main` with the board's HAL; returns the ELF file. `hse_hz` overrides the crystal."""
    manifest = load_manifest(env)
    result = folder / f"{env}.elf"
    host = manifest.family == "host"
    command = [
        "g++" if host else "arm-none-eabi-g++",
        *build_settings.CORE_FLAGS[manifest.core],
        *(flag for flag in build_settings.COMMON_FLAGS if flag != "-fstack-usage"),
        *build_settings.CXX_FLAGS,
        *_defines(manifest, hse_hz),
        f"-I{FIRMWARE}",
        *map(str, hal_sources(manifest.family)),
        str(main),
        "-o",
        str(result),
    ]
    if not host:
        template = (FIRMWARE / "platform" / "ldscripts" / "image.ld.in").read_text()
        script = folder / f"{env}.ld"
        script.write_text(build_settings.linker_script(manifest, template))
        command += ["-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections", "-T", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return result


def raw_image(elf: Path) -> bytes:
    """What of an ELF file lies in flash."""
    image = elf.with_suffix(".bin")
    command = ["arm-none-eabi-objcopy", "-O", "binary", "--gap-fill", "0xFF", str(elf), str(image)]
    subprocess.run(command, check=True)
    return image.read_bytes()
