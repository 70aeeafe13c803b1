"""`bench energy`: what a training step, an inference and a round of a program cost a board, by its meter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bench.errors import ConfigError
from bench.link.device import Device
from bench.meters.meter import Meter
from bench.meters.modelled import energy_uj
from bench.meters.rule import Figure, Rule, Run, Work, measure
from bench.meters.split import Share
from bench.meters.trace import PHASES, Phase
from bench.model.plan import load_initial
from bench.planning import Planned
from bench.rack.board import Board
from bench.rack.meter import board_meter, wiring
from bench.results.table import Kind, Measurement, Recorder
from bench.stepping import LEARNING_RATE, random_shard, require_fit

What = Literal["step", "inference", "round"]
WHATS: tuple[What, ...] = ("step", "inference", "round")
_METRICS = {"step": "step_energy", "inference": "inference_energy", "round": "energy"}
_PHASES: dict[What, tuple[Phase, ...]] = {"step": ("compute",), "inference": ("compute",), "round": PHASES}
_REQUEST_S = 600.0
_MOST_A_REQUEST = 1_000_000
_BITS_PER_BYTE_ON_LINE = 10

Told = Callable[[str], None]


@dataclass(frozen=True)
class Instrumented:
    """By what a board's figures came about, as it is published with them."""

    meter: str
    identity: str
    voltage_mv: int
    supply: str
    kind: Kind


@dataclass(frozen=True)
class EnergyRun:
    """What was measured on one board."""

    board: str
    env: str
    program: str
    instrumented: Instrumented
    rule: Rule | None
    """None where nothing was measured, but modelled from counts."""
    local_samples: int
    figures: dict[What, Figure]

    def measurements(self, run: str) -> list[Measurement]:
        """Rows of the table: each figure by phase, of the median run."""
        recorder = Recorder(run, self.program, self.board)
        return [
            recorder.row(_METRICS[what], figure.median.energy_uj(phase), self.instrumented.kind, phase)
            for what, figure in self.figures.items()
            for phase in figure.phases
        ]

    def currents(self) -> list[dict[str, Any]]:
        """Excerpts of what the meter recorded, of each figure's median run, as JSON."""
        return [
            {"board": self.board, "program": self.program, "what": what, "excerpt": asdict(excerpt)}
            for what, figure in self.figures.items()
            if (excerpt := figure.median.excerpt) is not None
        ]

    def document(self) -> dict[str, Any]:
        """The run as JSON."""
        rule = self.rule
        return {
            "board": self.board,
            "env": self.env,
            "program": self.program,
            "kind": self.instrumented.kind,
            "meter": self.instrumented.meter,
            "instrument": self.instrumented.identity,
            "voltage_mv": self.instrumented.voltage_mv,
            "supply": self.instrumented.supply,
            "rule": None
            if rule is None
            else {
                "window_s": rule.window_s,
                "iterations": rule.iterations,
                "runs": rule.runs,
                "most_lost": rule.most_lost,
                "satisfies_eembc": rule.satisfies_eembc,
            },
            "local_samples": self.local_samples,
            **{what: _figure(figure) for what, figure in self.figures.items()},
        }


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "energy_uj": figure.energy_uj,
        "by_phase_uj": {phase: figure.median.energy_uj(phase) for phase in figure.phases},
        "seconds": {phase: figure.median.seconds(phase) for phase in figure.phases},
        "spread": figure.spread,
        "runs": [
            {
                "energy_uj": figure.total_uj(run),
                "iterations": run.iterations,
                "lost_share": run.lost_share,
                "outlier_samples": run.outlier_samples,
                "refused": run.refused,
            }
            for run in figure.runs
        ],
    }


def measure_board(
    planned: Planned,
    board: Board,
    rule: Rule,
    *,
    whats: Sequence[What] = WHATS,
    local_samples: int = 100,
    seed: int = 0,
    metered: bool = True,
    told: Told = lambda _text: None,
) -> EnergyRun:
    """Measures a program on a board, which is fed, flashed for it and left running; modelled without a meter.

    Args:
        planned: must fit the board.
        board: of the rack.
        rule: how long and how often.
        whats: what is measured.
        local_samples: training steps in a round.
        seed: of the random samples; energy does not depend on data.
        metered: False for what the model says of a board that has a meter.
        told: hears what is being done.

    Raises:
        ConfigError: the plan does not fit, or the meter's package is not installed.
        DeviceError: the board refuses.
        InfrastructureError: meter, probe or line fail, or too many samples were lost again and again.
    """
    require_fit(planned)
    entry = board.entry.meter
    if not metered or entry is None or entry.kind == "modelled":
        told("no meter: modelled from counts and data-sheet currents")
        _flash(planned, board, seed)
        return _modelled(planned, board, whats, local_samples)
    with board_meter(board) as meter:
        told(f"{meter.instrument.identity}{'' if meter.instrument.physical else ' (emulated)'}")
        _flash(planned, board, seed)
        figures: dict[What, Figure] = {}
        for what in whats:
            told(f"{what}: {rule.runs} run(s) of at least {rule.window_s:g} s and {rule.iterations} iteration(s)")
            work = _work(what, planned, board.device(), local_samples)
            figures[what] = measure(meter, work, rule, wiring(board), _PHASES[what], lambda text: told(f"  {text}"))
        measured = meter.instrument.physical and board.physical
        instrumented = Instrumented(
            meter.instrument.kind,
            meter.instrument.identity,
            figures[whats[0]].median.voltage_mv,
            figures[whats[0]].median.supply,
            "measured" if measured else "modelled",
        )
    return EnergyRun(
        board.name, board.entry.env, planned.compiled.plan.name, instrumented, rule, local_samples, figures
    )


