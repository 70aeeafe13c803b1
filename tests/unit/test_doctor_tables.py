"""What the doctor finds of a kind of board without having it: every mistake that a person may make is found, and told
with its data sheet's section."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.rack.doctor import environment, firmware
from bench.rack.doctor.environment import Subject, examine
from bench.rack.doctor.finding import Finding, Level, exit_code
from bench.rack.doctor.parts import all_parts, find_part
from bench.rack.doctor.registers import load_svd
from bench.rack.manifest import BoardManifest, all_manifests, load_manifest

ROOT = Path(__file__).resolve().parents[2]
REAL = [env for env, manifest in all_manifests().items() if manifest.pyocd_target]
PARTS = {
    "stm32f4": "stm32f405rg",
    "stm32f2": "stm32f205rf",
    "stm32l4": "stm32l475vg",
    "nrf51": "nrf51822",
    "nrf52": "nrf52840",
}


def subject(env: str, **changes: Any) -> Subject:
    manifest = replace(load_manifest(env), **changes)
    part = find_part(PARTS[manifest.family])
    assert part is not None
    return Subject(manifest, part, manifest.pyocd_target, manifest.baud)


def findings(check: Callable[[Subject], Any], of: Subject) -> list[Finding]:
    return list(check(of))


def only(found: list[Finding]) -> Finding:
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize("env", REAL)
def test_every_environment_is_as_its_part_allows(env: str) -> None:
    found = only(examine(env))
    assert found.level is Level.NOTE
    assert "as they should be" in found.what


def test_every_real_board_has_a_table() -> None:
    for env in REAL:
        board = json.loads((ROOT / "firmware/platform/boards" / f"{env}.json").read_text())
        part = find_part(board["build"]["mcu"])
        assert part is not None, env
        assert part.family == load_manifest(env).family


@pytest.mark.parametrize("part", all_parts(), ids=lambda part: part.mcu)
def test_tables_agree_with_the_vendors_files(part: Any) -> None:
    """UARTs and ports that a table names exist; those of Nordic's rates that a file states are what we compute."""
    svd = load_svd(part.svd)
    assert set(part.uart.lines) <= svd.peripherals
    ports = {f"GPIO{pin[1]}" for line in part.uart.lines.values() for pin in (*line.transmit, *line.receive)}
    assert ports <= svd.peripherals
    assert part.sectors()[-1][0] + part.sectors()[-1][1] == part.flash_base + part.flash_size
    assert {size for _, size in part.sectors()} == set(part.timing.erase_ms)


def test_a_part_without_a_table_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "find_part", lambda _mcu: None)
    found = only(examine("microbit"))
    assert found.level is Level.WARNING
    assert "has no table" in found.what


