"""The `[federation]` section of an experiment: one form for each strategy, validated whole.

[federation]
strategy = "ftte"
concurrency = 50
buffer = 10
rounds = 400
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from bench.errors import ConfigError
from bench.federation.core import Core, Limits, Stop
from bench.federation.events import Vector
from bench.federation.participation import Continuous, Participation, Rounds
from bench.federation.strategies.base import Strategy
from bench.federation.strategies.fedasync import FedAsync
from bench.federation.strategies.fedavg import FedAvg
from bench.federation.strategies.fedbuff import FedBuff
from bench.federation.strategies.fedprox import FedProx
from bench.federation.strategies.ftte import FORMULAS, Ftte

EVERYONE = 1_000_000
"""Stands for all clients while it is not known how many there are."""

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Exponent = Annotated[float, Field(ge=0, le=8)]  # so that no weight of an update leaves float64's range
_Count = Annotated[int, Field(ge=1)]


class _Common(BaseModel):
    """What all strategies have: when to stop, and what clients may do."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    rounds: _Count | None = None
    """Server steps; in a synchronous strategy each is a round."""
    updates: _Count | None = None
    """Accepted client updates."""
    time_s: _Positive | None = None
    """Seconds of the clock that the federation runs on."""
    max_samples: _Count | None = None
    """An update that claims more is refused."""
    max_update_norm: _Positive | None = None
    """An update whose change is larger (Euclidean norm) is refused; of FedAsync, whose clients send models, the change
    from the server's weights when it arrives, other clients' steps included."""
    average: float = Field(default=0.0, ge=0, lt=1)
    """What each step leaves of the running mean of the server's weights, which is the model that is judged and
    delivered; 0: these weights themselves. Clients begin from the weights."""
    max_failures: _Count = 3
    """In a row, after which a client is asked nothing until it joins anew."""

    @model_validator(mode="after")
    def _ends(self) -> _Common:
        if self.rounds is None and self.updates is None and self.time_s is None:
            raise ValueError("one of rounds, updates and time_s must say when it ends")
        return self

    @property
    def stop(self) -> Stop:
        """When it ends."""
        return Stop(self.rounds, self.updates, self.time_s)

    @property
    def limits(self) -> Limits:
        """What clients may do."""
        return Limits(self.max_samples, self.max_update_norm, self.max_failures)


class _Synchronous(_Common):
    clients_per_round: _Count
    over_selection: float = Field(default=0.0, ge=0, le=10)
    """So many more clients are asked, as a share of clients_per_round; the first clients_per_round answers count."""
    deadline_s: _Positive | None = None
    """A round goes on without those that have not answered by then."""
    min_clients: _Count = 1
    """A round with fewer updates than this waits on."""
    server_rate: _Positive = 1.0

    @model_validator(mode="after")
    def _enough(self) -> _Synchronous:
        if self.min_clients > self.clients_per_round:
            raise ValueError(f"min_clients ({self.min_clients}) is above clients_per_round ({self.clients_per_round})")
        return self

    @property
    def participation(self) -> Participation:
        """Rounds."""
        return Rounds(self.clients_per_round, self.over_selection, self.deadline_s, self.min_clients)


class _Asynchronous(_Common):
    concurrency: _Count
    """Clients at work at all times."""
    max_staleness: int | None = Field(default=None, ge=0)
    """Updates that are older, in server steps, are dropped."""
    deadline_s: _Positive | None = None
    """A job that takes longer is cancelled."""

    @property
    def participation(self) -> Participation:
        """Continuous."""
        return Continuous(self.concurrency, self.max_staleness, self.deadline_s)


class FedAvgSettings(_Synchronous):
    """See strategies/fedavg.py."""

    strategy: Literal["fedavg"]

    def make(self) -> Strategy:
        """The strategy."""
        return FedAvg(self.server_rate)


class FedProxSettings(_Synchronous):
    """See strategies/fedprox.py."""

    strategy: Literal["fedprox"]
    mu: float = Field(default=0.01, ge=0, allow_inf_nan=False)

    def make(self) -> Strategy:
        """The strategy."""
        return FedProx(self.server_rate, self.mu)


