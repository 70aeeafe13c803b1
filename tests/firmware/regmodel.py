"""Register models of clock trees, UARTs and watchdogs, under firmware that runs on Unicorn.

A model grants, delays or withholds each status bit as the test asks, and checks what the reference manuals demand of
the software: PLL limits, bus limits, wait states seen before the switch, nothing changed under a running PLL. What it
finds wrong it collects in `violations`. It is written from the manuals and shares nothing with the firmware.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import unicorn
from elftools.elf.elffile import ELFFile
from unicorn import arm_const

Answers = dict[str, float]  # status bit → polls until it follows; 0 at once, inf never


@dataclass
class Bit:
    """A status bit that follows its request after some polls, or never."""

    polls: float = 0
    value: int = 0
    target: int = 0
    left: float = 0

    def request(self, target: int) -> None:
        """The software asks for a new value."""
        if target != self.target:
            self.target, self.left = target, self.polls

    def poll(self) -> int:
        """The software reads the bit."""
        if self.value != self.target:
            if self.left <= 0:
                self.value = self.target
            self.left -= 1
        return self.value


class Model:
    """Plain memory for every register that no subclass knows; `answers` says which status bits are slow."""

    cpu = arm_const.UC_CPU_ARM_CORTEX_M4
    peripherals: tuple[tuple[int, int], ...] = ((0x40000000, 0x30000),)
    known_bits: tuple[str, ...] = ()

    def __init__(self, answers: Answers | None = None) -> None:
        unknown = set(answers or {}) - set(self.known_bits)
        assert not unknown, unknown
        self.bits = {name: Bit((answers or {}).get(name, 0)) for name in self.known_bits}
        self.words: dict[int, int] = {}
        self.violations: list[str] = []
        self.writes: list[tuple[int, int]] = []

    def read(self, address: int) -> int:
        """What the bus answers."""
        return self.words.get(address, 0)

    def write(self, address: int, value: int) -> None:
        """What the software stores."""
        self.words[address] = value

    def check(self, good: bool, what: str) -> None:
        """Collects a violation."""
        if not good and what not in self.violations:
            self.violations.append(what)

    def core_hz(self) -> float:
        """The clock that the core really has."""
        raise NotImplementedError

    def baud(self) -> float:
        """The rate that the console's divisor gives at its clock."""
        raise NotImplementedError

    def watchdog_seconds(self) -> float:
        """The watchdog's period at its nominal clock; 0 if it does not run."""
        raise NotImplementedError


@dataclass
class Iwdg:
    """The independent watchdog, RM0090, chapter IWDG: key protocol, period, busy bits."""

    model: Model
    unlocked: bool = False
    started: bool = False
    fed_after_start: bool = False
    prescaler: int = 0
    reload: int = 0xFFF
    order: list[str] = field(default_factory=list)

    base = 0x40003000
    lsi_hz = 32000

    def write(self, offset: int, value: int) -> None:
        """A store to the unit."""
        model = self.model
        if offset == 0x0:
            names = {0x5555: "unlock", 0xCCCC: "start", 0xAAAA: "feed"}
            model.check(value in names, f"IWDG key {value:#x}")
            self.order.append(names.get(value, "?"))
            self.unlocked = value == 0x5555
            self.started |= value == 0xCCCC
            self.fed_after_start |= self.started and value == 0xAAAA
            return
        name = {0x4: "PVU", 0x8: "RVU"}[offset]
        model.check(self.unlocked, f"IWDG register {offset:#x} written while locked")
        model.check(not model.bits[name].value, f"IWDG register {offset:#x} written while {name} is set")
        self.order.append("PR" if offset == 4 else "RLR")
        if offset == 4:
            self.prescaler = value & 7
        else:
            self.reload = value & 0xFFF
        if model.bits[name].polls:
            model.bits[name].value, model.bits[name].target, model.bits[name].left = 1, 0, model.bits[name].polls

    def read(self, offset: int) -> int:
        """A load from the unit: the status register."""
        return self.model.bits["PVU"].poll() | self.model.bits["RVU"].poll() << 1 if offset == 0xC else 0

    def seconds(self) -> float:
        """The period at the nominal 32 kHz."""
        return (self.reload + 1) * (4 << min(self.prescaler, 6)) / self.lsi_hz if self.started else 0


