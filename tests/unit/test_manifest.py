"""Board manifests: the layouts of the architecture page, refused when they cannot be, and what is made from them."""

from __future__ import annotations

import configparser
import json
import subprocess
from pathlib import Path
from typing import Any

import build_settings
import pytest

from bench.errors import ConfigError
from bench.rack.manifest import BOARDS_DIR, all_manifests, load_manifest, parse_manifest

BOARDS = sorted(set(all_manifests()) - {"host"})
FPGA_IMAGES = [env for env in BOARDS if load_manifest(env).family == "mps2"]
PARTS = [env for env in BOARDS if env not in FPGA_IMAGES]
KB = 1024


def document(env: str = "microbit") -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((BOARDS_DIR / f"{env}.json").read_text())
    return loaded


def test_every_environment_of_platformio_has_its_manifest(project_root: Path) -> None:
    ini = configparser.ConfigParser()
    ini.read(project_root / "platformio.ini")
    sections = {name.removeprefix("env:") for name in ini.sections() if name.startswith("env:")}
    assert sections == set(all_manifests())
    assert all(ini[f"env:{env}"]["board"] == env for env in sections)
    assert {env.strip() for env in ini["platformio"]["default_envs"].split(",")} == sections - set(FPGA_IMAGES)


@pytest.mark.parametrize(
    ("env", "base", "size", "image", "data_base", "ram"),
    [
        ("netduinoplus2", 0x08000000, 1024 * KB, 128 * KB, 0x08020000, 128 * KB),
        ("olimex_stm32_h405", 0x08000000, 1024 * KB, 128 * KB, 0x08020000, 128 * KB),
        ("netduino2", 0x08000000, 768 * KB, 128 * KB, 0x08020000, 128 * KB),
        ("b_l475e_iot01a", 0x08000000, 1024 * KB, 640 * KB, 0x080A0000, 96 * KB),
        ("nucleo_f412zg", 0x08000000, 1024 * KB, 128 * KB, 0x08020000, 256 * KB),
        ("nucleo_f429zi", 0x08000000, 2048 * KB, 128 * KB, 0x08020000, 192 * KB),
        ("microbit", 0, 256 * KB, 40 * KB, 0xA000, 16 * KB),
        ("nrf52840_dk", 0, 1024 * KB, 640 * KB, 0xA0000, 256 * KB),
        ("nano33ble", 0, 1024 * KB, 640 * KB, 0xA0000, 256 * KB),
    ],
)
def test_layout(env: str, base: int, size: int, image: int, data_base: int, ram: int) -> None:
    manifest = load_manifest(env)
    assert (manifest.flash.base, manifest.flash.size, manifest.flash.image_size) == (base, size, image)
    assert (manifest.flash.data_base, manifest.flash.data_size) == (data_base, size - image)
    assert (manifest.ram.base, manifest.ram.size) == (0x20000000, ram)


@pytest.mark.parametrize("env", sorted(all_manifests()))
def test_platformio_s_own_keys_say_the_same(env: str) -> None:
    board, manifest = document(env), load_manifest(env)
    assert board["upload"]["maximum_size"] == manifest.flash.image_size
    assert board["upload"]["maximum_ram_size"] == manifest.ram.size
    assert board["build"]["f_cpu"] == f"{manifest.core_hz}L"
    assert manifest.core.startswith(board["build"]["cpu"])


@pytest.mark.parametrize("env", PARTS)
def test_pyocd_knows_the_target_and_erases_image_and_data_apart(env: str) -> None:
    from pyocd.target import TARGET

    manifest = load_manifest(env)
    regions = [r for r in TARGET[manifest.pyocd_target].MEMORY_MAP if r.is_flash]
    flash = manifest.flash
    for edge in (flash.base, flash.data_base):
        region = next(r for r in regions if r.start <= edge <= r.end)
        assert (edge - region.start) % region.blocksize == 0, f"0x{edge:x} does not begin an erase block"
    assert any(r.start <= flash.base + flash.size - 1 <= r.end for r in regions)


@pytest.mark.parametrize("env", PARTS)
def test_a_model_of_energy_names_its_source_and_sleep_is_cheaper(env: str) -> None:
    energy = load_manifest(env).energy
    assert 0 < energy.sleep_ma < energy.run_ma
    assert energy.cycles_per_instruction >= 1
    assert "model" in energy.source
    assert any(sheet in energy.source for sheet in ("DS8626", "DS6329", "DS10969", "DS11139", "PS v"))


