"""The flashed image in QEMU: one process, started from the flash file's bytes and ended without a trace."""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import ConfigError, InfrastructureError
from bench.rack.image import DESCRIPTOR_OFFSET, DESCRIPTOR_SIZE, ImageDescriptor
from bench.virtual.gdb_stub import GdbStub
from bench.virtual.lifetime import dies_with
from bench.virtual.loop import Loop
from bench.virtual.nonvolatile import NonVolatile
from bench.virtual.paced_outlet import PacedOutlet
from bench.virtual.parts import Machine, Region
from bench.virtual.plugin import counter_arguments
from bench.virtual.qmp import Qmp
from bench.virtual.serial_line import Outlet, Wire

LOG = logging.getLogger(__name__)

QEMU = "qemu-system-arm"
_VECTORS = 8
_DRAGGED_S = 0.05  # for which a slowed board stands still at a time
_CONSOLE_BUFFER = 4096  # small: what QEMU has not read yet when the board resets is what a real line loses
_REGISTER = re.compile(r"\b(R\d\d|s\d\d|XPSR|FPSCR)[=:] ?([0-9a-f]{8})\b")
_WORD = re.compile(r": 0x([0-9a-f]{8})")
# Debug core register numbers (DCRSR.REGSEL, ARMv7-M ARM C1.6.3).
_NUMBERS = {
    **{f"R{number:02}": number for number in range(16)},
    "XPSR": 16,
    "FPSCR": 33,
    **{f"s{number:02}": 64 + number for number in range(32)},
}


@dataclass(frozen=True)
class Counting:
    """The instruction counter: the plug-in's shared library, the file of its totals, and that of its log of phases."""

    library: Path
    totals: Path
    log: Path | None = None


@dataclass(frozen=True)
class _Process:
    process: subprocess.Popen[bytes]
    pidfd: int
    console: socket.socket
    control: socket.socket
    outlet: Outlet
    qmp: Qmp


