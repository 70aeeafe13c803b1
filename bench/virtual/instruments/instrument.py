"""What emulated meters have in common: a terminal, a recording that follows the feed, and faults on purpose."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.virtual.instruments.feeds import Feed
from bench.virtual.instruments.spec import Faults
from bench.virtual.instruments.terminal import Terminal
from bench.virtual.instruments.waveform import Waveform
from bench.virtual.loop import Loop, Timer

_TICK_S = 0.004
_BLOCK = 16_384  # samples rendered at once


class Instrument(ABC):
    """A meter on a pseudo-terminal.

    What the host does not take yet waits: a sample is only lost where `faults` say so. What the feed tells is sent at
    once, however long it lasted in the instrument's own time.
    """

    def __init__(self, loop: Loop, folder: Path, feed: Feed, faults: Faults, rate_hz: float) -> None:
        self.rate_hz = rate_hz
        self.taken = 0
        """Samples of this recording, those that are dropped included."""
        self._loop = loop
        self._truth = folder / "truth.json"
        self._feed = feed
        self._faults = faults
        self._random = np.random.default_rng(faults.seed)
        self._waveform: Waveform | None = None
        self._recordings = 0
        self._timer: Timer | None = None
        self._dropping = 0
        self._gone = False
        self.terminal = Terminal(loop, folder / "port", self._heard, self._send_on)

    @property
    def recording(self) -> bool:
        """Whether it takes samples."""
        return self._waveform is not None

    @property
    def frozen(self) -> bool:
        """Whether it neither sends nor hears any more, as it was told to."""
        limit = self._faults.freeze_after_s
        return limit is not None and self.taken >= limit * self.rate_hz

    def begin(self) -> None:
        """A recording begins."""
        self.taken = 0
        self._dropping = 0
        self._recordings += 1
        self._feed.begin()
        self._waveform = Waveform(self.rate_hz, self._feed.character_s)
        self._schedule()

    def end(self) -> None:
        """The recording ends, with everything that has happened until now."""
        waveform = self._waveform
        if waveform is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        waveform.add(self._feed.take())
        while waveform.waiting and not self.frozen:
            self._render(waveform)
        self._waveform = None
        temporary = self._truth.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(waveform.truth)), encoding="utf-8")
        temporary.replace(self._truth)

    def close(self) -> None:
        """Unplugs it."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._gone:
            self._gone = True
            self.terminal.close()

    @abstractmethod
    def hear(self, data: bytes) -> None:
        """Takes what the host has sent."""

    @abstractmethod
    def encode(self, current_ua: NDArray[np.float64], logic: NDArray[np.uint8], sent: NDArray[np.bool_]) -> bytes:
        """Samples from `taken` on as they travel, without those that are not sent."""

    def _heard(self, data: bytes) -> None:
        if not self.frozen:
            self.hear(data)

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(_TICK_S, self._tick)

    def _tick(self) -> None:
        if self._waveform is not None and not self._gone:
            self._waveform.add(self._feed.take())
            self._send_on()
            self._schedule()

    def _send_on(self) -> None:
        while self._waveform is not None and self._waveform.waiting and self.terminal.idle and not self.frozen:
            if not self._render(self._waveform):
                return

    def _render(self, waveform: Waveform) -> int:
        """Sends a block; returns how many samples there were."""
        current, logic = waveform.render(self._room())
        if len(current):
            sent = self._kept(len(current))
            waveform.truth.dropped_samples += int(np.count_nonzero(~sent))
            data = self.encode(self._disturbed(current), logic, sent)
            self.taken += len(current)
            self.terminal.send(data)
        limit = self._faults.unplug_after_s
        if limit is not None and self.taken >= limit * self.rate_hz:
            self._waveform = None
            self.close()
        return len(current)

    def _room(self) -> int:
        limit = self._faults.freeze_after_s
        return _BLOCK if limit is None else max(1, min(_BLOCK, int(np.ceil(limit * self.rate_hz)) - self.taken))

    @property
    def _faulty(self) -> bool:
        return self._faults.faulty_recordings == 0 or self._recordings <= self._faults.faulty_recordings

    def _disturbed(self, current: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._faults.noise_ua:
            current = current + self._random.normal(0.0, self._faults.noise_ua, len(current))
        if self._faults.spikes_per_s and self._faulty:
            hit = self._random.random(len(current)) < self._faults.spikes_per_s / self.rate_hz
            current = current + self._faults.spike_ua * hit
        return current

    def _kept(self, samples: int) -> NDArray[np.bool_]:
        """Which of the next samples are sent."""
        kept = np.ones(samples, dtype=bool)
        if not self._faults.drops_per_s or not self._faulty:
            return kept
        kept[: self._dropping] = False
        self._dropping = max(0, self._dropping - samples)
        length = self._faults.drop_samples
        for at in np.flatnonzero(self._random.random(samples) < self._faults.drops_per_s / self.rate_hz):
            kept[at : at + length] = False
            self._dropping = max(self._dropping, int(at) + length - samples)
        return kept
