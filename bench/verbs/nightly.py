"""`bench nightly` and `bench regressions`."""

from __future__ import annotations

from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from bench.errors import ConfigError, InfrastructureError
from bench.progress import Reporter
from bench.verbs.options import Verbs, rack_inventory, reports, store_of, with_examples
from bench.verbs.output import print_json

if TYPE_CHECKING:
    import pandas as pd  # takes a second, and most verbs do without

_NIGHTLY_EXAMPLES = """\
Runs each cell of a matrix of models, schemes, number formats, strategies and cohorts of boards (a TOML file; see
bench/nightly/night.toml, which is taken when none is given), and compares each figure with those of the nights before,
by kind of board: counted ones must be equal, others are compared with the median of up to 30 nights in units of their
spread. What differs is run once more before it is called a regression. docs/examples has a systemd timer, a cron line
and a CI workflow.

examples:
  bench nightly                                     the matrix that ships, on the default rack
  bench nightly my-night.toml --rack hosts/lab.yaml --minutes 360
  bench nightly my-night.toml --list                the cells, and the boards of each; nothing is run
  bench nightly --resume                            go on after a power cut or Ctrl-C

exit codes: 0 all is well, 1 there are regressions, 2 usage or configuration, 3 a cell failed
"""

_REGRESSION_EXAMPLES = """\
A regression stays open until the figure is as it was, or the new one is accepted.

examples:
  bench regressions                                 those that are open; exit code 1 if there are any
  bench regressions --all                           also what was accepted, has gone, or was not confirmed
  bench regressions --accept 12 13 --because "the stack paint moved"
"""


def add(verbs: Verbs) -> None:
    """Both."""
    nightly_ = verbs.add_parser(
        "nightly", help="run a matrix, and compare with earlier nights", **with_examples(_NIGHTLY_EXAMPLES)
    )
    nightly_.add_argument("file", nargs="?", type=Path, metavar="FILE.toml", help="the matrix; default: what ships")
    nightly_.add_argument("--minutes", type=float, metavar="M", help="that it may take; default: the file's")
    nightly_.add_argument("--resume", action="store_true", help="go on with the newest night that was not finished")
    nightly_.add_argument("--list", action="store_true", help="show the cells, and run nothing")
    nightly_.set_defaults(call=nightly)
    reports(nightly_)
    regressions_ = verbs.add_parser(
        "regressions", help="what became worse, and since when", **with_examples(_REGRESSION_EXAMPLES)
    )
    regressions_.add_argument("--all", action="store_true", help="also those that are not open")
    regressions_.add_argument("--accept", nargs="+", type=int, metavar="ID", help="the new figure is the level now")
    regressions_.add_argument("--because", metavar="TEXT", help="kept with what is accepted")
    regressions_.set_defaults(call=regressions)
    reports(regressions_)


def nightly(options: Namespace) -> int:
    """`bench nightly`: 1 when there are regressions, else 3 when a cell failed."""
    from bench.experiment.setting import boards_of
    from bench.nightly.command import Command
    from bench.nightly.matrix import SHIPPED, Cell, cells, load_night
    from bench.nightly.night import Night, Told
    from bench.nightly.possible import check
    from bench.results.database import Store

    path = options.file or SHIPPED
    if not path.is_file():
        raise ConfigError(f"{path}: no such nightly file; without one, `bench nightly` takes the one that ships")
    night_file = load_night(path)
    inventory = rack_inventory(options)
    matrix = cells(path, night_file, [entry.name for entry in inventory.boards])

    def boards(cell: Cell) -> list[tuple[str, str]]:
        entries = inventory.select(boards_of(cell.experiment, inventory, given=True))
        return [(entry.name, entry.env) for entry in entries]

    members = {cell.name: boards(cell) for cell in matrix}
    check(path, matrix, {name: len(found) for name, found in members.items()})
    if options.list:
        return _list(options, members)
    minutes = night_file.minutes if options.minutes is None else options.minutes
    if minutes is not None and not minutes > 0:
        raise ConfigError(f"--minutes {minutes:g}: a number above 0")
    store_name = store_of(options)
    with Reporter() as reporter, Store.open(store_name) as store:
        begin = Night.unfinished if options.resume else Night.new
        night = begin(options.reports, night_file.name, matrix)
        reporter.say(f"night {night.state.night}: {len(matrix)} cells" + (f", {minutes:g} minutes" if minutes else ""))
        command = Command(options.reports, inventory.path, options.state, str(store_name))
        told = Told(reporter.say, reporter.count)
        outcome = night.run(store, command, night_file.compare.rule, boards, minutes=minutes, told=told)
    failed = outcome.count("failed")
    document = {
        "night": outcome.state.night,
        "folder": str(outcome.folder),
        "cells": {name: vars(state) for name, state in outcome.state.cells.items()},
        "regressions": _records(outcome.regressions),
        "unconfirmed": list(outcome.suspects),
    }
    if options.json:
        print_json(document)
    else:
        left = outcome.count("no time") + outcome.count("cut")
        print(f"night {outcome.state.night}: {outcome.count('done')} cells ran, {failed} failed, {left} left out")
        _show(outcome.regressions)
    return 1 if len(outcome.regressions) else InfrastructureError.exit_code if failed else 0


