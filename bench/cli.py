"""The command `bench`: verbs and their options. What they do is elsewhere."""

from __future__ import annotations

import argparse
import json
import os
import re
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
from typing import Any, NoReturn

from bench import verbs, verbs_choose, verbs_energy, verbs_lab, verbs_model, verbs_place, verbs_soak
from bench.cli_results import ResultVerbs
from bench.compiler.scheme import scheme_help
from bench.errors import BenchError, InfrastructureError
from bench.model.zoo import zoo_names
from bench.project import in_checkout, project_root, root_path
from bench.streams import flush, of_a_full_disk, require_streams


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


_RACK_EXAMPLES = """\
examples:
  bench rack list --rack hosts/lab.yaml             ids and ports of your boards, after checking the file
  bench rack discover --output hosts/lab.yaml       writes an inventory of what is plugged in
  bench rack doctor hosts/lab.yaml                  what is wrong with your boards, and how to mend it
  bench rack who                                    who uses or has reserved which board
  bench rack lock plus2 bit --purpose "soak test"   keep two boards from other users until `bench rack unlock plus2 bit`
  bench rack up                                     then, in another terminal: pyocd flash -u remote:127.0.0.1:45615 ...
"""
_DOCTOR_HELP = """\
Without hardware: each kind of board's pins, clock, UART clock, baud rate, register addresses, flash map, linker script,
time-outs and debugger target, against tables made from the data sheets (bench/rack/doctor/parts) and the SVD files that
pyOCD ships. With hardware: probes, serial ports, rights and udev rules, then each board through its probe and its line.

examples:
  bench rack doctor hosts/lab.yaml                  errors and warnings, each with how to mend it
  bench rack doctor hosts/lab.yaml --hardware       on the lab's own machine: boards that are missing are errors
  bench rack doctor hosts/lab.example.yaml --tables --notes   without any hardware, and what was found to be well

exit codes: 0 no errors, 1 errors in the tables or on a board, 3 a board cannot be reached
"""
_FLASH_EXAMPLES = """\
examples:
  bench flash                                       the whole rack with a small int8 network, all boards at once
  bench flash --board plus2 --program lenet_5_bias_int8   one board, a program that `bench plan` made
  bench flash --board bit --image firmware.bin      an image that you have built
"""
_PLAN_EXAMPLES = """\
examples:
  bench plan lenet-5 --scheme last-2 --env microbit     does it fit 16 KB, and what would?
  bench plan mine.onnx --scheme sparse-10 --layers      your own network, layer by layer
  bench plan resnet-8 --dtype float32 --picture map.png the memory map as a picture

The exit code is 0 whether it fits or not: with --json `fits` and `problems` tell. It fits where `ram_needed_bytes`, the
total and a federated client's state, is at most `ram_bytes`, and stack and image are within what the board keeps for
them. `lower_bound_bytes` is what no placement of the arena can go below in the chosen order of operations; in another
order it might be less.
"""
_PLACE_EXAMPLES = """\
A file of blocks is CSV in MiniMalloc's format: a header, then a block a line. It lives from `lower` up to, not
including, `upper`; `size` is in bytes; a column `alignment` is optional.

  id,lower,upper,size
  b1,0,3,4
  b2,3,9,4

examples:
  bench place net.csv                               the lowest peak, and whether it is proved that none is lower
  bench place net.csv --capacity 1048576 --output placed.csv   does it fit? the same rows with their offsets
  bench place net.csv --capacity 65536 --time-limit 600 --json

How it ends, as `result` in the table and `status` with --json:
  placed             exit code 0; `optimal` says whether it is proved that no placement has a lower peak
  proved infeasible  exit code 1: no placement does with the capacity
  gave up            exit code 1: none was found in the time; there may be one
Wrong files and options end with 2, what cannot be written (a full disk) with 3; files are written whole or not at all.

The exact search takes connected parts of up to 4000 blocks (between two parts there is a time at which nothing lives
on). Of larger ones heuristics give the peak, and nothing is proved but the lower bound; `exact_search` is false then.
A column `offset`, as --output writes it, is not looked at: all blocks are placed anew.
"""
_CHOOSE_EXAMPLES = """\
Trains each parameter group (a layer's bias, or the weights of some of its input channels) alone on the host-compiled
engine, and looks for the subset with the greatest sum of gains whose planned SRAM, federation state included, fits.

examples:
  bench choose lenet-5 --input 28x28x1 --budget 65536 --most 25
  bench choose mine.onnx --data public.npz --env microbit --output mine.toml
  bench plan mine.onnx --scheme sparse:mine.toml --env microbit
"""
_STEP_EXAMPLES = """\
examples:
  bench step lenet-5 --scheme bias --env netduinoplus2         instructions and SRAM of a step on an emulated M4F
  bench step mcunet-5fps --scheme tte-49kb --env mps2_an386 --json
  bench step mine.onnx --scheme last-1 --board plus2           on a board of the rack

With --json: `saturated` counts how often a gradient or a trained parameter was clipped to int8's range in this step (0
in float32), and `planned` has what `bench plan` says of the same figures. What does not fit the board is refused (exit
code 2), with the schemes that would.
"""
_ENERGY_EXAMPLES = """\
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
_RUN_EXAMPLES = """\
examples:
  bench run demo                                    on the default rack
  bench run demo --rack hosts/lab.yaml --json       on your boards; the run's document on standard output
  bench run ftte                                    few parameters in four bits, semi-asynchronous, beside FedAvg
  bench run my.toml --resume                        go on after a power cut: finished server steps are not run again
