"""What an emulated meter is made of; it crosses to the instrument's process as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from bench.errors import ConfigError

_STRICT = ConfigDict(extra="forbid")

VirtualMeterKind = Literal["ppk2", "lpm01a"]
NotNegative = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Faults:
    """What goes wrong, and when; all of it repeats exactly for a seed. Times are the instrument's own.

    `noise_ua` is the standard deviation of what is added to each sample. Dropped samples are lost between instrument
    and host: the instrument has counted them. `faulty_recordings` limits drops and spikes to the first so many
    recordings; 0: all.
    """

    __pydantic_config__ = _STRICT

    seed: int = 0
    noise_ua: NotNegative = 0.0
    spikes_per_s: NotNegative = 0.0
    spike_ua: NotNegative = 100_000.0
    drops_per_s: NotNegative = 0.0
    drop_samples: Annotated[int, Field(ge=1)] = 1
    faulty_recordings: Annotated[int, Field(ge=0)] = 0
    freeze_after_s: Annotated[float, Field(gt=0)] | None = None
    unplug_after_s: Annotated[float, Field(gt=0)] | None = None


@dataclass(frozen=True)
class Stretch:
    """For some seconds the board draws one current; `does` is what its pins show meanwhile."""

    __pydantic_config__ = _STRICT

    seconds: NotNegative
    current_ua: NotNegative
    does: Literal["idle", "receive", "send", "compute"] = "idle"


@dataclass(frozen=True)
class Script:
    """Stretches from the start of each recording on, then the last one without end. `speed` is in seconds a second;
    0: as fast as the host takes them, and what follows the last in real time."""

    __pydantic_config__ = _STRICT

    stretches: Annotated[tuple[Stretch, ...], Field(min_length=1)]
    speed: NotNegative = 1.0


@dataclass(frozen=True)
class BoardFeed:
    """A virtual board: the files that it writes, and the figures of its manifest that turn them into a current.

    `phases` and `traffic` are described in bench/virtual/instruments/board_feed.py; currents are in µA.
    """

    __pydantic_config__ = _STRICT

    phases: str
    traffic: str
    core_hz: Annotated[int, Field(gt=0)]
    cycles_per_instruction: Annotated[float, Field(gt=0)]
    baud: Annotated[int, Field(gt=0)]
    run_ua: NotNegative
    sleep_ua: NotNegative


@dataclass(frozen=True)
class InstrumentSpec:
    """One emulated meter. In `folder` it makes the link to its terminal, `port`, and after each recording `truth.json`,
    which says what the current really was."""

    __pydantic_config__ = _STRICT

    kind: VirtualMeterKind
    folder: str
    feed: Script | BoardFeed
    faults: Faults = Faults()

    def to_json(self) -> str:
        """The spec as one JSON object."""
        return TypeAdapter(type(self)).dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str, source: str = "spec") -> Self:
        """Reads what to_json wrote. Raises ConfigError, naming `source`."""
        try:
            return TypeAdapter(cls).validate_json(text)
        except ValidationError as error:
            faults = [f"{'.'.join(str(part) for part in e['loc']) or 'spec'}: {e['msg']}" for e in error.errors()]
            raise ConfigError(f"{source}: " + "; ".join(faults)) from error
