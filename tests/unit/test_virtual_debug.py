"""The debug port, the core's debug registers and the probe protocol, with code that Unicorn executes."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.virtual.assembly import Target, make_memories
from bench.virtual.core import Core, State
from bench.virtual.debug_port import AP_BASE, AP_BD0, AP_CSW, AP_DRW, AP_IDR, AP_TAR
from bench.virtual.flash_controller import BusError
from bench.virtual.parts import MACHINES, NRF51822, STM32F405, STM32L475, Part
from bench.virtual.probe import Probe

RAM = 0x20000000
DHCSR, DCRSR, DCRDR, DEMCR, AIRCR, DFSR = 0xE000EDF0, 0xE000EDF4, 0xE000EDF8, 0xE000EDFC, 0xE000ED0C, 0xE000ED30
KEY = 0xA05F0000
HALT, RESUME, STEP = KEY | 3, KEY | 1, KEY | 5
S_REGRDY, S_HALT, S_LOCKUP, S_RESET = 1 << 16, 1 << 17, 1 << 19, 1 << 25
PC, SP = 15, 13
BYTE, HALF, WORD_SIZE, INCREMENT = 0, 1, 2, 0x10


class NoImage:
    """An image in QEMU, without QEMU: records what is asked of it."""

    shares_state = False

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.running = False

    def start(self, *, keep_ram: bool) -> bool:
        self.calls.append("start keeping RAM" if keep_ram else "start")
        self.running = True
        return True

    def pause(self) -> dict[int, int]:
        self.calls.append("pause")
        self.running = False
        return {PC: 0x08000124, 0: 7}

    def resume(self) -> None:
        self.calls.append("resume")
        self.running = True

    def stop(self) -> None:
        self.calls.append("stop")
        self.running = False


class Debugged:
    """A part with a debugger's shorthand."""

    def __init__(self, part: Part, folder: Path) -> None:
        self.memories = make_memories(part, folder)
        self.target = Target(part, self.memories)
        self.image = NoImage()
        self.core = Core(part, self.target.cpu, self.memories[0], self.image)
        self.target.bus.attach(self.core)
        self.target.bus.on_ram_written = self.written
        self.probe = Probe("x", self.target.port, self.target.bus, lambda low: None, part.name)
        self.bus = self.target.bus

    def written(self, address: int, size: int) -> None:
        self.target.cpu.invalidate(address, size)
        self.core.memory_written()

    def read(self, address: int) -> int:
        return int.from_bytes(self.bus.read(address, 4), "little")

    def write(self, address: int, value: int) -> None:
        self.bus.write(address, struct.pack("<I", value), 4)

    def halt(self) -> None:
        self.write(DHCSR, HALT)

    def register(self, number: int) -> int:
        self.write(DCRSR, number)
        return self.read(DCRDR)

    def set_register(self, number: int, value: int) -> None:
        self.write(DCRDR, value)
        self.write(DCRSR, 1 << 16 | number)

    def run(self, *halfwords: int, at: int = RAM) -> int:
        """Loads Thumb code, runs it, and returns DHCSR after it."""
        self.halt()
        self.bus.write(at, struct.pack(f"<{len(halfwords)}H", *halfwords), 2)
        self.set_register(PC, at)
        self.write(DHCSR, RESUME)
        return self.read(DHCSR)

    def ask(self, request: str, *arguments: Any) -> Any:
        return json.loads(self.probe.handle(json.dumps({"id": 5, "request": request, "arguments": arguments}).encode()))


@pytest.fixture(params=[STM32F405, STM32L475, NRF51822], ids=lambda part: part.name.split()[0])
def debugged(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Debugged]:
    debugged = Debugged(request.param, tmp_path)
    yield debugged
    debugged.target.cpu.close()


@pytest.fixture
def f405(tmp_path: Path) -> Iterator[Debugged]:
    debugged = Debugged(STM32F405, tmp_path)
    yield debugged
    debugged.target.cpu.close()


