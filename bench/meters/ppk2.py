"""Nordic's Power Profiler Kit II, through the package ppk2-api, which reads its calibration and converts its samples.

ppk2-api is GPL-2.0, so it is the optional extra `ppk2`, and this is the one module that imports it. Two things that it
leaves to its user are done here. It ignores the 6-bit counter in each raw word, by which lost samples are found; a loss
of a multiple of 64 is found by the clock. And for three samples after each change of range it returns a rolling average
that reaches back before the change: charge of a training step would be counted to the pause after it. Those samples
take the value of the first settled one instead.

A raw word, little-endian: ADC 14 bits, range 3 bits at 14, counter 6 bits at 18, logic channels D0–D7 at 24.
"""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import serial
from numpy.typing import NDArray

from bench.errors import ConfigError, InfrastructureError
from bench.meters.meter import MeterSettings
from bench.meters.recording import Arrival, Recording, late_by_s
from bench.meters.trace import Instrument, Mark, Phase, Trace, count_outliers, with_gaps

RATE_HZ = 100_000.0
VOLTAGE_MV = (800, 5000)
_WORD = 4
_COUNTER = 64
_SETTLING = 3  # samples, spike_filter_samples of ppk2-api
_ATTEMPTS = 5
_READ_S = 0.2
_GET_META_DATA = b"\x19"
_META_DATA_BEGINS, _META_DATA_ENDS = b"Calibrated", b"END"
_DRAIN_S = 3.0
_STOP_S = 20.0  # an emulated instrument may have much to tell when it is told to stop
_JITTER_S = 0.003  # a loss that the clock alone shows must be later than what buffers and crystals make of 10 s


