"""What an experiment file says, validated whole.

An experiment is a TOML file; `bench/experiments/` holds those that ship. A name without a folder (`demo`) means one of
them. The validated form is frozen, and its digest is what a journal is tied to: a changed experiment is another run.
"""

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails

from bench.errors import ConfigError
from bench.experiment.federation import FederationPlan, Update, check_section, federation_plan
from bench.federation.settings import problems_of
from bench.model.plan import Rule

SHIPPED = Path(__file__).parent.parent / "experiments"
Target = Literal["accuracy", "central_gap_points", "variant_gap_points"]
_Limit = Annotated[float, Field(allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Variant(_Section):
    """One side of the comparison: what the model is compiled for, and its learning-rate schedule."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    scheme: str = "full"
    """What trains: see `bench plan --help`."""
    dtype: Literal["int8", "float32"] = "int8"
    batch: int = Field(default=1, ge=1, le=256)
    """Samples whose gradients are gathered before the weights move."""
    rule: Rule | None = None
    """Of int8 updates: see `bench plan --help`. None: the scheme's own."""
    learning_rate: float = Field(gt=0, le=1)
    """Step size at round 1."""
    learning_rate_decay: float = Field(default=1.0, gt=0, le=1)
    """Factor from one round to the next."""
    federation: dict[str, Any] | None = None
    """In place of the experiment's, which still gives `clock` and `deadline_s` where this does not."""
    update: Update | None = None
    """In place of the experiment's."""
    whole: bool = False
    """Parameters travel whole, whatever the experiment's `update` says."""

    @model_validator(mode="after")
    def _one_way(self) -> "Variant":
        if self.whole and self.update is not None:
            raise ValueError("whole = true and update contradict each other: leave one of them out")
        return self

    def rate(self, round_: int) -> float:
        """Learning rate of a round, counted from 1."""
        return self.learning_rate * self.learning_rate_decay ** (round_ - 1)


class Model(_Section):
    """The network, and the sides of the comparison. Each variant is compiled when the run begins."""

    source: str
    """A zoo name, or an ONNX file."""
    input: tuple[int, int, int] | None = Field(default=None, strict=False)
    """Height, width, channels, where a zoo model's are to differ."""
    classes: int | None = None
    rehearsal_steps: int = Field(default=6000, ge=0)
    """Steps of float32 training on the host whose ranges the int8 exponents cover."""
    pretrain_steps: int = Field(default=0, ge=0)
    """Steps of float32 training on the host before all variants begin, on 10,000 images that no client then holds."""
    pretrain_rate: float = Field(default=0.01, gt=0, le=1)
    """Learning rate of these, which falls to a tenth."""
    variants: tuple[Variant, ...] = Field(min_length=1, strict=False)

    @model_validator(mode="after")
    def _names_differ(self) -> "Model":
        names = [variant.name for variant in self.variants]
        if len(set(names)) != len(names):
            raise ValueError(f"variant names must differ: {', '.join(names)}")
        return self


class Data(_Section):
    """The data set and how it is divided among the clients."""

    dataset: Literal["fashion-mnist"]
    train_samples: int = Field(ge=10)
    """Images over the whole cohort."""
    alpha: float = Field(gt=0)
    """Dirichlet concentration of the label skew; smaller is more skewed."""
    min_samples: int = Field(default=100, ge=1)
    """The fewest images a client may hold."""
    sensors: bool = False
    """Whether each client's images are seen through a sensor of its own (bench/data/shift.py); the test set's then are,
    too, an equal part through each client's."""
    placement: Literal["flash", "stream"] = "flash"
    """Where a board takes its samples from: its own data partition, or the line as it trains, where flash is short."""


class Train(_Section):
    local_samples: int = Field(ge=1)
    """Steps of batch 1 that a client makes in a round."""


class Cohort(_Section):
    rack: str | None = None
    """Inventory file, beside the experiment's own folder or the working folder; absent: the command's."""
    boards: tuple[str, ...] | None = Field(default=None, strict=False)
    """Names of the boards to use; absent: all of the rack. A rack that the command gives in place of this one, and that
    has none of them, is used whole."""


class Experiment(_Section):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    seed: int = Field(default=1, ge=0, lt=2**31)
    central: bool = True
    """Also train each variant centrally on the host-compiled engine, over as many samples, for comparison."""
    targets: dict[Target, _Limit] = Field(default_factory=dict)
    """Named limits that the run is checked against, see bench/experiment/summary.py."""
    model: Model
    data: Data
    train: Train
    federation: dict[str, Any]
    """Strategy (FedAvg unless said otherwise) and its settings, see bench/federation/settings.py; of a rack also:
    `deadline_s`, wall time after which a client's work is given up, and `clock`: "modelled", or "wall" for real boards,
    whose answers are then taken as they come."""
    update: Update | None = None
    """How updates travel; absent: parameters travel whole."""
    cohort: Cohort = Cohort()

    @field_validator("federation")
    @classmethod
    def _federation(cls, section: dict[str, Any]) -> dict[str, Any]:
        return check_section(section)

    @model_validator(mode="after")
    def _variants_own(self) -> "Experiment":
        problems: list[InitErrorDetails] = []
        for index, variant in enumerate(self.model.variants):
            if variant.federation is not None:
                try:
                    check_section(self.section_of(variant))
                except ValidationError as error:
                    problems += problems_of(error, ("model", "variants", index, "federation"))
        if problems:
            raise ValidationError.from_exception_data("Experiment", problems)
        return self

    def section_of(self, variant: Variant) -> dict[str, Any]:
        """A variant's `[federation]`."""
        if variant.federation is None:
            return self.federation
        shared = {key: self.federation[key] for key in ("clock", "deadline_s") if key in self.federation}
        return shared | {"strategy": "fedavg"} | variant.federation

    def federation_of(self, variant: Variant, clients: int) -> FederationPlan:
        """A variant's federation over so many clients. Raises ConfigError naming the variant."""
        try:
            return federation_plan(self.section_of(variant), clients)
        except ConfigError as error:
            raise ConfigError(f"variant {variant.name}: {error}") from error

    def update_of(self, variant: Variant) -> Update | None:
        """How a variant's updates travel; None: whole."""
        if variant.whole:
            return None
        return self.update if variant.update is None else variant.update

    def instead(self, source: str | None, scheme: str | None) -> "Experiment":
        """The experiment with another model, in the shape that it has, or another scheme in all variants."""
        model = self.model
        if source is not None:
            model = model.model_copy(update={"source": source, "input": None, "classes": None})
        if scheme is not None:
            variants = tuple(variant.model_copy(update={"scheme": scheme}) for variant in model.variants)
            model = model.model_copy(update={"variants": variants})
        return self.model_copy(update={"model": model})

    def digest(self) -> str:
        """Hex SHA-256 over everything that decides the result."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def find_experiment(name: str) -> Path:
    """Path of an experiment given by file or by the name of one that ships.

    Raises:
        ConfigError: there is no such file.
    """
    candidates = [Path(name)]
    if "/" not in name and not name.endswith(".toml"):
        candidates.append(SHIPPED / f"{name}.toml")
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    shipped = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.toml")))
    raise ConfigError(f"{name}: no such experiment file; experiments that ship: {shipped}")


def load_experiment(name: str) -> Experiment:
    """Reads and validates an experiment.

    Raises:
        ConfigError: naming the file and every wrong field.
    """
    path = find_experiment(name)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: not a readable TOML file: {error}") from error
    try:
        return Experiment.model_validate(document)
    except ValidationError as error:
        problems = [f"  {_field(item['loc'])}: {item['msg']}" for item in error.errors()]
        raise ConfigError(f"{path}: {len(problems)} problem(s)\n" + "\n".join(problems)) from error


def _field(location: tuple[int | str, ...]) -> str:
    """Without pydantic's mark of a key that is itself wrong."""
    parts = [str(part) for part in location if part != "[key]"]
    return ".".join(parts) or "(whole file)"
