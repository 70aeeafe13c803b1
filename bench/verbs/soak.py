"""`bench soak`."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.errors import ConfigError
from bench.progress import Reporter
from bench.verbs.options import Verbs, reports, with_examples
from bench.verbs.output import print_json

_EXAMPLES = """\
Federated rounds on virtual boards while things go wrong on purpose: bit flips, drops, noise, stalls and disconnects of
the line; resets, hangs, hard faults, slow boards, wrong builds, power that fails in mid-flash, probes that disappear,
meters that freeze, a full disk. A leg of eight rounds is run again without faults, less the updates that did not come:
weights and figures must be the same. Which faults, in which order and with which details, is drawn by the seed; when
they strike depends on what the line carries. A fault is over when a recovery, a frame or a job that came after it shows
the board well; no leg ends before all of its faults are. Each leg is kept when it ends, and the table so far with it
(soak.md); `--resume` injects again what an interrupted leg had.

Of N faults, at least one is of each kind (all are 14), and of all of them:
  bit-flip 34 %, drop 27 %, burst 18 %, stall 9 %, disconnect 4 %, slow 2 %, reset 1.5 %, hard-fault 1 %, and
  0.55 % each hang, wrong-build, brown-out, probe-gone, meter-freeze, disk-full: 55 of 10,000

examples:
  bench soak --count 200                                  some minutes; a table of faults and what healed them
  bench soak --faults hang,probe-gone --count 20 --json   the costly rungs of the ladder alone
  bench soak --count 10000 --seed 7                       and after Ctrl-C:  bench soak --count 10000 --seed 7 --resume

exit code 0 if every fault was recovered, and nothing was lost, counted twice, left hanging or wrong; else 1
"""


def add(verbs: Verbs) -> None:
    """The verb."""
    soak_ = verbs.add_parser(
        "soak", help="federated rounds under faults on purpose: is anything lost?", **with_examples(_EXAMPLES)
    )
    soak_.add_argument("--faults", default="all", metavar="all|LIST", help="kinds, with commas between; default: all")
    soak_.add_argument("--count", type=int, default=200, metavar="N", help="of faults; default: %(default)s")
    soak_.add_argument("--minutes", type=float, metavar="M", help="begin no leg after so long; `--resume` goes on")
    soak_.add_argument("--seed", type=int, default=1, help="decides faults and data; default: %(default)s")
    soak_.add_argument("--resume", action="store_true", help="go on with the newest one of these that is not complete")
    soak_.set_defaults(call=soak)
    reports(soak_)


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
        print_json(document)
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