class Ppk2:
    """Carries out `Meter`."""

    has_logic = True

    def __init__(self, settings: MeterSettings) -> None:
        """Opens the port. Raises ConfigError without ppk2-api, InfrastructureError when the port cannot be opened."""
        try:
            from ppk2_api.ppk2_api import PPK2_API
        except ImportError as error:
            raise ConfigError(
                "meter ppk2 needs the package ppk2-api (GPL-2.0): pip install 'ftte-bench[ppk2]'"
            ) from error
        self._settings = settings
        self._name = f"PPK2 at {settings.port}"
        self._recording: Recording | None = None
        self._marks: list[Mark] = []
        try:
            self._api: Any = PPK2_API(settings.port, timeout=_READ_S, write_timeout=_DRAIN_S, exclusive=True)
        except (OSError, ValueError) as error:
            raise InfrastructureError(
                f"{self._name}: cannot be opened: {error}; is it plugged in, and in use by no other program?"
            ) from error
        self._defaults = {key: dict(value) for key, value in self._api.modifiers.items() if isinstance(value, dict)}
        self.instrument = Instrument("ppk2", self._name, settings.physical)

    def arm(self) -> None:
        """See Meter."""
        self._api.stop_measuring()
        self._read_calibration()
        self._api.set_source_voltage(self._settings.voltage_mv)
        if self._settings.supply == "meter":
            self._api.use_source_meter()
        else:
            self._api.use_ampere_meter()
        self._api.toggle_DUT_power("ON")
        self.instrument = replace(self.instrument, identity=f"{self._name}, hardware {self._api.modifiers['HW']}")

    def switch_off(self) -> None:
        """The board is without power until the next `arm()`."""
        try:
            self._api.toggle_DUT_power("OFF")
        except serial.SerialException as error:
            raise InfrastructureError(f"{self._name}: the instrument is gone: {error}") from error

    def start(self) -> None:
        """See Meter."""
        if self._recording is not None:
            self._recording.abandon()
        self._api.ser.reset_input_buffer()
        self._marks = []
        self._recording = recording = Recording(self._name, self._take, self._settings.clock, self._settings.silence_s)
        self._api.start_measuring()
        recording.wait(lambda: recording.received() >= _WORD, self._settings.silence_s, "no sample after the start")

    def mark(self, phase: Phase) -> None:
        """See Meter."""
        self._running().check()
        self._marks.append(Mark(self._running().received() // _WORD, phase))

    def wait(self, seconds: float, timeout_s: float) -> None:
        """See Meter."""
        recording, samples = self._running(), math.ceil(seconds * RATE_HZ)
        recording.wait(lambda: recording.received() // _WORD >= samples, timeout_s, f"{seconds:g} s of samples")

    def stop(self) -> Trace:
        """See Meter."""
        recording = self._running()
        recording.check()
        self._api.stop_measuring()
        # Nothing confirms the stop, but what is asked for behind it comes behind the last sample.
        self._write(_GET_META_DATA)
        self._recording = None
        raw = recording.stop(self._settings.silence_s, _STOP_S, lambda tail: _META_DATA_ENDS in tail)
        begins = raw.rfind(_META_DATA_BEGINS)
        return self._trace(raw if begins < 0 else raw[:begins], recording.arrivals)

    def close(self) -> None:
        """See Meter."""
        recording, self._recording = self._recording, None
        if recording is not None:
            self._api.stop_measuring()
            recording.abandon()
        with contextlib.suppress(OSError):
            self._api.ser.close()

    def _write(self, command: bytes) -> None:
        try:
            self._api.ser.write(command)
        except serial.SerialException as error:
            raise InfrastructureError(f"{self._name}: the instrument is gone: {error}") from error

    def _running(self) -> Recording:
        if self._recording is None:
            raise InfrastructureError(f"{self._name}: it does not record: start it first")
        return self._recording

    def _take(self) -> bytes:
        """What has come; waits a moment for the first byte."""
        return bytes(self._api.ser.read(1) + self._api.get_data())

    def _drain(self) -> None:
        """Forgets what is on its way: a program that was killed leaves the instrument sending."""
        deadline = time.monotonic() + _DRAIN_S
        try:
            while self._take():
                if time.monotonic() > deadline:
                    raise InfrastructureError(
                        f"{self._name}: it was told to stop and goes on sending; unplug it and plug it in again"
                    )
        except serial.SerialException as error:
            raise InfrastructureError(f"{self._name}: the instrument is gone: {error}") from error

    def _read_calibration(self) -> None:
        """ppk2-api takes the block only if it comes in one piece."""
        for _ in range(_ATTEMPTS):
            self._drain()
            for key, value in self._defaults.items():
                self._api.modifiers[key] = dict(value)
            try:
                known = self._api.get_modifiers()
            except (UnicodeDecodeError, serial.SerialException):
                known = None
            if known and self._api.modifiers["HW"] is not None:
                self._mend_calibration()
                return
        raise InfrastructureError(
            f"{self._name}: it does not say its calibration: is this port a PPK2's, and of its two ports the first?"
        )

    def _mend_calibration(self) -> None:
        """Ranges that were never calibrated say `nan`, which stands for the default."""
        for key, defaults in self._defaults.items():
            for range_, default in defaults.items():
                if not math.isfinite(self._api.modifiers[key][range_]):
                    self._api.modifiers[key][range_] = default

    def _trace(self, raw: bytes, arrivals: list[Arrival]) -> Trace:
        raw = raw[: len(raw) // _WORD * _WORD]
        if not raw:
            raise InfrastructureError(f"{self._name}: the recording holds no sample")
        words = np.frombuffer(raw, dtype="<u4")
        lost = lost_before(words)
        api = self._api
        api.rolling_avg = api.rolling_avg4 = api.prev_range = None
        api.after_spike = api.consecutive_range_samples = 0
        api.remainder = {"sequence": b"", "len": 0}
        converted = np.array(api.get_samples(raw)[0], dtype=np.float64)
        logic = (words >> 24).astype(np.uint8)
        settled = _settle(converted, words >> 14 & 7, logic)
        current, placed_logic, gaps = with_gaps(settled, logic, lost)
        late = late_by_s(arrivals, RATE_HZ * _WORD) - int(lost.sum()) / RATE_HZ
        unplaced = round(late * RATE_HZ / _COUNTER) * _COUNTER if late > _JITTER_S else 0
        places = np.arange(len(lost)) + np.cumsum(lost)
        marks = tuple(Mark(int(places[min(m.at, len(places) - 1)]), m.phase) for m in self._marks)
        return Trace(
            instrument=self.instrument,
            voltage_mv=self._settings.voltage_mv,
            supply=self._settings.supply,
            rate_hz=RATE_HZ,
            current_ua=current,
            logic=placed_logic,
            gaps=gaps,
            unplaced_samples=unplaced,
            marks=marks,
            outlier_samples=count_outliers(settled),
        )


def lost_before(words: NDArray[np.integer]) -> NDArray[np.int64]:
    """How many samples are missing before each word, as its counter tells: of 64 at once, none."""
    counter = (words >> 18 & (_COUNTER - 1)).astype(np.int64)
    return np.concatenate(([0], (np.diff(counter) - 1) % _COUNTER))


def _settle(
    current_ua: NDArray[np.float64], ranges: NDArray[np.integer], logic: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Replaces the samples after each change of range by the next settled one, or, if a logic channel changes between
    them, by the last one before."""
    changed = np.flatnonzero(np.diff(ranges.astype(np.int64))) + 1
    unsettled = np.zeros(len(current_ua), dtype=bool)
    for offset in range(_SETTLING):
        places = changed + offset
        unsettled[places[places < len(unsettled)]] = True
    if not unsettled.any() or unsettled.all():
        return current_ua
    places = np.arange(len(current_ua))
    after = np.minimum.accumulate(np.where(unsettled, len(places), places)[::-1])[::-1]
    before = np.maximum.accumulate(np.where(unsettled, -1, places))
    use = np.where(after < len(places), after, before)
    other = (before >= 0) & (logic[np.minimum(use, len(places) - 1)] != logic) & (logic[before] == logic)
    return current_ua[np.where(other, before, use)]
