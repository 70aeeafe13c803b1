"""An emulated X-NUCLEO-LPM01A: its text commands, and its stream of two-byte values with records in between.

ST's UM2269 has both. A value is four bits of a power p of 16 and twelve of a mantissa m, big-endian: m · 16^-p in
ampere; p = 15 never occurs, so that 0xF0 begins a record: F3 is a time stamp (milliseconds in four bytes, the buffer's
load in percent), F1 an error's text, F5 an overcurrent, F4 the end of the acquisition; each ends with 0xFFFF. In ASCII
a value is four digits and a power of ten, as 6409-07, one a line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.virtual.instruments.feeds import Feed
from bench.virtual.instruments.instrument import Instrument
from bench.virtual.instruments.spec import Faults
from bench.virtual.loop import Loop

_PROMPT: Final = "\r\nPowerShield > "
_BETWEEN_STAMPS: Final = 1000  # values
_LIMIT_UA: Final = 50_000.0
_ASCII_MOST_HZ: Final = 5_000
_END: Final = b"\xf0\xf4\xff\xff"
_OVERCURRENT: Final = b"\xf0\xf5\xff\xff"
_FREQUENCIES: Final = {
    "100k": 100_000, "50k": 50_000, "20k": 20_000, "10k": 10_000, "5k": 5_000, "2k": 2_000, "1k": 1_000, "500": 500,
    "200": 200, "100": 100, "50": 50, "20": 20, "10": 10, "5": 5, "2": 2, "1": 1,
}  # fmt: skip
_CHOICES: Final = {
    "format": ("ascii_dec", "bin_hexa"), "output": ("current",), "funcmode": ("optim", "high"), "trigsrc": ("sw",),
    "acqmode": ("dyn",), "pwrend": ("on", "off"), "acqtime": ("inf", "0"), "trigdelay": ("0",),
}  # fmt: skip


class VirtualLpm01a(Instrument):
    """Behaves as the board does on its USB serial port, in dynamic mode, with continuous acquisitions."""

    def __init__(self, loop: Loop, folder: Path, feed: Feed, faults: Faults) -> None:
        super().__init__(loop, folder, feed, faults, 100.0)
        self.voltage_mv = 3300
        self.powered = False
        self.binary = False
        self._controlled = False
        self._line = bytearray()
        self._calls: dict[str, Callable[[str], None]] = {
            "version": self._version, "volt": self._volt, "freq": self._freq, "pwr": self._pwr, "start": self._start,
            "stop": self._stop,
        }  # fmt: skip

    def hear(self, data: bytes) -> None:
        """See Instrument."""
        self._line += data
        while b"\n" in self._line:
            line, _, rest = bytes(self._line).partition(b"\n")
            self._line[:] = rest
            command = line.decode("ascii", errors="replace").strip()
            if command:
                self._obey(command)

    def encode(self, current_ua: NDArray[np.float64], _logic: NDArray[np.uint8], sent: NDArray[np.bool_]) -> bytes:
        """See Instrument. It samples no logic channels."""
        current = np.maximum(current_ua, 0.0) * 1e-6 if self.powered else np.zeros_like(current_ua)
        pieces = []
        first = self.taken
        while first < self.taken + len(current):
            here = first - self.taken
            if first % _BETWEEN_STAMPS == 0:
                pieces.append(self._stamp(first))
            after = min(len(current), here + _BETWEEN_STAMPS - first % _BETWEEN_STAMPS)
            part = current[here:after][sent[here:after]]
            pieces.append(_binary(part) if self.binary else _text(part))
            first = self.taken + after
        if current.max(initial=0.0) * 1e6 > _LIMIT_UA and self.powered:
            self.powered = False
            pieces.append(_OVERCURRENT if self.binary else b"error overcurrent\r\n")
        return b"".join(pieces)

    def _stamp(self, sample: int) -> bytes:
        milliseconds = round(sample * 1000 / self.rate_hz)
        if self.binary:
            return b"\xf0\xf3" + milliseconds.to_bytes(4, "big") + b"\x00\xff\xff"
        return f"TimeStamp: {milliseconds // 1000:03}s {milliseconds % 1000:03}ms, buff 00%\r\n".encode()

    def _obey(self, command: str) -> None:
        verb, _, argument = command.partition(" ")
        if self.recording and verb != "stop":
            return
        if verb in ("htc", "hrc"):
            self._controlled = verb == "htc"
            self._ack(command)
        elif not self._controlled:
            self._refuse(command, "Board is not controlled by host: use command 'htc'")
        elif verb in _CHOICES:
            self._choose(verb, argument)
        elif verb in self._calls:
            self._calls[verb](argument)
        else:
            self._refuse(command, "Command unknown")

    def _choose(self, verb: str, argument: str) -> None:
        if argument not in _CHOICES[verb]:
            self._refuse(f"{verb} {argument}", f"{argument} is not among {', '.join(_CHOICES[verb])}")
            return
        if verb == "format":
            self.binary = argument == "bin_hexa"
        self._ack(f"{verb} {argument}")

    def _ack(self, command: str) -> None:
        self.terminal.send(f"{_PROMPT}ack {command}\r\n\r\n".encode("ascii", errors="replace"))

    def _refuse(self, command: str, why: str) -> None:
        self.terminal.send(f"{_PROMPT}error {command}\r\n\r\nError detail: {why}\r\n".encode("ascii", errors="replace"))

    def _version(self, _argument: str) -> None:
        self._ack("version")
        self.terminal.send(b"1.0.6\r\n")

    def _volt(self, argument: str) -> None:
        match = re.fullmatch(r"(\d+)m", argument)
        if match is None or not 1800 <= int(match[1]) <= 3300:
            self._refuse(f"volt {argument}", "voltage out of range 1800m to 3300m")
            return
        self.voltage_mv = int(match[1])
        self._ack(f"volt {argument}")

    def _freq(self, argument: str) -> None:
        if argument not in _FREQUENCIES:
            self._refuse(f"freq {argument}", f"{argument} is not among {', '.join(_FREQUENCIES)}")
            return
        self.rate_hz = float(_FREQUENCIES[argument])
        self._ack(f"freq {argument}")

    def _pwr(self, argument: str) -> None:
        if argument not in ("on", "off", "auto"):
            self._refuse(f"pwr {argument}", f"{argument} is not among auto, on, off")
            return
        self.powered = argument == "on"
        self._ack(f"pwr {argument}")

    def _start(self, _argument: str) -> None:
        if not self.binary and self.rate_hz > _ASCII_MOST_HZ:
            self._refuse("start", "format ascii_dec is limited to 5k for an unlimited acquisition")
            return
        self.powered = True
        self._ack("start")
        self.begin()

    def _stop(self, _argument: str) -> None:
        self.end()
        self.terminal.send((_END if self.binary else b"end\r\n") + f"{_PROMPT}Acquisition completed\r\n".encode())


def _binary(current_a: NDArray[np.float64]) -> bytes:
    """The greatest power with which the mantissa has its twelve bits."""
    with np.errstate(divide="ignore"):
        power = np.floor(np.log(4095.49 / current_a) / math.log(16))
    power = np.clip(np.nan_to_num(power, posinf=14.0), 0, 14)
    mantissa = np.minimum(np.rint(current_a * 16.0**power), 4095)
    words = power.astype(np.uint16) << 12 | mantissa.astype(np.uint16)
    return bytes(words.astype(">u2").tobytes())


def _text(current_a: NDArray[np.float64]) -> bytes:
    lines = []
    for value in current_a:
        power = 0 if value <= 0 else max(-99, math.floor(math.log10(value)) - 3)
        mantissa = min(9999, round(value / 10.0**power))
        lines.append(f"{mantissa:04}{power:+03}\r\n")
    return "".join(lines).encode("ascii")
