"""One virtual board, one process: debug port, flash, serial line and the image in QEMU.

    python -m bench.virtual.board --spec FILE_OR_JSON --state DIRECTORY [--plugin LIBRARY] [--child]

When it is ready it prints one line of JSON: `{"pid", "probe_port", "serial", "counter"}`, or `{"error", "kind"}` when it
cannot start. It ends on SIGTERM and SIGINT, and with --child also when its standard input ends, which is when the
process that started it is gone in whatever way. QEMU, terminal and transient files end with it.
"""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

from bench.errors import BenchError, ConfigError, InfrastructureError
from bench.virtual.bus import Bus
from bench.virtual.core import Core
from bench.virtual.cpu import Cpu, Ports
from bench.virtual.debug_port import DebugPort
from bench.virtual.emulator import Counting, Emulator
from bench.virtual.flash_controller import FlashController
from bench.virtual.flash_nvmc import Nvmc
from bench.virtual.flash_stm32f4 import Stm32F4Flash
from bench.virtual.flash_stm32l4 import Stm32L4Flash
from bench.virtual.lifetime import DirectoryLock, port_holder, signal_on_parent_death
from bench.virtual.loop import Loop
from bench.virtual.nonvolatile import NonVolatile
from bench.virtual.parts import Machine, Part
from bench.virtual.probe import Probe, ProbeServer
from bench.virtual.serial_line import SerialLine, Wire
from bench.virtual.spec import VirtualBoardSpec

LOG = logging.getLogger(__name__)
_PARENT_GONE = signal.SIGUSR2


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
            lambda address, data: self.bus.store(address, data),
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
        counting = Counting(library, self.counter) if library is not None and self.counter is not None else None
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

    def close(self) -> None:
        """Ends QEMU and removes what is transient."""
        self._emulator.on_backlog = lambda full: None
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


def _prepare(state: Path, name: str) -> DirectoryLock:
    """Takes the state directory and clears what a killed board has left in it."""
    state.mkdir(parents=True, exist_ok=True)
    lock = DirectoryLock(state, f"virtual board {name}")
    shutil.rmtree(state / "run", ignore_errors=True)
    for left in state.glob("*.new"):
        left.unlink(missing_ok=True)
    (state / "run").mkdir()
    return lock


def _watch_for_the_end(loop: Loop, child: bool) -> socket.socket:
    """Signals wake the loop through a socket; with `child`, so does the end of standard input."""
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.detach())
    parent = os.getppid()

    def on_signal() -> None:
        numbers = receiver.recv(64)
        if any(number != _PARENT_GONE for number in numbers) or os.getppid() != parent:
            loop.stop()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, _PARENT_GONE):
        signal.signal(number, lambda *_: None)
    loop.on_readable(receiver.fileno(), on_signal)
    if child:
        # Both: the pipe may have been inherited by another child; the signal comes already when a thread ends.
        signal_on_parent_death(_PARENT_GONE)
        loop.on_readable(0, lambda: loop.stop() if os.read(0, 4096) == b"" else None)
    return receiver


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.virtual.board", description="Runs one virtual board.")
    parser.add_argument("--spec", required=True, help="the board as JSON, or a file with it")
    parser.add_argument("--state", required=True, type=Path, help="directory of its flash contents; made if missing")
    parser.add_argument("--plugin", type=Path, help="the instruction counter's library; without it nothing is counted")
    parser.add_argument("--child", action="store_true", help="end when standard input does")
    return parser.parse_args()


def _serve(arguments: argparse.Namespace) -> None:
    text: str = arguments.spec
    if not text.lstrip().startswith("{"):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"--spec {arguments.spec}: {error.strerror}") from error
    spec = VirtualBoardSpec.from_json(text, "--spec")
    if spec.is_host:
        raise ConfigError(f"board {spec.name}: machine host runs without this process; the rack starts it")
    machine = spec.emulated()
    state: Path = arguments.state.resolve()
    lock = _prepare(state, spec.name)
    try:
        board = VirtualBoard(spec, machine, state, arguments.plugin)
        receiver = _watch_for_the_end(board.loop, arguments.child)
        try:
            board.power_on()
            counter = str(board.counter) if board.counter is not None else None
            ready = {"pid": os.getpid(), "probe_port": board.server.port, "serial": str(board.line.path), "counter": counter}
            print(json.dumps(ready), flush=True)
            LOG.info("board %s: probe remote:127.0.0.1:%d, serial %s", spec.name, board.server.port, board.line.path)
            board.loop.run()
        finally:
            board.close()
            receiver.close()
    finally:
        shutil.rmtree(state / "run", ignore_errors=True)
        lock.release()


def main() -> int:
    """The process; returns its exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        _serve(_arguments())
    except BenchError as error:
        print(json.dumps({"error": str(error), "kind": type(error).__name__}), flush=True)
        LOG.error("%s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
