"""A part that pyOCD does not have built in, by its CMSIS pack: flashed, reset and looked at through the pack's own
flash algorithm."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.build import build
from bench.errors import ConfigError, InfrastructureError
from bench.rack import flash as pyocd
from bench.rack.inventory import load_inventory
from bench.rack.rack import Rack
from bench.virtual.rack import Endpoint, VirtualRack
from bench.virtual.spec import VirtualBoardSpec

TARGET = "ftte_nrf51"  # in no table of pyOCD's
_PDSC = """\
<?xml version="1.0" encoding="UTF-8"?>
<package schemaVersion="1.4" xmlns:xs="http://www.w3.org/2001/XMLSchema-instance">
  <vendor>Tests</vendor><name>Tests_DFP</name><description>A part of the tests</description><url></url>
  <releases><release version="1.0.0">First</release></releases>
  <devices><family Dfamily="Tests" Dvendor="Nordic Semiconductor:54">
    <processor Dcore="Cortex-M0" DcoreVersion="r0p0" Dfpu="0" Dmpu="0" Dendian="Little-endian" Dclock="16000000"/>
    <device Dname="FTTE_nRF51">
      <memory name="Flash" access="rx" start="0x00000000" size="0x40000" startup="1" default="1"/>
      <memory name="RAM" access="rwx" start="0x20000000" size="0x4000" default="1"/>
      <debug __dp="0" __ap="0"/>
      <algorithm name="Flash/nrf51.flm" start="0x00000000" size="0x40000" default="1"/>
    </device>
  </family></devices>
</package>
"""


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack as a vendor makes one: description and flash algorithm."""
    folder = tmp_path_factory.mktemp("pack")
    algorithm = folder / "nrf51.flm"
    source = Path(__file__).with_name("pack_algorithm.c")
    script = folder / "algorithm.ld"
    script.write_text(
        "SECTIONS { PrgCode 0 : { *(.text*) *(.rodata*) } PrgData : { *(.data*) *(.bss*) } "
        "DevDscr : { KEEP(*(DevDscr)) } }"
    )
    command = [
        "arm-none-eabi-gcc",
        "-mcpu=cortex-m0",
        "-mthumb",
        "-Os",
        "-fpic",
        "-ffreestanding",
        "-nostdlib",
        "-Wall",
    ]
    command += ["-Werror", "-Wl,--no-gc-sections", f"-Wl,-T,{script}", "-Wl,-e,Init", str(source), "-o", str(algorithm)]
    subprocess.run(command, check=True)
    path = folder / "Tests.Tests_DFP.1.0.0.pack"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Tests.Tests_DFP.pdsc", _PDSC)
        archive.write(algorithm, "Flash/nrf51.flm")
    return path


@pytest.fixture(scope="module")
def end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    spec = VirtualBoardSpec.for_env("bit", "microbit", "microbit")
    with VirtualRack([spec], tmp_path_factory.mktemp("rack"), counting=False) as rack:
        yield rack.endpoints["bit"]


def inventory(folder: Path, end: Endpoint, pack: str) -> Path:
    file = folder / "lab.yaml"
    file.write_text(
        f"boards:\n  - name: bit\n    env: microbit\n    target: {TARGET}\n    pack: {pack}\n"
        f"    probe: {end.probe}\n    serial: {end.serial}\n"
    )
    return file


def test_a_board_is_flashed_reset_and_read_by_its_pack(
    pack: Path, end: Endpoint, int8_program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_LOCK_DIR", str(tmp_path / "locks"))
    image = build(["microbit"], int8_program)["microbit"].read_bytes()
    rack_file = inventory(tmp_path, end, str(pack))
    with Rack.open(load_inventory(rack_file), purpose="tests", state_dir=tmp_path / "state") as rack:
        board = rack.boards["bit"]
        assert board.flash(image, force=True)
        assert board.reset().image_crc32 == board.connect().image_crc32_expected
        assert f"--pack {pack}" in board.log.path.read_text()
        target = pyocd.Target("bit", str(end.probe), TARGET, str(pack))
        assert pyocd.read(target, 0, 64, tmp_path / "files", log=lambda _line: None) == image[:64]
    assert (end.state / "flash.bin").read_bytes()[: len(image)] == image


def test_the_part_is_not_known_without_its_pack(end: Endpoint) -> None:
    with pytest.raises(ConfigError, match="correct `target`, or name the part's CMSIS pack in `pack`"):
        pyocd.reset(pyocd.Target("bit", str(end.probe), TARGET), log=lambda _line: None)


def test_a_pack_that_is_not_there_is_told_before_anything_is_done(end: Endpoint, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lab.yaml:5: boards\[0\]\.pack: no such file .*/packs/missing\.pack"):
        load_inventory(inventory(tmp_path, end, "packs/missing.pack"))


def test_a_file_that_is_no_pack(end: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "part.pack").write_text("an error page of the vendor's web server")
    with pytest.raises((ConfigError, InfrastructureError), match="board bit: pyocd reset failed"):
        pyocd.reset(pyocd.Target("bit", str(end.probe), TARGET, str(tmp_path / "part.pack")), log=lambda _line: None)
