"""`bench run` and `bench report`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from rich.console import Console

from bench.progress import Reporter
from bench.verbs.options import Verbs, reports, with_examples
from bench.verbs.output import print_json
from bench.verbs.store import add_run, trends

_EXAMPLES = """\
examples:
  bench run demo                                    on the default rack
  bench run demo --rack hosts/lab.yaml --json       on your boards; the run's document on standard output
  bench run ftte                                    few parameters in four bits, semi-asynchronous, beside FedAvg
  bench run my.toml --resume                        go on after a power cut: finished server steps are not run again
"""


def add(verbs: Verbs) -> None:
    """Both."""
    run_ = verbs.add_parser("run", help="run an experiment on the rack, and report it", **with_examples(_EXAMPLES))
    run_.add_argument("experiment", help="a TOML file, or the name of one that ships (demo, ftte)")
    run_.add_argument("--resume", action="store_true", help="go on with the newest run of it that was not finished")
    run_.add_argument("--model", metavar="MODEL", help="a zoo name or an ONNX file in place of the experiment's model")
    run_.add_argument("--scheme", help="an update scheme in place of those of the experiment's variants")
    run_.set_defaults(call=run)
    report_ = verbs.add_parser("report", help="write a run's report again and show its summary")
    report_.add_argument("run", nargs="?", help="a run's name or folder; the newest if absent")
    report_.add_argument("--png", action="store_true", help="each plot as a picture too, in the run's folder `plots`")
    report_.add_argument("--trends", action="store_true",
                        help="instead: all runs of the result store, night by night, in trends.html")  # fmt: skip
    report_.set_defaults(call=report)
    for verb in (run_, report_):
        reports(verb)


def run(options: Namespace) -> int:
    """`bench run`: 1 when the experiment ran but missed one of its targets."""
    from bench.experiment.run import run as run_experiment  # pandas and matplotlib take a second

    with Reporter() as reporter:
        folder = run_experiment(
            options.experiment,
            rack=options.rack,
            source=options.model,
            scheme=options.scheme,
            reports=options.reports,
            state_dir=options.state,
            resume=options.resume,
            command=options.command,
            reporter=reporter,
        )
        add_run(options, folder, reporter)
    return _show(folder, options.json)


def report(options: Namespace) -> int:
    """`bench report`."""
    from bench.report import write_pictures, write_report
    from bench.results.store import find_run

    if options.trends:
        return trends(options)
    folder = find_run(options.reports, options.run)
    write_report(folder)
    if options.png:
        write_pictures(folder)
    return _show(folder, options.json)


def _show(folder: Path, as_json: bool) -> int:
    from bench.report import terminal_summary
    from bench.results.store import load_run

    document = load_run(folder).document
    if as_json:
        print_json({"folder": str(folder), **document})
    else:
        Console().print(terminal_summary(folder))
        print(f"report: {folder / 'report.html'}")
    return 0 if all(check["passed"] for check in document.get("checks", ())) else 1  # an energy measurement has none
