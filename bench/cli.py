"""The command `bench`: verbs and their options. What they do is elsewhere."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bench import verbs
from bench.errors import BenchError

_EXAMPLES = """\
examples:
  bench run demo                        the virtual rack trains a shared model; report in reports/latest/report.html
  bench run demo --rack hosts/lab.yaml  the same on your boards
  bench rack list                       the boards of the rack, and who uses them
  bench flash --board bit               build, flash and verify one board
  bench rack up                         keep virtual boards running, to use pyocd and pio on them by hand

exit codes: 0 ok, 1 test or device failure, 2 usage or configuration, 3 infrastructure, 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    """All verbs and options."""
    top = argparse.ArgumentParser(
        prog="bench",
        description="A hardware-in-the-loop test bench for federated training on microcontrollers.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs_ = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_rack(verbs_)
    _add_boards(verbs_)
    _add_runs(verbs_)
    return top


def _add_rack(verbs_: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    rack = verbs_.add_parser("rack", help="the rack's boards: list, show, who, lock, up")
    actions = rack.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="all boards, one a line")
    listing.set_defaults(call=verbs.rack_list)
    show = actions.add_parser("show", help="everything that is known of one board")
    show.add_argument("board")
    show.set_defaults(call=verbs.rack_show)
    who = actions.add_parser("who", help="who uses which board now")
    who.set_defaults(call=verbs.rack_who)
    lock = actions.add_parser("lock", help="keep boards for yourself until Ctrl-C")
    lock.add_argument("boards", nargs="+", metavar="BOARD")
    lock.add_argument("--purpose", default="locked by hand", help="shown to those who want the board meanwhile")
    lock.set_defaults(call=verbs.rack_lock)
    up = actions.add_parser("up", help="start the rack's virtual boards and keep them running until Ctrl-C")
    up.set_defaults(call=verbs.rack_up)
    for action in (listing, show, who, lock, up):
        _common(action)


def _add_boards(verbs_: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    build = verbs_.add_parser("build", help="build firmware images")
    build.add_argument("--env", action="append", metavar="ENV", help="may be repeated; all of the rack's if absent")
    _program(build)
    build.set_defaults(call=verbs.build_images)
    flash = verbs_.add_parser("flash", help="build, flash and verify boards; what is already there is left alone")
    flash.add_argument("--board", action="append", metavar="BOARD", help="may be repeated; all boards if absent")
    flash.add_argument("--image", type=Path, metavar="FILE", help="flash this image instead of building one")
    flash.add_argument("--force", action="store_true", help="flash even what is already there")
    _program(flash)
    flash.set_defaults(call=verbs.flash)
    reset = verbs_.add_parser("reset", help="reset boards through their probes")
    reset.add_argument("--board", action="append", metavar="BOARD", help="may be repeated; all boards if absent")
    reset.set_defaults(call=verbs.reset)
    console = verbs_.add_parser("console", help="show what a board says of itself and what it prints")
    console.add_argument("--board", required=True, metavar="BOARD")
    console.add_argument("--seconds", type=float, metavar="S", help="end after so long; until Ctrl-C if absent")
    console.set_defaults(call=verbs.console)
    for verb in (build, flash, reset, console):
        _common(verb)


def _add_runs(verbs_: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = verbs_.add_parser("run", help="run an experiment on the rack, and report it")
    run.add_argument("experiment", help="a TOML file, or the name of one that ships (demo)")
    run.add_argument("--resume", action="store_true", help="go on with the newest run of it that was not finished")
    run.set_defaults(call=verbs.run)
    report = verbs_.add_parser("report", help="write a run's report again and show its summary")
    report.add_argument("run", nargs="?", help="a run's name or folder; the newest if absent")
    report.set_defaults(call=verbs.report)
    for verb in (run, report):
        verb.add_argument("--reports", type=Path, default=Path("reports"), metavar="DIR", help="where runs are kept")
        _common(verb)


def _program(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--program", default="demo_int8", metavar="NAME", help="a folder of firmware/programs")


def _common(verb: argparse.ArgumentParser) -> None:
    rack = os.environ.get("BENCH_RACK")
    verb.add_argument(
        "--rack",
        type=Path,
        default=Path(rack) if rack else None,
        metavar="FILE",
        help="inventory; default: environment variable BENCH_RACK, then hosts/virtual.yaml",
    )
    verb.add_argument("--state", type=Path, default=Path(".bench"), metavar="DIR", help="flash of virtual boards, logs")
    verb.add_argument("--json", action="store_true", help="one JSON document on standard output, nothing else there")


def _on_term(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    options = parser().parse_args(arguments)
    options.command = shlex.join(["bench", *(sys.argv[1:] if arguments is None else arguments)])
    signal.signal(signal.SIGTERM, _on_term)
    try:
        code = options.call(options)
        sys.stdout.flush()
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("bench: interrupted; everything that was started is stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone, as `| head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        with tempfile.NamedTemporaryFile("w", prefix="bench-", suffix=".log", delete=False) as log:
            traceback.print_exc(file=log)
        last = traceback.format_exc().splitlines()[-1]
        print(f"bench: a defect of the bench: {last}; please report it with {log.name}", file=sys.stderr)
        return 1
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