class FedAsyncSettings(_Asynchronous):
    """See strategies/fedasync.py."""

    strategy: Literal["fedasync"]
    alpha: float = Field(default=0.6, gt=0, le=1)
    staleness: Literal["constant", "polynomial", "hinge"] = "polynomial"
    a: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    b: float = Field(default=4.0, ge=0, allow_inf_nan=False)

    def make(self) -> Strategy:
        """The strategy."""
        return FedAsync(self.alpha, self.staleness, self.a, self.b)


class FedBuffSettings(_Asynchronous):
    """See strategies/fedbuff.py."""

    strategy: Literal["fedbuff"]
    buffer: _Count = 10
    server_rate: _Positive = 1.0

    def make(self) -> Strategy:
        """The strategy."""
        return FedBuff(self.buffer, self.server_rate)


class FtteSettings(_Asynchronous):
    """See strategies/ftte.py."""

    strategy: Literal["ftte"]
    buffer: _Count = 10
    server_rate: _Positive = 1.0
    a: _Exponent = 0.5
    b: float = Field(default=0.5, ge=-8, le=8)
    normalise: Literal["weights", "buffer"] = "weights"
    formula: str = "power"

    @field_validator("formula")
    @classmethod
    def _known(cls, formula: str) -> str:
        if formula not in FORMULAS:
            raise ValueError(f"{formula!r} is none of {', '.join(FORMULAS)}")
        return formula

    def make(self) -> Strategy:
        """The strategy."""
        return Ftte(self.buffer, self.server_rate, self.a, self.b, self.normalise, self.formula)


FederationSettings = Annotated[
    FedAvgSettings | FedProxSettings | FedAsyncSettings | FedBuffSettings | FtteSettings,
    Field(discriminator="strategy"),
]

_ADAPTER: TypeAdapter[FederationSettings] = TypeAdapter(FederationSettings)


def parse_federation(section: Mapping[str, Any]) -> FederationSettings:
    """Validates a `[federation]` section. Raises ConfigError that names every wrong field."""
    try:
        return validate_federation(section)
    except ValidationError as error:
        problems = [f"  {'.'.join(('federation', *map(str, item['loc'])))}: {item['msg']}" for item in error.errors()]
        raise ConfigError(f"{len(problems)} problem(s)\n" + "\n".join(problems)) from error


def validate_federation(section: Mapping[str, Any]) -> FederationSettings:
    """Validates a `[federation]` section. Raises pydantic's ValidationError with each problem at its field's place."""
    try:
        return _ADAPTER.validate_python(dict(section))
    except ValidationError as error:
        problems = problems_of(error)
        for problem in problems:
            problem["loc"] = _field(problem["loc"])
        raise ValidationError.from_exception_data("federation", problems) from error


def problems_of(error: ValidationError, place: tuple[int | str, ...] = ()) -> list[InitErrorDetails]:
    """An error's problems, at a place of a larger file."""
    return [
        {"type": PydanticCustomError(item["type"], "{text}", {"text": item["msg"]}), "loc": (*place, *item["loc"]),
         "input": item["input"]}
        for item in error.errors()
    ]  # fmt: skip


def make_core(settings: FederationSettings, weights: Vector, clients: Iterable[str], seed: int) -> Core:
    """A federation as the settings have it. Raises ConfigError as Core does."""
    strategy, participation = settings.make(), settings.participation
    return Core(strategy, participation, weights, clients, seed, settings.stop, settings.limits, settings.average)


def resume_core(settings: FederationSettings, state: Mapping[str, Any]) -> Core:
    """One that `Core.to_state` was asked of. Raises ConfigError when the settings were others."""
    strategy, participation = settings.make(), settings.participation
    return Core.from_state(state, strategy, participation, settings.stop, settings.limits, settings.average)


def _field(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Without the strategy's name, which comes first where there is one; where not, the strategy is wrong."""
    return location[1:] if location else ("strategy",)
