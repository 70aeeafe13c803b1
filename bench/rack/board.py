"""One board of the rack: its line, its image, its way back when something went wrong.

What lies above knows no difference between a real and an emulated board; only `physical` tells whether figures may be
called measured.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from bench.data import partition
from bench.errors import BenchError, ConfigError, DeviceError, InfrastructureError
from bench.link.device import Device
from bench.link.messages import Hello
from bench.link.port import open_port
from bench.link.session import BoardSilent, Session
from bench.meters.counter import PhaseCounter
from bench.rack import flash as pyocd
from bench.rack import image as images
from bench.rack import recovery
from bench.rack.entry import BoardEntry
from bench.rack.manifest import BoardManifest, load_manifest

_RESYNC_S = 2.0  # for a board that is well and only missed something
_BOOT_S = 10.0  # from reset to HELLO, at most: image checksum, clock fallbacks, a slow virtual board
_REOPEN_S = 0.2  # between attempts to open a line that went away
_DATA_TIMEOUT_S = 3.0  # a board checks its whole partition; 220 KB take an nRF51 about 0.3 s; sent six times at most

Step = Callable[[str], None]


@dataclass(frozen=True)
class Ends:
    """Where a board is reached: pyOCD's probe id, the serial line's URL, and what counts its instructions, if any."""

    probe: str
    serial: str
    counter: PhaseCounter | None = None


PowerCycle = Callable[[threading.Event | None], Ends]
"""Switches a board off and on; an event that is set ends it early. Raises InfrastructureError."""


class BoardLog:
    """A board's log file: what it printed, what pyOCD said, what the bench did; one line each, with the time (UTC)."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file: TextIO = path.open("a", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()

    def __call__(self, line: str) -> None:
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._lock:
            if not self._file.closed:
                with suppress(OSError):  # a full disk takes no more lines, and the run goes on while its journal can
                    self._file.write(f"{stamp} {line}\n")

    def close(self) -> None:
        """Later lines are dropped."""
        with self._lock, suppress(OSError):
            self._file.close()


