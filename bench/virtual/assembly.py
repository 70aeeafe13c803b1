"""Puts a virtual board together: what is behind the debug port, and what is around it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.errors import InfrastructureError
from bench.virtual.block_counter import BlockCounter
from bench.virtual.bus import Bus, LookedAt
from bench.virtual.core import Core
from bench.virtual.cpu import Cpu, Ports
from bench.virtual.ctrl_ap import ControlAp
from bench.virtual.debug_port import DebugPort
from bench.virtual.emulator import Counting, Emulator
from bench.virtual.exceptions import Exceptions
from bench.virtual.faults.board_faults import BoardFaults
from bench.virtual.faults.control import ControlServer
from bench.virtual.faults.wire import FaultyWire
from bench.virtual.flash_controller import FlashController
from bench.virtual.flash_nvmc import PAGE, Nvmc
from bench.virtual.flash_stm32f4 import Stm32F4Flash
from bench.virtual.flash_stm32l4 import Stm32L4Flash
from bench.virtual.lifetime import port_holder
from bench.virtual.loop import Loop
from bench.virtual.nonvolatile import NonVolatile
from bench.virtual.nrf52 import HZ, RESET_NONE, RESET_PIN, RESET_SOFTWARE, Nrf52
from bench.virtual.nrf52_uarte import BURST
from bench.virtual.nrf52_unit import Clock
from bench.virtual.parts import Machine, Part, Pin
from bench.virtual.plugin import build_unicorn_hooks
from bench.virtual.probe import Probe, ProbeServer
from bench.virtual.serial_line import SerialLine, Wire
from bench.virtual.spec import VirtualBoardSpec
from bench.virtual.unicorn_image import UnicornImage


def make_memories(part: Part, state: Path) -> list[NonVolatile]:
    """Flash first; contents are kept in the state directory."""
    memories = [NonVolatile(state / "flash.bin", part.flash)]
    if part.user is not None:
        memories.append(NonVolatile(state / "uicr.bin", part.user))
    return memories


def make_controller(part: Part, memories: list[NonVolatile]) -> FlashController:
    """The part's flash controller."""
    if part.controller in ("nvmc", "nvmc52"):
        flash, uicr = memories
        return Nvmc(flash, uicr, PAGE if part.controller == "nvmc" else 4 * PAGE)
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


