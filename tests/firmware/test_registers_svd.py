"""Every register address, bit position and interrupt number of the HAL, against the vendors' own description files.

A family's registers.hpp is a list, one definition a line, named PERIPHERAL_REGISTER[_FIELD] as in the SVD file. The
files come from pyOCD (STM32L4x5, nRF51, nRF52840, STM32F429x) and cmsis-svd (STM32F20x, STM32F40x, STM32F411xx).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import cmsis_svd
import pyocd
import pytest
from hal_build import HAL
from pyocd.coresight.cortex_m import CortexM
from pyocd.coresight.dwt import DWT

FAMILIES = {
    "stm32f4": "STM32F40x.svd",
    "stm32f2": "STM32F20x.svd",
    "stm32l4": "STM32L4x5.svd",
    "nrf51": "nrf51.svd",
    "nrf52": "nrf52840.svd",
}

# Parts of a family besides the one above: the F429, and the F411, which shares its manual's chapters with the F412 (no
# package carries a file of that one) and lacks port F and USART3.
SIBLINGS = {"STM32F429x.svd": (), "STM32F411xx.svd": ("GPIOF_", "USART3_")}

# Newer than Nordic's file: MDK 8.44, nrf52840.h, NRF_APPROTECT_Type.
NOT_IN_A_FILE = {"APPROTECT_DISABLE": 0x40000558}

# ST's F40x file forgets the voltage scale. The F429 is in the same manual (RM0090), where the field has the
# same lowest bit and, with one scale more, one bit more.
WIDER_ELSEWHERE = {("stm32f4", "PWR_CR_VOS"): "STM32F429x.svd"}

REGISTER = re.compile(r"inline constexpr Register (\w+)\{(0x[0-9A-F]{8})\};")
FIELD = re.compile(r"inline constexpr Field (\w+)\{(\w+), (\d+), (\d+)\};")
INTERRUPT = re.compile(r"inline constexpr Interrupt (\w+)_IRQ\{(\d+)\};")
UNIQUE_ID = re.compile(r"inline constexpr uint32_t kUniqueId = 0x1FFF7[A-F0-9]{3};")


@dataclass
class Device:
    """An SVD file: address and fields (name → bits) of each PERIPHERAL_REGISTER, number of each interrupt."""

    registers: dict[str, tuple[int, dict[str, set[int]]]] = field(default_factory=dict)
    interrupts: dict[str, int] = field(default_factory=dict)


def _svd(name: str) -> ElementTree.Element:
    packaged = Path(cmsis_svd.__file__).parent / "data" / "STMicro" / name
    if packaged.is_file() and name in {"STM32F20x.svd", "STM32F40x.svd", "STM32F411xx.svd"}:
        return ElementTree.parse(packaged).getroot()
    archive = Path(pyocd.__file__).parent / "debug" / "svd" / "svd_data.zip"
    with zipfile.ZipFile(archive) as files:
        return ElementTree.fromstring(files.read(name))


def _bits(element: ElementTree.Element) -> set[int]:
    if (low := element.findtext("lsb")) is not None:
        return set(range(int(low, 0), int(element.findtext("msb") or "", 0) + 1))
    if (text := element.findtext("bitRange")) is not None:
        high, low = text.strip("[]").split(":")
        return set(range(int(low), int(high) + 1))
    offset = int(element.findtext("bitOffset") or "", 0)
    return set(range(offset, offset + int(element.findtext("bitWidth") or "1", 0)))


def _repeated(element: ElementTree.Element) -> Iterator[tuple[str, int]]:
    """Name and offset of each of an element's copies: `CC[%s]` with a dimension is CC0, CC1, …"""
    name = element.findtext("name") or ""
    offset = int(element.findtext("addressOffset") or "", 0)
    if "%s" not in name:
        yield name, offset
        return
    step = int(element.findtext("dimIncrement") or "", 0)
    for index in range(int(element.findtext("dim") or "", 0)):
        yield name.replace("[%s]", str(index)).replace("%s", str(index)), offset + index * step


def _registers(parent: ElementTree.Element) -> Iterator[tuple[str, int, dict[str, set[int]]]]:
    """Of a peripheral or a cluster, whose registers carry its name: PSEL_TXD."""
    for element in [*parent.findall("registers/*"), *parent.findall("register"), *parent.findall("cluster")]:
        if element.tag == "register":
            fields = {item.findtext("name") or "": _bits(item) for item in element.iter("field")}
            for name, offset in _repeated(element):
                yield name, offset, fields
        elif element.tag == "cluster":
            for name, offset in _repeated(element):
                for register, inner, fields in _registers(element):
                    yield f"{name}_{register}", offset + inner, fields