class Stm32(Model):
    """What the STM32 families share: flash wait states and their read-back, the watchdog."""

    acr = 0
    max_core_hz = 0.0

    def __init__(self, answers: Answers | None = None) -> None:
        super().__init__(answers)
        self.iwdg = Iwdg(self)
        self.latency_seen = 0  # as last read back by the software
        self.pll_hz = 0.0
        self.selected = 0

    def read(self, address: int) -> int:
        if self.iwdg.base <= address < self.iwdg.base + 0x10:
            return self.iwdg.read(address - self.iwdg.base)
        if address == self.acr:
            self.latency_seen = self.bits["LATENCY"].poll()
            return (self.words.get(address, 0) & ~7) | self.latency_seen
        return super().read(address)

    def write(self, address: int, value: int) -> None:
        if self.iwdg.base <= address < self.iwdg.base + 0x10:
            self.iwdg.write(address - self.iwdg.base, value)
            return
        if address == self.acr:
            self.check(value & 7 >= self.wait_states(self.core_hz()), "wait states lowered below the present clock's")
            self.bits["LATENCY"].request(value & 7)
        super().write(address, value)

    def wait_states(self, hz: float) -> int:
        """How many the flash needs at a core clock."""
        raise NotImplementedError

    def watchdog_seconds(self) -> float:
        return self.iwdg.seconds()

    def check_switch_to_pll(self) -> None:
        """The core is about to run from the PLL."""
        self.check(bool(self.bits["PLLRDY"].value), "switch to a PLL that is not ready")
        needed = self.wait_states(self.pll_hz)
        self.check(self.bits["LATENCY"].value >= needed, "switch before the wait states are in force")
        self.check(self.latency_seen >= needed, "switch before the wait states were read back")


