"""ST's X-NUCLEO-LPM01A: text commands over its USB serial port, 100,000 values a second in the binary format.

Commands and formats are those of UM2269. It feeds the board itself, 1.8 to 3.3 V, and measures 50 mA at most in its
dynamic mode. It samples no logic channels, so a phase is told by the host: each is an acquisition of its own, and what
passes between two, some milliseconds of rest, is in none. Each 1000 values it stamps the time, by which lost values are
found.
"""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import serial
from numpy.typing import NDArray

from bench.errors import DeviceError, InfrastructureError
from bench.meters.meter import MeterSettings
from bench.meters.recording import Recording
from bench.meters.trace import Gap, Instrument, Mark, Phase, Trace, count_outliers

RATE_HZ: Final = 100_000.0
VOLTAGE_MV: Final = (1800, 3300)
LIMIT_MA: Final = 50.0
_BAUD: Final = 3_686_400
_READ_S: Final = 0.2
_ANSWER_S: Final = 3.0
_STOP_S: Final = 20.0  # an emulated instrument may have much to tell when it is told to stop
_CALIBRATION_S: Final = 10.0  # a new voltage makes it calibrate itself
_COMPLETED: Final = b"Acquisition completed"
_SETUP: Final = ("format bin_hexa", "output current", "funcmode optim", "freq 100k", "acqtime inf", "trigsrc sw",
                 "trigdelay 0", "pwrend on")  # fmt: skip
_ENDING: Final = b"\xff\xff"
_STAMP, _ERROR, _END, _OVERCURRENT = 0xF3, 0xF1, 0xF4, 0xF5
_STAMP_BYTES: Final = 9


@dataclass(frozen=True)
class Acquired:
    """What one acquisition's bytes say: values in ampere, lost ones NaN, and where those are."""

    current_a: NDArray[np.float64]
    gaps: tuple[Gap, ...]


class Lpm01a:
    """Carries out `Meter`."""

    has_logic = False

    def __init__(self, settings: MeterSettings) -> None:
        """Opens the port. Raises InfrastructureError."""
        self._settings = settings
        self._name = f"LPM01A at {settings.port}"
        self._recording: Recording | None = None
        self._phase: Phase = "idle"
        self._done: list[tuple[Phase, Acquired]] = []
        self.instrument = Instrument("lpm01a", self._name, settings.physical)
        try:
            self._port = serial.Serial(settings.port, _BAUD, timeout=_READ_S, write_timeout=_ANSWER_S, exclusive=True)
        except (OSError, ValueError) as error:
            raise InfrastructureError(
                f"{self._name}: cannot be opened: {error}; is it plugged in, and in use by no other program?"
            ) from error

    def arm(self) -> None:
        """See Meter."""
        self._write("stop")
        self._drain()
        self._command("htc")
        version = self._command("version").rpartition(b"version")[2].split()
        for command in _SETUP:
            self._command(command)
        self._command(f"volt {self._settings.voltage_mv}m", _CALIBRATION_S)
        self._command("pwr on")
        firmware = version[0].decode("ascii", errors="replace") if version else "unknown"
        self.instrument = replace(self.instrument, identity=f"{self._name}, firmware {firmware}")

    def start(self) -> None:
        """See Meter."""
        if self._recording is not None:
            self._recording.abandon()
        self._done = []
        self._phase = "idle"
        self._begin()

    def mark(self, phase: Phase) -> None:
        """See Meter."""
        self._end()
        self._phase = phase
        self._begin()

    def wait(self, seconds: float, timeout_s: float) -> None:
        """See Meter. Of the acquisition that runs now."""
        recording, size = self._running(), math.ceil(seconds * RATE_HZ) * 2
        recording.wait(lambda: recording.received() >= size, timeout_s, f"{seconds:g} s of samples")

    def stop(self) -> Trace:
        """See Meter."""
        self._end()
        at, marks, gaps = 0, [], []
        for phase, acquired in self._done:
            marks.append(Mark(at, phase))
            gaps += [Gap(at + gap.at, gap.samples) for gap in acquired.gaps]
            at += len(acquired.current_a)
        current = np.concatenate([acquired.current_a for _, acquired in self._done]) * 1e6
        return Trace(
            instrument=self.instrument,
            voltage_mv=self._settings.voltage_mv,
            supply="meter",
            rate_hz=RATE_HZ,
            current_ua=current,
            gaps=tuple(gaps),
            marks=tuple(marks),
            outlier_samples=count_outliers(current),
        )

    def close(self) -> None:
        """See Meter."""
        recording, self._recording = self._recording, None
        with contextlib.suppress(InfrastructureError, OSError):
            self._write("stop")
            if recording is None:
                self._command("hrc")
        if recording is not None:
            recording.abandon()
        with contextlib.suppress(OSError):
            self._port.close()

    def _running(self) -> Recording:
        if self._recording is None:
            raise InfrastructureError(f"{self._name}: it does not record: start it first")
        return self._recording

    def _begin(self) -> None:
        self._port.reset_input_buffer()
        self._write("start")
        self._recording = recording = Recording(self._name, self._take, None, self._settings.silence_s)
        recording.wait(lambda: recording.received() > 0, _ANSWER_S, "no answer to `start`")

    def _end(self) -> None:
        recording = self._running()
        recording.check()
        self._write("stop")
        self._recording = None
        raw = recording.stop(_STOP_S, _STOP_S, lambda tail: _COMPLETED in tail)
        if _COMPLETED not in raw[-64:]:
            raise InfrastructureError(f"{self._name}: it does not confirm `stop`; unplug it and plug it in again")
        self._done.append((self._phase, decode(raw, self._name)))

    def _take(self) -> bytes:
        first = self._port.read(1)
        return bytes(first + self._port.read(self._port.in_waiting))

    def _drain(self) -> None:
        deadline = time.monotonic() + _ANSWER_S
        try:
            while self._take():
                if time.monotonic() > deadline:
                    raise InfrastructureError(f"{self._name}: it was told to stop and goes on sending; unplug it")
        except serial.SerialException as error:
            raise InfrastructureError(f"{self._name}: the instrument is gone: {error}") from error

    def _write(self, command: str) -> None:
        try:
            self._port.write(f"{command}\r\n".encode("ascii"))
        except (OSError, serial.SerialTimeoutException) as error:
            raise InfrastructureError(f"{self._name}: the instrument is gone: {error}") from error

    def _command(self, command: str, timeout_s: float = _ANSWER_S) -> bytes:
        """Returns all that is said to a command, its acknowledgement first."""
        self._write(command)
        said = bytearray()
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                said += self._take()
            except serial.SerialException as error:
                raise InfrastructureError(f"{self._name}: the instrument is gone: {error}") from error
            if b"error" in said and said.rstrip(b"\r\n ").rpartition(b"Error detail:")[2].strip():
                text = " ".join(said.decode("ascii", errors="replace").replace("PowerShield >", "").split())
                raise InfrastructureError(f"{self._name}: it refuses `{command}`: {text}")
            if f"ack {command}".encode("ascii") in said and said.endswith(b"\n"):
                return bytes(said)
        raise InfrastructureError(
            f"{self._name}: no answer to `{command}`: is this port an LPM01A's, and its firmware 1.0.3 or later?"
        )