def with_console(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    original = firmware.console

    def other(manifest: BoardManifest) -> firmware.Console:
        return replace(original(manifest), **changes)  # type: ignore[arg-type]

    monkeypatch.setattr(firmware, "console", other)


def test_a_pin_that_the_uart_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    with_console(monkeypatch, transmit="PB7", receive="PB6")  # exchanged, as on a schematic read from the other end
    found = findings(environment.pins, subject("b_l475e_iot01a", uart="USART1 PB7/PB6"))
    assert [f.level for f in found] == [Level.ERROR] * 2
    assert found[0].what == (
        "PB7 cannot be USART1's TX by alternate function 7; DS10969, Pinouts and pin description, "
        "Alternate function AF0 to AF7: PA9 (AF7), PB6 (AF7), PG9 (AF7)"
    )


def test_a_wrong_alternate_function(monkeypatch: pytest.MonkeyPatch) -> None:
    with_console(monkeypatch, function=7)
    found = findings(environment.pins, subject("netduinoplus2"))
    assert len(found) == 2
    assert "PC6 cannot be USART6's TX by alternate function 7; DS8626" in found[0].what


def test_a_manifest_that_names_other_pins_than_the_firmware() -> None:
    found = only(findings(environment.pins, subject("nrf52840_dk", uart="UARTE0 P0.08/P0.06")))
    assert found.what == "the manifest says UARTE0 P0.08/P0.06, the HAL uses UARTE0 P0.06/P0.08"
    assert "firmware/platform/boards/nrf52840_dk.json" in found.mend


def test_a_nordic_pin_that_the_package_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    with_console(monkeypatch, transmit="P1.16")
    found = findings(environment.pins, subject("nrf52840_dk", uart="UARTE0 P1.16/P0.08"))
    assert "P1.16 cannot be UARTE0's TX; nRF52840 PS, UARTE: Pin configuration" in only(found).what


def test_a_pin_for_two_purposes(monkeypatch: pytest.MonkeyPatch) -> None:
    with_console(monkeypatch, marker="PC6")
    assert "are not three pins" in only(findings(environment.pins, subject("netduinoplus2"))).what


@pytest.mark.parametrize(
    ("env", "changes", "expected"),
    [
        ("netduinoplus2", {"core_hz": 180_000_000}, "at most 168000000 (DS8626"),
        ("netduinoplus2", {"hse_hz": 40_000_000}, "a crystal of 40000000 Hz; 4000000 to 26000000 (DS8626"),
        ("netduinoplus2", {"hse_hz": 14_745_600}, "no setting of the PLL makes 168000000 Hz of 14745600"),
        ("nrf52840_dk", {"core_hz": 128_000_000}, "this core runs at 64000000 (nRF52840 PS, CLOCK"),
        ("microbit", {"hse_hz": 8_000_000}, "a crystal of 8000000 Hz; 16000000 to 32000000 (nRF51822 PS"),
        ("b_l475e_iot01a", {"core_hz": 81_000_000}, "at most 80000000 (DS10969"),
    ],
)
def test_clocks_that_cannot_be(env: str, changes: dict[str, int], expected: str) -> None:
    assert any(expected in f.what for f in findings(environment.clock, subject(env, **changes)))


@pytest.mark.parametrize(
    ("buses", "expected"),
    [
        (firmware.Buses(4, 4, 2), "4 wait states at 168000000 Hz; 5 needed (RM0090, Read interface"),
        (firmware.Buses(5, 2, 2), "APB1 would run at 84000000 Hz, at most 42000000 (DS8626"),
        (firmware.Buses(5, 4, 1), "APB2 would run at 168000000 Hz, at most 84000000 (DS8626"),
    ],
)
def test_too_few_wait_states_and_too_fast_buses(
    buses: firmware.Buses, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firmware, "buses", lambda _manifest: buses)
    assert expected in only(findings(environment.clock, subject("netduinoplus2"))).what


def test_a_divisor_from_the_wrong_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware, "uart_bus", lambda _manifest: "apb1")
    assert only(findings(environment.uart_clock, subject("netduinoplus2"))).what.endswith("from apb1; it is on apb2")


# 84 MHz over 729 and over 91, 42 MHz over 365; the nRF52840's as in its product specification, UARTE, BAUDRATE.
@pytest.mark.parametrize(
    ("env", "baud", "actual"),
    [
        ("netduinoplus2", 115200, 84e6 / 729),
        ("netduinoplus2", 921600, 84e6 / 91),
        ("olimex_stm32_h405", 115200, 42e6 / 365),
        ("microbit", 115200, 115203.9),
        ("nrf52840_dk", 115200, 115108),
    ],
)
def test_the_rate_that_really_comes_out(env: str, baud: int, actual: float) -> None:
    assert environment._actual_baud(subject(env, baud=baud)) == pytest.approx(actual, rel=1e-6)


@pytest.mark.parametrize(
    ("env", "baud", "level"),
    [
        ("netduinoplus2", 115200, None),
        ("netduinoplus2", 4_000_000, None),  # 84 MHz over 21
        ("olimex_stm32_h405", 2_000_000, None),  # 42 MHz over 21
        ("olimex_stm32_h405", 2_500_000, Level.WARNING),  # over 17: 1.2 % slow
        ("olimex_stm32_h405", 4_000_000, Level.ERROR),  # over 16, the least
        ("nrf52840_dk", 921600, Level.ERROR),  # 941176, says Nordic's file: 2.1 % fast
        ("nrf52840_dk", 460800, None),  # 457143
        ("microbit", 921600, None),
        ("microbit", 500000, Level.ERROR),  # not offered
    ],
)
def test_rates_that_are_too_far_off(env: str, baud: int, level: Level | None) -> None:
    found = findings(environment.baud_rate, subject(env, baud=baud))
    assert [f.level for f in found] == ([] if level is None else [level])


def test_an_inventory_with_another_rate_than_the_images() -> None:
    found = [f for f in examine("microbit", baud=9600) if f.level is Level.ERROR]
    assert only(found).what == "the inventory says 9600 baud; images are built for 115200"


