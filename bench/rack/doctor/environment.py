"""What can be checked of a kind of board without having it: its manifest and the firmware's tables, against the parts'.

Each check is a function from `Subject` to findings; `examine` runs all of them.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from bench.errors import ConfigError
from bench.rack.doctor import firmware
from bench.rack.doctor.finding import Finding, Level
from bench.rack.doctor.parts import Part, all_parts, find_part
from bench.rack.doctor.registers import load_svd, wrong_addresses
from bench.rack.manifest import BOARDS_DIR, BoardManifest, load_manifest

# A receiver samples ten bits by one start edge. RM0090, USART receiver tolerance: 3.75 % in all, for both ends; so one
# end may use up half of it, and should not use up a quarter.
_BAUD_ERROR_MOST = 0.0187
_BAUD_ERROR_GOOD = 0.0094
_PYOCD_PATIENCE = 1.25  # of a time limit over what the flash itself may take at most, for the transfer
_MEMORY = re.compile(r"(FLASH|RAM) \(\w+\) : ORIGIN = (\w+), LENGTH = (\w+)")
_DATA = re.compile(r"__data_partition_(start|size) = (\w+);")


@dataclass(frozen=True)
class Subject:
    """A kind of board and the table of its part; `target` is pyOCD's name for it, or the inventory's own."""

    manifest: BoardManifest
    part: Part
    target: str
    baud: int

    def tell(self, level: Level, check: str, what: str, mend: str) -> Finding:
        """A finding about this environment."""
        return Finding(level, self.manifest.env, check, what, mend)

    @property
    def file(self) -> str:
        """The manifest's file, as a person would look for it."""
        return f"firmware/platform/boards/{self.manifest.env}.json"


def examine(env: str, *, target: str = "", baud: int = 0) -> list[Finding]:
    """All findings of one environment: a note of what was checked when nothing is wrong.

    `target` and `baud` are the inventory's, where it has its own. Raises ConfigError for an unknown environment.
    """
    manifest = load_manifest(env)
    mcu = json.loads((BOARDS_DIR / f"{env}.json").read_text(encoding="utf-8")).get("build", {}).get("mcu", "")
    part = find_part(mcu)
    if part is None:
        what = f"its part {mcu!r} has no table: nothing of it can be checked"
        known = ", ".join(sorted(part.mcu for part in all_parts()))
        mend = f"correct `build.mcu` in firmware/platform/boards/{env}.json; there are tables of {known}"
        return [Finding(Level.WARNING, env, "part", what, f"{mend}; or add one (docs/board-figures.md)")]
    subject = Subject(manifest, part, target or manifest.pyocd_target, baud or manifest.baud)
    try:
        findings = [finding for check in CHECKS for finding in check(subject)]
    except ConfigError as error:
        return [Finding(Level.ERROR, env, "firmware", str(error), "restore the firmware's sources")]
    if any(finding.level is not Level.NOTE for finding in findings):
        return findings
    names = ", ".join(check.__name__.replace("_", " ") for check in CHECKS)
    return [*findings, Finding(Level.NOTE, env, "tables", f"{part.mcu}: {names}: as they should be")]


def pins(subject: Subject) -> Iterator[Finding]:
    """The console's pins can be that UART's, by the alternate function that the HAL selects."""
    ours, uart = firmware.console(subject.manifest), subject.part.uart
    where = f"firmware/hal/{subject.manifest.family}/hal.cpp"
    told = f"{ours.line} {ours.transmit}/{ours.receive}"
    if subject.manifest.uart != told:
        what = f"the manifest says {subject.manifest.uart}, the HAL uses {told}"
        yield subject.tell(Level.ERROR, "pins", what, f"correct `uart` in {subject.file}, or the row in {where}")
    line = uart.lines.get(ours.line)
    if line is None:
        what = f"{subject.part.mcu} has no {ours.line} in its table ({uart.source})"
        yield subject.tell(Level.ERROR, "pins", what, f"correct the row in {where}, or add the line to the table")
        return
    if len({ours.transmit, ours.receive, ours.marker}) < 3:
        what = f"TX {ours.transmit}, RX {ours.receive} and marker {ours.marker} are not three pins"
        yield subject.tell(Level.ERROR, "pins", what, f"correct the row in {where}")
    for role, pin, table in (("TX", ours.transmit, line.transmit), ("RX", ours.receive, line.receive)):
        if uart.kind == "nordic":
            port, number = pin.removeprefix("P").split(".")
            allowed = 32 * int(port) + int(number) < uart.pins
        else:
            allowed = pin in table and table[pin] == ours.function
        if not allowed:
            choices = ", ".join(f"{name} (AF{af})" for name, af in table.items()) or f"{uart.pins} pins"
            of = "" if ours.function is None else f" by alternate function {ours.function}"
            what = f"{pin} cannot be {ours.line}'s {role}{of}; {uart.source}: {choices}"
            yield subject.tell(Level.ERROR, "pins", what, f"correct the row in {where}")