class TestAccessPort:
    def test_identification(self, debugged: Debugged) -> None:
        port = debugged.target.port
        assert port.read_dp(0) & 0xFFF == 0x477
        assert port.read_ap(AP_IDR) & 0xFF in (0x11, 0x21)
        assert port.read_ap(1 << 24 | AP_IDR) == 0, "no second access port"
        assert port.read_ap(AP_BASE) & 3 == 3
        assert port.read_ap(AP_CSW) & 1 << 6

    def test_power_up_acknowledges_follow(self, debugged: Debugged) -> None:
        port = debugged.target.port
        for value, acknowledged in ((0x50000000, 0xF0000000), (0x10000000, 0x30000000), (0, 0)):
            port.write_dp(4, value)
            assert port.read_dp(4) & 0xF0000000 == acknowledged

    def test_byte_lanes_and_increment(self, debugged: Debugged) -> None:
        port, bus = debugged.target.port, debugged.bus
        bus.write(RAM, bytes(range(1, 9)), 4)
        port.write_ap(AP_CSW, INCREMENT | BYTE)
        port.write_ap(AP_TAR, RAM + 1)
        assert [port.read_ap(AP_DRW) for _ in range(4)] == [2 << 8, 3 << 16, 4 << 24, 5]
        port.write_ap(AP_CSW, INCREMENT | HALF)
        port.write_ap(AP_TAR, RAM + 2)
        port.write_ap(AP_DRW, 0xBEEF1111)
        port.write_ap(AP_DRW, 0x2222CAFE)
        assert bus.read(RAM, 8) == bytes((1, 2, 0xEF, 0xBE, 0xFE, 0xCA, 7, 8))

    def test_increment_wraps_at_4_kb(self, debugged: Debugged) -> None:
        port = debugged.target.port
        port.write_ap(AP_CSW, INCREMENT | WORD_SIZE)
        port.write_ap(AP_TAR, RAM + 0xFFC)
        port.write_ap(AP_DRW, 1)
        assert port.read_ap(AP_TAR) == RAM

    def test_banked_data_registers(self, debugged: Debugged) -> None:
        port = debugged.target.port
        port.write_ap(AP_TAR, RAM + 0x104)
        port.write_ap(AP_BD0 + 8, 0x12345678)
        assert debugged.read(RAM + 0x108) == 0x12345678

    def test_fault_is_sticky_until_cleared(self, debugged: Debugged) -> None:
        port = debugged.target.port
        port.write_ap(AP_TAR, 0x70000000)
        with pytest.raises(BusError, match="0x70000000"):
            port.read_ap(AP_DRW)
        port.write_ap(AP_TAR, RAM)
        with pytest.raises(BusError, match="clear STICKYERR"):
            port.read_ap(AP_DRW)
        assert port.read_dp(4) & 1 << 5
        port.write_dp(0, 1 << 2)
        port.read_ap(AP_DRW)

    def test_rom_table_leads_to_the_scs(self, debugged: Debugged) -> None:
        base = debugged.target.port.read_ap(AP_BASE) & ~0xFFF
        assert base + (debugged.read(base) & ~0xFFF) & 0xFFFFFFFF == 0xE000E000
        component = [debugged.read(0xE000EFF0 + 4 * index) for index in range(4)]
        assert component == [0x0D, 0xE0, 0x05, 0xB1]


