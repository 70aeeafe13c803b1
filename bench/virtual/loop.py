"""The board process's one thread: waits for files to become ready and for timers. Nothing in it polls."""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(order=True)
class Timer:
    """One call in the future."""

    at: float
    order: int
    call: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        """The call does not happen."""
        self.cancelled = True


@dataclass
class _Watch:
    readable: Callable[[], None] | None = None
    writable: Callable[[], None] | None = None

    @property
    def events(self) -> int:
        return (select.EPOLLIN if self.readable else 0) | (select.EPOLLOUT if self.writable else 0)


class Loop:
    """Calls back on readiness of file descriptors and after delays. An error or hang-up counts as readiness."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watches: dict[int, _Watch] = {}
        self._registered: dict[int, int] = {}
        self._timers: list[Timer] = []
        self._order = itertools.count()
        self._stopped = False

    def on_readable(self, fd: int, call: Callable[[], None] | None) -> None:
        """Calls whenever `fd` can be read; None ends it."""
        self._watches.setdefault(fd, _Watch()).readable = call
        self._update(fd)

    def on_writable(self, fd: int, call: Callable[[], None] | None) -> None:
        """Calls whenever `fd` can be written; None ends it."""
        self._watches.setdefault(fd, _Watch()).writable = call
        self._update(fd)

    def forget(self, fd: int) -> None:
        """Ends both; to be called before the descriptor is closed."""
        self._watches.pop(fd, None)
        if self._registered.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Calls once after a delay."""
        timer = Timer(time.monotonic() + seconds, next(self._order), call)
        heapq.heappush(self._timers, timer)
        return timer

    def stop(self) -> None:
        """Makes run() return after the calls in progress."""
        self._stopped = True

    def run(self) -> None:
        """Until stop()."""
        while not self._stopped:
            for fd, events in self._epoll.poll(self._wait()):
                watch = self._watches.get(fd)
                if watch is None:
                    continue
                if watch.writable is not None and events & ~select.EPOLLIN:
                    watch.writable()
                # What was just called may have ended this watch, or closed and reused the descriptor.
                if watch.readable is not None and events & ~select.EPOLLOUT and self._watches.get(fd) is watch:
                    watch.readable()
            if self._timers:
                self._expire()

    def close(self) -> None:
        """Frees the kernel's object."""
        self._epoll.close()

    def _update(self, fd: int) -> None:
        events = self._watches[fd].events
        registered = self._registered.get(fd)
        if not events:
            self.forget(fd)
        elif registered is None:
            self._epoll.register(fd, events)
            self._registered[fd] = events
        elif registered != events:
            self._epoll.modify(fd, events)
            self._registered[fd] = events

    def _wait(self) -> float | None:
        while self._timers and self._timers[0].cancelled:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0].at - time.monotonic()) if self._timers else None

    def _expire(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0].at <= now:
            timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                timer.call()