"""
_SOAK_EXAMPLES = """\
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


def parser() -> argparse.ArgumentParser:
    """All verbs and options."""
    top = _Parser(
        prog="bench",
        description="A hardware-in-the-loop test bench for federated training on microcontrollers.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs_ = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_rack(verbs_)
    _add_boards(verbs_)
    _add_models(verbs_)
    results = ResultVerbs(verbs_, _common, _reports)
    _add_runs(verbs_, results)
    results.add()
    return top


def _add_rack(verbs_: argparse._SubParsersAction[_Parser]) -> None:
    rack = verbs_.add_parser(
        "rack", help="the rack's boards: list, show, doctor, discover, who, lock, unlock, up", **_with(_RACK_EXAMPLES)
    )
    actions = rack.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="all boards, one a line")
    listing.set_defaults(call=verbs.rack_list)
    show = actions.add_parser("show", help="everything that is known of one board")
    show.add_argument("board")
    show.set_defaults(call=verbs.rack_show)
    who = actions.add_parser("who", help="who uses which board now")
    who.set_defaults(call=verbs.rack_who)
    lock = actions.add_parser("lock", help="reserve boards: other users are refused them until you unlock")
    lock.add_argument("boards", nargs="+", metavar="BOARD")
    lock.add_argument("--purpose", default="reserved by hand", help="shown to those who want the board meanwhile")
    lock.set_defaults(call=verbs.rack_lock)
    unlock = actions.add_parser("unlock", help="give reserved boards back")
    unlock.add_argument("boards", nargs="+", metavar="BOARD")
    unlock.add_argument("--force", action="store_true", help="even if another user reserved them")
    unlock.set_defaults(call=verbs.rack_unlock)
    up = actions.add_parser("up", help="start the rack's virtual boards and keep them running until Ctrl-C")
    up.add_argument("--board", action="append", metavar="BOARD", help="may be repeated; all virtual boards if absent")
    up.set_defaults(call=verbs.rack_up)
    doctor, discover = _add_lab(actions)
    for action in (listing, show, who, lock, unlock, up, doctor, discover):
        _common(action)


