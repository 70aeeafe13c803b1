"""Puts a virtual board together: what is behind the debug port, and what is around it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from bench.errors import InfrastructureError
from bench.virtual.bus import Bus
from bench.virtual.core import Core
from bench.virtual.cpu import Cpu, Ports
from bench.virtual.debug_port import DebugPort
from bench.virtual.emulator import Counting, Emulator
from bench.virtual.flash_controller import FlashController
from bench.virtual.flash_nvmc import Nvmc
from bench.virtual.flash_stm32f4 import Stm32F4Flash
from bench.virtual.flash_stm32l4 import Stm32L4Flash
from bench.virtual.lifetime import port_holder
from bench.virtual.loop import Loop
from bench.virtual.nonvolatile import NonVolatile
from bench.virtual.parts import Machine, Part
from bench.virtual.probe import Probe, ProbeServer
from bench.virtual.serial_line import SerialLine, Wire
from bench.virtual.spec import VirtualBoardSpec


def make_memories(part: Part, state: Path) -> list[NonVolatile]:
    """Flash first; contents are kept in the state directory."""
    memories = [NonVolatile(state / "flash.bin", part.flash)]
    if part.user is not None:
        memories.append(NonVolatile(state / "uicr.bin", part.user))
    return memories


def make_controller(part: Part, memories: list[NonVolatile]) -> FlashController:
    """The part's flash controller."""
    if part.controller == "nvmc":
        return Nvmc(*memories)
    return Stm32L4Flash(memories[0]) if part.controller == "stm32l4" else Stm32F4Flash(memories[0])


class Target:
    """A part with its core, without anything outside: what sits behind the debug port."""

    def __init__(self, part: Part, memories: list[NonVolatile]) -> None:
        self.controller = make_controller(part, memories)
        self.memories = memories
        ports = Ports(
            lambda address, size: self.bus.read_register(address, size),
            lambda address, size, value: self.bus.write_register(address, size, value),
            self.controller.store,
        )
        self.cpu = Cpu(part, memories, ports)
        self.bus = Bus(part, memories, self.controller, self.cpu.ram)
        self.port = DebugPort(part.core, self.bus)


class VirtualBoard:
    """Composes the parts; everything is closed in close()."""

    def __init__(self, spec: VirtualBoardSpec, machine: Machine, state: Path, library: Path | None) -> None:
        self.loop = Loop()
        self._run = state / "run"
        self._target = target = Target(machine.part, make_memories(machine.part, state))
        self.counter = self._run / "counter" if library is not None else None
        counting = (
            Counting(library, self.counter, self._run / "phases")
            if library is not None and self.counter is not None
            else None
        )
        self._wire = Wire(self.loop)
        self._emulator = Emulator(
            self.loop,
            machine,
            machine.serial_index if spec.serial_index is None else spec.serial_index,
            target.memories[0],
            target.cpu.ram,
            self._wire,
            self._run,
            counting,
        )
        self._core = Core(machine.part, target.cpu, target.memories[0], self._emulator)
        self._core.on_reset = self._system_reset
        target.bus.attach(self._core)
        target.bus.on_ram_read = self._look_at_ram
        target.bus.on_ram_written = self._ram_written
        self._emulator.on_end = self._core.image_ended
        probe = Probe(spec.name, target.port, target.bus, self._drive_reset, machine.part.name)
        try:
            self.server = ProbeServer(self.loop, probe, spec.probe_port, spec.name)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise InfrastructureError(
                f"board {spec.name}: probe port {spec.probe_port} is taken by {port_holder(spec.probe_port)}: "
                "end that, or give the board another virtual.probe_port"
            ) from error
        self.line = SerialLine(self.loop, self._wire, self._run / "serial")
        self._emulator.on_backlog = lambda full: self.line.listen(not full)

    def power_on(self) -> None:
        """Runs what is in flash."""
        self._system_reset()

    def reached_at(self) -> dict[str, Any]:
        """What the readiness line says."""
        counter = str(self.counter) if self.counter is not None else None
        return {
            "pid": os.getpid(),
            "probe_port": self.server.port,
            "serial": str(self.line.path),
            "counter": counter,
        }

    def close(self) -> None:
        """Ends QEMU and removes what is transient."""
        self._emulator.on_backlog = lambda _full: None
        self._emulator.stop()
        self.server.close()
        self.line.close()
        self._target.cpu.close()
        for memory in self._target.memories:
            memory.close()
        self.loop.close()

    def _system_reset(self) -> None:
        self._target.controller.reset()
        self._core.reset()

    def _drive_reset(self, asserted: bool) -> None:
        if asserted:
            self._core.hold_reset()
        else:
            self._system_reset()

    def _look_at_ram(self) -> None:
        """A debugger that reads RAM without halting sees what the image has there now."""
        if self._emulator.running:
            self._emulator.copy_ram()

    def _ram_written(self, address: int, size: int) -> None:
        self._target.cpu.invalidate(address, size)
        self._core.memory_written()
