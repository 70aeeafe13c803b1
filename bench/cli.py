"""The command `bench`: its verbs, which are in the package of that name, and how it ends."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bench.errors import BenchError, InfrastructureError
from bench.project import project_root
from bench.streams import flush, of_a_full_disk, require_streams
from bench.verbs import boards, choose, energy, model, nightly, place, rack, run, soak, store


class _Parser(argparse.ArgumentParser):
    """Tells wrong usage as every other error: with --json as the document that standard output promises too."""

    def error(self, message: str) -> NoReturn:
        if "--json" in sys.argv[1:]:
            document = {"error": {"kind": "ConfigError", "message": message, "exit_code": 2}}
            print(json.dumps(document, indent=2), flush=True)
        super().error(message)


_EXAMPLES = """\
begin with `bench run demo`; `bench VERB --help` explains a verb, with examples

examples:
  bench run demo                        the virtual rack trains a shared model; report in reports/latest/report.html
  bench run demo --rack hosts/lab.yaml  the same on your boards
  bench plan lenet-5 --scheme last-2    what a model takes of a board's memory, byte by byte
  bench place blocks.csv --capacity 65536   do blocks with known lives fit, proved either way?
  bench nightly my-night.toml           a matrix of experiments, compared with the nights before
  bench regressions                     what became worse, and since when
  bench rack list                       the boards of the rack, and who uses them
  bench flash --board bit               build, flash and verify one board
  bench rack up                         keep virtual boards running, to use pyocd and pio on them by hand
  bench soak --count 200                rounds under faults on purpose: is anything lost, and what heals a board?

exit codes: 0 ok, 1 a target was missed or a board failed, 2 usage or configuration,
            3 infrastructure (probe, line, a full disk), 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    """All verbs and options."""
    top = _Parser(
        prog="bench",
        description="A hardware-in-the-loop test bench for federated training on microcontrollers.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for module in (rack, boards, model, energy, choose, place, run, soak, store, nightly):
        module.add(verbs)
    return top


def _on_term(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    options = _options(arguments)
    options.command = shlex.join(["bench", *(sys.argv[1:] if arguments is None else arguments)])
    # SIGINT too: a shell's script starts what it puts in the background with that signal ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _on_term)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup's: the command outlives its terminal
        signal.signal(signal.SIGHUP, _on_term)
    try:
        project_root()  # an installed package's is made by the first command
        code = options.call(options)
        flush()
    except BenchError as error:
        return _fail(options, type(error).__name__, str(error), error.exit_code)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return _fail(options, "Interrupted", "interrupted; everything that was started is stopped", 130)
    except BrokenPipeError:
        # Whoever read our output has gone, as `| head` does.
        with suppress(BrokenPipeError):
            flush()
        return 0
    except Exception as error:
        if isinstance(error, OSError) and (full := of_a_full_disk(error)) is not None:
            return _fail(options, type(full).__name__, str(full), full.exit_code)
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        text = f"a defect of the bench: {what}; please report it with {_keep_traceback(options.state)}"
        return _fail(options, "Defect", text, 1)
    return int(code)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the command line says. Ends the command where help or wrong usage was told, or cannot be."""
    try:
        require_streams()
        return parser().parse_args(arguments)
    except InfrastructureError as error:
        with suppress(OSError):
            print(f"bench: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error
    except SystemExit:
        try:
            flush()
        except BrokenPipeError:
            pass
        except InfrastructureError as error:
            with suppress(OSError):
                print(f"bench: {error}", file=sys.stderr)
            raise SystemExit(error.exit_code) from error
        raise


def _fail(options: argparse.Namespace, kind: str, message: str, code: int) -> int:
    """Tells an error on standard error and, with --json, as the document that standard output promises."""
    with suppress(OSError):
        print(f"bench: {message}", file=sys.stderr)
    if options.json:
        with suppress(OSError, BenchError):
            print(json.dumps({"error": {"kind": kind, "message": message, "exit_code": code}}, indent=2))
            flush()
    return code


def _keep_traceback(state: Path) -> Path:
    """Writes the current exception's traceback to a file and returns its path."""
    try:
        (state / "logs").mkdir(parents=True, exist_ok=True)
        folder = state / "logs"
    except OSError:
        folder = Path(tempfile.gettempdir())
    path = folder / f"defect-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}.log"
    path.write_text(traceback.format_exc(), encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main())