class Nordic:
    """What an nRF52840 has beside its core and its flash: peripherals, an access port, the image on Unicorn."""

    def __init__(
        self,
        loop: Loop,
        target: Target,
        wire: Wire,
        hooks: Path,
        counting: Counting | None,
        *,
        marker: Pin | None = None,
        burst: int = BURST,
        latency: int = 0,
    ) -> None:
        """`marker` is the pin that the log of phases tells; `burst` and `latency` of the serial line: see Uarte."""
        self._target = target
        counter = BlockCounter(target.cpu.engine, hooks)
        self.exceptions = Exceptions(target.cpu, lambda: counter.executed)
        self.devices = Nrf52(
            target.cpu.ram,
            Clock(HZ, lambda: counter.executed),
            self.exceptions.set_line,
            lambda: self.image.watchdog_bites(),
            burst=burst,
            latency=latency,
        )
        if marker is not None:
            self.devices.pins.watch(marker, counter.marker)
        target.bus.attach_devices(self.devices)
        self.image = UnicornImage(
            loop, target.cpu, counter, self.exceptions, self.devices, target.memories[0], wire, counting
        )

    def connect(self, core: Core, drive_reset: Callable[[bool], None], reset: Callable[[int], None]) -> None:
        """With the core, and with what resets the board."""
        core.system = self.exceptions
        self.image.on_breakpoint = core.image_breakpoint
        self.image.on_reset = reset

        def erase() -> None:
            core.abandon_image()
            for memory in self._target.memories:
                memory.erase(0, memory.region.size)
            for _, buffer in self._target.cpu.ram:
                buffer[:] = bytes(len(buffer))

        self._target.port.control_ap = ControlAp(self._target.memories[1], erase, drive_reset)

    def reset(self, reason: int) -> None:
        """A system reset, the core apart."""
        self.devices.reset(reason)
        if self._target.port.control_ap is not None:
            self._target.port.control_ap.system_reset()

    def close(self) -> None:
        """Frees what is not Python's."""
        self.image.close()


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
        self.wire = FaultyWire(self.loop)
        self._nordic: Nordic | None = None
        self._image: Emulator | UnicornImage
        if machine.part.emulator == "unicorn":
            hooks = build_unicorn_hooks(state.parent / ".plugin")
            self._nordic = Nordic(self.loop, target, self.wire, hooks, counting, marker=machine.marker)
            self._image = self._nordic.image
        else:
            index = machine.serial_index if spec.serial_index is None else spec.serial_index
            flash, ram = target.memories[0], target.cpu.ram
            self._image = Emulator(self.loop, machine, index, flash, ram, self.wire, self._run, counting)
            target.bus.attach_devices(LookedAt(self._image.peek))
        self._core = Core(machine.part, target.cpu, target.memories[0], self._image)
        self._core.on_reset = lambda: self._system_reset(RESET_SOFTWARE)
        target.bus.attach(self._core)
        target.bus.on_ram_read = self._look_at_ram
        target.bus.on_ram_written = self._ram_written
        self._image.on_end = self._core.image_ended
        if self._nordic is not None:
            self._nordic.connect(self._core, self._drive_reset, self._system_reset)
        probe = Probe(spec.name, target.port, target.bus, self._drive_reset, machine.part.name)
        try:
            self.server = ProbeServer(self.loop, probe, spec.probe_port, spec.name)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise InfrastructureError(
                f"board {spec.name}: probe port {spec.probe_port} is taken by {port_holder(spec.probe_port)}: "
                "end that, or give the board another `probe: remote:127.0.0.1:PORT`, 0 for any free one"
            ) from error
        self.line = SerialLine(self.loop, self.wire, self._run / "serial")
        self._control = ControlServer(self.loop, BoardFaults(self), self._run)
        self._image.on_backlog = lambda full: self.line.listen(not full)

    @property
    def runs(self) -> Emulator | UnicornImage:
        """What executes the image."""
        return self._image

    @property
    def flash(self) -> NonVolatile:
        """Its main memory."""
        return self._target.memories[0]

    def power_on(self) -> None:
        """Runs what is in flash."""
        self.server.plug_in()
        self._system_reset(RESET_NONE)

    def power_off(self) -> None:
        """Nothing runs, RAM is lost, and the probe that is fed with the board is gone."""
        self.server.unplug()
        self._core.power_lost()
        for region, buffer in self._target.cpu.ram:
            buffer[:] = bytes(len(buffer))
            self._target.cpu.invalidate(region.base, region.size)

    def reset(self, reason: int) -> None:
        """A system reset."""
        self._system_reset(reason)

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
        """Ends the image and removes what is transient."""
        self._image.on_backlog = lambda _full: None
        self._image.stop()
        self._control.close()
        self.server.close()
        self.line.close()
        self._target.cpu.close()
        if self._nordic is not None:
            self._nordic.close()
        for memory in self._target.memories:
            memory.close()
        self.loop.close()

    def _system_reset(self, reason: int) -> None:
        self._target.controller.reset()
        if self._nordic is not None:
            self._nordic.reset(reason)
        self._core.reset()

    def _drive_reset(self, asserted: bool) -> None:
        if asserted:
            self._core.hold_reset()
        else:
            self._system_reset(RESET_PIN)

    def _look_at_ram(self) -> None:
        """A debugger that reads RAM without halting sees what the image has there now."""
        if isinstance(self._image, Emulator) and self._image.running:
            self._image.copy_ram()

    def _ram_written(self, address: int, size: int) -> None:
        self._target.cpu.invalidate(address, size)
        self._core.memory_written()