def clock(subject: Subject) -> Iterator[Finding]:
    """The rated clock can be reached within the part's limits, with enough wait states and buses within theirs."""
    manifest, limits = subject.manifest, subject.part.clock
    if limits.fixed_hz:
        if manifest.core_hz != limits.fixed_hz:
            what = f"core_hz is {manifest.core_hz}; this core runs at {limits.fixed_hz} ({limits.source})"
            yield subject.tell(Level.ERROR, "clock", what, f"correct `core_hz` in {subject.file}")
    elif manifest.core_hz > limits.core_most_hz:
        what = f"core_hz is {manifest.core_hz}, at most {limits.core_most_hz} ({limits.source})"
        yield subject.tell(Level.ERROR, "clock", what, f"lower `core_hz` in {subject.file}")
    low, high = limits.hse_hz
    if manifest.hse_hz and not low <= manifest.hse_hz <= high:
        what = f"a crystal of {manifest.hse_hz} Hz; {low} to {high} ({limits.source})"
        yield subject.tell(Level.ERROR, "clock", what, f"correct `hse_hz` in {subject.file}")
    elif limits.pll is not None and not _reachable(subject):
        what = f"no setting of the PLL makes {manifest.core_hz} Hz of {_source_hz(subject)} ({limits.source})"
        yield subject.tell(Level.ERROR, "clock", what, f"correct `core_hz` or `hse_hz` in {subject.file}")
    yield from _wait_states_and_buses(subject)


def _wait_states_and_buses(subject: Subject) -> Iterator[Finding]:
    manifest, limits, ours = subject.manifest, subject.part.clock, firmware.buses(subject.manifest)
    if ours is None:
        return
    where = f"firmware/hal/{manifest.family}"
    needed = next((n for n, mhz in enumerate(limits.wait_states_mhz) if manifest.core_hz <= mhz * 1_000_000), None)
    if needed is None or ours.wait_states < needed:
        what = f"{ours.wait_states} wait states at {manifest.core_hz} Hz; {needed} needed ({limits.wait_states_source})"
        yield subject.tell(Level.ERROR, "clock", what, f"raise the wait states in {where}")
    for name, divisor, most in (
        ("APB1", ours.apb1_divisor, limits.apb1_most_hz),
        ("APB2", ours.apb2_divisor, limits.apb2_most_hz),
    ):
        if manifest.core_hz // divisor > most:
            what = f"{name} would run at {manifest.core_hz // divisor} Hz, at most {most} ({limits.source})"
            yield subject.tell(Level.ERROR, "clock", what, f"raise the divisor in {where}")


def _source_hz(subject: Subject) -> int:
    return subject.manifest.hse_hz or subject.part.clock.internal_hz


def _reachable(subject: Subject) -> bool:
    pll, source, core = subject.part.clock.pll, _source_hz(subject), subject.manifest.core_hz
    assert pll is not None
    return any(
        pll.input_hz[0] * m <= source <= pll.input_hz[1] * m
        and core * divider * m % source == 0
        and pll.n[0] <= core * divider * m // source <= pll.n[1]
        and pll.vco_hz[0] <= core * divider <= pll.vco_hz[1]
        for m in range(pll.m[0], pll.m[1] + 1)
        for divider in pll.dividers
    )


def baud_rate(subject: Subject) -> Iterator[Finding]:
    """The rate that the UART really makes of the wanted one."""
    manifest, uart = subject.manifest, subject.part.uart
    if subject.baud != manifest.baud:
        what = f"the inventory says {subject.baud} baud; images are built for {manifest.baud}"
        mend = f"leave `baud` out of the inventory, or correct it in {subject.file} and flash again"
        yield subject.tell(Level.ERROR, "baud rate", what, mend)
    actual = _actual_baud(subject)
    if actual is None:
        what = f"the HAL has no setting for {manifest.baud} baud ({uart.source})"
        yield subject.tell(Level.ERROR, "baud rate", what, f"choose another `baud` in {subject.file}")
        return
    error = abs(actual - manifest.baud) / manifest.baud
    if error > _BAUD_ERROR_GOOD:
        level = Level.ERROR if error > _BAUD_ERROR_MOST else Level.WARNING
        what = f"{manifest.baud} baud come out as {actual:.0f}, {100 * error:.2f} % off ({uart.source})"
        mend = f"choose a `baud` in {subject.file} that the clock divides into better, such as 115200"
        yield subject.tell(level, "baud rate", what, mend)