def regressions(options: Namespace) -> int:
    """`bench regressions`: 1 when any is open."""
    from bench.results.database import Store
    from bench.results.nights import accept, findings

    if options.because is not None and not options.accept:
        raise ConfigError("--because is kept with what is accepted: name the regressions with --accept")
    with Store.open(store_of(options), create=False) as store:
        store.check(quick=True)  # a damaged one may have lost what was found
        if options.accept:
            at = datetime.now(UTC).isoformat(timespec="seconds")
            accept(store, options.accept, options.because or "", at)
        found = findings(store, states=None if options.all else ("open",))
    if options.json:
        print_json(_records(found))
    else:
        _show(found, states=options.all)
    return int(bool((found["state"] == "open").any()))


def _list(options: Namespace, matrix: dict[str, list[tuple[str, str]]]) -> int:
    if options.json:
        print_json({name: [board for board, _ in boards] for name, boards in matrix.items()})
        return 0
    for name, boards in matrix.items():
        print(f"{name}: {', '.join(board for board, _ in boards)}")
    return 0


_COLUMNS = (
    "finding", "night", "cell", "variant", "env", "phase", "metric", "kind", "direction", "how", "state", "before",
    "after", "tolerance", "closed", "note", "sha",
)  # fmt: skip


def _records(found: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = found[list(_COLUMNS)].to_dict("records")
    return [{key: None if value is None or value != value else value for key, value in row.items()} for row in rows]


def _show(found: pd.DataFrame, *, states: bool = False) -> None:
    if found.empty:
        print("no regressions" if not states else "nothing was found yet")
        return
    table = Table(box=None, pad_edge=False)
    heads = ["id", "since", "cell, variant", "board", "figure", "before", "after", "change", "seen by"]
    for head in [*heads, *(["state"] if states else [])]:
        table.add_column(head, overflow="fold", justify="right" if head in ("before", "after", "change") else "left")
    for row in _records(found):
        figure = " ".join(part for part in (row["metric"], row["phase"]) if part)
        if row["kind"] == "modelled":
            figure += " (modelled)"
        state = [f"{row['direction']}, {row['state']}"] if states else []
        table.add_row(
            str(row["finding"]), row["night"], f"{row['cell']}, {row['variant']}", row["env"] or "cohort", figure,
            f"{row['before']:,.6g}", f"{row['after']:,.6g}", change_of(row["before"], row["after"]), row["how"], *state,
        )  # fmt: skip
    Console().print(table)
    if (found["state"] == "open").any():
        print(
            "what is mended goes by itself; `bench regressions --accept ID --because '...'` makes the new figure right"
        )


def change_of(before: float, after: float) -> str:
    """As a share, or the difference where there was nothing before."""
    return f"{100 * (after - before) / abs(before):+.2f} %" if before else f"{after - before:+,.6g}"
