"""What a nightly file says, validated whole: models × schemes × number formats × strategies × cohorts of boards.

Each cell of the matrix is an experiment of its own, as `bench run` takes it: what a night ran can be run again by hand.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bench.errors import ConfigError
from bench.experiment.config import Experiment
from bench.nightly.detect import Rule

SHIPPED = Path(__file__).with_name("night.toml")
ALL, EACH = "all", "each"
"""Cohorts that need no definition: the whole rack together, and each of its boards alone."""
_LONGEST = 80  # characters of a cell's name, which is a part of its folder's


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _names(default: tuple[str, ...] | None = None) -> Any:
    if default is None:
        return Field(min_length=1, strict=False)
    return Field(default=default, min_length=1, strict=False)


class Matrix(_Section):
    """The axes."""

    models: tuple[str, ...] = _names()
    """Zoo names or ONNX files."""
    schemes: tuple[str, ...] = _names(("full",))
    dtypes: tuple[Literal["int8", "float32"], ...] = Field(default=("int8",), min_length=1, strict=False)
    strategies: tuple[str, ...] = _names()
    """Names of sections [strategies.NAME]."""
    cohorts: tuple[str, ...] = _names((ALL,))
    """`all`, `each`, or names of [cohorts]."""


class Exclude(_Section):
    """Cells that are not run: those that have all of what is given."""

    model: str | None = None
    scheme: str | None = None
    dtype: str | None = None
    strategy: str | None = None
    cohort: str | None = None


class Training(_Section):
    """What is the same in all cells; the fields are those of an experiment file."""

    train_samples: int = Field(ge=10)
    local_samples: int = Field(ge=1)
    alpha: float = Field(default=0.5, gt=0)
    learning_rate: float = Field(gt=0, le=1)
    learning_rate_decay: float = Field(default=1.0, gt=0, le=1)
    rehearsal_steps: int = Field(default=6000, ge=0)
    pretrain_steps: int = Field(default=0, ge=0)
    placement: Literal["flash", "stream"] = "flash"
    input: tuple[int, int, int] | None = Field(default=None, strict=False)


class Compare(_Section):
    """What counts as a change: see bench/nightly/detect.py."""

    window: int = Field(default=Rule.window, ge=5)
    least: int = Field(default=Rule.least, ge=3)
    sigmas: float = Field(default=Rule.sigmas, gt=0)
    step_sigmas: float = Field(default=Rule.step_sigmas, gt=0)
    step_nights: int = Field(default=Rule.step_nights, ge=3)
    floor: float = Field(default=Rule.floor, ge=0)
    accuracy_floor: float = Field(default=Rule.accuracy_floor, ge=0)

    @property
    def rule(self) -> Rule:
        """As the detector takes it."""
        return Rule(**self.model_dump())


class NightFile(_Section):
    """A nightly file."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=24)
    seed: int = Field(default=1, ge=0, lt=2**31)
    minutes: float | None = Field(default=None, gt=0)
    """That a night may take; `--minutes` goes before it."""
    matrix: Matrix
    strategies: dict[str, dict[str, Any]] = Field(min_length=1)
    """Each an experiment's [federation]; `update` in it is the experiment's [update]."""
    cohorts: dict[str, tuple[str, ...]] = Field(default_factory=dict, strict=False)
    """Names of boards."""
    exclude: tuple[Exclude, ...] = Field(default=(), strict=False)
    training: Training
    compare: Compare = Compare()

    @field_validator("cohorts", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        return {key: tuple(boards) if isinstance(boards, list) else boards for key, boards in value.items()}

    @model_validator(mode="after")
    def _defined(self) -> NightFile:
        for strategy in self.matrix.strategies:
            if strategy not in self.strategies:
                raise ValueError(f"matrix.strategies: {strategy}: there is no section [strategies.{strategy}]")
        for cohort in self.matrix.cohorts:
            if cohort not in (ALL, EACH) and cohort not in self.cohorts:
                raise ValueError(f"matrix.cohorts: {cohort}: neither `all` nor `each`, and not in [cohorts]")
        return self


@dataclass(frozen=True)
class Cell:
    """One experiment of a night."""

    name: str
    axes: tuple[str, ...]
    experiment: Experiment

    def toml(self) -> str:
        """As a file that `bench run` takes."""
        return tomli_w.dumps(_without_none(self.experiment.model_dump(mode="json")))

    def definition(self, boards: Sequence[tuple[str, str]]) -> str:
        """Digest of all that is wanted of it: nights are compared as long as it is the same. `boards` are name and
        environment of those that it runs on."""
        text = json.dumps([self.experiment.digest(), sorted(boards)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_night(path: Path) -> NightFile:
    """Reads and validates a nightly file. Raises ConfigError, naming the file and every wrong field."""
    try:
        return NightFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: not a readable TOML file: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"{path}: {_problems(error)}") from error


def cells(path: Path, night: NightFile, boards: Sequence[str]) -> list[Cell]:
    """The matrix, cell by cell; `boards` are the rack's. Raises ConfigError, naming the cell that is no experiment."""
    found = []
    matrix = night.matrix
    for axes in itertools.product(matrix.models, matrix.schemes, matrix.dtypes, matrix.strategies, matrix.cohorts):
        model, scheme, dtype, strategy, cohort = axes
        given = {"model": model, "scheme": scheme, "dtype": dtype, "strategy": strategy, "cohort": cohort}
        if any(_matches(exclude, given) for exclude in night.exclude):
            continue
        for name, members in _cohorts(night, cohort, boards):
            if unknown := [board for board in members or () if board not in boards]:
                raise ConfigError(f"{path}: cohorts.{cohort}: no board {', '.join(unknown)} in the rack")
            found.append(_cell(path, night, (model, scheme, dtype, strategy, name), members))
    if not found:
        raise ConfigError(f"{path}: all cells of the matrix are excluded")
    names = [cell.name for cell in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"{path}: two cells would both be called {', '.join(sorted(twice))}: a value is there twice")
    return found


def _cohorts(night: NightFile, cohort: str, boards: Sequence[str]) -> Iterable[tuple[str, tuple[str, ...] | None]]:
    if cohort == ALL:
        return [(ALL, None)]
    if cohort == EACH:
        return [(board, (board,)) for board in boards]
    return [(cohort, night.cohorts[cohort])]


def _cell(path: Path, night: NightFile, axes: tuple[str, ...], boards: tuple[str, ...] | None) -> Cell:
    model, scheme, dtype, strategy, _ = axes
    training = night.training
    name = _slug(night.name, *axes)
    federation = dict(night.strategies[strategy])
    update = federation.pop("update", None)
    document = {
        "name": name,
        "seed": night.seed,
        "central": False,
        "model": {
            "source": model,
            "input": training.input,
            "rehearsal_steps": training.rehearsal_steps,
            "pretrain_steps": training.pretrain_steps,
            "variants": [
                {
                    "name": dtype, "scheme": scheme, "dtype": dtype, "learning_rate": training.learning_rate,
                    "learning_rate_decay": training.learning_rate_decay,
                }
            ],
        },
        "data": {
            "dataset": "fashion-mnist", "train_samples": training.train_samples, "alpha": training.alpha,
            "placement": training.placement,
        },
        "train": {"local_samples": training.local_samples},
        "federation": federation,
        "update": update,
        "cohort": {"boards": boards},
    }  # fmt: skip
    try:
        return Cell(name, axes, Experiment.model_validate(document))
    except ValidationError as error:
        raise ConfigError(f"{path}: cell {name}: {_problems(error)}") from error


def _slug(*parts: str) -> str:
    text = "-".join(
        re.sub(r"[^a-z0-9]+", "-", Path(part).stem.lower() if "/" in part else part.lower()) for part in parts
    )
    text = re.sub(r"-+", "-", text).strip("-")
    if len(text) <= _LONGEST:
        return text
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
    return f"{text[: _LONGEST - 9].rstrip('-')}-{digest}"


def _matches(exclude: Exclude, axes: dict[str, str]) -> bool:
    given = exclude.model_dump(exclude_none=True)
    return bool(given) and all(axes[key] == value for key, value in given.items())


def _without_none(value: Any) -> Any:
    """TOML has no null."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return value


def _problems(error: ValidationError) -> str:
    lines = [f"{'.'.join(map(str, item['loc'])) or '(whole file)'}: {item['msg']}" for item in error.errors()]
    return lines[0] if len(lines) == 1 else "\n".join([f"{len(lines)} problems", *(f"  {line}" for line in lines)])