def refused(change: dict[str, Any]) -> str:
    board = document()
    for path, value in change.items():
        *parents, last = path.split(".")
        section = board["ftte"]
        for parent in parents:
            section = section[parent]
        section[last] = value
    with pytest.raises(ConfigError) as caught:
        parse_manifest("microbit", json.dumps(board), "boards/microbit.json")
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flash.image_size": 48 * KB}, "ftte.flash.data_base: the data partition overlaps the image"),
        ({"flash.data_size": 220 * KB}, "ftte.flash.data_size: the data partition ends behind the flash"),
        ({"flash.image_size": 512 * KB}, "ftte.flash.image_size: larger than flash.size"),
        ({"flash.base": "0xnowhere"}, "ftte.flash.base: "),
        ({"ram.size": "16 KB"}, "ftte.ram.size: Input should be a valid integer"),
        ({"stack_size": 16 * KB}, "ftte.stack_size: "),
        ({"family": "stm32h7"}, "ftte.family: "),
        ({"energy.run_ma": -1.0}, "ftte.energy.run_ma: "),
        ({"colour": "red"}, "ftte.colour: "),
    ],
)
def test_a_manifest_that_cannot_be_is_refused_by_file_and_field(change: dict[str, Any], message: str) -> None:
    error = refused(change)
    assert error.startswith("boards/microbit.json: ")
    assert message in error


def test_errors_of_the_whole_file() -> None:
    with pytest.raises(ConfigError, match=r"no board for environment 'micro' in .*: choose one of .*microbit"):
        load_manifest("micro")
    with pytest.raises(ConfigError, match=r"x\.json:2: not JSON"):
        parse_manifest("x", '{"ftte":\n nothing}', "x.json")
    with pytest.raises(ConfigError, match="section `ftte` is missing"):
        parse_manifest("x", "{}", "x.json")


# A smallest image: vectors, descriptor, something in every section.
IMAGE = r"""
#include <cstdint>
extern "C" { extern uint32_t __stack_top[]; void Reset_Handler(); }
__attribute__((section(".vectors"), used)) const void* const vectors[VECTORS] = {__stack_top,
    reinterpret_cast<const void*>(&Reset_Handler)};
#if !defined(NO_DESCRIPTOR)
__attribute__((section(".descriptor"), used)) extern const char descriptor[132] = "FTTEIMG1";
#endif
alignas(8) __attribute__((section(".arena"))) uint8_t arena[ARENA];
alignas(8) __attribute__((section(".federation"))) uint8_t federation[24];
__attribute__((section(".noinit"))) uint32_t survivor;
volatile uint32_t initialised = 5, zeroed;
#if defined(CONSTRUCTOR)
uint32_t computed = initialised + 1;
#endif
const volatile uint8_t constants[CONSTANTS] = {1};
extern "C" void Reset_Handler() {
  for (;;) zeroed = initialised + ++survivor + arena[0]++ + federation[0]++ + constants[zeroed];
}
"""


