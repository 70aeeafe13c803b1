"""Access port protection of the nRF52840: a locked board is refused with a clear error, and never erased unasked."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from virtual_helpers import KINDS, build_image, pyocd, pyocd_command

from bench.errors import InfrastructureError
from bench.rack import flash as bench_flash
from bench.virtual.rack import Endpoint, VirtualRack

KIND = KINDS["nrf52"]
APPROTECT = 0x10001208


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_image(KIND, tmp_path_factory.mktemp("image"))


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[VirtualRack]:
    with VirtualRack([KIND.spec("dk")], tmp_path / "state", counting=False) as rack:
        yield rack


@pytest.fixture
def locked(rack: VirtualRack, image: Path) -> Endpoint:
    """Flashed, then protected as its owner would do it: by a word in UICR, and a reset."""
    end = rack.endpoints["dk"]
    pyocd("flash", KIND, end.probe, str(image), "-O", "auto_unlock=false")
    write = f"write32 {APPROTECT:#x} 0xffffff00"
    commands = ("halt", "write32 0x4001e504 1", write, "write32 0x4001e504 0", f"read32 {APPROTECT:#x}")
    options = [part for command in commands for part in ("-c", command)]
    assert "ffffff00" in pyocd("commander", KIND, end.probe, "-O", "auto_unlock=false", *options)
    pyocd("reset", KIND, end.probe, "-O", "auto_unlock=false", "-m", "hw")
    return end


def contents(end: Endpoint) -> bytes:
    return (end.state / "flash.bin").read_bytes()


def test_bench_refuses_a_locked_board_and_erases_nothing(locked: Endpoint, image: Path, tmp_path: Path) -> None:
    before = contents(locked)
    said: list[str] = []
    target = bench_flash.Target("dk", locked.probe, KIND.target)
    with pytest.raises(InfrastructureError, match=r"board dk: .*access port is protected and nothing was erased"):
        bench_flash.flash(target, {0: bytes(4096)}, tmp_path / "files", timeout_s=30, log=said.append)
    assert contents(locked) == before
    assert before[: image.stat().st_size] == image.read_bytes()
    assert "auto_unlock=false" in said[0]


def test_debugger_sees_nothing_of_a_locked_board(locked: Endpoint) -> None:
    said = pyocd("commander", KIND, locked.probe, "-O", "auto_unlock=false", "-c", "read32 0x20000000", ok=False)
    assert "APPROTECT enabled" in said


def test_protection_is_kept_over_a_power_cycle(locked: Endpoint, rack: VirtualRack) -> None:
    end = rack.restart("dk")
    assert "APPROTECT enabled" in pyocd("reset", KIND, end.probe, "-O", "auto_unlock=false", ok=False)


def test_owner_who_asks_for_it_gets_an_empty_board_that_can_be_flashed(locked: Endpoint, image: Path) -> None:
    """pyOCD's own default unlocks by erasing everything: which is why the bench turns it off."""
    done = subprocess.run(
        pyocd_command("erase", KIND, locked.probe, "--mass"), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert set(contents(locked)) == {0xFF}
    pyocd("flash", KIND, locked.probe, str(image), "-O", "auto_unlock=false")
    assert contents(locked)[: image.stat().st_size] == image.read_bytes()
