"""What an experiment file says of its federation: `[federation]`, `[update]`, and what variants have instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import InitErrorDetails

from bench.errors import ConfigError
from bench.federation.federated_run import Clock
from bench.federation.settings import (
    EVERYONE,
    FederationSettings,
    FedProxSettings,
    parse_federation,
    problems_of,
    validate_federation,
)
from bench.federation.update_codec import CodecSettings

_SYNCHRONOUS = ("fedavg", "fedprox")


class Update(BaseModel):
    """`[update]`: updates travel coded (see bench/federation/update_codec.py); without it parameters travel whole."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    bits: Literal[8, 4, 2, 1] = 8
    """Of a level."""
    keep: int = Field(default=256, ge=1, le=256)
    """Of 256 values in a block so many are sent, the largest."""
    error_feedback: bool = True
    """A board keeps what was not sent, and adds it to its next update."""
    entropy: bool = True
    """Each block is coded in the way that is shortest for it."""
    checkpoint: bool = True
    """The bench reads error feedback back after each update, so that it outlives a board's reset and a resumed run."""

    @property
    def codec(self) -> CodecSettings:
        """The codec's part of it."""
        return CodecSettings(self.bits, self.keep, self.error_feedback, self.entropy)


class _OnRack(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    clock: Clock = "modelled"
    deadline_s: float = Field(gt=0, allow_inf_nan=False)


@dataclass(frozen=True)
class FederationPlan:
    """A variant's federation on a rack. `deadline_s` is wall time, for one client's work."""

    settings: FederationSettings
    clock: Clock
    deadline_s: float


def check_section(section: Mapping[str, Any]) -> dict[str, Any]:
    """A section with its strategy said. Raises pydantic's ValidationError for each wrong field."""
    said = {"strategy": "fedavg"} | dict(section)
    problems: list[InitErrorDetails] = []
    for check in (_on_rack, lambda section: validate_federation(_of_strategy(section, EVERYONE))):
        try:
            check(said)
        except ValidationError as error:
            problems += problems_of(error)
    if problems:
        raise ValidationError.from_exception_data("federation", problems)
    return said


def federation_plan(section: Mapping[str, Any], clients: int) -> FederationPlan:
    """What a section that was checked means for so many clients.

    Raises:
        ConfigError: so many clients cannot do it, or no engine can do what the strategy asks of its clients.
    """
    try:
        own = _on_rack(section)
    except ValidationError as error:
        raise ConfigError(f"federation: {error}") from error
    settings = parse_federation(_of_strategy(section, clients))
    if isinstance(settings, FedProxSettings) and settings.mu > 0:
        raise ConfigError(
            f"federation.mu: is {settings.mu}, but no board adds FedProx's proximal term to its steps yet: "
            "set mu = 0.0, or choose another strategy"
        )
    if own.clock == "wall":
        settings = settings.model_copy(update={"deadline_s": own.deadline_s})
    return FederationPlan(settings, own.clock, own.deadline_s)


def _on_rack(section: Mapping[str, Any]) -> _OnRack:
    return _OnRack.model_validate({key: section[key] for key in ("clock", "deadline_s") if key in section})


def _of_strategy(section: Mapping[str, Any], clients: int) -> dict[str, Any]:
    """The part that bench/federation/settings.py knows; who takes part is all clients unless it is said."""
    rest = {key: value for key, value in section.items() if key not in ("clock", "deadline_s")}
    synchronous = section.get("strategy") in _SYNCHRONOUS
    rest.setdefault("clients_per_round" if synchronous else "concurrency", clients)
    return rest
