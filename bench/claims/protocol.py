"""What an experiment of the claims page is: its file, validated whole."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bench.compiler.differentiate import Dtype
from bench.errors import ConfigError
from bench.federation.settings import EVERYONE, FederationSettings, parse_federation, validate_federation

DEFAULT = Path(__file__).parent.parent / "experiments" / "fleet" / "claims.toml"

_Share = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=1)]
_Rate = Annotated[float, Field(gt=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Protocol(_Strict):
    """What all arms share."""

    dataset: Literal["fashion-mnist", "cifar10"]
    folder: Path | None = None
    """Where CIFAR-10's binary files are."""
    model: str
    input_shape: tuple[int, int, int]
    pretrain_samples: _Count
    pretrain_steps: Annotated[int, Field(ge=0)]
    """0 starts from scratch."""
    pretrain_rate: _Rate
    clients: _Count
    samples: _Count
    alpha: float = Field(gt=0)
    """Dirichlet's concentration; inf for identical mixtures."""
    straggler_share: _Share
    slowdown: float = Field(ge=1, allow_inf_nan=False)
    fraction: float = Field(gt=0, le=1)
    local_steps: _Count
    board: str
    judge_samples: _Count
    seeds: tuple[int, ...] = Field(min_length=1)
    target: _Share
    share_of_parameters: _Share

    @property
    def at_once(self) -> int:
        """Clients that work at a time."""
        return max(1, round(self.fraction * self.clients))


class Arm(_Strict):
    """One strategy with its program."""

    dtype: Dtype
    scheme: str = "full"
    budget_bytes: int | None = None
    """w* is chosen within this many bytes of SRAM, federation state included, in place of `scheme`."""
    learning_rate: _Rate
    bits: Literal[1, 2, 4, 8] | None = None
    """Of coded updates; None sends models whole, both ways."""
    keep: Annotated[int, Field(ge=1, le=256)] = 256
    """Of 256 values so many are sent, the largest."""
    error_feedback: bool = True
    deadline_turns: float | None = Field(default=None, gt=0)
    """A deadline in turns of a client that is not slow."""
    federation: dict[str, Any]

    @field_validator("federation")
    @classmethod
    def _well_formed(cls, section: dict[str, Any]) -> dict[str, Any]:
        validate_federation(_with_clients(section, EVERYONE))
        return section

    def settings(self, at_once: int, turn_s: float) -> FederationSettings:
        """With so many clients at a time, and what a turn takes. Raises ConfigError as parse_federation does."""
        section = _with_clients(self.federation, at_once)
        if self.deadline_turns is not None:
            section.setdefault("deadline_s", self.deadline_turns * turn_s)
        return parse_federation(section)


def _with_clients(section: Mapping[str, Any], clients: int) -> dict[str, Any]:
    """So many work at a time unless the section says how many."""
    key = "clients_per_round" if section.get("strategy") in ("fedavg", "fedprox") else "concurrency"
    return {key: clients} | dict(section)


class Experiment(_Strict):
    """A file."""

    protocol: Protocol
    arms: dict[str, Arm] = Field(min_length=1)

    def varied(self, arms: dict[str, Arm] | None = None, **changes: Any) -> Experiment:
        """The same with another protocol, and other arms if given."""
        protocol = Protocol.model_validate(self.protocol.model_dump() | changes)
        return Experiment(protocol=protocol, arms=self.arms if arms is None else arms)


def load_experiment(path: Path = DEFAULT) -> Experiment:
    """Reads an experiment. Raises ConfigError that names the file and every wrong field."""
    try:
        experiment = Experiment.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    except ValidationError as error:
        problems = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ConfigError(f"{path}: {len(problems)} problem(s)\n" + "\n".join(problems)) from error
    for name, arm in experiment.arms.items():
        try:
            arm.settings(experiment.protocol.at_once, 1.0)
        except ConfigError as error:
            clients = experiment.protocol.at_once
            raise ConfigError(f"{path}: arms.{name}, with {clients} clients at a time: {error}") from error
    return experiment
