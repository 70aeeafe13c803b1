"""`bench store` and `bench export`: what is kept of all runs, and runs for other programs."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.errors import BenchError, ConfigError
from bench.progress import Reporter
from bench.verbs.options import Verbs, reports, store_of, with_examples
from bench.verbs.output import tell

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


def add(verbs: Verbs) -> None:
    """Both."""
    store = verbs.add_parser(
        "store", help="the store of all runs: import, list, check", **with_examples(_STORE_EXAMPLES)
    )
    actions = store.add_subparsers(dest="action", required=True, metavar="ACTION")
    importing = actions.add_parser("import", help="add finished runs; may be repeated")
    importing.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="a run's folder, or one of runs")
    importing.set_defaults(call=import_runs)
    listing = actions.add_parser("list", help="runs, boards or builds of the store")
    listing.add_argument("what", nargs="?", choices=("runs", "boards", "builds"), default="runs")
    listing.add_argument("--experiment", metavar="NAME", help="its runs only")
    listing.set_defaults(call=list_runs)
    check_ = actions.add_parser("check", help="look at every page of the file")
    check_.set_defaults(call=check)
    for action in (importing, listing, check_):
        reports(action)
    export_ = verbs.add_parser(
        "export", help="a run for other programs, or as a summary", **with_examples(_EXPORT_EXAMPLES)
    )
    export_.add_argument("run", nargs="?", help="a run's name or folder; the newest if absent")
    export_.add_argument("--format", choices=FORMATS, default="markdown", help="default: %(default)s")
    export_.add_argument("--output", type=Path, metavar="FILE", help="instead of standard output")
    export_.set_defaults(call=export)
    reports(export_)


def import_runs(options: Namespace) -> int:
    """`bench store import`: what is there already is left alone; what cannot be read is told, and the rest goes on."""
    from bench.results.database import Store
    from bench.results.store import load_run

    folders = _run_folders(options.folders)
    reporter = Reporter()
    added: list[str] = []
    present: list[str] = []
    refused: dict[str, str] = {}
    with reporter, Store.open(store_of(options)) as store:
        for number, folder in enumerate(folders, start=1):
            try:
                new = store.add(load_run(folder))
                (added if new else present).append(folder.name)
            except ConfigError as error:
                refused[str(folder)] = str(error)
                reporter.say(f"  {error}")
            reporter.count("runs", number, len(folders))
    document = {"store": str(store_of(options)), "added": added, "present": present, "refused": refused}
    text = f"{len(added)} runs added, {len(present)} were there, {len(refused)} refused"
    tell(options, document, text)
    return ConfigError.exit_code if refused else 0


def list_runs(options: Namespace) -> int:
    """`bench store list`."""
    from bench.results import queries
    from bench.results.database import Store

    if options.experiment is not None and options.what != "runs":
        raise ConfigError(f"--experiment chooses among runs: {options.what} are those of all experiments")
    with Store.open(store_of(options), create=False) as store:
        found = {
            "runs": lambda: queries.runs(store, experiment=options.experiment),
            "boards": lambda: queries.boards(store),
            "builds": lambda: queries.builds(store),
        }[options.what]()
    if options.json:
        print(found.to_json(orient="records", indent=2), flush=True)
        return 0
    shown = _SHOWN[options.what]
    table = Table(box=None, pad_edge=False)
    for column in shown.values():
        table.add_column(column, overflow="fold")
    for row in found.to_dict("records"):
        table.add_row(*(_short(key, str(row[key])) for key in shown))
    Console().print(
        table if len(found) else f"no {options.what} yet: `bench run` adds its run, `bench store import` older ones"
    )
    return 0


_SHOWN = {
    "runs": {"run": "run", "started": "started", "failed_checks": "failed checks", "sha": "revision"},
    "boards": {
        "board": "board", "env": "environment", "probe_firmware": "probe firmware", "supply": "supply", "runs": "runs",
        "last": "last",
    },
    "builds": {
        "program": "program", "plan": "plan", "dtype": "dtype", "strategy": "strategy", "runs": "runs", "last": "last",
    },
}  # fmt: skip


def _short(column: str, text: str) -> str:
    """Times to the minute, revisions as git shortens them."""
    if column in ("started", "last"):
        return text[:16].replace("T", " ")
    return text[:10] if column == "sha" else text


def check(options: Namespace) -> int:
    """`bench store check`: 3 when the file is damaged."""
    from bench.results.database import Store

    with Store.open(store_of(options), create=False) as store:
        store.check()
    print(json.dumps({"store": store.where, "problems": []}) if options.json else f"{store.where}: whole", flush=True)
    return 0


def export(options: Namespace) -> int:
    """`bench export`."""
    from bench.results.export import export as write
    from bench.results.files import write_atomically
    from bench.results.store import find_run, load_run

    data = write(load_run(find_run(options.reports, options.run)), options.format)
    if options.output is not None:
        write_atomically(options.output, data)
        if options.json:
            print(json.dumps({"written": str(options.output), "bytes": len(data)}), flush=True)
        return 0
    if options.json and options.format != "smaller-is-better":
        raise ConfigError(f"--json: a document on standard output and {options.format} there too: give --output FILE")
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    return 0


def trends(options: Namespace) -> int:
    """`bench report --trends`."""
    from bench.report.trends import write_trends
    from bench.results.database import Store

    with Store.open(store_of(options), create=False) as store:
        path = write_trends(store, options.reports)
    return tell(options, {"report": str(path)}, f"report: {path}")


def add_run(options: Namespace, folder: Path, reporter: Reporter) -> None:
    """Adds a run that has just ended. It is whole without: what goes wrong is told, and how to mend it."""
    from bench.results.database import Store
    from bench.results.store import load_run

    try:
        with Store.open(store_of(options)) as store:
            store.add(load_run(folder))
    except BenchError as error:
        reporter.say(f"not added to the result store: {error}; later: bench store import {folder}")


def _run_folders(given: Sequence[Path]) -> list[Path]:
    """Folders of finished runs: those given, and those in them. Raises ConfigError where there is none."""
    found: list[Path] = []
    for folder in given:
        inside = [path.parent for path in sorted(folder.glob("*/results.json"))]
        inside += [path.parent for path in sorted(folder.glob("runs/*/results.json"))]
        inside = [path for path in inside if not path.is_symlink()]  # reports/latest
        if (folder / "results.json").is_file():
            inside.insert(0, folder)
        if not inside and not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder")
        found += inside
    if not found:
        raise ConfigError(f"{', '.join(map(str, given))}: no finished run (a folder with results.json) there")
    unique: dict[Any, Path] = {path.resolve(): path for path in found}
    return list(unique)