def _add_lab(actions: argparse._SubParsersAction[_Parser]) -> tuple[_Parser, _Parser]:
    doctor = actions.add_parser("doctor", help="what is wrong with the boards, and how to mend it",
                                **_with(_DOCTOR_HELP))  # fmt: skip
    doctor.add_argument("inventory", nargs="?", type=Path, metavar="INVENTORY", help="as --rack")
    doctor.add_argument("--board", action="append", metavar="BOARD", help="may be repeated; all boards if absent")
    doctor.add_argument("--tables", action="store_true", help="only what needs no hardware")
    doctor.add_argument(
        "--hardware", action="store_true", help="the boards should be here: what is missing is an error"
    )
    doctor.add_argument("--notes", action="store_true", help="show what is well, too")
    doctor.set_defaults(call=verbs_lab.doctor)
    discover = actions.add_parser("discover", help="write an inventory of what is plugged in")
    discover.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")
    discover.add_argument("--force", action="store_true", help="overwrite FILE")
    discover.set_defaults(call=verbs_lab.discover)
    return doctor, discover


def _add_boards(verbs_: argparse._SubParsersAction[_Parser]) -> None:
    build = verbs_.add_parser("build", help="build firmware images")
    build.add_argument("--env", action="append", metavar="ENV", help="may be repeated; all of the rack's if absent")
    _program(build)
    build.set_defaults(call=verbs.build_images)
    flash = verbs_.add_parser(
        "flash", help="build, flash and verify boards; what is already there is left alone", **_with(_FLASH_EXAMPLES)
    )
    flash.add_argument("--board", action="append", metavar="BOARD", help="may be repeated; all boards if absent")
    flash.add_argument("--image", type=Path, metavar="FILE", help="flash this image instead of building one")
    flash.add_argument("--data", type=Path, metavar="FILE", help="a data partition to flash beside it")
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


def _add_models(verbs_: argparse._SubParsersAction[_Parser]) -> None:
    plan = verbs_.add_parser(
        "plan",
        help="compile a model for a board: every byte of its memory, MACs, and whether it fits",
        **_with(_plan_help()),
    )
    plan.add_argument("--env", default="netduinoplus2", metavar="ENV", help="kind of board; default: %(default)s")
    plan.add_argument("--picture", type=Path, metavar="FILE", help="write the memory map as PNG, SVG or PDF")
    plan.set_defaults(call=verbs_model.plan)
    step = verbs_.add_parser(
        "step",
        help="run one training step of a model on an emulated core or a board, and count it",
        **_with(_STEP_EXAMPLES),
    )
    step.add_argument("--env", metavar="ENV", help="an emulated core of this kind of board")
    step.add_argument("--board", metavar="BOARD", help="a board of the rack, which is flashed for it")
    step.add_argument("--witness", action="store_true",
                      help="let the emulator watch every store, beside the image's own figures")  # fmt: skip
    step.set_defaults(call=verbs_model.step)
    _add_energy(verbs_)
    _add_choose(verbs_)
    place = verbs_.add_parser(
        "place",
        help="place blocks of a file in memory, exactly: does it fit, and what is the least?",
        **_with(_PLACE_EXAMPLES),
    )
    place.add_argument("file", type=Path, metavar="FILE.csv")
    place.add_argument("--capacity", type=_bytes, metavar="BYTES",
                       help="what there is, as in 65536 or 64K; the least is looked for if absent")  # fmt: skip
    place.add_argument("--time-limit", type=float, default=60, metavar="S",
                       help="of reading and search, in seconds; a first placement is always made, which takes longer "
                       "only for tens of thousands of blocks; default: %(default)s")  # fmt: skip
    place.add_argument("--output", type=Path, metavar="FILE.csv",
                       help="write the same rows with a column `offset`, if they are placed")  # fmt: skip
    place.set_defaults(call=verbs_place.place)
    _common(place)
    for verb in (plan, step):
        _model(verb)
        _common(verb)


