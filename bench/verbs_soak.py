"""`bench soak`."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.errors import ConfigError
from bench.progress import Reporter


def soak(options: Namespace) -> int:
    """`bench soak`: 1 when a fault was not recovered, or anything was lost, counted twice, left hanging or wrong."""
    from bench.soak.plan import kinds_of  # what is below takes a second
    from bench.soak.soak import SoakSettings
    from bench.soak.soak import soak as run_soak

    if options.minutes is not None and options.minutes <= 0:
        raise ConfigError(f"--minutes {options.minutes:g}: more than 0")
    settings = SoakSettings(kinds_of(options.faults), options.count, options.seed, options.minutes)
    with Reporter() as reporter:
        document = run_soak(
            settings,
            rack=options.rack,
            state_dir=options.state,
            reports=options.reports,
            resume=options.resume,
            reporter=reporter,
        )
    if options.json:
        print(json.dumps(document, indent=2), flush=True)
    else:
        _show(document)
    return 0 if document["passed"] else 1


def _show(document: dict[str, Any]) -> None:
    table = Table("fault", "injected", "recovered", "by", "median", "95 %", "longest")
    for kind in document["kinds"]:
        rungs = ", ".join(f"{rung} {count}" for rung, count in kind["rungs"].items())
        times = ["–" if kind[name] is None else f"{kind[name]:.2f} s" for name in ("median_s", "p95_s", "most_s")]
        table.add_row(kind["fault"], str(kind["injected"]), str(kind["recovered"]), rungs, *times)
    console = Console()
    console.print(table)
    totals = ["injected", "recovered", "updates", "left_out", "lost_updates", "duplicated_updates"]
    totals += ["hangs", "leaked_processes", "wrong_figures"]
    console.print(", ".join(f"{name.replace('_', ' ')} {document[name]}" for name in totals))
    console.print(f"weights {'equal' if document['weights_equal'] else 'DIFFERENT'}; {document['seconds']:.0f} s")
    console.print(f"{document['folder']}: soak.md, soak.json, faults.jsonl", soft_wrap=True)
