"""How true the wire of a PPK2 is: known currents through the emulated instrument, ppk2-api and the bench's own code.

    python -m bench.benchmarks.energy [--seconds 1.0] [--json FILE]

Three tables. Steady currents from 1 µA to 50 mA, across the ranges of the instrument: energy beside the truth, which is
current, voltage and time, exactly. A board that computes, transfers and rests in turn: energy by phase beside the
truth. And recordings that lose samples: how much was found from the raw counter, and what became of the run. The
command ends with 1 where a figure is outside of its limit. All of it is modelled: the instrument is emulated.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.benchmarks.files import write_document
from bench.errors import InfrastructureError
from bench.meters.meter import Meter, MeterSettings
from bench.meters.opening import opened
from bench.meters.rule import Rule, measure
from bench.meters.split import Wiring, split
from bench.meters.trace import PHASES, Trace
from bench.virtual.instruments.running import running
from bench.virtual.instruments.spec import Faults, Script, Stretch
from bench.virtual.instruments.waveform import Truth

CURRENTS_UA = (1.0, 5.0, 12.3, 49.0, 51.0, 100.0, 480.0, 520.0, 1_000.0, 4_800.0, 5_200.0, 12_000.0, 40_000.0, 50_000.0)
LOWEST_LIMIT, LIMIT, PHASE_LIMIT = 0.05, 0.01, 0.02
VOLTAGE_MV = 3300
WIRING = Wiring(0, (1, 2))
# A board at rest and at work, in µA: an nRF51822 that sleeps deeply, the manifest's STM32F405, an ultra-low-power part.
BOARDS = (("deep sleep", 3.0, 4_400.0), ("STM32F405", 12_000.0, 40_000.0), ("low power", 40.0, 600.0))
_PULSES = 20


@dataclass(frozen=True)
class Steady:
    """A steady current, and how far from the truth the energy was."""

    current_ua: float
    energy_uj: float
    true_uj: float
    error: float
    limit: float


@dataclass(frozen=True)
class Phased:
    """A phase of a board's recording."""

    board: str
    noise_ua: float
    phase: str
    energy_uj: float
    true_uj: float
    error: float
    limit: float


@dataclass(frozen=True)
class Lossy:
    """Recordings that lost samples."""

    case: str
    lost_share: float
    """As the instrument's own count says."""
    found_share: float
    """As the raw counter said to the host."""
    refused: int
    result: str
    expected: str


def settings(port: str) -> MeterSettings:
    """Of an emulated PPK2 whose stream has no clock of ours."""
    return MeterSettings("ppk2", port, VOLTAGE_MV, "meter", WIRING, physical=False, clock=None, silence_s=10.0)


def record(script: Script, faults: Faults, seconds: float) -> tuple[Trace, Truth]:
    """A recording of a script, and what was true of it."""
    with running("ppk2", script, faults) as instrument:
        with opened(settings(instrument.port)) as meter:
            meter.start()
            meter.wait(seconds, 60.0)
            trace = meter.stop()
        return trace, instrument.truth()


def steady(current_ua: float, seconds: float) -> Steady:
    """The mean power is compared, for a recording ends when it is told to."""
    trace, _ = record(Script((Stretch(seconds, current_ua),), speed=0), Faults(), seconds)
    true_uj = current_ua * VOLTAGE_MV / 1000 * trace.seconds
    energy_uj = trace.energy_uj()
    limit = LOWEST_LIMIT if current_ua < 5 else LIMIT
    return Steady(current_ua, energy_uj, true_uj, energy_uj / true_uj - 1, limit)


def phased(board: str, sleep_ua: float, run_ua: float, noise_ua: float, seconds: float) -> list[Phased]:
    """Pulses of receiving, computing, sending and resting, whose length is no whole number of samples."""
    each = seconds / _PULSES
    pulse = (
        Stretch(0.1003 * each, run_ua, "receive"),
        Stretch(0.4011 * each, run_ua, "compute"),
        Stretch(0.1007 * each, run_ua, "send"),
        Stretch(0.3979 * each, sleep_ua, "idle"),
    )
    trace, truth = record(Script(pulse * _PULSES, speed=0), Faults(seed=1, noise_ua=noise_ua), seconds)
    shares = split(trace, WIRING)
    found = []
    for phase in PHASES:
        true_uj = truth.charge_uc[phase] * VOLTAGE_MV / 1000
        energy_uj = shares[phase].energy_uj
        found.append(Phased(board, noise_ua, phase, energy_uj, true_uj, energy_uj / true_uj - 1, PHASE_LIMIT))
    return found