def _add_energy(verbs_: argparse._SubParsersAction[_Parser]) -> None:
    energy = verbs_.add_parser(
        "energy",
        help="energy of a training step, an inference and a round on a board, by its meter",
        **_with(_ENERGY_EXAMPLES),
    )
    energy.add_argument("--board", required=True, metavar="BOARD", help="of the rack; it is flashed for it")
    energy.add_argument("--what", action="append", choices=("step", "inference", "round"),
                        help="may be repeated; all three if absent")  # fmt: skip
    energy.add_argument("--local-samples", type=int, default=100, metavar="N",
                        help="training steps in a round; default: %(default)s")  # fmt: skip
    energy.add_argument("--quick", action="store_true", help="one run of half a second: does not satisfy the rule")
    energy.add_argument("--window", type=float, metavar="S", help="seconds of a run, at least; default: 10")
    energy.add_argument("--runs", type=int, metavar="N", help="of which the median counts; default: 5")
    energy.add_argument("--output", type=Path, metavar="FILE.csv", help="write the rows of the measurement table")
    energy.add_argument("--reports", type=Path, metavar="DIR",
                        help="keep it as a run in DIR/runs, with a report that draws the current")  # fmt: skip
    energy.set_defaults(call=verbs_energy.energy)
    _model(energy)
    _common(energy)


def _add_choose(verbs_: argparse._SubParsersAction[_Parser]) -> None:
    choose = verbs_.add_parser(
        "choose",
        help="find out which parameters are worth training, and choose the best of them that fit a board",
        **_with(_CHOOSE_EXAMPLES),
    )
    choose.add_argument("model", help=f"an ONNX file, or one of {', '.join(zoo_names())}")
    choose.add_argument("--env", default="netduinoplus2", metavar="ENV",
                        help="the weakest kind of board of the cohort; default: %(default)s")  # fmt: skip
    choose.add_argument("--budget", type=int, metavar="BYTES", help="of its RAM, instead of all of it")
    choose.add_argument("--most", type=float, metavar="PERCENT", help="of the parameters, at most")
    choose.add_argument("--dtype", choices=("int8", "float32"), default="int8")
    choose.add_argument("--data", type=Path, metavar="FILE.npz",
                        help="samples: x float [n, h, w, c] and y [n]; default: Fashion-MNIST as strange sensors see "
                        "it")  # fmt: skip
    choose.add_argument("--input", metavar="HxWxC", help="another input shape of a zoo model")
    choose.add_argument("--steps", type=int, default=2000, metavar="N",
                        help="that each group is trained alone; default: %(default)s")  # fmt: skip
    choose.add_argument("--rate", type=float, default=0.01, help="learning rate; default: %(default)s")
    choose.add_argument("--pretrain", type=int, metavar="N",
                        help="float32 steps before; default: 20000 for a zoo model, none for a file")  # fmt: skip
    choose.add_argument("--seed", type=int, default=0)
    choose.add_argument(
        "--output", type=Path, metavar="FILE.toml", help="write the scheme, for --scheme sparse:FILE.toml"
    )
    choose.set_defaults(call=verbs_choose.choose)
    _common(choose)


