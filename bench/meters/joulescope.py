"""Joulescope JS110 and JS220, through their maker's package.

Written against the package's documentation and source; untried on an instrument. It lies in the supply's way and
measures voltage as well as current; its general-purpose inputs 0 and 1 are logic channels D0 and D1.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.errors import ConfigError, InfrastructureError
from bench.meters.meter import MeterSettings
from bench.meters.trace import Gap, Instrument, Mark, Phase, Trace, count_outliers

RATE_HZ: Final = 100_000.0
CHANNELS: Final = 2
_BUFFER_S: Final = 120
_LOOK_S: Final = 0.05
_FIELDS: Final = ("current", "voltage", "current_lsb", "voltage_lsb")


class Joulescope:
    """Carries out `Meter`."""

    has_logic = True

    def __init__(self, settings: MeterSettings) -> None:
        """Opens the instrument of that serial number, or the only one.

        Raises ConfigError without the package, InfrastructureError when there is no such instrument.
        """
        try:
            import joulescope
        except ImportError as error:
            raise ConfigError(
                "meter joulescope needs the package joulescope: pip install 'ftte-bench[joulescope]'"
            ) from error
        self._settings = settings
        self._marks: list[Mark] = []
        self._first = 0
        name = f"Joulescope {settings.port}".rstrip()
        try:
            found = [device for device in joulescope.scan() if settings.port in str(device)]
            if len(found) != 1:
                listed = ", ".join(map(str, found)) or "none"
                raise InfrastructureError(
                    f"{name}: {len(found)} instruments match ({listed}); plug it in, or say which in `port`"
                )
            self._device: Any = found[0]
            self._device.open()
        except (OSError, RuntimeError, ValueError) as error:
            raise InfrastructureError(f"{name}: cannot be opened: {error}") from error
        self._name = str(self._device)
        self.instrument = Instrument("joulescope", self._name, settings.physical)

    def arm(self) -> None:
        """See Meter."""
        parameters = (
            ("source", "on"), ("i_range", "auto"), ("sampling_frequency", int(RATE_HZ)),
            ("buffer_duration", _BUFFER_S), ("current_lsb", "gpi0"), ("voltage_lsb", "gpi1"),
        )  # fmt: skip
        try:
            for name, value in parameters:
                self._device.parameter_set(name, value)
        except (KeyError, OSError, RuntimeError, ValueError) as error:
            raise InfrastructureError(f"{self._name}: cannot be set up: {error}") from error

    def start(self) -> None:
        """See Meter."""
        self._marks = []
        try:
            self._device.start()
        except (OSError, RuntimeError) as error:
            raise InfrastructureError(f"{self._name}: does not start: {error}") from error
        self._first = 0
        self._until(lambda: self._range()[1] > 0, self._settings.silence_s, "no sample after the start")
        self._first = self._range()[0]

    def mark(self, phase: Phase) -> None:
        """See Meter."""
        self._marks.append(Mark(self._range()[1] - self._first, phase))

    def wait(self, seconds: float, timeout_s: float) -> None:
        """See Meter."""
        samples = math.ceil(seconds * RATE_HZ)
        self._until(lambda: self._range()[1] - self._first >= samples, timeout_s, f"{seconds:g} s of samples")

    def stop(self) -> Trace:
        """See Meter."""
        first, last = self._range()
        if first > self._first:
            raise InfrastructureError(f"{self._name}: the recording is longer than {_BUFFER_S} s, so its begin is lost")
        try:
            signals = self._device.stream_buffer.samples_get(self._first, last, fields=list(_FIELDS))["signals"]
            self._device.stop()
        except (OSError, RuntimeError, ValueError) as error:
            raise InfrastructureError(f"{self._name}: the instrument is gone: {error}") from error
        current, voltage, marker, other = (np.asarray(signals[field]["value"]) for field in _FIELDS)
        current_ua: NDArray[np.float64] = current.astype(np.float64) * 1e6
        logic = (marker.astype(np.uint8) & 1) | (other.astype(np.uint8) & 1) << 1
        return Trace(
            instrument=self.instrument,
            voltage_mv=round(float(np.nanmean(voltage)) * 1000) if len(voltage) else 0,
            supply="external",
            rate_hz=RATE_HZ,
            current_ua=current_ua,
            logic=logic.astype(np.uint8),
            gaps=missing(current_ua),
            marks=tuple(self._marks),
            outlier_samples=count_outliers(current_ua),
        )

    def close(self) -> None:
        """See Meter."""
        with contextlib.suppress(OSError, RuntimeError):
            self._device.stop()
            self._device.close()

    def _range(self) -> tuple[int, int]:
        first, last = self._device.stream_buffer.sample_id_range
        return int(first), int(last)

    def _until(self, condition: Any, timeout_s: float, what: str) -> None:
        """Samples are put into the buffer by a thread of the package, which tells no one."""
        deadline = time.monotonic() + timeout_s
        last, since = -1, time.monotonic()
        while not condition():
            now, taken = time.monotonic(), self._range()[1]
            if taken != last:
                last, since = taken, now
            if now - since > self._settings.silence_s:
                raise InfrastructureError(
                    f"{self._name}: no sample for {now - since:.1f} s: unplug it, plug it in again"
                )
            if now > deadline:
                raise InfrastructureError(f"{self._name}: {what}: not within {timeout_s:g} s")
            threading.Event().wait(_LOOK_S)


def missing(current_ua: NDArray[np.float64]) -> tuple[Gap, ...]:
    """Samples that did not arrive are not numbers."""
    lost = np.isnan(current_ua).astype(np.int8)
    edges = np.flatnonzero(np.diff(lost, prepend=0, append=0))
    return tuple(Gap(int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True))
