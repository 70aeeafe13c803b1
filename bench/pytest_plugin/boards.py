"""A board as tests see it: what it is, and what can be asked of it in a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.compiler.recipe import Recipe
from bench.errors import ConfigError
from bench.link.device import Device
from bench.metering import EnergyRun, What, measure_board
from bench.meters.meter import Meter
from bench.meters.rule import QUICK, Rule
from bench.planning import Planned, make_plan
from bench.pytest_plugin.leases import Leases
from bench.pytest_plugin.metrics import Metric
from bench.rack.board import Board
from bench.rack.entry import BoardEntry
from bench.rack.manifest import BoardManifest, load_manifest
from bench.rack.meter import board_meter
from bench.results.table import UNITS
from bench.stepping import StepRun, random_shard, step_on_board

if TYPE_CHECKING:
    from bench.link.messages import Hello

_STEP_METRICS = {"sram_stack_bytes": "sram_stack_high_water"}
_OTHER_UNITS = {"macs_forward": "macs", "macs_backward": "macs"}


@dataclass(frozen=True)
class Figures:
    """What something came to, by metric: `figures["sram_total"]` is a Metric with value, unit and kind."""

    metrics: Mapping[str, Metric]

    def __getitem__(self, name: str) -> Metric:
        """Raises ConfigError that says what there is."""
        if name not in self.metrics:
            raise ConfigError(f"no metric {name!r} here; there are: {', '.join(self.metrics)}")
        return self.metrics[name]

    def __iter__(self) -> Iterator[Metric]:
        return iter(self.metrics.values())


@dataclass(frozen=True)
class Step(Figures):
    """One training step: instructions (an emulated board) or cycles (a real one), SRAM by part, MACs, loss."""

    run: StepRun

    @property
    def planned(self) -> Planned:
        """What the compiler predicted."""
        return self.run.planned

    @property
    def work(self) -> Metric:
        """Instructions where an emulator counted them, cycles of a real core."""
        return self["instructions" if "instructions" in self.metrics else "cycles"]


@dataclass(frozen=True)
class Energy(Figures):
    """Energies by metric, and by metric and phase as `energy.link`."""

    run: EnergyRun


@dataclass
class Programs:
    """Compiled and linked programs of this session, so that tests of one program build it once."""

    made: dict[tuple[Recipe, str], Planned] = field(default_factory=dict)

    def plan(self, recipe: Recipe, env: str) -> Planned:
        """Raises ConfigError: model, scheme or environment are not possible."""
        if (recipe, env) not in self.made:
            self.made[recipe, env] = make_plan(recipe, env)
        return self.made[recipe, env]


class RackBoard:
    """The value of the fixture `board`, and each of `cohort.boards`."""

    def __init__(self, entry: BoardEntry, leases: Leases, programs: Programs) -> None:
        self.entry = entry
        self._leases = leases
        self._programs = programs
        self._booted: Board | None = None

    def __repr__(self) -> str:
        return f"<board {self.name} ({self.env})>"

    @property
    def name(self) -> str:
        """As in the inventory."""
        return self.entry.name

    @property
    def env(self) -> str:
        """The PlatformIO environment."""
        return self.entry.env

    @property
    def target(self) -> str:
        """pyOCD's name of the chip."""
        return self.entry.target

    @property
    def features(self) -> tuple[str, ...]:
        """As in the inventory."""
        return self.entry.features

    @property
    def manifest(self) -> BoardManifest:
        """Memory layout, core, clocks and currents."""
        return load_manifest(self.env)

    @property
    def physical(self) -> bool:
        """Whether it is a real board."""
        return self.entry.virtual is None

    @property
    def opened(self) -> Board:
        """The board itself (`bench.rack.board.Board`), locked by this session."""
        return self._leases.board(self.name)

    @property
    def log(self) -> Path:
        """The board's log of this session: what it printed, what pyOCD said."""
        return self._leases.log_of(self.name)

    @property
    def device(self) -> Device:
        """The board at the end of its line, once it has answered. Raises InfrastructureError when it is silent."""
        device = self.opened.device()
        if not device.session.is_open:
            self.opened.connect()
        return device

    def plan(self, model: str, scheme: str = "full", **recipe: Any) -> Planned:
        """A program for this board, compiled and linked. Further arguments are those of a Recipe: dtype, batch, ..."""
        return self._programs.plan(Recipe(model, scheme, **recipe), self.env)

    def flash(self, model: str, scheme: str = "full", *, seed: int = 0, **recipe: Any) -> Planned:
        """Brings a program and random samples onto the board, unless they are there, and has seen it boot."""
        planned = self.plan(model, scheme, **recipe)
        self.flash_image(planned.elf.with_suffix(".bin").read_bytes(), random_shard(planned.compiled.plan, seed))
        return planned

    def flash_image(self, image: bytes, data: bytes | None = None, *, force: bool = False) -> bool:
        """Brings an image and a data partition onto the board; whether anything had to be flashed."""
        board = self.opened
        flashed = board.flash(image, data, force=force)
        if not flashed and self._booted is not board:
            board.reset()  # its log begins with its boot text
        self._booted = board
        return flashed

    def reset(self) -> Hello:
        """Through the probe; waits for the boot."""
        return self.opened.reset()

    def step(self, model: str, scheme: str = "full", *, seed: int = 0, **recipe: Any) -> Step:
        """One training step of a program on this board, which is flashed for it if need be.

        Raises:
            ConfigError: the program does not fit the board, or is not possible.
            DeviceError: the board refuses.
            InfrastructureError: probe or line fail.
        """
        planned = self.flash(model, scheme, seed=seed, **recipe)
        run = step_on_board(planned, self.opened, seed=seed)
        metrics = [self._counted(name, value) for name, value in run.figures.items()]
        metrics.append(Metric("loss", run.loss, UNITS["loss"], "counted", self.name))
        metrics.append(Metric("flash", planned.footprint.flash_bytes, "bytes", "counted", self.name))
        return Step({metric.name: metric for metric in metrics}, run)

    def measure(
        self,
        model: str,
        scheme: str = "full",
        *,
        what: Sequence[What] = ("step",),
        rule: Rule = QUICK,
        local_samples: int = 100,
        metered: bool = True,
        **recipe: Any,
    ) -> Energy:
        """Energy by the board's meter, of `step`, `inference` and `round`; modelled from counts where it has none, or
        where it is not to be `metered`.

        `rule` is a look by default; `Rule()` is that of EEMBC and MLPerf Tiny, which takes minutes.
        """
        planned = self.flash(model, scheme, **recipe)
        run = measure_board(planned, self.opened, rule, whats=what, local_samples=local_samples, metered=metered)
        metrics: dict[str, Metric] = {}
        for row in run.measurements("pytest"):
            part = Metric(f"{row.metric}.{row.phase}", row.value, row.unit, row.kind, self.name)
            metrics[part.name] = part
            before = metrics.get(row.metric)
            whole = row.value + (0.0 if before is None else before.value)
            metrics[row.metric] = Metric(row.metric, whole, row.unit, row.kind, self.name)
        return Energy(metrics, run)

    @contextmanager
    def meter(self) -> Iterator[Meter]:
        """Its meter, armed, until the block ends. Raises ConfigError when it has none."""
        with board_meter(self.opened) as meter:
            yield meter

    def _counted(self, name: str, value: float) -> Metric:
        metric = _STEP_METRICS.get(name, name.removesuffix("_bytes"))
        unit = UNITS.get(metric) or _OTHER_UNITS[metric]
        kind = "measured" if metric == "cycles" else "counted"
        return Metric(metric, float(np.float64(value)), unit, kind, self.name)