def _actual_baud(subject: Subject) -> float | None:
    manifest, uart = subject.manifest, subject.part.uart
    if uart.kind == "nordic":
        setting = firmware.baud_settings(manifest.family).get(manifest.baud)
        if setting is None:
            return None
        stated = load_svd(subject.part.svd).actual_rates  # the nRF52's is not the fraction that the register says
        return stated.get(setting, setting * uart.clock_hz / 2**32)
    buses = firmware.buses(manifest)
    assert buses is not None
    divided = buses.apb2_divisor if firmware.uart_bus(manifest) == "apb2" else buses.apb1_divisor
    clock_hz = manifest.core_hz // divided
    return clock_hz / max(16, (clock_hz + manifest.baud // 2) // manifest.baud)  # hal/stm32/usart.hpp


def uart_clock(subject: Subject) -> Iterator[Finding]:
    """The HAL computes the divisor from the bus that clocks this UART."""
    line = subject.part.uart.lines.get(firmware.console(subject.manifest).line)
    if subject.part.uart.kind == "divisor" and line is not None and line.bus != firmware.uart_bus(subject.manifest):
        what = f"the HAL takes its clock from {firmware.uart_bus(subject.manifest)}; it is on {line.bus}"
        mend = f"correct the row in firmware/hal/{subject.manifest.family}/hal.cpp"
        yield subject.tell(Level.ERROR, "UART clock", what, mend)


def register_addresses(subject: Subject) -> Iterator[Finding]:
    """Every register of the HAL that the vendor's SVD file knows lies where that says."""
    family = subject.manifest.family
    _, wrong = wrong_addresses(firmware.registers(family), load_svd(subject.part.svd))
    for what in wrong:
        mend = f"correct firmware/hal/{family}/registers.hpp"
        yield subject.tell(Level.ERROR, "registers", f"{what} ({subject.part.svd})", mend)


def flash_map(subject: Subject) -> Iterator[Finding]:
    """Image and data partition lie in the part's flash and share no sector, since one is erased without the other."""
    ours, part = subject.manifest.flash, subject.part
    if (ours.base, ours.size) != (part.flash_base, part.flash_size):
        what = f"{ours.size} bytes at {ours.base:#010x}; the part has {part.flash_size} at {part.flash_base:#010x}"
        mend = f"correct `flash` in {subject.file} ({part.flash_source})"
        yield subject.tell(Level.ERROR, "flash map", what, mend)
    edges = {address for address, _ in part.sectors()} | {part.flash_base + part.flash_size}
    for name, address in (("data_base", ours.data_base), ("end of the data", ours.data_base + ours.data_size)):
        if address not in edges:
            what = f"{name}, {address:#010x}, lies within a sector ({part.flash_source})"
            yield subject.tell(Level.ERROR, "flash map", what, f"move it to a sector's edge in {subject.file}")
    ram = subject.manifest.ram
    if ram.base < part.ram_base or ram.base + ram.size > part.ram_base + part.ram_size:
        what = f"RAM of {ram.size} bytes at {ram.base:#010x}; there are {part.ram_size} at {part.ram_base:#010x}"
        mend = f"correct `ram` in {subject.file} ({part.ram_source})"
        yield subject.tell(Level.ERROR, "flash map", what, mend)


def linker_script(subject: Subject) -> Iterator[Finding]:
    """The script that is made of the manifest puts code, data partition and RAM where the part has them."""
    template = (firmware.FIRMWARE / "platform" / "ldscripts" / "image.ld.in").read_text(encoding="utf-8")
    text = _build_settings().linker_script(subject.manifest, template)
    part = subject.part
    regions = {name: (int(base, 0), int(size, 0)) for name, base, size in _MEMORY.findall(text)}
    data = {name: int(value, 0) for name, value in _DATA.findall(text)}
    if len(regions) < 2 or len(data) < 2:
        mend = "restore firmware/platform/ldscripts/image.ld.in"
        yield subject.tell(Level.ERROR, "linker script", "it has no FLASH, RAM or data partition", mend)
        return
    regions["data partition"] = (data["start"], data["size"])
    flash, ram = (part.flash_base, part.flash_size), (part.ram_base, part.ram_size)
    for name, (base, size) in regions.items():
        memory, has = ("RAM", ram) if name == "RAM" else ("flash", flash)
        if base < has[0] or base + size > has[0] + has[1]:
            what = f"{name} is {size} bytes at {base:#010x}, outside of {subject.part.mcu}'s {memory}"
            yield subject.tell(Level.ERROR, "linker script", what, f"correct the layout in {subject.file}")
    end = sum(regions["FLASH"])
    if end > data["start"]:
        what = f"code may reach up to {end:#010x}, into the data partition at {data['start']:#010x}"
        yield subject.tell(Level.ERROR, "linker script", what, f"correct the layout in {subject.file}")


def erase_time_outs(subject: Subject) -> Iterator[Finding]:
    """A flash of everything that takes as long as the data sheet lets it still ends within the limits."""
    timing, manifest = subject.part.timing, subject.manifest
    sectors = subject.part.sectors()
    worst_s = sum(timing.erase_ms[size] for _, size in sectors) / 1000
    worst_s += subject.part.flash_size / timing.program_bytes * timing.program_us / 1e6
    if manifest.flash_timeout_s < _PYOCD_PATIENCE * worst_s:
        what = f"flash_timeout_s is {manifest.flash_timeout_s:g}; erasing and programming may take {worst_s:.0f} s"
        mend = f"raise it to {_PYOCD_PATIENCE * worst_s:.0f} in {subject.file} ({timing.source})"
        yield subject.tell(Level.ERROR, "time-outs", what, mend)
    from pyocd.core.options import OPTIONS_INFO  # imported when needed: pyOCD takes most of a second

    pyocd_s = float(OPTIONS_INFO["flash.timeout.erase_sector"].default or 0)
    slowest_s = max(timing.erase_ms.values()) / 1000
    if pyocd_s < slowest_s:
        what = f"pyOCD gives a sector {pyocd_s:g} s, the slowest may take {slowest_s:g} s ({timing.source})"
        yield subject.tell(Level.ERROR, "time-outs", what, "set pyOCD's option flash.timeout.erase_sector")


def debugger_target(subject: Subject) -> Iterator[Finding]:
    """pyOCD's target erases in the part's sectors, and its flash algorithm stays in the part's RAM."""
    from pyocd.target import TARGET

    target = TARGET.get(subject.target)
    if target is None:
        return  # from a pack, or named wrongly, which the inventory's reader tells
    mend = f"choose another `pyocd_target` in {subject.file}, or a CMSIS pack with `target` and `pack` in the inventory"
    regions = [region for region in target.MEMORY_MAP.regions if region.is_flash]
    for address, size in subject.part.sectors():
        blocksize = next((r.blocksize for r in regions if r.start <= address <= r.end), None)
        if blocksize != size:
            what = f"{subject.target} has sectors of {blocksize} bytes at {address:#010x}, the part {size}"
            yield subject.tell(Level.ERROR, "debugger target", what, mend)
            break
    ram_end = subject.part.ram_base + subject.part.ram_size
    for region in regions:
        algorithm = region.algo or {}
        used = [algorithm.get("begin_stack", 0), algorithm.get("static_base", 0)]
        used += [buffer + region.page_size for buffer in algorithm.get("page_buffers", ())]
        if max(used) > ram_end:
            what = f"{subject.target}'s flash algorithm uses RAM up to {max(used):#010x}, which ends at {ram_end:#010x}"
            yield subject.tell(Level.ERROR, "debugger target", what, mend)
            break


CHECKS: tuple[Callable[[Subject], Iterator[Finding]], ...] = (
    pins,
    clock,
    uart_clock,
    baud_rate,
    register_addresses,
    flash_map,
    linker_script,
    erase_time_outs,
    debugger_target,
)


@cache
def _build_settings() -> ModuleType:
    """The builder's own module, which PlatformIO loads from its folder."""
    path = firmware.FIRMWARE / "platform" / "builder" / "build_settings.py"
    spec = importlib.util.spec_from_file_location("ftte_build_settings", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError(f"{path}: missing: is the project's source complete?")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module