@cache
def load(name: str) -> Device:
    """Reads one of the vendors' files."""
    device = Device()
    peripherals = {item.findtext("name") or "": item for item in _svd(name).iter("peripheral")}
    for label, element in peripherals.items():
        base = int(element.findtext("baseAddress") or "", 0)
        for interrupt in element.findall("interrupt"):
            number = int(interrupt.findtext("value") or "", 0)
            device.interrupts[(interrupt.findtext("name") or "").removesuffix("_IRQ")] = number
        parent = element.get("derivedFrom")
        for register, offset, fields in _registers(peripherals[parent] if parent else element):
            device.registers[f"{label}_{register}"] = (base + offset, fields)
    return device


def definitions(family: str) -> list[str]:
    """The lines of a family's list."""
    lines = (HAL / family / "registers.hpp").read_text().splitlines()
    return [line.split("  //")[0].strip() for line in lines if line.startswith("inline")]


def cases(pattern: re.Pattern[str]) -> list[object]:
    """One test case for each line of any family that matches."""
    found = [
        (family, *match.groups())
        for family in FAMILIES
        for line in definitions(family)
        if (match := pattern.fullmatch(line))
    ]
    return [pytest.param(*values, id=f"{values[0]}-{values[1]}") for values in found]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_definition_has_a_checked_form(family: str) -> None:
    lines = definitions(family)
    assert len(lines) > 30
    for line in lines:
        assert any(form.fullmatch(line) for form in (REGISTER, FIELD, INTERRUPT, UNIQUE_ID)), line


@pytest.mark.parametrize(("family", "name", "address"), cases(REGISTER))
def test_register_address(family: str, name: str, address: str) -> None:
    expected = NOT_IN_A_FILE.get(name) or load(FAMILIES[family]).registers[name][0]
    assert int(address, 16) == expected


@pytest.mark.parametrize("file", SIBLINGS)
def test_stm32f4_siblings_have_the_same_registers(file: str) -> None:
    device, absent = load(file), SIBLINGS[file]
    matches = [REGISTER.fullmatch(line) for line in definitions("stm32f4")]
    addresses = {match[1]: int(match[2], 16) for match in matches if match and not match[1].startswith(absent or "-")}
    assert len(addresses) > 40
    assert addresses == {name: device.registers[name][0] for name in addresses}
    assert device.registers["PWR_CR"][1]["VOS"] == {14, 15}, "one voltage scale more, one bit more"
    ours = {match[1]: int(match[2]) for line in definitions("stm32f4") if (match := INTERRUPT.fullmatch(line))}
    listed = {name: number for name, number in ours.items() if name in device.interrupts}
    assert listed == {name: device.interrupts[name] for name in listed}


@pytest.mark.parametrize(("family", "name", "register", "position", "width"), cases(FIELD))
def test_field_bits(family: str, name: str, register: str, position: str, width: str) -> None:
    """Some files split a field into bits (PLLN0, PLLN1 …) or parts (DIV_Mantissa, DIV_Fraction): the union counts."""
    assert name.startswith(f"{register}_")
    short = name.removeprefix(f"{register}_")
    other = WIDER_ELSEWHERE.get((family, name))
    device = load(other or FAMILIES[family])
    fields = device.registers[register][1]
    parts = [bits for label, bits in fields.items() if re.fullmatch(rf"{short}(\d+|_\w+)?", label)]
    if short in fields:
        parts = [fields[short]]
    assert parts, f"{register} has {sorted(fields)}"
    expected = sorted(set().union(*parts))
    if other:
        expected = expected[: int(width)]
    assert expected == list(range(int(position), int(position) + int(width)))


@pytest.mark.parametrize(("family", "name", "number"), cases(INTERRUPT))
def test_interrupt_number(family: str, name: str, number: str) -> None:
    assert load(FAMILIES[family]).interrupts[name] == int(number)


@pytest.mark.parametrize("family", FAMILIES)
def test_vector_table_covers_every_interrupt(family: str) -> None:
    match = re.search(r"kInterrupts = (\d+);", (HAL / family / "hal.cpp").read_text())
    assert match
    assert int(match[1]) > max(load(FAMILIES[family]).interrupts.values())


def test_no_address_outside_the_checked_lists() -> None:
    """Peripherals start at 0x40000000, the core's own at 0xE0000000: such a number elsewhere would be unchecked."""
    address = re.compile(r"\b0x(?:[45][0-9A-Fa-f]{7}|E00[0-9A-Fa-f]{5}|1FFF[0-9A-Fa-f]{4})U?\b")
    lists = {HAL / family / "registers.hpp" for family in FAMILIES} | {HAL / "common" / "core_registers.hpp"}
    lists.add(HAL / "mps2" / "registers.hpp")  # FPGA images: no vendor describes them, the emulator boots them
    magic = {"0x4F535446", "0x5E7C0000U"}  # words that mark memory as valid
    for path in sorted(HAL.rglob("*.[ch]pp")):
        if path not in lists:
            found = set(address.findall(path.read_text())) - magic
            assert not found, f"{path}: {found}"