class Stm32F(Stm32):
    """RCC, PWR and flash interface of the F2 (RM0033) and F4 (RM0090)."""

    rcc, acr, pwr = 0x40023800, 0x40023C00, 0x40007000
    known_bits = ("HSIRDY", "HSERDY", "PLLRDY", "SWS", "LATENCY", "VOSRDY", "PVU", "RVU")
    has_voltage_scale = True
    vco_range = (100e6, 432e6)
    apb1_max, apb2_max = 42e6, 84e6
    bypass = False  # the ST-LINK drives the crystal's pin
    scales: Mapping[int, float] = {0: 144e6, 1: 168e6}  # PWR_CR.VOS → the fastest core clock
    scale_bits, scale_at_reset = 1, 1
    pll_reset = 0x24003010
    booted_prescalers = 5 << 10 | 4 << 13

    def __init__(self, hse_hz: float, answers: Answers | None = None, *, booted: bool = False) -> None:
        """`booted`: a boot loader left the core on a PLL from HSI."""
        super().__init__(answers)
        self.hse_hz = hse_hz
        self.words[self.rcc] = 0x83
        self.words[self.rcc + 4] = self.pll_reset
        self.words[self.pwr] = self.scale_at_reset << 14
        for name, value in {"HSIRDY": 1, **({"PLLRDY": 1, "SWS": 2, "LATENCY": 5} if booted else {})}.items():
            self.bits[name].value = self.bits[name].target = value
        if booted:
            self.words[self.rcc] |= 1 << 24
            self.words[self.rcc + 8] = 2 | self.booted_prescalers
            self.pll_hz = self.max_core_hz
            self.selected = 2

    def core_hz(self) -> float:
        return {0: 16e6, 1: self.hse_hz, 2: self.pll_hz}[self.selected]

    def wait_states(self, hz: float) -> int:
        return max(0, -int(-hz // 30e6) - 1)  # one per 30 MHz at 2.7 to 3.6 V

    def apb(self, bus: int) -> float:
        """Clock of APB1 or APB2."""
        code = self.words.get(self.rcc + 8, 0) >> (10 if bus == 1 else 13) & 7
        return self.core_hz() / (2 ** (code - 3) if code >= 4 else 1)

    def check_buses(self) -> None:
        """No clock above its limit."""
        self.check(self.core_hz() <= self.max_core_hz, f"core at {self.core_hz()}")
        self.check(self.apb(1) <= self.apb1_max, f"APB1 at {self.apb(1)}")
        self.check(self.apb(2) <= self.apb2_max, f"APB2 at {self.apb(2)}")

    def read(self, address: int) -> int:
        word = self.words.get(address, 0)
        if address == self.rcc:
            ready = self.bits["HSIRDY"].poll() << 1 | self.bits["HSERDY"].poll() << 17
            return word | ready | self.bits["PLLRDY"].poll() << 25
        if address == self.rcc + 8:
            self.selected = self.bits["SWS"].poll()
            self.check_buses()
            return (word & ~0xC) | self.selected << 2
        if address == self.pwr + 4:
            return self.bits["VOSRDY"].poll() << 14
        return super().read(address)

    def write(self, address: int, value: int) -> None:
        if address == self.rcc:
            value &= ~(1 << 1 | 1 << 17 | 1 << 25)  # the ready bits are read-only
            self.write_control(value)
        elif address == self.rcc + 4:
            running = self.words[self.rcc] >> 24 & 1 or self.bits["PLLRDY"].value
            self.check(not running, "PLL configured while it runs")
            ours = 0x0F437FFF
            self.check((value ^ self.pll_reset) & ~ours == 0, "reserved bits of PLLCFGR changed")
        elif address == self.rcc + 8:
            self.words[address] = value
            if value & 3 == 2 and self.bits["SWS"].target != 2:
                self.check_switch_to_pll()
            self.bits["SWS"].request(value & 3)
            self.check_buses()
        elif address == self.pwr:
            self.check(bool(self.words.get(self.rcc + 0x40, 0) >> 28 & 1), "PWR written without its clock")
            self.check(not self.words[self.rcc] >> 24 & 1, "voltage scale changed while the PLL runs")
        super().write(address, value)

    def write_control(self, value: int) -> None:
        """RCC_CR: oscillators and PLL on and off."""
        before = self.words[self.rcc]
        self.bits["HSIRDY"].request(value & 1)
        self.check(not (value ^ before) >> 18 & 1 or not before >> 16 & 1, "bypass changed while the oscillator is on")
        self.check(value >> 18 & 1 == self.bypass or not value >> 16 & 1, "oscillator on with the wrong bypass")
        self.bits["HSERDY"].request(value >> 16 & 1)
        self.check(bool(value & 1) or self.selected != 0, "HSI off while it drives the core")
        if value >> 24 & 1 and not before >> 24 & 1:
            self.start_pll()
        if before >> 24 & 1 and not value >> 24 & 1:
            self.check(self.selected != 2, "PLL off while it drives the core")
            self.bits["VOSRDY"].request(0)
        self.bits["PLLRDY"].request(value >> 24 & 1)

    def start_pll(self) -> None:
        """The limits of RCC_PLLCFGR in RM0033 and RM0090; scale 1 is reached once the PLL runs."""
        config = self.words[self.rcc + 4]
        from_hse = config >> 22 & 1
        self.check(bool(self.bits["HSERDY" if from_hse else "HSIRDY"].value), "PLL started from a source not ready")
        m, n, p, q = config & 63, config >> 6 & 511, 2 * ((config >> 16 & 3) + 1), config >> 24 & 15
        self.check(m >= 2 and 50 <= n <= 432 and q >= 2, f"PLL factors {m, n, p, q}")
        source = self.hse_hz if from_hse else 16e6
        vco = source / max(m, 1) * n
        self.check(1e6 <= source / max(m, 1) <= 2e6, f"PLL input {source / max(m, 1)}")
        self.check(self.vco_range[0] <= vco <= self.vco_range[1], f"VCO {vco}")
        self.check(vco / max(q, 1) <= 48e6, f"48 MHz clock at {vco / max(q, 1)}")
        self.pll_hz = vco / p
        self.bits["VOSRDY"].request(int(self.words[self.pwr] >> 14 & 3 != 0))

    def check_switch_to_pll(self) -> None:
        super().check_switch_to_pll()
        if self.has_voltage_scale:
            scale = self.words[self.pwr] >> 14 & (1 << self.scale_bits) - 1
            self.check(self.pll_hz <= self.scales.get(scale, 0), f"voltage scale {scale} is too low")
            self.check(bool(self.bits["VOSRDY"].value), "switch before the voltage scale is reached")

    def baud(self) -> float:
        for base, bus in ((0x40011400, 2), (0x40004800, 1), (0x40004400, 1)):
            if self.words.get(base + 0xC, 0) >> 13 & 1:
                return self.apb(bus) / self.words[base + 8]
        return 0


class Stm32F4(Stm32F):
    """STM32F405."""

    max_core_hz = 168e6


class Stm32F429(Stm32F4):
    """STM32F429 without over-drive, on a NUCLEO (RM0090): one voltage scale more, so a field of two bits."""

    bypass = True
    scales: Mapping[int, float] = {1: 120e6, 2: 144e6, 3: 168e6}
    scale_bits, scale_at_reset = 2, 3
    apb1_max, apb2_max = 45e6, 90e6


class Stm32F412(Stm32F429):
    """STM32F412 (RM0402): slower, not at its highest voltage after a reset, and with one more PLL divisor, R."""

    max_core_hz = 100e6
    scales: Mapping[int, float] = {1: 64e6, 2: 84e6, 3: 100e6}
    scale_at_reset = 2
    apb1_max, apb2_max = 50e6, 100e6
    booted_prescalers = 4 << 10

    def start_pll(self) -> None:
        super().start_pll()
        self.check(self.words[self.rcc + 4] >> 28 & 7 >= 2, "PLL divisor R is 0 or 1")


class Stm32F2(Stm32F):
    """STM32F205: slower, and its regulator has one scale."""

    cpu = arm_const.UC_CPU_ARM_CORTEX_M3
    max_core_hz = 120e6
    has_voltage_scale = False
    vco_range = (192e6, 432e6)
    apb1_max, apb2_max = 30e6, 60e6


class Stm32L4(Stm32):
    """RCC, PWR and flash interface of the L475 (RM0351)."""

    peripherals = ((0x40000000, 0x30000), (0x48000000, 0x2000))
    rcc, acr, pwr = 0x40021000, 0x40022000, 0x40007000
    known_bits = ("MSIRDY", "HSIRDY", "PLLRDY", "SWS", "LATENCY", "VOSF", "PVU", "RVU")
    max_core_hz = 80e6
    msi_hz = (100e3, 200e3, 400e3, 800e3, 1e6, 2e6, 4e6, 8e6, 16e6, 24e6, 32e6, 48e6)

    def __init__(self, answers: Answers | None = None, *, booted: bool = False) -> None:
        super().__init__(answers)
        self.words[self.rcc] = 0x63 & ~2
        self.words[self.rcc + 0xC] = 0x1000
        self.words[self.pwr] = 0x0200
        late_msi = self.bits["MSIRDY"].polls > 0
        starts = {"MSIRDY": 0 if late_msi else 1}
        if booted:
            starts |= {"PLLRDY": 1, "SWS": 3, "LATENCY": 4}
            self.words[self.rcc] |= 1 << 24
            self.words[self.rcc + 0xC] = 1 | 40 << 8 | 1 << 24
            self.words[self.rcc + 8] = 3
            self.pll_hz, self.selected = 80e6, 3
        for name, value in starts.items():
            self.bits[name].value = self.bits[name].target = value
        if late_msi:
            self.bits["MSIRDY"].request(1)

    def core_hz(self) -> float:
        return {0: self.msi(), 1: 16e6, 3: self.pll_hz}[self.selected]

    def msi(self) -> float:
        """Without MSIRGSEL the range is that of standby, 4 MHz."""
        control = self.words[self.rcc]
        return self.msi_hz[control >> 4 & 15] if control >> 3 & 1 else 4e6

    def wait_states(self, hz: float) -> int:
        return max(0, -int(-hz // 16e6) - 1)  # one per 16 MHz in range 1

    def read(self, address: int) -> int:
        word = self.words.get(address, 0)
        if address == self.rcc:
            ready = self.bits["MSIRDY"].poll() << 1 | self.bits["HSIRDY"].poll() << 10
            return word | ready | self.bits["PLLRDY"].poll() << 25
        if address == self.rcc + 8:
            self.selected = self.bits["SWS"].poll()
            return (word & ~0xC) | self.selected << 2
        if address == self.pwr + 0x14:
            return self.bits["VOSF"].poll() << 10
        return super().read(address)

    def write(self, address: int, value: int) -> None:
        if address == self.rcc:
            value &= ~(1 << 1 | 1 << 10 | 1 << 25)  # the ready bits are read-only
            self.write_control(value)
        elif address == self.rcc + 8:
            if value & 3 == 3 and self.bits["SWS"].target != 3:
                self.check_switch_to_pll()
            self.bits["SWS"].request(value & 3)
        elif address == self.rcc + 0xC:
            running = self.words[self.rcc] >> 24 & 1 or self.bits["PLLRDY"].value
            outputs = 0x01110000
            same = (value ^ self.words[address]) & ~outputs == 0
            self.check(not running or same, "PLL configured while it runs")
        elif address == self.pwr:
            self.check(bool(self.words.get(self.rcc + 0x58, 0) >> 28 & 1), "PWR written without its clock")
            self.check(value >> 9 & 3 in {1, 2}, "forbidden voltage range")
            if self.bits["VOSF"].polls:
                self.bits["VOSF"].value, self.bits["VOSF"].target = 1, 0
                self.bits["VOSF"].left = self.bits["VOSF"].polls
        super().write(address, value)

    def write_control(self, value: int) -> None:
        """RCC_CR: oscillators and PLL on and off; the MSI's range."""
        before = self.words[self.rcc]
        if (value ^ before) >> 4 & 15:
            self.check(bool(self.bits["MSIRDY"].value), "MSI range changed while it is on and not ready")
        self.check(bool(value & 1) or self.selected != 0, "MSI off while it drives the core")
        self.bits["MSIRDY"].request(value & 1)
        self.bits["HSIRDY"].request(value >> 8 & 1)
        if value >> 24 & 1 and not before >> 24 & 1:
            self.start_pll()
        if before >> 24 & 1 and not value >> 24 & 1:
            self.check(self.selected != 3, "PLL off while it drives the core")
        self.bits["PLLRDY"].request(value >> 24 & 1)

    def start_pll(self) -> None:
        """The limits of RCC_PLLCFGR in RM0351, range 1."""
        config = self.words[self.rcc + 0xC]
        source = {1: "MSIRDY", 2: "HSIRDY"}.get(config & 3, "")
        self.check(bool(source) and bool(self.bits[source].value), "PLL started from a source not ready")
        input_hz = (self.msi() if config & 3 == 1 else 16e6) / ((config >> 4 & 7) + 1)
        n, r = config >> 8 & 127, 2 * ((config >> 25 & 3) + 1)
        self.check(8 <= n <= 86, f"PLL N {n}")
        self.check(4e6 <= input_hz <= 16e6, f"PLL input {input_hz}")
        self.check(64e6 <= input_hz * n <= 344e6, f"VCO {input_hz * n}")
        self.pll_hz = input_hz * n / r
        self.check(self.pll_hz <= 80e6, f"PLL output {self.pll_hz}")

    def check_switch_to_pll(self) -> None:
        super().check_switch_to_pll()
        self.check(bool(self.words[self.rcc + 0xC] >> 24 & 1), "switch to a PLL output that is not enabled")
        self.check(self.words[self.pwr] >> 9 & 3 == 1 and not self.bits["VOSF"].value, "switch outside range 1")

    def baud(self) -> float:
        enabled = self.words.get(0x40013800, 0) & 1
        return self.core_hz() / self.words[0x4001380C] if enabled else 0


class Nrf51(Model):
    """CLOCK, WDT and UART of the nRF51 (reference manual, chapters of these names)."""

    cpu = arm_const.UC_CPU_ARM_CORTEX_M0
    peripherals = ((0x40000000, 0x20000), (0x50000000, 0x1000), (0x10000000, 0x1000))
    known_bits: tuple[str, ...] = ("HFCLKSTARTED",)
    hz = 16e6

    def __init__(self, answers: Answers | None = None) -> None:
        super().__init__(answers)
        self.watchdog_running = False
        self.fed = False

    def read(self, address: int) -> int:
        if address == 0x40000100:
            return self.bits["HFCLKSTARTED"].poll()
        return super().read(address)

    def write(self, address: int, value: int) -> None:
        if address == 0x40000000 and value == 1:
            self.bits["HFCLKSTARTED"].request(1)
        elif address == 0x40010000 and value == 1:
            self.watchdog_running = True
        elif address == 0x40010600:
            self.fed |= self.watchdog_running and value == 0x6E524635
        elif 0x40010504 <= address <= 0x4001050C:
            self.check(not self.watchdog_running, "watchdog configured while it runs")
        super().write(address, value)

    def core_hz(self) -> float:
        return self.hz

    def baud(self) -> float:
        return self.words[0x40002524] * 16e6 / 2**32

    def watchdog_seconds(self) -> float:
        enabled = self.watchdog_running and self.words.get(0x40010508, 0) & 1
        return (self.words[0x40010504] + 1) / 32768 if enabled else 0


class Nrf52(Nrf51):
    """The same units of the nRF52840 (Product Specification), its cache and its access protection."""

    cpu = arm_const.UC_CPU_ARM_CORTEX_M4
    peripherals = ((0x40000000, 0x20000), (0x50000000, 0x1000), (0x10000000, 0x2000))
    hz = 64e6
    uicr_approtect = 0x10001208

    def __init__(self, answers: Answers | None = None, *, protection: int = 0xFFFFFFFF) -> None:
        super().__init__(answers)
        self.words[self.uicr_approtect] = protection

    def write(self, address: int, value: int) -> None:
        self.check(not 0x10001000 <= address < 0x10002000, "UICR written")
        if address == 0x40002500 and value == 8:
            self.check(self.words.get(0x40002508) == 0xFFFFFFFF, "RTS not disconnected before the UARTE is enabled")
        super().write(address, value)

    def opened_debug_port(self) -> bool:
        """Whether APPROTECT.DISABLE was written."""
        return self.words.get(0x40000558) == 0x5A


class Machine:
    """An image on Unicorn over a model, from the reset vector to the symbol `test_done`."""

    def __init__(self, elf: Path, model: Model) -> None:
        self.model: Any = model  # tests look into the family's own
        library: Any = unicorn  # it has no annotations
        self.uc: Any = library.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        machine = self.uc
        machine.ctl_set_cpu_model(model.cpu)
        with elf.open("rb") as stream:
            image = ELFFile(stream)
            table: Any = image.get_section_by_name(".symtab")
            self.symbols = {s.name: s["st_value"] for s in table.iter_symbols()}
            base = self.symbols["__flash_base"]
            machine.mem_map(base, 1 << 20)
            machine.mem_map(0x20000000, 256 << 10)
            for segment in image.iter_segments("PT_LOAD"):
                if segment["p_filesz"]:
                    machine.mem_write(segment["p_paddr"], segment.data())
        if base != 0:
            machine.mem_map(0x1FFF7000, 0x1000)  # system memory: the unique id
        for start, size in (*model.peripherals, (0xE0000000, 0x100000)):
            machine.mmio_map(start, size, self._reader(start), None, self._writer(start), None)
        self.instructions = 0

    def _reader(self, base: int) -> Callable[..., int]:
        def read(_uc: object, offset: int, _size: int, _data: object) -> int:
            if base == 0xE0000000:
                return {0x1000: 1 << 25}.get(offset, 0)  # DWT_CTRL: no cycle counter; SysTick stands still
            address = base + offset
            if address & 0xFFFFF000 in {0x40011000, 0x40004000, 0x40013000} and address & 0x3FF in {0x0, 0x1C}:
                return int(self.model.read(address)) | 0xC0  # a USART that can always send
            return int(self.model.read(address))

        return read

    def _writer(self, base: int) -> Callable[..., None]:
        def write(_uc: object, offset: int, _size: int, value: int, _data: object) -> None:
            if base != 0xE0000000:
                self.model.writes.append((base + offset, value))
                self.model.write(base + offset, value)

        return write

    def count_instructions(self) -> None:
        """Counts from here on; slow."""

        def count(_uc: object, _address: int, _size: int, _data: object) -> None:
            self.instructions += 1

        self.uc.hook_add(unicorn.UC_HOOK_CODE, count)

    def run(self, seconds: float = 30) -> bool:
        """True when the image came to `test_done` in time."""
        done = self.symbols["test_done"] & ~1
        self.uc.reg_write(arm_const.UC_ARM_REG_SP, self.symbols["__stack_top"])
        self.uc.emu_start(self.symbols["Reset_Handler"] | 1, done, timeout=int(seconds * 1e6))
        return bool(self.uc.reg_read(arm_const.UC_ARM_REG_PC) & ~1 == done)

    def word(self, symbol: str) -> int:
        """A 32-bit variable of the image."""
        return int.from_bytes(self.uc.mem_read(self.symbols[symbol], 4), "little")


NEVER = inf
