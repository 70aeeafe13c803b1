"""`bench energy`."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.energy_record import keep
from bench.errors import ConfigError
from bench.metering import WHATS, EnergyRun, What, measure_board
from bench.meters.rule import QUICK, Rule
from bench.planning import make_plan
from bench.progress import Reporter
from bench.rack.probe_identity import ProbeIdentity, identities
from bench.rack.rack import Rack
from bench.report.page import REPORT
from bench.results.files import write_atomically
from bench.results.table import frame
from bench.verbs.model import recipe_of
from bench.verbs.options import Verbs, common, model, rack_inventory, with_examples
from bench.verbs.output import print_json

_NAMES: dict[What, str] = {"step": "training step", "inference": "inference"}

_EXAMPLES = """\
By the meter that the inventory gives the board (`meter:`), and by the rule of EEMBC and MLPerf Tiny: five runs of at
least ten seconds and ten iterations, the median of them; a run that lost over 0.1 % of its samples is made again.
Compute is told by the board's marker pin, link by its console's lines, if the meter's logic channels are on them.
Figures of an emulated board or meter are modelled; without a meter they are modelled from counts.

examples:
  bench energy demo-cnn --board plus2 --quick                  a look: short windows
  bench energy lenet-5 --scheme bias --board iot --what step   the rule, for training steps alone
  bench energy mine.onnx --board dk-1 --rack hosts/lab.yaml --output energy.csv
  bench energy lenet-5 --board plus2 --quick --reports reports   and a page with the current over time
"""


def add(verbs: Verbs) -> None:
    """The verb."""
    energy_ = verbs.add_parser(
        "energy",
        help="energy of a training step, an inference and a round on a board, by its meter",
        **with_examples(_EXAMPLES),
    )
    energy_.add_argument("--board", required=True, metavar="BOARD", help="of the rack; it is flashed for it")
    energy_.add_argument("--what", action="append", choices=("step", "inference", "round"),
                        help="may be repeated; all three if absent")  # fmt: skip
    energy_.add_argument("--local-samples", type=int, default=100, metavar="N",
                        help="training steps in a round; default: %(default)s")  # fmt: skip
    energy_.add_argument("--quick", action="store_true", help="one run of half a second: does not satisfy the rule")
    energy_.add_argument("--window", type=float, metavar="S", help="seconds of a run, at least; default: 10")
    energy_.add_argument("--runs", type=int, metavar="N", help="of which the median counts; default: 5")
    energy_.add_argument("--output", type=Path, metavar="FILE.csv", help="write the rows of the measurement table")
    energy_.add_argument("--reports", type=Path, metavar="DIR",
                        help="keep it as a run in DIR/runs, with a report that draws the current")  # fmt: skip
    energy_.set_defaults(call=energy)
    model(energy_)
    common(energy_)


def energy(options: Namespace) -> int:
    """`bench energy`."""
    recipe, whats, rule = recipe_of(options), _whats(options), _rule(options)
    if options.local_samples < 1:
        raise ConfigError(f"--local-samples {options.local_samples}: 1 or more")
    inventory, reporter = rack_inventory(options), Reporter()
    planned = make_plan(recipe, inventory.board(options.board).env, reporter.say)
    purpose, started = f"bench energy {recipe.model}", datetime.now(UTC)
    name = f"energy-{options.board}-{started:%Y%m%d-%H%M%S}"  # a board is one's at a time
    with Rack.open(inventory, [options.board], purpose=purpose, state_dir=options.state) as rack:
        board = rack.boards[options.board]
        probe = ProbeIdentity() if options.reports is None else identities([board])[board.name]
        run = measure_board(
            planned,
            board,
            rule,
            whats=whats,
            local_samples=options.local_samples,
            seed=options.seed,
            told=lambda text: reporter.board_step(board.name, text),
        )
    rows = run.measurements(name)
    if options.output is not None:
        write_atomically(options.output, frame(rows).to_csv(index=False).encode("utf-8"))
    folder = None
    if not options.json:
        _show(run)  # first: what was measured is not to be lost with a full disk
    if options.reports is not None:
        folder = keep(
            run, name, options.reports, planned=planned, board=board, probe=probe, rack=inventory.path,
            command=options.command, seed=options.seed, started=started,
        )  # fmt: skip
    if options.json:
        kept = {} if folder is None else {"folder": str(folder)}
        document = {**run.document(), **kept, "measurements": [asdict(row) for row in rows]}
        print_json(document)
    elif folder is not None:
        reporter.say(f"report: {folder / REPORT}")
    return 0


def _whats(options: Namespace) -> tuple[What, ...]:
    return WHATS if options.what is None else tuple(what for what in WHATS if what in options.what)


def _rule(options: Namespace) -> Rule:
    if options.quick and (options.window is not None or options.runs is not None):
        raise ConfigError("--quick is a window and a number of runs of its own: leave out --window and --runs")
    if options.quick:
        return QUICK
    full = Rule()
    window = full.window_s if options.window is None else options.window
    runs = full.runs if options.runs is None else options.runs
    if not window > 0 or runs < 1:
        raise ConfigError("--window is more than 0 seconds, --runs 1 or more")
    return Rule(window_s=window, runs=runs)


def _show(run: EnergyRun) -> None:
    console, by = Console(), run.instrumented
    table = Table(title=f"{run.program} on {run.board} ({run.env}): energy, {by.kind}", title_justify="left")
    for name in ("in µJ", "compute", "link", "idle", "in all", "spread", "refused"):
        table.add_column(name, justify="left" if name == "in µJ" else "right", no_wrap=name != "in µJ")
    for what, figure in run.figures.items():
        median = figure.median
        phases = [
            f"{median.energy_uj(phase):,.2f}" if phase in figure.phases else "-"
            for phase in ("compute", "link", "idle")
        ]
        refused = sum(each.refused for each in figure.runs)
        table.add_row(
            f"round, {run.local_samples} steps" if what == "round" else _NAMES[what],
            *phases,
            f"{figure.energy_uj:,.2f}",
            f"{figure.spread:.2%}",
            str(refused),
        )
    console.print(table)
    console.print(f"{by.meter}: {by.identity}; {by.voltage_mv} mV from {by.supply}", markup=False, soft_wrap=True)
    if by.kind == "modelled" and run.rule is not None:
        console.print("modelled: the instrument is emulated, and so is the current that it reads")
    if run.rule is not None and not run.rule.satisfies_eembc:
        console.print("this does not satisfy the rule of EEMBC and MLPerf Tiny: five runs of at least 10 s, the median")
