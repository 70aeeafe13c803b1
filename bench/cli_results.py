"""The verbs about runs that have ended: their options. What they do is elsewhere."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import verbs_nightly, verbs_store

FORMATS = ("csv", "smaller-is-better", "openmetrics", "markdown", "parquet")

_STORE_EXAMPLES = """\
`bench run` and `bench nightly` add what they run by themselves. The store is a file of SQLite beside the runs unless
--store or BENCH_STORE name another, or a database that a team shares, by its SQLAlchemy URL.

examples:
  bench store import reports/runs                        all finished runs of a folder; what is there is left alone
  bench store list                                       runs, oldest first
  bench store list boards                                boards as they were seen: probe, its firmware, supply
  bench store import reports/runs --store postgresql+psycopg://bench@db.example.org/bench
  bench store check                                      is the file whole?

in Python, answers are pandas frames:
  from bench.results import queries
  from bench.results.database import Store
  with Store.open("reports/results.db") as store:
      queries.trends(store, metric="energy", env="microbit")
"""
_EXPORT_EXAMPLES = """\
examples:
  bench export --format markdown >> "$GITHUB_STEP_SUMMARY"       the newest run, for people
  bench export --format smaller-is-better --output benchmark.json   for github-action-benchmark's customSmallerIsBetter
  bench export demo-20260102-030405 --format openmetrics --output bench.prom
  bench export --format parquet --output run.parquet             every row; needs 'ftte-bench[parquet]'
"""
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


class ResultVerbs:
    """Adds the verbs; what all verbs of the command share comes from its main module."""

    def __init__(
        self,
        verbs: Any,
        common: Callable[[argparse.ArgumentParser], None],
        reports: Callable[[], Path],
    ) -> None:
        self._verbs = verbs
        self._common = common
        self._reports = reports

    def add(self) -> None:
        """All of them."""
        self._store()
        self._export()
        self._nightly()
        self._regressions()

    def reports(self, verb: argparse.ArgumentParser) -> None:
        """Where runs and the store are."""
        verb.add_argument("--reports", type=Path, default=self._reports(), metavar="DIR", help="where runs are kept")
        self.store(verb)
        self._common(verb)

    @staticmethod
    def store(verb: argparse.ArgumentParser) -> None:
        """Which store."""
        verb.add_argument(
            "--store",
            default=os.environ.get("BENCH_STORE"),
            metavar="FILE|URL",
            help=f"result store; default: environment variable BENCH_STORE, then {verbs_store.DEFAULT} beside the runs",
        )

    def _parser(self, verbs: Any, name: str, text: str, examples: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = verbs.add_parser(
            name, help=text, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        return parser

    def _store(self) -> None:
        store = self._parser(self._verbs, "store", "the store of all runs: import, list, check", _STORE_EXAMPLES)
        actions = store.add_subparsers(dest="action", required=True, metavar="ACTION")
        importing = actions.add_parser("import", help="add finished runs; may be repeated")
        importing.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="a run's folder, or one of runs")
        importing.set_defaults(call=verbs_store.import_runs)
        listing = actions.add_parser("list", help="runs, boards or builds of the store")
        listing.add_argument("what", nargs="?", choices=("runs", "boards", "builds"), default="runs")
        listing.add_argument("--experiment", metavar="NAME", help="its runs only")
        listing.set_defaults(call=verbs_store.list_runs)
        check = actions.add_parser("check", help="look at every page of the file")
        check.set_defaults(call=verbs_store.check)
        for action in (importing, listing, check):
            self.reports(action)

    def _export(self) -> None:
        export = self._parser(self._verbs, "export", "a run for other programs, or as a summary", _EXPORT_EXAMPLES)
        export.add_argument("run", nargs="?", help="a run's name or folder; the newest if absent")
        export.add_argument("--format", choices=FORMATS, default="markdown", help="default: %(default)s")
        export.add_argument("--output", type=Path, metavar="FILE", help="instead of standard output")
        export.set_defaults(call=verbs_store.export)
        self.reports(export)

    def _nightly(self) -> None:
        nightly = self._parser(
            self._verbs, "nightly", "run a matrix, and compare with earlier nights", _NIGHTLY_EXAMPLES
        )
        nightly.add_argument("file", nargs="?", type=Path, metavar="FILE.toml", help="the matrix; default: what ships")
        nightly.add_argument("--minutes", type=float, metavar="M", help="that it may take; default: the file's")
        nightly.add_argument("--resume", action="store_true", help="go on with the newest night that was not finished")
        nightly.add_argument("--list", action="store_true", help="show the cells, and run nothing")
        nightly.set_defaults(call=verbs_nightly.nightly)
        self.reports(nightly)

    def _regressions(self) -> None:
        regressions = self._parser(
            self._verbs, "regressions", "what became worse, and since when", _REGRESSION_EXAMPLES
        )
        regressions.add_argument("--all", action="store_true", help="also those that are not open")
        regressions.add_argument("--accept", nargs="+", type=int, metavar="ID", help="the new figure is the level now")
        regressions.add_argument("--because", metavar="TEXT", help="kept with what is accepted")
        regressions.set_defaults(call=verbs_nightly.regressions)
        self.reports(regressions)