def _flash(planned: Planned, board: Board, seed: int) -> None:
    plan = planned.compiled.plan
    board.flash(planned.elf.with_suffix(".bin").read_bytes(), random_shard(plan, seed))
    if not board.device().session.is_open:
        board.connect()
    _send_model(planned, board.device())


def _send_model(planned: Planned, device: Device) -> None:
    plan = planned.compiled.plan
    device.send_round(1, plan.encode_down(load_initial(plan.name)))


def _work(what: What, planned: Planned, device: Device, local_samples: int) -> Work:
    """What is done so many times between the meter's start and its stop."""

    def train(count: int) -> None:
        for size in _requests(count):
            device.train(0, size, LEARNING_RATE, 0, timeout_s=_REQUEST_S)

    def steps(meter: Meter, count: int) -> None:
        meter.mark("compute")
        train(count)
        meter.mark("idle")

    def inferences(meter: Meter, count: int) -> None:
        meter.mark("compute")
        for size in _requests(count):
            device.evaluate(0, size, timeout_s=_REQUEST_S)
        meter.mark("idle")

    def rounds(meter: Meter, count: int) -> None:
        for _ in range(count):
            meter.mark("link")
            _send_model(planned, device)
            meter.mark("compute")
            train(local_samples)
            meter.mark("link")
            device.read_params(length=planned.compiled.plan.up_bytes)
            meter.mark("idle")

    works: dict[What, Work] = {"step": steps, "inference": inferences, "round": rounds}
    return works[what]


def _requests(count: int) -> list[int]:
    """Steps of each request."""
    whole, rest = divmod(count, _MOST_A_REQUEST)
    return [_MOST_A_REQUEST] * whole + ([rest] if rest else [])


def _modelled(planned: Planned, board: Board, whats: Sequence[What], local_samples: int) -> EnergyRun:
    """From counts of one step, one inference and one round, as bench/meters/modelled.py says. A board alone in its
    round waits for no one."""
    currents, manifest = board.manifest.energy, board.manifest
    if not currents.run_ma:
        raise ConfigError(f"{manifest.env}.json says no currents, so no energy can be modelled: add them, or a meter")
    device, supply_mv = board.device(), round(currents.supply_v * 1000)
    figures: dict[What, Figure] = {}
    for what in whats:
        compute_s, link_s = _counted(what, planned, board, device, local_samples)
        shares = {
            "compute": Share(energy_uj(compute_s, currents.run_ma, currents.supply_v), compute_s),
            "link": Share(energy_uj(link_s, currents.run_ma, currents.supply_v), link_s),
            "idle": Share(0.0, 0.0),
        }
        by_phase: dict[Phase, Share] = {phase: shares[phase] for phase in PHASES}
        figures[what] = Figure([Run(1, by_phase, 0.0, 0, 0, supply_mv, "data sheet")], _PHASES[what])
    instrumented = Instrumented("modelled", currents.source, supply_mv, "data sheet", "modelled")
    return EnergyRun(
        board.name, board.entry.env, planned.compiled.plan.name, instrumented, None, local_samples, figures
    )


def _counted(what: What, planned: Planned, board: Board, device: Device, local_samples: int) -> tuple[float, float]:
    """Modelled seconds of computation and on the line."""
    manifest = board.manifest
    phase = "evaluate" if what == "inference" else "train"
    before, counted = board.instructions(phase), device.session.totals
    if what == "round":
        _send_model(planned, device)
        result = device.train(0, local_samples, LEARNING_RATE, 0, timeout_s=_REQUEST_S)
        device.read_params(length=planned.compiled.plan.up_bytes)
    elif what == "step":
        result = device.train(0, 1, LEARNING_RATE, 0, timeout_s=_REQUEST_S)
    else:
        result = device.evaluate(0, 1, timeout_s=_REQUEST_S)
    after, spent = board.instructions(phase), device.session.totals - counted
    cycles: float = result.cycles
    if before is not None and after is not None:
        cycles = (after - before) * manifest.energy.cycles_per_instruction
    return cycles / manifest.core_hz, (spent.wire_up + spent.wire_down) * _BITS_PER_BYTE_ON_LINE / board.entry.baud