def decode(raw: bytes, name: str) -> Acquired:
    """The values of an acquisition in the binary format, from its acknowledgement to its end.

    Raises:
        InfrastructureError: it is not whole.
        DeviceError: the board drew more than the instrument bears, which then has switched it off.
    """
    at = raw.find(b"\xf0\xf3")
    if at < 0:
        raise InfrastructureError(f"{name}: the acquisition holds no value")
    blocks: list[NDArray[np.float64]] = []
    gaps: list[Gap] = []
    taken = 0
    while True:
        kind, content, at = _record(raw, at, name)
        if kind == _END:
            break
        if kind == _OVERCURRENT:
            raise DeviceError(f"{name}: the board drew more than {LIMIT_MA:g} mA, and was switched off")
        if kind == _ERROR:
            raise InfrastructureError(f"{name}: {content.decode('ascii', errors='replace').strip()}")
        if kind == _STAMP:
            due = round(int.from_bytes(content[:4], "big") * RATE_HZ / 1000)
            if due > taken:  # what is missing was lost from the block before
                gaps.append(Gap(taken, due - taken))
                blocks.append(np.full(due - taken, np.nan))
                taken = due
        after = _next_record(raw, at)
        values = _values(raw[at:after])
        blocks.append(values)
        taken += len(values)
        at = after
    return Acquired(np.concatenate(blocks) if blocks else np.empty(0), tuple(gaps))


def _record(raw: bytes, at: int, name: str) -> tuple[int, bytes, int]:
    """The record that begins there: its kind, content and end."""
    kind = raw[at + 1] if at + 1 < len(raw) else 0
    end = at + _STAMP_BYTES if kind == _STAMP else raw.find(_ENDING, at + 2) + len(_ENDING)
    if end > len(raw) or end < at + 4 or raw[end - 2 : end] != _ENDING:
        raise InfrastructureError(f"{name}: the acquisition is cut off or garbled")
    return kind, raw[at + 2 : end - 2], end


def _next_record(raw: bytes, at: int) -> int:
    """Values are two bytes, the first below 0xF0: a record begins at an even distance."""
    place = raw.find(b"\xf0", at)
    while place >= 0 and (place - at) % 2:
        place = raw.find(b"\xf0", place + 1)
    return len(raw) if place < 0 else place


def _values(data: bytes) -> NDArray[np.float64]:
    words = np.frombuffer(data[: len(data) // 2 * 2], dtype=">u2").astype(np.int64)
    values: NDArray[np.float64] = (words & 0xFFF) * 16.0 ** -(words >> 12)
    return values