def _model(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("model", help=f"an ONNX file, or one of {', '.join(zoo_names())}")
    verb.add_argument("--scheme", default="full", help="which parameters train; default: all")
    verb.add_argument("--dtype", choices=("int8", "float32"), default="int8")
    verb.add_argument("--batch", type=int, default=1, metavar="N", help="gather the gradients of N samples; default: 1")
    verb.add_argument("--rule", choices=("compensated", "compensated4", "truncated"),
                      help="of int8 updates: what is below a weight's unit is kept in 8 bits (the default), in 4 (that "
                      "of scheme tte-49kb), or is lost (to be compared with)")  # fmt: skip
    verb.add_argument("--federated", action="store_true",
                      help="with a client's state for coded updates: base copy and error feedback")  # fmt: skip
    verb.add_argument("--loss", choices=("softmax_cross_entropy", "mean_squared_error"), help="instead of the model's")
    verb.add_argument(
        "--input",
        metavar="HxWxC",
        help="another input shape of a zoo model, or that of an ONNX file which leaves it open; as in 28x28x1",
    )
    verb.add_argument("--classes", type=int, metavar="N", help="another number of classes of a zoo model")
    verb.add_argument("--calibration", type=Path, metavar="FILE",
                      help=".npy of float32 samples [n, h, w, c] for int8 ranges; default: random inputs")  # fmt: skip
    verb.add_argument("--seed", type=int, default=0, help="of random weights and inputs")
    verb.add_argument(
        "--name", metavar="NAME", help="of the program in firmware/generated; default: made from the rest"
    )
    verb.add_argument("--layers", action="store_true", help="layer by layer")


def _plan_help() -> str:
    return f"{_PLAN_EXAMPLES}\n{scheme_help()}"


def _add_runs(verbs_: argparse._SubParsersAction[_Parser], results: ResultVerbs) -> None:
    run = verbs_.add_parser("run", help="run an experiment on the rack, and report it", **_with(_RUN_EXAMPLES))
    run.add_argument("experiment", help="a TOML file, or the name of one that ships (demo, ftte)")
    run.add_argument("--resume", action="store_true", help="go on with the newest run of it that was not finished")
    run.add_argument("--model", metavar="MODEL", help="a zoo name or an ONNX file in place of the experiment's model")
    run.add_argument("--scheme", help="an update scheme in place of those of the experiment's variants")
    run.set_defaults(call=verbs.run)
    soak = verbs_.add_parser(
        "soak", help="federated rounds under faults on purpose: is anything lost?", **_with(_SOAK_EXAMPLES)
    )
    soak.add_argument("--faults", default="all", metavar="all|LIST", help="kinds, with commas between; default: all")
    soak.add_argument("--count", type=int, default=200, metavar="N", help="of faults; default: %(default)s")
    soak.add_argument("--minutes", type=float, metavar="M", help="begin no leg after so long; `--resume` goes on later")
    soak.add_argument("--seed", type=int, default=1, help="decides faults and data; default: %(default)s")
    soak.add_argument("--resume", action="store_true", help="go on with the newest one of these that is not complete")
    soak.set_defaults(call=verbs_soak.soak)
    report = verbs_.add_parser("report", help="write a run's report again and show its summary")
    report.add_argument("run", nargs="?", help="a run's name or folder; the newest if absent")
    report.add_argument("--png", action="store_true", help="each plot as a picture too, in the run's folder `plots`")
    report.add_argument("--trends", action="store_true",
                        help="instead: all runs of the result store, night by night, in trends.html")  # fmt: skip
    report.set_defaults(call=verbs.report)
    for verb in (run, report, soak):
        results.reports(verb)


def _bytes(text: str) -> int:
    """A number of bytes, K or M for 1024 or 1024 x 1024 of them."""
    found = re.fullmatch("(-?[0-9]+)([KM]?)", text.upper())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r}: give whole bytes, as in 65536, 64K or 1M")
    return int(found[1]) * {"": 1, "K": 1 << 10, "M": 1 << 20}[found[2]]


def _with(examples: str) -> dict[str, Any]:
    return {"epilog": examples, "formatter_class": argparse.RawDescriptionHelpFormatter}


def _program(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--program",
        metavar="NAME",
        help="a folder of firmware/generated, which `bench plan` or a run made; default: demo-cnn in int8",
    )


def _common(verb: argparse.ArgumentParser) -> None:
    rack = os.environ.get("BENCH_RACK")
    verb.add_argument(
        "--rack",
        type=Path,
        default=Path(rack) if rack else None,
        metavar="FILE",
        help="inventory; default: environment variable BENCH_RACK, then hosts/virtual.yaml",
    )
    verb.add_argument(
        "--state", type=Path, default=_in_project(".bench"), metavar="DIR", help="flash of virtual boards, logs"
    )
    verb.add_argument("--json", action="store_true", help="one JSON document on standard output, nothing else there")


def _in_project(name: str) -> Path:
    """A folder of the project, whichever folder the command is called in."""
    root = root_path()
    return Path(name) if root == Path.cwd() else root / name


def _reports() -> Path:
    """In a checkout its own folder; an installed bench keeps a user's results where the user is."""
    return _in_project("reports") if in_checkout() else Path("reports")


def _on_term(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    options = _options(arguments)
    options.command = shlex.join(["bench", *(sys.argv[1:] if arguments is None else arguments)])
    # SIGINT too: a shell's script starts what it puts in the background with that signal ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _on_term)
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
