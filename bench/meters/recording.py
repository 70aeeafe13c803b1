"""Takes bytes from an instrument as they come, in a thread of its own: a port's buffer holds a few milliseconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bench.errors import InfrastructureError
from bench.meters.meter import Clock

_WAIT_S = 0.1


class Source(Protocol):
    """Where bytes come from: what is there, waiting a short time for the first; OSError when it is gone."""

    def __call__(self) -> bytes: ...


@dataclass(frozen=True)
class Arrival:
    """By the clock, so many bytes had arrived."""

    at: float
    total: int


class Recording:
    """One recording's bytes; begins when it is made."""

    def __init__(self, name: str, read: Source, clock: Clock | None, silence_s: float) -> None:
        """`name` is the instrument in messages. `read` is called by one thread alone until stop() has returned."""
        self._name = name
        self._read = read
        self._clock = clock
        self._silence_s = silence_s
        self._data = bytearray()
        self.arrivals: list[Arrival] = []
        self._error: Exception | None = None
        self._changed = threading.Condition(threading.RLock())
        self._ending = threading.Event()
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"meter {name}", daemon=True)
        self._thread.start()

    def received(self) -> int:
        """Bytes so far."""
        with self._changed:
            return len(self._data)

    def check(self) -> None:
        """Raises InfrastructureError when the instrument is gone or frozen."""
        with self._changed:
            error, last = self._error, self._last
        if error is not None:
            raise InfrastructureError(
                f"{self._name}: the instrument is gone: {error}; is it still plugged in?"
            ) from error
        silent = time.monotonic() - last
        if silent > self._silence_s:
            raise InfrastructureError(
                f"{self._name}: no sample for {silent:.1f} s: the instrument is frozen; unplug it and plug it in again"
            )

    def wait(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Until a condition on what has come holds. Raises InfrastructureError."""
        deadline = time.monotonic() + timeout_s
        while True:
            with self._changed:
                if condition():
                    return
                self._changed.wait(_WAIT_S)
            self.check()
            if time.monotonic() > deadline:
                raise InfrastructureError(f"{self._name}: {what}: not within {timeout_s:g} s")

    def stop(self, quiet_s: float, timeout_s: float, ended: Callable[[bytes], bool] = lambda _tail: False) -> bytes:
        """Takes what is still on its way, until `ended` says of the last bytes that they are the last, or nothing more
        comes for a while; returns everything.

        Raises InfrastructureError: the instrument is gone, or does not stop.
        """
        begun = time.monotonic()
        deadline = begun + timeout_s
        with self._changed:
            while self._error is None and not ended(bytes(self._data[-64:])):
                # Not since the last byte alone: an emulated instrument may have been silent until it was told to stop.
                if time.monotonic() - max(self._last, begun) > quiet_s:
                    break
                if time.monotonic() > deadline:
                    self._abandon()
                    raise InfrastructureError(
                        f"{self._name}: it was told to stop and goes on; unplug it and plug it in again"
                    )
                self._changed.wait(quiet_s / 4)
        self._abandon()
        self._thread.join()
        if self._error is not None:
            self.check()
        return bytes(self._data)

    def abandon(self) -> None:
        """Ends the thread, whatever comes; harmless when it has ended."""
        self._abandon()
        self._thread.join()

    def _abandon(self) -> None:
        self._ending.set()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                data = self._read()
            except Exception as error:  # a port that is unplugged raises what its driver likes
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                return
            if data:
                with self._changed:
                    self._data += data
                    self._last = time.monotonic()
                    if self._clock is not None:
                        self.arrivals.append(Arrival(self._clock(), len(self._data)))
                    self._changed.notify_all()


def late_by_s(arrivals: list[Arrival], bytes_per_s: float, edge_s: float = 1.0) -> float:
    """How much later the last bytes came than they would if none between had been lost; 0 if that cannot be told.

    The least delay in the first second is compared with the least in the last: how long a block waits in buffers
    varies by milliseconds, the least delay does not.
    """
    if not arrivals or arrivals[-1].at - arrivals[0].at < 2 * edge_s:
        return 0.0
    begin, end = arrivals[0].at, arrivals[-1].at
    first = min(a.at - a.total / bytes_per_s for a in arrivals if a.at <= begin + edge_s)
    last = min(a.at - a.total / bytes_per_s for a in arrivals if a.at >= end - edge_s)
    return max(0.0, last - first)