def link(folder: Path, env: str = "microbit", *extra: str) -> subprocess.CompletedProcess[str]:
    manifest = load_manifest(env)
    template = (BOARDS_DIR.parent / "ldscripts" / "image.ld.in").read_text()
    (folder / "image.ld").write_text(build_settings.linker_script(manifest, template))
    (folder / "image.cpp").write_text(IMAGE)
    sizes = {"VECTORS": 48, "ARENA": 64, "CONSTANTS": 16} | {
        name: int(value) for name, _, value in (define.partition("=") for define in extra) if value
    }
    flags = [f"-D{name}={value}" for name, value in sizes.items()] + [f"-D{name}" for name in extra if "=" not in name]
    command = ["arm-none-eabi-g++", *build_settings.CORE_FLAGS[manifest.core], "-Os", *build_settings.CXX_FLAGS, *flags]
    command += ["-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections,--fatal-warnings,--orphan-handling=error"]
    command += ["-T", str(folder / "image.ld"), str(folder / "image.cpp"), "-o", str(folder / "image.elf")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def symbols(elf: Path) -> dict[str, int]:
    listing = subprocess.run(["arm-none-eabi-nm", str(elf)], capture_output=True, text=True, check=True).stdout
    return {fields[2]: int(fields[0], 16) for fields in map(str.split, listing.splitlines()) if len(fields) == 3}


@pytest.mark.parametrize("env", BOARDS)
def test_the_linker_script_lays_out_flash_and_ram(env: str, tmp_path: Path) -> None:
    result = link(tmp_path, env)
    assert result.returncode == 0, result.stderr
    s, manifest = symbols(tmp_path / "image.elf"), load_manifest(env)
    assert (s["__flash_base"], s["__flash_size"]) == (manifest.flash.base, manifest.flash.size)
    assert s["descriptor"] == manifest.flash.base + 0x200
    assert (s["__data_partition_start"], s["__data_partition_size"]) == (
        manifest.flash.data_base,
        manifest.flash.data_size,
    )
    # Bottom of RAM to top: stack, static data, what survives a reset, federation state, arena.
    assert s["__stack_limit"] == s["__ram_base"] == manifest.ram.base
    assert s["__stack_top"] == manifest.ram.base + manifest.stack_size == s["__data_start"]
    order = ["data_start", "data_end", "bss_start", "bss_end", "noinit_start", "noinit_end"]
    order += ["federation_start", "federation_end", "arena_start", "arena_end"]
    addresses = [s[f"__{name}"] for name in order]
    assert addresses == sorted(addresses)
    assert s["__static_size"] == s["__noinit_end"] - s["__data_start"]
    assert (s["__federation_size"], s["__arena_size"]) == (24, 64)
    assert s["__image_end"] == s["__data_load"] + s["__data_end"] - s["__data_start"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("ARENA=16384", "do not fit the board's RAM"),
        ("CONSTANTS=40960", "region `FLASH' overflowed"),
        ("VECTORS=129", "must lie before the descriptor"),
        ("NO_DESCRIPTOR", "no image descriptor"),
        ("CONSTRUCTOR", "a global object has a run-time constructor"),
    ],
)
def test_the_linker_says_what_does_not_fit(extra: str, message: str, tmp_path: Path) -> None:
    result = link(tmp_path, "microbit", extra)
    assert result.returncode != 0
    assert message in result.stderr


def make_program(firmware: Path, name: str, plan: str = '{"name": "p"}') -> None:
    folder = firmware / "generated" / name
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(plan)
    (folder / "program.hpp").touch()
    (folder / "program.cpp").touch()


def test_a_program_is_found_by_name_and_an_unknown_one_named(tmp_path: Path) -> None:
    make_program(tmp_path, "small")
    make_program(tmp_path, "large")
    program = build_settings.find_program(tmp_path, "small")
    # printf '{"name": "p"}' | sha256sum
    assert program.plan_id.hex() == "652dadf0b229729d"
    for wrong in ("tiny", "", "../generated/small"):
        with pytest.raises(ConfigError, match=r"no program .*: choose one of large, small"):
            build_settings.find_program(tmp_path, wrong)
    (tmp_path / "generated" / "small" / "program.cpp").unlink()
    with pytest.raises(ConfigError, match=r"program\.cpp is missing"):
        build_settings.find_program(tmp_path, "small")


def test_sources_and_defines_follow_the_family(tmp_path: Path) -> None:
    make_program(tmp_path, "small")
    program = build_settings.find_program(tmp_path, "small")
    chosen = {env: build_settings.source_filter(load_manifest(env), program) for env in all_manifests()}
    assert "+<hal/common/>" not in chosen["host"]
    assert {"+<hal/nrf51/>", "+<hal/common/>"} <= set(chosen["microbit"])
    assert "+<hal/stm32/>" not in chosen["microbit"]
    assert {"+<hal/nrf52/>", "+<hal/common/>"} <= set(chosen["nano33ble"])
    assert "+<hal/nrf51/>" not in chosen["nano33ble"]
    assert {"+<hal/stm32f2/>", "+<hal/stm32/>", "+<hal/systick/>", "+<generated/small/>"} <= set(chosen["netduino2"])
    assert {"+<hal/mps2/>", "+<hal/systick/>"} <= set(chosen["mps2_an505"])
    host = build_settings.defines(load_manifest("host"), program)
    assert "FTTE_HOST" in host
    assert ("FTTE_ENV", "'\"host\"'") in host
    assert "FTTE_HOST" not in build_settings.defines(load_manifest("microbit"), program)