class Emulator:
    """Carries out core.Image. `on_end` is called when QEMU ends by itself, `on_backlog` when its UART is behind."""

    shares_state = False

    def __init__(
        self,
        loop: Loop,
        machine: Machine,
        serial_index: int,
        flash: NonVolatile,
        ram: list[tuple[Region, mmap.mmap]],
        wire: Wire,
        run_dir: Path,
        counting: Counting | None,
    ) -> None:
        self._loop = loop
        self._machine = machine
        self._serial_index = serial_index
        self._flash = flash
        self._ram = ram
        self._wire = wire
        self._run_dir = run_dir
        self._counting = counting
        self._live: _Process | None = None
        self._paused = False
        self._share = 1  # of the time in which it executes
        self._dragging = False
        self.on_end: Callable[[], None] = lambda: None
        self.on_backlog: Callable[[bool], None] = lambda _full: None

    @property
    def running(self) -> bool:
        """Whether QEMU executes now."""
        return self._live is not None and not self._paused

    @property
    def pid(self) -> int | None:
        """Of QEMU, if there is one."""
        return self._live.process.pid if self._live is not None else None

    # --- core.Image ---

    def start(self, *, keep_ram: bool) -> bool:
        """From reset. `keep_ram` asks for RAM as it is, which a QEMU that still lives can do; a new one's is zero."""
        if keep_ram and self._live is not None:
            try:
                self._live.qmp.command("system_reset")
                self.resume()
                return True
            except InfrastructureError as error:
                LOG.warning("QEMU does not reset, so it is started anew: %s", error)
        self.stop()
        if self._flash.is_blank(0, _VECTORS):
            LOG.info("flash is blank: nothing runs")
            return False
        self._spawn()
        return True

    def pause(self) -> dict[int, int]:
        """Freezes QEMU; its RAM is copied to the bus's."""
        assert self._live is not None
        try:
            self._live.qmp.command("stop")
            self._paused = True
            self._wire.board = lambda _data: None  # a halted core reads no UART: the bytes overrun
            self.copy_ram()
            return self._registers()
        except InfrastructureError as error:
            LOG.warning("the image cannot be halted, so it is ended: %s", error)
            self.stop()
            return {}

    def freeze(self) -> None:
        """Hangs: nothing is executed until the next reset."""
        if self._live is None:
            return
        try:
            self._live.qmp.command("stop")
            self._paused = True
            self._wire.board = lambda _data: None
        except InfrastructureError as error:
            LOG.warning("the image cannot be halted, so it is ended: %s", error)
            self.stop()

    def drag(self, share: int) -> None:
        """Executes one `share`-th of the time; 1 ends it."""
        self._share = share
        if share > 1 and not self._dragging:
            self._dragging = True
            self._drag(_DRAGGED_S)

    def jump(self, address: int) -> None:
        """The core goes on elsewhere, as a stray pointer would make it."""
        if not self.running:
            return
        path = self._run_dir / "gdb"
        try:
            self._monitor(f"gdbserver unix:{path},server=on,wait=off")
            stub = GdbStub(str(path))
            try:
                stub.jump(address)
            finally:
                stub.close()
                self._monitor("gdbserver none")
        except (OSError, InfrastructureError) as error:
            LOG.warning("the program counter cannot be set, so the image is ended: %s", error)
            self.stop()
        finally:
            path.unlink(missing_ok=True)

    def resume(self) -> None:
        """Goes on where it was paused."""
        assert self._live is not None
        self._live.qmp.command("cont")
        self._paused = False
        self._wire.board = self._live.outlet.send

    def stop(self) -> None:
        """Kills QEMU and waits until it is gone."""
        live, self._live = self._live, None
        self._paused = False
        self._wire.board = lambda _data: None
        if live is None:
            return
        for fd in (live.console.fileno(), live.control.fileno(), live.pidfd):
            self._loop.forget(fd)
        live.outlet.close()
        live.process.kill()
        live.process.wait()
        live.console.close()
        live.control.close()
        os.close(live.pidfd)
        self.on_backlog(False)

    def ask_for_reset(self, reason: int) -> None:
        """QEMU resets its core by itself."""

    def _drag(self, seconds: float) -> None:
        """Stands still for a while, then runs for its share, and so on."""
        live = self._live
        if self._share <= 1 or live is None:
            self._dragging = False
            return
        live.process.send_signal(signal.SIGSTOP)

        def go_on() -> None:
            live.process.send_signal(signal.SIGCONT)
            self._loop.call_later(seconds / self._share, lambda: self._drag(seconds))

        self._loop.call_later(seconds, go_on)

    # --- memory ---

    def copy_ram(self) -> None:
        """Copies the RAM of a live QEMU into the bus's buffers. Raises InfrastructureError."""
        if self._live is None:
            return
        path = self._run_dir / "ram"
        for region, buffer in self._ram:
            # As the core addresses it: nRF51's RAM is not in QEMU's system memory, which pmemsave reads.
            self._live.qmp.command("memsave", val=region.base, size=region.size, filename=str(path))
            data = path.read_bytes()
            path.unlink()
            buffer[: len(data)] = data

    def _registers(self) -> dict[int, int]:
        assert self._live is not None
        return {_NUMBERS[name]: int(value, 16) for name, value in _REGISTER.findall(self._monitor("info registers"))}

    def peek(self, address: int) -> int | None:
        """What the core would load from a register of the live machine: as on hardware, that may have side effects."""
        if self._live is None:
            return None
        try:
            found = _WORD.search(self._monitor(f"x /1wx {address:#x}"))
        except InfrastructureError as error:
            LOG.warning("QEMU does not tell what is at 0x%08x: %s", address, error)
            return None
        return int(found[1], 16) if found is not None else None

    def _monitor(self, line: str) -> str:
        assert self._live is not None
        return str(self._live.qmp.command("human-monitor-command", **{"command-line": line}))

    # --- the process ---

    def _command(self, console: int, control: int) -> list[str]:
        command = [QEMU, "-M", self._machine.name, "-nodefaults", "-display", "none", "-monitor", "none"]
        command += ["-kernel", str(self._flash.path)]
        command += ["-chardev", f"socket,id=control,fd={control}", "-mon", "chardev=control,mode=control"]
        command += ["-serial", "null"] * self._serial_index
        command += ["-chardev", f"socket,id=console,fd={console}", "-serial", "chardev:console"]
        if self._counting is not None and (arguments := self._plugin_arguments()):
            command += ["-plugin", f"{self._counting.library},{arguments}"]
        return command

    def _plugin_arguments(self) -> str:
        """Empty for an image without a descriptor, which runs uncounted."""
        assert self._counting is not None
        try:
            image = ImageDescriptor.parse(self._flash.read(0, DESCRIPTOR_OFFSET + DESCRIPTOR_SIZE))
        except ConfigError as error:
            LOG.info("instructions are not counted: %s", error)
            return ""
        entry = int.from_bytes(self._flash.read(4, 4), "little") & ~1
        return counter_arguments(image, entry, self._counting.totals, self._counting.log)

    def _spawn(self) -> None:
        console, console_child = socket.socketpair()
        control, control_child = socket.socketpair()
        with console_child, control_child:
            console.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _CONSOLE_BUFFER)
            console.setblocking(False)
            fds = (console_child.fileno(), control_child.fileno())
            try:
                process = subprocess.Popen(
                    self._command(*fds),
                    stdin=subprocess.DEVNULL,
                    stdout=2,
                    pass_fds=fds,
                    preexec_fn=dies_with(os.getpid()),
                )
            except FileNotFoundError as error:
                console.close()
                control.close()
                raise ConfigError(f"{QEMU} is missing: install the package qemu-system-arm, 10 or later") from error
        outlet = Outlet(self._loop, console.fileno(), lambda full: self.on_backlog(full))
        if baud := self._machine.part.line_baud:
            outlet = PacedOutlet(self._loop, console.fileno(), lambda full: self.on_backlog(full), baud)
        qmp = Qmp(control, console.fileno(), self._console_ready, lambda: process.send_signal(signal.SIGCONT))
        self._live = _Process(process, os.pidfd_open(process.pid), console, control, outlet, qmp)
        self._paused = False
        self._wire.board = outlet.send
        self._loop.on_readable(console.fileno(), self._console_ready)
        self._loop.on_readable(control.fileno(), self._control_ready)
        self._loop.on_readable(self._live.pidfd, self._ended)
        LOG.info("the image runs in QEMU, pid %d", process.pid)

    def _console_ready(self) -> None:
        if self._live is None:
            return
        try:
            data = self._live.console.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._wire.to_host(data)
        else:
            self._loop.on_readable(self._live.console.fileno(), None)

    def _control_ready(self) -> None:
        """Events, and the greeting, which stays for the first command."""
        if self._live is None:
            return
        try:
            self._live.qmp.drain()
        except InfrastructureError:
            self._loop.on_readable(self._live.control.fileno(), None)

    def _ended(self) -> None:
        """QEMU gives up when a core locks up; what it said is in the board's log."""
        if self._live is None:
            return
        process = self._live.process
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        code = process.returncode
        reason = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        LOG.error("QEMU ended by itself (%s) at %.3f: the core counts as locked up until a reset", reason, time.time())
        self.stop()
        self.on_end()