# The debugger's view of the same registers, and the NVIC as ST's files give it.
CORE = {
    "SYST_CSR": CortexM.SYSTICK_CSR,
    "SCB_ICSR": CortexM.ICSR,
    "SCB_VTOR": CortexM.VTOR,
    "SCB_AIRCR": CortexM.NVIC_AIRCR,
    "SCB_SHCSR": CortexM.SHCSR,
    "SCB_CPACR": CortexM.CPACR,
    "DCB_DHCSR": CortexM.DHCSR,
    "DCB_DEMCR": CortexM.DEMCR,
    "NVIC_ICPR0": CortexM.NVIC_ICPR0,
    "DWT_CTRL": 0xE0001000 + DWT.DWT_CTRL,
    "DWT_CYCCNT": 0xE0001000 + DWT.DWT_CYCCNT,
}
CORE_MASKS = {
    "SCB_ICSR_PENDSTCLR": CortexM.ICSR_PENDSTCLR,
    "SCB_AIRCR_PRIGROUP": CortexM.NVIC_AIRCR_PRIGROUP_MASK,
    "SCB_AIRCR_SYSRESETREQ": CortexM.NVIC_AIRCR_SYSRESETREQ,
    "SCB_CPACR_CP10_CP11": CortexM.CPACR_CP10_CP11_MASK,
    "DCB_DHCSR_C_DEBUGEN": CortexM.C_DEBUGEN,
    "DCB_DEMCR_TRCENA": CortexM.DEMCR_TRCENA,
    "DWT_CTRL_CYCCNTENA": DWT.DWT_CTRL_CYCCNTENA_MASK,
    "DWT_CTRL_NOCYCCNT": DWT.DWT_CTRL_NOCYCCNT_MASK,
}
# For what a debugger does not touch: ARMv7-M Architecture Reference Manual (DDI 0403E), sections B3.2.2 and B3.3.2.
MANUAL = {
    "SYST_RVR": 0xE000E014,
    "SYST_CVR": 0xE000E018,
    "SCB_CFSR": 0xE000ED28,
    "SCB_MMFAR": 0xE000ED34,
    "SCB_BFAR": 0xE000ED38,
}
MANUAL_MASKS = {
    "SYST_CSR_ENABLE": 1,
    "SYST_CSR_TICKINT": 2,
    "SYST_CSR_CLKSOURCE": 4,
    "SCB_CFSR_MMARVALID": 0x80,
    "SCB_CFSR_BFARVALID": 0x8000,
    "SCB_SHCSR_MEMFAULTENA": 1 << 16,
    "SCB_SHCSR_BUSFAULTENA": 1 << 17,
    "SCB_SHCSR_USGFAULTENA": 1 << 18,
    "SCB_AIRCR_VECTKEY": 0xFFFF0000,
}


def test_core_registers() -> None:
    nvic = {"NVIC_ISER0": load("STM32F40x.svd").registers["NVIC_ISER0"][0]}
    addresses = CORE | MANUAL | nvic
    masks = CORE_MASKS | MANUAL_MASKS
    lines = [
        line.split("  //")[0].strip()
        for line in (HAL / "common" / "core_registers.hpp").read_text().splitlines()
        if line.startswith("inline")
    ]
    for line in lines:
        if match := REGISTER.fullmatch(line):
            assert int(match[2], 16) == addresses.pop(match[1]), line
        elif match := FIELD.fullmatch(line):
            mask = ((1 << int(match[4])) - 1) << int(match[3])
            assert mask == masks.pop(match[1]), line
        else:
            assert line == "inline constexpr uint32_t kVectKey = 0x05FA;", line
    assert not addresses
    assert not masks
    assert CortexM.NVIC_AIRCR_VECTKEY == 0x05FA << 16


@pytest.mark.parametrize(
    ("file", "peripheral", "source"),
    [("nrf51.svd", "UART0", "nrf51/hal.cpp"), ("nrf52840.svd", "UARTE0", "nrf52/console.hpp")],
)
def test_nrf_baud_settings(file: str, peripheral: str, source: str) -> None:
    """The values of BAUDRATE that Nordic's file lists, for every rate that the HAL offers. UART and UARTE differ."""
    unit = next(item for item in _svd(file).iter("peripheral") if item.findtext("name") == peripheral)
    listed = {
        (value.findtext("name") or "").removeprefix("Baud"): int(value.findtext("value") or "", 0)
        for register in unit.iter("register")
        if register.findtext("name") == "BAUDRATE"
        for value in register.iter("enumeratedValue")
    }
    offered = re.findall(r"case (\d+):\s+return (0x[0-9A-F]{8});", (HAL / source).read_text())
    assert len(offered) >= 8
    for rate, setting in offered:
        name = "1M" if rate == "1000000" else rate
        assert listed[name] == int(setting, 16), rate
