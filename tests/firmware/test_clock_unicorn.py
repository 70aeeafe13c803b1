"""Clock, PLL, wait-state, voltage and watchdog code, executed against register models that grant, delay and withhold
each ready bit. QEMU models none of this: a boot there proves nothing about it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hal_build import build
from regmodel import (
    NEVER,
    Answers,
    Machine,
    Model,
    Nrf51,
    Nrf52,
    Stm32F,
    Stm32F2,
    Stm32F4,
    Stm32F412,
    Stm32F429,
    Stm32L4,
)

from bench.rack.manifest import load_manifest

RESET_DEFAULT, INTERNAL_PLL, CRYSTAL_PLL, CRYSTAL = range(4)  # hal::ClockSource

F_MODELS = {
    "netduinoplus2": Stm32F4,
    "olimex_stm32_h405": Stm32F4,
    "nucleo_f412zg": Stm32F412,
    "nucleo_f429zi": Stm32F429,
    "netduino2": Stm32F2,
}
F_BOARDS = tuple(F_MODELS)
NRF_MODELS = {"microbit": Nrf51, "nrf52840_dk": Nrf52, "nano33ble": Nrf52}
NRF_BOARDS = tuple(NRF_MODELS)
ALL_BOARDS = (*F_BOARDS, "b_l475e_iot01a", *NRF_BOARDS)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clock")
    return {env: build(env, Path(__file__).with_name("clock_probe.cpp"), folder) for env in ALL_BOARDS}


def model_of(env: str, answers: Answers | None = None, *, booted: bool = False) -> Model:
    manifest = load_manifest(env)
    if env == "b_l475e_iot01a":
        return Stm32L4(answers, booted=booted)
    if env in NRF_MODELS:
        return NRF_MODELS[env](answers)
    return F_MODELS[env](manifest.hse_hz, answers, booted=booted)


def boot(images: dict[str, Path], env: str, answers: Answers | None = None, *, booted: bool = False) -> Machine:
    """Runs the set-up and checks what must hold whatever the hardware does."""
    machine = Machine(images[env], model_of(env, answers, booted=booted))
    assert machine.run(), "the set-up hangs"
    model = machine.model
    assert not model.violations
    assert model.core_hz() == machine.word("reported_core_hz")
    assert model.baud() == pytest.approx(load_manifest(env).baud, rel=0.01)
    assert model.watchdog_seconds() == pytest.approx(8, rel=0.01)
    return machine


def outcome(machine: Machine) -> tuple[float, int]:
    return machine.model.core_hz(), machine.word("reported_source")


@pytest.mark.parametrize("env", ALL_BOARDS)
def test_rated_clock_when_all_is_granted(images: dict[str, Path], env: str) -> None:
    source = {"b_l475e_iot01a": INTERNAL_PLL, **dict.fromkeys(NRF_BOARDS, CRYSTAL)}.get(env, CRYSTAL_PLL)
    assert outcome(boot(images, env)) == (load_manifest(env).core_hz, source)


@pytest.mark.parametrize("env", ALL_BOARDS)
@pytest.mark.parametrize("polls", [1, 7, 900])
def test_rated_clock_when_all_is_slow(images: dict[str, Path], env: str, polls: int) -> None:
    model = model_of(env)
    machine = boot(images, env, dict.fromkeys(model.known_bits, polls))
    assert machine.model.core_hz() == load_manifest(env).core_hz
    assert machine.word("reported_source") != RESET_DEFAULT


@pytest.mark.parametrize("env", F_BOARDS)
def test_slow_crystal_is_awaited(images: dict[str, Path], env: str) -> None:
    assert outcome(boot(images, env, {"HSERDY": 50000, "PLLRDY": 15000})) == (load_manifest(env).core_hz, CRYSTAL_PLL)


@pytest.mark.parametrize("env", F_BOARDS)
def test_dead_crystal_falls_back_to_hsi_at_the_rated_clock(images: dict[str, Path], env: str) -> None:
    machine = boot(images, env, {"HSERDY": NEVER})
    assert outcome(machine) == (load_manifest(env).core_hz, INTERNAL_PLL)
    assert not machine.model.words[Stm32F.rcc] >> 16 & 1, "the crystal's driver stays on"


@pytest.mark.parametrize("env", F_BOARDS)
@pytest.mark.parametrize("bit", ["PLLRDY", "LATENCY", "SWS", "VOSRDY"])
def test_withheld_bit_leaves_the_reset_default(images: dict[str, Path], env: str, bit: str) -> None:
    expected = (16e6, RESET_DEFAULT)
    if env == "netduino2" and bit == "VOSRDY":
        expected = (120e6, CRYSTAL_PLL)  # the F205 has no such bit, and must not wait for it
    machine = boot(images, env, {bit: NEVER})
    assert outcome(machine) == expected
    if expected[0] == 16e6:
        assert not machine.model.words[Stm32F.rcc] >> 24 & 1, "the PLL stays on"
        assert machine.model.apb(1) == machine.model.apb(2) == 16e6


@pytest.mark.parametrize("bit", ["PLLRDY", "LATENCY", "SWS", "VOSF"])
def test_l475_withheld_bit_leaves_the_reset_default(images: dict[str, Path], bit: str) -> None:
    machine = boot(images, "b_l475e_iot01a", {bit: NEVER})
    assert outcome(machine) == (4e6, RESET_DEFAULT)
    assert not machine.model.words[Stm32L4.rcc] >> 24 & 1, "the PLL stays on"


def test_l475_without_msi_uses_hsi(images: dict[str, Path]) -> None:
    assert outcome(boot(images, "b_l475e_iot01a", {"MSIRDY": NEVER})) == (80e6, INTERNAL_PLL)


@pytest.mark.parametrize("env", NRF_BOARDS)
def test_nrf_without_crystal_stays_on_the_internal_oscillator(images: dict[str, Path], env: str) -> None:
    assert outcome(boot(images, env, {"HFCLKSTARTED": NEVER})) == (load_manifest(env).core_hz, RESET_DEFAULT)


@pytest.mark.parametrize("env", ALL_BOARDS)
def test_nothing_granted_at_all_still_boots(images: dict[str, Path], env: str) -> None:
    """As on QEMU, where status registers read 0."""
    machine = boot(images, env, dict.fromkeys(model_of(env).known_bits, NEVER))
    assert machine.word("reported_source") == RESET_DEFAULT


@pytest.mark.parametrize("env", [*F_BOARDS, "b_l475e_iot01a"])
def test_pll_left_running_by_a_boot_loader(images: dict[str, Path], env: str) -> None:
    """It is stopped, and the core off it, before it is configured anew."""
    assert boot(images, env, {"PLLRDY": 50, "SWS": 50}, booted=True).model.core_hz() == load_manifest(env).core_hz


@pytest.mark.parametrize("env", [*F_BOARDS, "b_l475e_iot01a"])
def test_watchdog_key_sequence(images: dict[str, Path], env: str) -> None:
    order = boot(images, env, {"PVU": 5, "RVU": 9}).model.iwdg.order
    assert order[:5] == ["unlock", "PR", "RLR", "start", "feed"]
    assert set(order[5:]) <= {"feed"}


@pytest.mark.parametrize("env", [*F_BOARDS, "b_l475e_iot01a"])
def test_watchdog_that_never_leaves_busy(images: dict[str, Path], env: str) -> None:
    assert boot(images, env, {"PVU": NEVER, "RVU": NEVER}).model.iwdg.fed_after_start


@pytest.mark.parametrize("env", NRF_BOARDS)
def test_nrf_watchdog_runs_asleep_and_pauses_when_halted(images: dict[str, Path], env: str) -> None:
    model = boot(images, env).model
    assert model.fed
    assert model.words[0x4001050C] & 0b1001 == 0b0001


@pytest.mark.parametrize(("word", "opened"), [(0xFFFFFFFF, False), (0xFFFFFF5A, True), (0xFFFFFF00, False)])
def test_nrf52_opens_its_debug_port_only_where_uicr_says_so(images: dict[str, Path], word: int, opened: bool) -> None:
    """On parts of build code F0 and later the port stays shut unless UICR and the firmware both open it."""
    machine = Machine(images["nrf52840_dk"], Nrf52(protection=word))
    assert machine.run()
    assert machine.model.opened_debug_port() == opened
    assert not machine.model.violations


@pytest.mark.parametrize("env", ["nrf52840_dk", "nano33ble"])
def test_nrf52_takes_the_pins_of_its_board_and_no_flow_control(images: dict[str, Path], env: str) -> None:
    """P0.06 and P0.08 of the development kit, P1.03 and P1.10 of the Nano."""
    words = boot(images, env).model.words
    transmit, receive = {"nrf52840_dk": (6, 8), "nano33ble": (32 + 3, 32 + 10)}[env]
    assert (words[0x4000250C], words[0x40002514]) == (transmit, receive)
    assert (words[0x40002508], words[0x40002510]) == (0xFFFFFFFF, 0xFFFFFFFF)
    assert words[0x4001E540] & 1, "the flash cache is off"


@pytest.mark.parametrize(
    ("env", "bit", "hz", "least_s"),
    [
        ("netduinoplus2", "HSERDY", 16e6, 5e-3),  # crystals of this class: 2 ms typical
        ("netduinoplus2", "PLLRDY", 16e6, 300e-6),  # PLL lock time, 300 us at most
        ("netduino2", "PLLRDY", 16e6, 300e-6),  # likewise
        ("nucleo_f412zg", "PLLRDY", 16e6, 300e-6),  # likewise
        ("b_l475e_iot01a", "PLLRDY", 4e6, 40e-6),  # 40 us at most
        ("microbit", "HFCLKSTARTED", 16e6, 1.5e-3),  # the data sheet's longest crystal start
        ("nrf52840_dk", "HFCLKSTARTED", 64e6, 1.5e-3),  # 0.36 ms, and the debounce time of at most 1.024 ms
    ],
)
def test_waits_are_longer_than_the_data_sheet_asks(
    images: dict[str, Path], env: str, bit: str, hz: float, least_s: float
) -> None:
    """An instruction takes at least a cycle, so the count over the clock is the shortest that the wait can be."""
    quick = Machine(images[env], model_of(env))
    slow = Machine(images[env], model_of(env, {bit: NEVER}))
    for machine in (quick, slow):
        machine.count_instructions()
        assert machine.run()
    waited_s = (slow.instructions - quick.instructions) / hz
    assert least_s < waited_s < 1


@pytest.mark.parametrize("hse_hz", [8_000_000, 12_000_000, 25_000_000])
def test_other_crystals(tmp_path: Path, hse_hz: int) -> None:
    """The PLL's factors are computed, not listed."""
    elf = build("netduinoplus2", Path(__file__).with_name("clock_probe.cpp"), tmp_path, hse_hz=hse_hz)
    machine = Machine(elf, Stm32F4(hse_hz))
    assert machine.run()
    assert not machine.model.violations
    assert outcome(machine) == (168e6, CRYSTAL_PLL)
