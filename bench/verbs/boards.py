"""The verbs that work on boards directly: `bench build`, `flash`, `reset` and `console`."""

from __future__ import annotations

import argparse
import math
import threading
import time
from argparse import Namespace
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from bench.build import build
from bench.errors import ConfigError
from bench.link.messages import ClockSource, Hello, ResetCause
from bench.progress import Reporter
from bench.rack.board import Board
from bench.rack.inventory import Inventory
from bench.rack.rack import Rack, at_once
from bench.verbs.options import Verbs, common, rack_inventory, with_examples
from bench.verbs.output import print_json, print_line

_EXAMPLES = """\
examples:
  bench flash                                       the whole rack with a small int8 network, all boards at once
  bench flash --board plus2 --program lenet_5_bias_int8   one board, a program that `bench plan` made
  bench flash --board bit --image firmware.bin      an image that you have built
"""


def add(verbs: Verbs) -> None:
    """`bench build`, `flash`, `reset` and `console`."""
    build_ = verbs.add_parser("build", help="build firmware images")
    build_.add_argument("--env", action="append", metavar="ENV", help="may be repeated; all of the rack's if absent")
    _program_option(build_)
    build_.set_defaults(call=build_images)
    flash_ = verbs.add_parser(
        "flash", help="build, flash and verify boards; what is already there is left alone", **with_examples(_EXAMPLES)
    )
    flash_.add_argument("--board", action="append", metavar="BOARD", help="may be repeated; all boards if absent")
    flash_.add_argument("--image", type=Path, metavar="FILE", help="flash this image instead of building one")
    flash_.add_argument("--data", type=Path, metavar="FILE", help="a data partition to flash beside it")
    flash_.add_argument("--force", action="store_true", help="flash even what is already there")
    _program_option(flash_)
    flash_.set_defaults(call=flash)
    reset_ = verbs.add_parser("reset", help="reset boards through their probes")
    reset_.add_argument("--board", action="append", metavar="BOARD", help="may be repeated; all boards if absent")
    reset_.set_defaults(call=reset)
    console_ = verbs.add_parser("console", help="show what a board says of itself and what it prints")
    console_.add_argument("--board", required=True, metavar="BOARD")
    console_.add_argument("--seconds", type=float, metavar="S", help="end after so long; until Ctrl-C if absent")
    console_.set_defaults(call=console)
    for verb in (build_, flash_, reset_, console_):
        common(verb)


def _program_option(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--program",
        metavar="NAME",
        help="a folder of firmware/generated, which `bench plan` or a run made; default: demo-cnn in int8",
    )


def build_images(options: Namespace) -> int:
    """`bench build`."""
    envs = options.env or sorted({entry.env for entry in rack_inventory(options).boards})
    images = build(envs, _program(options), Reporter().say)
    if options.json:
        return print_json({env: str(path) for env, path in images.items()})
    for env, path in images.items():
        print(f"{env}: {path} ({path.stat().st_size} bytes)")
    return 0


def _program(options: Namespace) -> str:
    """The program that was asked for, or the demo's network, which is compiled."""
    if options.program is not None:
        return str(options.program)
    from bench.compiler.recipe import Recipe, make  # takes a while, and most verbs do without

    return make(Recipe("demo-cnn")).plan.name


def flash(options: Namespace) -> int:
    """`bench flash`."""
    if options.image is not None and options.program is not None:
        raise ConfigError("--image is built already: leave out --program")
    inventory = rack_inventory(options)
    reporter = Reporter()
    entries = inventory.select(options.board)
    if options.image is None:
        images = build([entry.env for entry in entries], _program(options), reporter.say)
    else:
        images = dict.fromkeys((entry.env for entry in entries), options.image)
    blobs = {env: _read(path) for env, path in images.items()}
    data = None if options.data is None else _read(options.data)
    cancelled = threading.Event()
    flashed: dict[str, bool] = {}

    def bring(board: Board) -> None:
        flashed[board.name] = board.flash(
            blobs[board.entry.env],
            data,
            force=options.force,
            cancelled=cancelled,
            step=lambda text: reporter.board_step(board.name, text),
        )

    with _open(options, inventory, options.board, "bench flash") as rack:
        at_once(list(rack.boards.values()), bring, cancelled)
        hellos = {board.name: _hello(board.connect()) for board in rack.boards.values()}
    if options.json:
        return print_json({name: {"flashed": flashed[name], **hello} for name, hello in hellos.items()})
    return 0


def reset(options: Namespace) -> int:
    """`bench reset`."""
    cancelled = threading.Event()
    hellos: dict[str, Any] = {}

    def bring(board: Board) -> None:
        hellos[board.name] = _hello(board.reset(cancelled))

    with _open(options, rack_inventory(options), options.board, "bench reset") as rack:
        at_once(list(rack.boards.values()), bring, cancelled)
    if options.json:
        return print_json(hellos)
    for name, hello in hellos.items():
        print(f"{name}: build {hello['build_id'][:12]}, reset by {hello['reset_cause']}, {hello['core_hz']} Hz")
    return 0


def console(options: Namespace) -> int:
    """`bench console`: Ctrl-C is its usual end."""
    lines: list[str] = []
    with _open(options, rack_inventory(options), [options.board], "bench console") as rack:
        board = rack.boards[options.board]
        board.on_line = lines.append if options.json else print_line
        hello = _hello(board.connect())
        if not options.json:
            for key, value in hello.items():
                print_line(f"{key}: {value}")
        deadline = math.inf if options.seconds is None else time.monotonic() + options.seconds
        with suppress(KeyboardInterrupt):
            while (left := deadline - time.monotonic()) > 0:
                board.device().session.listen(min(left, 1.0))
    return print_json({"hello": hello, "log": lines}) if options.json else 0


def _open(
    options: Namespace, inventory: Inventory, boards: Sequence[str] | None, purpose: str
) -> AbstractContextManager[Rack]:
    return Rack.open(inventory, boards, purpose=purpose, state_dir=options.state)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _hello(hello: Hello) -> dict[str, Any]:
    return {
        "env": hello.env,
        "build_id": hello.build_id.hex(),
        "plan_id": hello.plan_id.hex(),
        "image_ok": hello.image_crc32 == hello.image_crc32_expected,
        "core_hz": hello.core_hz,
        "clock_source": ClockSource(hello.clock_source).name.lower(),
        "reset_cause": ResetCause(hello.reset_cause).name.lower(),
        "params_bytes": hello.params_bytes,
        "device_uid": hello.device_uid.hex(),
        "fault_pc": hello.fault_pc if hello.fault_valid else None,
    }
