"""What the federation core is told, and what it asks for: plain values, with times in seconds of any one clock.

Nothing changes one after it was made. They are not frozen because that makes one four times as dear, and a fleet makes
several for each client update.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
"""A model, or a change of one, as one flat vector."""

ReceivedVector = NDArray[np.float64] | NDArray[np.float32]
"""What a client sends may stay float32 while it waits; arithmetic is in float64."""


class Form(enum.StrEnum):
    """What the vector of an update is."""

    DELTA = "delta"
    """The trained weights minus those that the client began from."""
    TRAINED = "trained"
    """The trained weights themselves."""


class Refusal(enum.StrEnum):
    """Why an update was not taken."""

    FINISHED = "the federation has finished"
    UNKNOWN_CLIENT = "no such client"
    UNKNOWN_JOB = "no such job was assigned"
    WRONG_CLIENT = "the job is another client's"
    DUPLICATE = "the job was answered before"
    CANCELLED = "the job was cancelled"
    LOST = "the client failed in the job, left, or joined anew"
    CLOSED = "the job is over"
    FUTURE = "begun from a version that does not exist yet"
    WRONG_VERSION = "begun from another version than the job's"
    FORM = "a delta where trained weights are wanted, or the other way round"
    LENGTH = "not a vector of the model's length"
    NOT_FINITE = "values that are not finite, or that float32 cannot hold"
    SAMPLES = "its number of samples is not in the allowed range"
    VARIANCE = "its variance is not a finite number from 0"
    NORM = "its change is larger than allowed"
    STALE = "older than the maximum staleness"


@dataclass(slots=True)
class Started:
    """The run begins. The first event, and once."""

    at: float


@dataclass(slots=True)
class Update:
    """A client's answer to a job.

    `version` is what it began from. `vector` has the model's length, in `form`; `samples` is how many it trained on.
    `variance` is the variance of the change over its coordinates, if whoever decoded the update knows it; the core
    works it out otherwise, where the strategy looks at it.
    """

    at: float
    client: str
    job: int
    version: int
    vector: ReceivedVector
    samples: int
    form: Form = Form.DELTA
    variance: float | None = None


@dataclass(slots=True)
class Failed:
    """A client cannot do its job; it may be given another."""

    at: float
    client: str
    job: int
    reason: str


@dataclass(slots=True)
class Joined:
    """A client is there: a new one, or one that comes back. What it was doing before is lost."""

    at: float
    client: str


@dataclass(slots=True)
class Left:
    """A client is gone, with the job that it had."""

    at: float
    client: str


@dataclass(slots=True)
class Timer:
    """Time has passed. One that was not asked for does no harm."""

    at: float


Event = Started | Update | Failed | Joined | Left | Timer


@dataclass(slots=True)
class Assign:
    """Train from the core's weights, which are of `version`.

    `deadline` is when the answer is no longer waited for, None for never; `options` are the strategy's, by name (the
    proximal term of FedProx). `form` is how the answer is wanted.
    """

    client: str
    job: int
    version: int
    deadline: float | None
    form: Form
    options: Mapping[str, float]


@dataclass(slots=True)
class Cancel:
    """The job's answer is not wanted any more, and will be refused. A client that is there counts as free from now on.

    Comes also for the job of a client that has left or joined anew: each job ends with its answer, a Failed or this.
    """

    client: str
    job: int


@dataclass(slots=True)
class SetTimer:
    """Send a Timer at this time. Takes the place of any before."""

    at: float


@dataclass(slots=True)
class Refused:
    """An update was not taken, and never will be."""

    client: str
    job: int
    reason: Refusal
    detail: str = ""


@dataclass(slots=True)
class Excluded:
    """A client failed so often in a row that it is asked nothing until it joins anew."""

    client: str
    failures: int


@dataclass(slots=True)
class Entry:
    """One update's part in a step.

    `factor` is what its vector was multiplied by, server rate included; `variance` is None where the strategy does not
    look at it.
    """

    client: str
    job: int
    staleness: int
    samples: int
    variance: float | None
    factor: float


@dataclass(slots=True)
class Stepped:
    """The server made a step; `version` is the new one.

    `entries` are sorted by client and job. `discarded` counts what came to nothing since the step before: refused
    updates by their reason, jobs cancelled, failed or lost as "job cancelled", "job failed", "job lost".
    """

    at: float
    version: int
    entries: tuple[Entry, ...]
    discarded: Mapping[str, int]


@dataclass(slots=True)
class Finished:
    """Nothing more will be asked. `unused` updates had come but were not yet part of a step."""

    at: float
    version: int
    updates: int
    unused: int
    reason: str


Action = Assign | Cancel | SetTimer | Refused | Excluded | Stepped | Finished