class TestCore:
    def test_registers_survive(self, debugged: Debugged) -> None:
        debugged.halt()
        assert debugged.read(DHCSR) & (S_HALT | S_REGRDY) == S_HALT | S_REGRDY
        for number in (0, 5, 12, 14, 18):
            debugged.set_register(number, 0x1000 + number)
        assert [debugged.register(number) for number in (0, 5, 12, 14, 18)] == [0x1000, 0x1005, 0x100C, 0x100E, 0x1012]

    def test_code_in_ram_runs_to_its_breakpoint(self, debugged: Debugged) -> None:
        assert debugged.run(0x2055, 0x3003, 0xBE00) & S_HALT  # movs r0, #0x55; adds r0, #3; bkpt
        assert debugged.register(0) == 0x58
        assert debugged.register(PC) == RAM + 4
        assert debugged.read(DFSR) & 2

    def test_code_that_replaces_code_is_executed(self, debugged: Debugged) -> None:
        for value in range(5):
            debugged.run(0x2000 | value, 0xBE00)
            assert debugged.register(0) == value

    def test_endless_loop_leaves_the_debugger_in_control(self, debugged: Debugged) -> None:
        assert not debugged.run(0xE7FE) & S_HALT
        debugged.halt()
        assert debugged.read(DHCSR) & S_HALT
        assert debugged.register(PC) == RAM

    def test_fault_locks_up(self, debugged: Debugged) -> None:
        debugged.halt()
        debugged.set_register(1, 0x70000000)
        assert debugged.run(0x6808, 0xBE00) & S_LOCKUP  # ldr r0, [r1]
        debugged.halt()
        assert debugged.read(DHCSR) & S_HALT

    def test_step(self, debugged: Debugged) -> None:
        debugged.halt()
        debugged.bus.write(RAM, struct.pack("<3H", 0x2001, 0x2002, 0x2003), 2)
        debugged.set_register(PC, RAM)
        for value in (1, 2, 3):
            debugged.write(DHCSR, STEP)
            assert debugged.read(DHCSR) & S_HALT
            assert debugged.register(0) == value

    def test_breakpoint_comparator(self, f405: Debugged) -> None:
        """Comparators of version 1 reach addresses below 0x20000000: here the core-coupled memory."""
        ccm = 0x10000000
        assert f405.read(0xE0002000) >> 4 & 0xF == 6
        f405.write(0xE0002008, 2 << 30 | ccm | 1)  # the upper half-word
        f405.write(0xE0002000, 3)
        assert f405.run(0x2001, 0x2002, 0x2003, 0xBE00, at=ccm) & S_HALT
        assert (f405.register(PC), f405.register(0)) == (ccm + 2, 1)
        f405.write(DHCSR, RESUME)
        assert f405.read(DHCSR) & S_HALT
        assert (f405.register(PC), f405.register(0)) == (ccm + 6, 3)

    def test_reset_catch(self, f405: Debugged) -> None:
        f405.memories[0].program(0, struct.pack("<II", 0x20001000, 0x08000101))
        f405.halt()
        f405.write(DEMCR, 1)
        f405.write(AIRCR, 0x05FA0004)
        status = f405.read(DHCSR)
        assert status & S_RESET
        assert status & S_HALT
        assert not f405.read(DHCSR) & S_RESET, "a look clears it"
        assert (f405.register(SP), f405.register(PC)) == (0x20001000, 0x08000100)
        assert f405.image.calls == ["stop"]

    def test_reset_without_catch_runs_the_image(self, f405: Debugged) -> None:
        f405.memories[0].program(0, struct.pack("<II", 0x20001000, 0x08000101))
        f405.write(AIRCR, 0x05FA0004)
        assert f405.core.state is State.IMAGE
        f405.write(AIRCR, 0x05FA0004)
        assert f405.image.calls == ["start", "start keeping RAM"]
        f405.write(AIRCR, 0x12340004)
        assert len(f405.image.calls) == 2, "without the key nothing happens"

    def test_halt_and_resume_freeze_the_image(self, f405: Debugged) -> None:
        f405.memories[0].program(0, struct.pack("<II", 0x20001000, 0x08000101))
        f405.core.reset()
        f405.halt()
        assert (f405.register(PC), f405.register(0)) == (0x08000124, 7)
        f405.write(DHCSR, RESUME)
        assert f405.image.calls == ["start", "pause", "resume"]

    @pytest.mark.parametrize("change", ["RAM", "register", "flash"])
    def test_resume_after_a_change_starts_the_image_anew(self, f405: Debugged, change: str) -> None:
        f405.memories[0].program(0, struct.pack("<II", 0x20001000, 0x08000101))
        f405.core.reset()
        f405.halt()
        if change == "RAM":
            f405.write(RAM, 1)
        elif change == "register":
            f405.set_register(0, 1)
        else:
            f405.memories[0].erase(0x4000, 4)
        f405.write(DHCSR, RESUME)
        assert f405.image.calls == ["start", "pause", "start"]