class Board:
    """A board that this process has locked. `exclusive` is for the clients of this process that share it."""

    def __init__(
        self, entry: BoardEntry, ends: Ends, log: BoardLog, scratch: Path, power_cycle: PowerCycle | None = None
    ) -> None:
        """`scratch` is a folder for files of this board alone. `power_cycle` switches the board off and on and says
        where it is reached then; None where nothing can."""
        self.entry = entry
        self.name = entry.name
        self.manifest: BoardManifest = load_manifest(entry.env)
        self.log = log
        self.exclusive = threading.Lock()
        self.resident: object = None  # what of its clients' its RAM holds, if known; theirs to say
        self.on_line: Step | None = None  # is given what the board prints, beside the log
        self.on_recovery: Callable[[recovery.Recovery], None] = lambda _recovery: None
        self.recovering_since: float | None = None  # by the monotonic clock; None when it is not
        self.quarantine: str | None = None  # why the board is left alone
        self.may_flash = True  # False: what has to be there must be there already
        self._ends = ends
        self._scratch = scratch
        self._power_cycle = power_cycle
        self._device: Device | None = None
        self._flashed: tuple[bytes, bytes | None] | None = None

    @property
    def physical(self) -> bool:
        """Whether what it says of time and energy was measured on hardware."""
        return self.entry.virtual is None

    @property
    def ends(self) -> Ends:
        """Where it is reached now."""
        return self._ends

    @property
    def debug_target(self) -> pyocd.Target:
        """The board as pyOCD is told of it."""
        return pyocd.Target(self.name, self._ends.probe, self.entry.target, self.entry.pack)

    def device(self) -> Device:
        """The board at the end of its line, which is opened when it is not yet. Raises InfrastructureError."""
        if self._device is None:
            port = open_port(self._ends.serial, self.entry.baud)
            self._device = Device(Session(port, on_log=self._heard))
        return self._device

    def connect(
        self, *, wait_s: float = _BOOT_S, cancelled: threading.Event | None = None, absent: bool = False
    ) -> Hello:
        """Says hello until the board answers, `wait_s` at most.

        A line that goes away meanwhile, as the port of a chip's own USB does at a reset, is opened anew. With `absent`
        it may be away at first, too.

        Raises InfrastructureError: BoardSilent when there is no answer, else when the line cannot be opened.
        """
        deadline = time.monotonic() + wait_s
        if not absent:
            self.device()  # a port that is busy or absent is told at once
        while True:
            try:
                device = self.device()
                device.session.cancelled = cancelled
                hello = device.hello(check=False, timeout_s=0.5, retries=0)
                self.resident = None  # it may have been reset since
                return hello
            except BoardSilent:
                if time.monotonic() >= deadline:
                    raise
            except InfrastructureError as error:
                self.log(f"the line: {error}")
                self.close()
                if time.monotonic() >= deadline:
                    raise
                (cancelled or threading.Event()).wait(_REOPEN_S)

    def close(self) -> None:
        """Closes the line."""
        if self._device is not None:
            self._device.close()
            self._device = None

    def flash(
        self,
        image: bytes,
        data: bytes | None = None,
        *,
        force: bool = False,
        cancelled: threading.Event | None = None,
        step: Step = lambda _text: None,
    ) -> bool:
        """Brings image and data partition onto the board, as far as they are not there, and verifies both.

        Verified by the board itself, which computes its image's CRC-32 and its partition's over flash.

        Args:
            image: the whole patched image; it must be for this board's environment.
            data: the partition to lie in flash; None leaves it as it is.
            force: flash even what is already there.
            cancelled: ends it early with FlashCancelledError or the link's Cancelled.
            step: is told in a few words what is being done.

        Returns:
            Whether anything had to be flashed.

        Raises:
            ConfigError: the image is damaged, for another board, or too large; likewise the data.
            InfrastructureError: the probe or the line fails, or the board does not boot.
            DeviceError: flash does not hold what was written, even the second time.
        """
        descriptor = self._check_fit(image, data)
        self.quarantine = None
        for attempt in (1, 2):
            again = attempt == 2
            segments: dict[int, bytes] = {}
            if force or again or not self._runs(descriptor, wait_s=1.0, cancelled=cancelled):
                segments[descriptor.flash_base] = image
            if data is not None and (force or again or segments or not self._holds(data)):
                # A silent board cannot say what its partition holds: pyOCD then skips the pages that already match.
                segments[descriptor.data_base] = data
            if not segments:
                step("already there")
                self._flashed = (image, data)
                return False
            if not self.may_flash:
                raise ConfigError(f"board {self.name} must not be flashed now, but {self._state(descriptor)}")
            step(f"flashing {sum(map(len, segments.values())) / 1024:.0f} KB" + (" again" if again else ""))
            with suppress(InfrastructureError):  # it is told when the board is to answer
                self.device()  # open before the reset that ends flashing, so that the boot log is kept
            try:
                self._write(segments, cancelled, trust_nothing=again)
            except pyocd.WriteFailedError as error:
                if again:
                    raise
                self.log(f"flashing failed: {error}")
                continue
            step("verifying")
            if self._runs(descriptor, wait_s=_BOOT_S, cancelled=cancelled) and (data is None or self._holds(data)):
                self._flashed = (image, data)
                step("flashed and verified")
                return True
            self.log("what the board reports is not what was flashed")
        raise self._not_taken(descriptor)

    def restore(self, cancelled: threading.Event | None = None) -> None:
        """Flashes what was flashed last, if it is there no more; a quarantine ends. Errors as for `flash`."""
        if self._flashed is not None:
            self.flash(*self._flashed, cancelled=cancelled)

    def reset(self, cancelled: threading.Event | None = None) -> Hello:
        """Resets through the probe and waits for the boot. Raises InfrastructureError."""
        self.device()  # the line is open before the reset, so that the boot log is kept
        self.pull_reset(cancelled)
        return self.connect(wait_s=_BOOT_S, cancelled=cancelled)

    def pull_reset(self, cancelled: threading.Event | None = None) -> None:
        """Resets through the probe, without a word to the board or to who talks with it. Raises InfrastructureError."""
        pyocd.reset(self.debug_target, log=self.log, cancelled=cancelled)

    def overwrite(self, address: int, data: bytes) -> None:
        """Writes flash as a stray debugger would: the board is reset, and what was flashed is there no more.

        So that tests can have something to mend. Raises InfrastructureError.
        """
        self._write({address: data}, None, trust_nothing=False)

    def recover(self, cancelled: threading.Event | None = None, reason: str = "") -> str:
        """Brings the board back: resync, reset, flash again, power-cycle; each rung once. Returns the one that helped.

        It is back when it answers, runs what was flashed last, and its data is whole. `on_recovery` is told, with the
        reason.

        Raises InfrastructureError, naming the rungs that were tried: the board is in quarantine, and nothing more is
        tried until it is flashed by someone who wants it back.
        """
        if self.quarantine is not None:
            raise InfrastructureError(self.quarantine)
        self.recovering_since = time.monotonic()
        try:
            found = recovery.climb(self, reason, cancelled)
            if found.rung == recovery.QUARANTINE:
                said = "; ".join(f"{tried.rung}: {tried.error}" for tried in found.tried)
                self.quarantine = f"board {self.name} does not come back: {said}"
            self.on_recovery(found)
        finally:
            self.recovering_since = None
        if self.quarantine is not None:
            raise InfrastructureError(self.quarantine)
        return found.rung

    def rungs(self, cancelled: threading.Event | None) -> list[tuple[str, Callable[[], object]]]:
        """See recovery.Recoverable."""
        rungs: list[tuple[str, Callable[[], object]]] = [
            ("resync", lambda: self.connect(wait_s=_RESYNC_S, cancelled=cancelled, absent=True)),
            ("reset", lambda: self.reset(cancelled)),
        ]
        flashed = self._flashed if self.may_flash else None
        if flashed is not None:
            rungs.append(("flash", lambda: self.flash(*flashed, force=True, cancelled=cancelled)))
        cycle = self._power_cycle
        if cycle is not None:
            rungs.append(("power-cycle", lambda: self._off_and_on(cycle, cancelled)))
            if flashed is not None:
                rungs.append(("flash after power-cycle", lambda: self.flash(*flashed, cancelled=cancelled)))
        return rungs

    def check(self, cancelled: threading.Event | None) -> None:
        """See recovery.Recoverable."""
        if self._flashed is None:
            return
        image, data = self._flashed
        descriptor = images.verify(image)
        if not self._runs(descriptor, wait_s=_RESYNC_S, cancelled=cancelled):
            raise DeviceError(self._state(descriptor))
        if data is not None and not self._holds(data):
            raise DeviceError("its data partition is not what was flashed")

    def instructions(self, phase: str) -> int | None:
        """Instructions executed so far in a phase; None where only the board's own cycle counter tells."""
        return None if self._ends.counter is None else self._ends.counter.read()[phase]

    def _write(self, segments: Mapping[int, bytes], cancelled: threading.Event | None, *, trust_nothing: bool) -> None:
        pyocd.flash(
            self.debug_target,
            segments,
            self._scratch,
            timeout_s=self.manifest.flash_timeout_s,
            log=self.log,
            cancelled=cancelled,
            trust_nothing=trust_nothing,
        )

    def _heard(self, line: str) -> None:
        self.log(f"board: {line}")
        if self.on_line is not None:
            self.on_line(line)

    def _check_fit(self, image: bytes, data: bytes | None) -> images.ImageDescriptor:
        try:
            descriptor = images.verify(image)
        except ConfigError as error:
            raise ConfigError(f"board {self.name}: {error}") from error
        if descriptor.env != self.entry.env:
            raise ConfigError(
                f"board {self.name} is a {self.entry.env}, but the image is for {descriptor.env}: "
                f"build it with `bench build --env {self.entry.env}`"
            )
        layout = self.manifest.flash
        if len(image) > layout.image_size:
            raise ConfigError(f"board {self.name}: image of {len(image)} bytes, room for {layout.image_size}")
        if data is not None:
            partition.parse(data)
            if len(data) > layout.data_size:
                raise ConfigError(f"board {self.name}: data of {len(data)} bytes, its partition has {layout.data_size}")
        return descriptor

    def _runs(self, descriptor: images.ImageDescriptor, *, wait_s: float, cancelled: threading.Event | None) -> bool:
        try:
            hello = self.connect(wait_s=wait_s, cancelled=cancelled)
        except (BoardSilent, DeviceError) as error:
            self.log(f"no answer: {error}")
            return False
        return hello.build_id == descriptor.build_id and hello.image_crc32 == descriptor.image_crc32

    def _holds(self, data: bytes) -> bool:
        wanted = partition.parse(data)
        try:
            info = self.device().data_info(timeout_s=_DATA_TIMEOUT_S)
        except (InfrastructureError, DeviceError) as error:
            self.log(f"its data partition is not known: {error}")
            return False
        return info.present and info.crc_ok and info.shard_id == wanted.shard_id

    def _not_taken(self, descriptor: images.ImageDescriptor) -> BenchError:
        state = self._state(descriptor)
        message = f"board {self.name}: flashed twice, and {state}; see {self.log.path}"
        if self._device is None or not self._device.session.is_open:
            return InfrastructureError(message)
        return DeviceError(message)

    def _state(self, descriptor: images.ImageDescriptor) -> str:
        try:
            hello = self.connect(wait_s=1.0)
        except BenchError as error:
            return f"it does not answer: {error}"
        if hello.build_id != descriptor.build_id:
            return f"it runs build {hello.build_id.hex()[:12]}, not {descriptor.build_id.hex()[:12]}"
        if hello.image_crc32 != descriptor.image_crc32:
            return f"its image has CRC-32 {hello.image_crc32:08x}, not {descriptor.image_crc32:08x}"
        return "its data partition is not what was written"

    def _off_and_on(self, power_cycle: PowerCycle, cancelled: threading.Event | None) -> None:
        self.close()
        self._ends = power_cycle(cancelled)
        self.connect(wait_s=2 * _BOOT_S, cancelled=cancelled)