def test_a_register_at_another_address_than_in_the_vendors_file(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {**firmware.registers("stm32l4"), "USART1_BRR": 0x4001380C + 4}
    monkeypatch.setattr(firmware, "registers", lambda _family: ours)
    found = only(findings(environment.register_addresses, subject("b_l475e_iot01a")))
    assert found.what == "USART1_BRR at 0x40013810, in the file at 0x4001380c (STM32L4x5.svd)"


@pytest.mark.parametrize("family", PARTS)
def test_most_of_the_registers_are_in_the_vendors_file(family: str) -> None:
    part = find_part(PARTS[family])
    assert part is not None
    ours = firmware.registers(family)
    assert len(set(ours) & set(load_svd(part.svd).registers)) >= 0.8 * len(ours) > 20


def test_data_that_begins_within_a_sector() -> None:
    flash = load_manifest("netduinoplus2").flash
    moved = replace(flash, data_base=flash.data_base + 0x4000, data_size=flash.data_size - 0x4000)
    found = only(findings(environment.flash_map, subject("netduinoplus2", flash=moved)))
    assert "data_base, 0x08024000, lies within a sector (RM0090, Embedded flash" in found.what


def test_memory_that_the_part_does_not_have() -> None:
    manifest = load_manifest("netduinoplus2")
    large = subject("netduinoplus2", ram=replace(manifest.ram, size=192 << 10))
    assert "RAM of 196608 bytes" in only(findings(environment.flash_map, large)).what
    assert "RAM is 196608 bytes" in only(findings(environment.linker_script, large)).what


def test_code_that_may_reach_into_the_data() -> None:
    flash = replace(load_manifest("netduinoplus2").flash, image_size=0x24000)
    found = findings(environment.linker_script, subject("netduinoplus2", flash=flash))
    assert "into the data partition at 0x08020000" in only(found).what


def test_a_time_limit_that_a_slow_flash_exceeds() -> None:
    """1 MB of an F405: 4 x .8 + 2.4 + 7 x 4 s to erase, 262,144 words of 100 us to program: 60 s."""
    assert not findings(environment.erase_time_outs, subject("netduinoplus2"))
    found = only(findings(environment.erase_time_outs, subject("netduinoplus2", flash_timeout_s=50.0)))
    assert found.what == "flash_timeout_s is 50; erasing and programming may take 60 s"
    assert "raise it to 75" in found.mend
    assert "DS8626" in found.mend


def test_a_debugger_target_with_another_geometry() -> None:
    other = replace(subject("netduinoplus2"), target="stm32l475xg")
    found = only(findings(environment.debugger_target, other))
    assert found.what == "stm32l475xg has sectors of 2048 bytes at 0x08000000, the part 16384"


def test_exit_codes() -> None:
    note, warning = Finding(Level.NOTE, "a", "b", "c"), Finding(Level.WARNING, "a", "b", "c", reach=True)
    error, lost = Finding(Level.ERROR, "a", "b", "c"), Finding(Level.ERROR, "a", "b", "c", reach=True)
    assert [exit_code(f) for f in ([], [note, warning], [warning, error], [error, lost])] == [0, 0, 1, 3]


def test_the_example_of_a_lab_is_well(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    example = ROOT / "hosts" / "lab.example.yaml"
    assert cli.main(["rack", "doctor", str(example), "--tables", "--json", "--state", str(tmp_path)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["errors"], document["warnings"]) == (0, 0)
    assert {finding["where"] for finding in document["findings"]} >= {"microbit", "nucleo_f429zi", "nrf52840_dk"}


def test_a_lab_that_is_elsewhere_is_no_error_unless_it_should_be_here(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rack = tmp_path / "lab.yaml"
    rack.write_text("boards:\n  - {name: iot, env: b_l475e_iot01a, probe: '066CFF', serial: /dev/ttyNONE}\n")
    assert cli.main(["rack", "doctor", str(rack), "--notes", "--state", str(tmp_path)]) == 0
    assert "none of the 1 real boards is plugged in here" in capsys.readouterr().out
    assert cli.main(["rack", "doctor", str(rack), "--hardware", "--state", str(tmp_path)]) == 3
    out = capsys.readouterr().out
    assert "iot: probe: 066CFF is not plugged in\n         to mend: plug it in, or correct `probe`" in out
    assert "iot: serial line: /dev/ttyNONE does not exist" in out