class TestFlashByCode:
    """Stores that the core makes; `str r1, [r0]` and a breakpoint."""

    def test_refused_store_leaves_flash_and_its_copy(self, f405: Debugged) -> None:
        f405.halt()
        f405.set_register(0, 0x08000000)
        f405.set_register(1, 0x12345678)
        f405.run(0x6001, 0x4770)  # locked: the store has no effect
        f405.halt()
        f405.run(0x6802, 0xBE00)  # ldr r2, [r0]
        assert f405.register(2) == 0xFFFFFFFF
        assert f405.memories[0].is_blank(0, 4)
        assert f405.read(0x40023C0C) == 1 << 7

    def test_programming_clears_bits_in_the_copy_too(self, f405: Debugged) -> None:
        for key in (0x45670123, 0xCDEF89AB):
            f405.write(0x40023C04, key)
        f405.write(0x40023C10, 0x201)
        f405.halt()
        f405.set_register(0, 0x08000000)
        for value in (0xFF00FFFF, 0x0FFFFF0F):
            f405.set_register(1, value)
            f405.run(0x6001, 0xBE00)
        f405.run(0x6802, 0xBE00)
        assert f405.register(2) == 0x0F00FF0F
        assert f405.read(0x08000000) == f405.read(0) == 0x0F00FF0F, "also in the alias at 0"

    def test_two_stores_for_a_double_word_reach_the_copy(self, tmp_path: Path) -> None:
        debugged = Debugged(STM32L475, tmp_path)
        for key in (0x45670123, 0xCDEF89AB):
            debugged.write(0x40022008, key)
        debugged.write(0x40022014, 1)
        debugged.halt()
        debugged.set_register(0, 0x08000000)
        debugged.set_register(1, 0x12345678)
        debugged.run(0x6001, 0x6041, 0x6802, 0x6843, 0xBE00)  # str, str [r0, #4], ldr r2, ldr r3
        debugged.run(0x6802, 0x6843, 0xBE00)
        assert (debugged.register(2), debugged.register(3)) == (0x12345678, 0x12345678)
        debugged.target.cpu.close()

    def test_bus_error_of_the_nvmc_faults(self, tmp_path: Path) -> None:
        debugged = Debugged(NRF51822, tmp_path)
        debugged.halt()
        debugged.set_register(0, 0x100)
        assert debugged.run(0x6001, 0xBE00) & S_LOCKUP
        debugged.target.cpu.close()


class TestProbe:
    def test_blocks(self, debugged: Debugged) -> None:
        ask = debugged.ask
        assert ask("get_memory_interface_for_ap", 1, 0)["result"] == 0
        assert "result" not in ask("get_memory_interface_for_ap", 1, 1 << 24)
        assert ask("write_block8", 0, RAM + 1, [1, 2, 3, 4, 5, 6])["status"] == 0
        assert ask("read_block8", 0, RAM, 8)["result"] == [0, 1, 2, 3, 4, 5, 6, 0]
        assert ask("write_block32", 0, RAM, [0x1FFFFFFFF, 2])["status"] == 0
        assert ask("read_block32", 0, RAM, 2)["result"] == [0xFFFFFFFF, 2]
        assert ask("write_mem", 0, RAM, 0x1234, 16)["status"] == 0
        assert ask("read_mem", 0, RAM + 1, 8)["result"] == 0x12

    def test_errors_have_their_status(self, debugged: Debugged) -> None:
        ask = debugged.ask
        assert ask("read_mem", 0, 0x70000000, 32)["status"] == 12
        assert ask("read_mem", 0)["status"] == 1
        assert ask("make_coffee")["status"] == 1
        assert ask("readprop", "nonsense")["status"] == 1
        assert ask("hello", 2)["status"] == 1
        assert ask("hello", 1) == {"id": 5, "status": 0}
        assert ask("write_block8", 0, RAM, [256])["status"] == 1
        assert ask("read_block32", 0, RAM, 1 << 40)["status"] == 1

    @pytest.mark.parametrize("line", [b"", b"nonsense", b"[]", b'{"id": 1}', b'{"id": 1, "request": 3}', b"\xff\xfe"])
    def test_malformed_requests_are_answered(self, debugged: Debugged, line: bytes) -> None:
        assert json.loads(debugged.probe.handle(line))["status"] == 1

    def test_lock_is_answered_in_kind(self, debugged: Debugged) -> None:
        assert json.loads(debugged.probe.handle(b'{"id": 77, "request": "lock"}')) == {"id": 77, "status": 0}


@pytest.mark.parametrize("machine", MACHINES.values(), ids=lambda machine: machine.name)
def test_identity_is_what_the_tools_expect(machine: Any, tmp_path: Path) -> None:
    """Flash sizes and part numbers as the manuals place them."""
    debugged = Debugged(machine.part, tmp_path)
    name = machine.part.name
    if name.startswith("nRF5"):
        assert debugged.read(0x10000010) * debugged.read(0x10000014) == machine.part.flash.size
        assert name != "nRF52840" or debugged.read(0x10000100) == 0x52840  # FICR.INFO.PART
    else:
        size_at = 0x1FFF75E0 if name.startswith("STM32L4") else 0x1FFF7A22
        assert int.from_bytes(debugged.bus.read(size_at, 2), "little") == {"STM32F205RF": 768}.get(name, 1024)
        part = {"STM32F405RG": 0x413, "STM32F205RF": 0x411, "STM32L475VG": 0x415}[name]
        assert debugged.read(0xE0042000) & 0xFFF == part
    debugged.target.cpu.close()