# Of a case, the first recording is looked at; the second finds out how long a run must be, the third is the first run.
LOSSES = (
    ("nothing lost", Faults(), "counts"),
    ("under 0.1 %", Faults(seed=3, drops_per_s=20.0, drop_samples=2), "counts"),
    ("over 0.1 % once", Faults(seed=4, drops_per_s=60.0, drop_samples=5, faulty_recordings=3), "counts"),
    ("over 0.1 % always", Faults(seed=5, drops_per_s=60.0, drop_samples=5), "refused"),
)


def lossy(case: str, faults: Faults, expected: str, seconds: float) -> Lossy:
    """A recording, what it lost and what was found of that; then a run by the rule."""
    script = Script((Stretch(seconds, 20_000.0, "compute"), Stretch(0.01, 100.0)), speed=0)
    rule = Rule(window_s=0.9 * seconds, iterations=1, runs=1)

    def work(meter: Meter, _count: int) -> None:
        meter.wait(0.99 * seconds, 60.0)

    with running("ppk2", script, faults) as instrument, opened(settings(instrument.port)) as meter:
        meter.start()
        work(meter, 1)
        trace, truth = meter.stop(), instrument.truth()
        lost_share = truth.dropped_samples / truth.samples
        try:
            figure = measure(meter, work, rule, WIRING, ("compute",))
            refused, result = sum(run.refused for run in figure.runs), "counts"
        except InfrastructureError:
            refused, result = rule.attempts, "refused"
    return Lossy(case, lost_share, trace.lost_share, refused, result, expected)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 when a figure is outside of its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each recording; default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    options = parser.parse_args(arguments)
    steadies = [steady(current, options.seconds) for current in CURRENTS_UA]
    phases = [
        row
        for board, sleep_ua, run_ua in BOARDS
        for noise_ua in (0.0, sleep_ua / 10)
        for row in phased(board, sleep_ua, run_ua, noise_ua, options.seconds)
    ]
    losses = [lossy(*case, options.seconds) for case in LOSSES]
    _show(steadies, phases, losses)
    if options.json is not None:
        tables: dict[str, Sequence[Steady | Phased | Lossy]] = {"steady": steadies, "phased": phases, "lossy": losses}
        rows = {name: [asdict(row) for row in table] for name, table in tables.items()}
        write_document(options.json, "energy", rows)
    wrong = any(abs(row.error) > row.limit for row in steadies) or any(abs(row.error) > row.limit for row in phases)
    return 1 if wrong or any(row.result != row.expected for row in losses) else 0


def _show(steadies: Sequence[Steady], phases: Sequence[Phased], losses: Sequence[Lossy]) -> None:
    console = Console()
    table = Table("current µA", "energy µJ", "true µJ", "error", "limit", title="Steady currents")
    for row in steadies:
        table.add_row(f"{row.current_ua:,g}", f"{row.energy_uj:,.3f}", f"{row.true_uj:,.3f}", f"{row.error:+.3%}",
                      f"{row.limit:.0%}")  # fmt: skip
    console.print(table)
    table = Table(
        "board", "noise µA", "phase", "energy µJ", "true µJ", "error", "limit", title="By phase", title_justify="left"
    )
    for each in phases:
        table.add_row(each.board, f"{each.noise_ua:,g}", each.phase, f"{each.energy_uj:,.3f}", f"{each.true_uj:,.3f}",
                      f"{each.error:+.3%}", f"{each.limit:.0%}")  # fmt: skip
    console.print(table)
    table = Table("case", "lost", "found", "refused", "result", title="Lost samples")
    for loss in losses:
        table.add_row(loss.case, f"{loss.lost_share:.3%}", f"{loss.found_share:.3%}", str(loss.refused), loss.result)
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
