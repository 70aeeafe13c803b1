"""What each verb of the command does, in terms of the parts that do it. Returns the exit code."""

from __future__ import annotations

import json
import math
import threading
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.build import build
from bench.errors import ConfigError
from bench.link.messages import ClockSource, Hello, ResetCause
from bench.progress import Reporter
from bench.project import project_root
from bench.rack.board import Board
from bench.rack.inventory import DEFAULT_RACK, BoardEntry, Inventory, load_inventory
from bench.rack.locks import Holder, Reservation, holder, reservation, reserve, unreserve
from bench.rack.manifest import load_manifest
from bench.rack.rack import Rack, at_once, held_endpoints, keep_up, lock_key
from bench.verbs_store import add_run, trends

_WATCH_S = 1.0  # how soon a virtual board that has crashed is noticed


def rack_list(options: Namespace) -> int:
    """`bench rack list`."""
    inventory = rack_inventory(options)
    rows = [_describe(entry) for entry in inventory.boards]
    if options.json:
        return _print_json({"rack": str(inventory.path), "boards": rows})
    columns = ("name", "env", "core", "target", "probe", "serial")
    lines = [["board", "environment", "core", "target", "probe", "serial"]]
    lines += [[row[column] or "made at start" for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]  # ids are never cut short
    for line in lines:
        _print_line("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return 0


def rack_show(options: Namespace) -> int:
    """`bench rack show`."""
    entry = rack_inventory(options).board(options.board)
    document = {
        "board": entry.model_dump(mode="json"),
        "manifest": asdict(load_manifest(entry.env)),
        **_users(entry, options.state),
    }
    if options.json:
        return _print_json(document)
    Console().print_json(json.dumps(document, default=str))
    return 0


def rack_who(options: Namespace) -> int:
    """`bench rack who`."""
    used = {entry.name: _users(entry, options.state) for entry in rack_inventory(options).boards}
    if options.json:
        return _print_json(used)
    for name, by in used.items():
        states = [f"used by {Holder(**by['holder'])}"] if by["holder"] else []
        states += [f"reserved by {Reservation(**by['reservation'])}"] if by["reservation"] else []
        up = " (kept up by `bench rack up`: pyOCD or PlatformIO may be at work on it)" if by["kept_up"] else ""
        print(f"{name}: {'; '.join(states) or 'free'}{up}")
    return 0


def rack_lock(options: Namespace) -> int:
    """`bench rack lock`: all of the boards, or none."""
    entries = rack_inventory(options).select(options.boards)
    done: list[BoardEntry] = []
    before: list[str] = []
    try:
        for entry in entries:
            kept = reservation(lock_key(entry, options.state))
            reserve(lock_key(entry, options.state), entry.name, options.purpose)
            if kept is None:
                done.append(entry)
            else:
                before.append(f"{entry.name} was yours already: {kept}")
    except BaseException:
        for entry in done:
            unreserve(lock_key(entry, options.state), entry.name)
        raise
    told = "\n".join([*before, "reserved; `bench rack unlock` frees them"])
    return _tell(options, {"reserved": [entry.name for entry in entries], "before": before}, told)


def rack_unlock(options: Namespace) -> int:
    """`bench rack unlock`."""
    freed = [
        entry.name
        for entry in rack_inventory(options).select(options.boards)
        if unreserve(lock_key(entry, options.state), entry.name, force=options.force)
    ]
    return _tell(options, {"freed": freed}, f"freed: {', '.join(freed) or 'none, for none was reserved'}")


def rack_up(options: Namespace) -> int:
    """`bench rack up`."""
    with keep_up(rack_inventory(options), options.board, state_dir=options.state) as virtual:
        ends = {name: {"probe": end.probe, "serial": end.serial} for name, end in virtual.endpoints.items()}
        lines = [f"{name}: probe {end['probe']}, serial {end['serial']}" for name, end in ends.items()]
        _tell(options, ends, "\n".join([*lines, "running; Ctrl-C stops them"]))
        with suppress(KeyboardInterrupt):
            while True:
                virtual.check()
                threading.Event().wait(_WATCH_S)
    return 0


def build_images(options: Namespace) -> int:
    """`bench build`."""
    envs = options.env or sorted({entry.env for entry in rack_inventory(options).boards})
    images = build(envs, _program(options), Reporter().say)
    if options.json:
        return _print_json({env: str(path) for env, path in images.items()})
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
        return _print_json({name: {"flashed": flashed[name], **hello} for name, hello in hellos.items()})
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
        return _print_json(hellos)
    for name, hello in hellos.items():
        print(f"{name}: build {hello['build_id'][:12]}, reset by {hello['reset_cause']}, {hello['core_hz']} Hz")
    return 0


def console(options: Namespace) -> int:
    """`bench console`: Ctrl-C is its usual end."""
    lines: list[str] = []
    with _open(options, rack_inventory(options), [options.board], "bench console") as rack:
        board = rack.boards[options.board]
        board.on_line = lines.append if options.json else _print_line
        hello = _hello(board.connect())
        if not options.json:
            for key, value in hello.items():
                _print_line(f"{key}: {value}")
        deadline = math.inf if options.seconds is None else time.monotonic() + options.seconds
        with suppress(KeyboardInterrupt):
            while (left := deadline - time.monotonic()) > 0:
                board.device().session.listen(min(left, 1.0))
    return _print_json({"hello": hello, "log": lines}) if options.json else 0


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
        _print_json({"folder": str(folder), **document})
    else:
        Console().print(terminal_summary(folder))
        print(f"report: {folder / 'report.html'}")
    return 0 if all(check["passed"] for check in document.get("checks", ())) else 1  # an energy measurement has none


def rack_inventory(options: Namespace) -> Inventory:
    """The inventory that a command is to use. Raises ConfigError."""
    if options.rack is not None:
        return load_inventory(options.rack)
    return load_inventory(DEFAULT_RACK if DEFAULT_RACK.is_file() else project_root() / DEFAULT_RACK)


def _open(
    options: Namespace, inventory: Inventory, boards: Sequence[str] | None, purpose: str
) -> AbstractContextManager[Rack]:
    return Rack.open(inventory, boards, purpose=purpose, state_dir=options.state)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _describe(entry: BoardEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "env": entry.env,
        "core": load_manifest(entry.env).core,
        "target": entry.target,
        "probe": entry.probe,
        "serial": entry.serial or None,
        "virtual": entry.virtual is not None,
    }


def _users(entry: BoardEntry, state: Path) -> dict[str, Any]:
    key = lock_key(entry, state)
    used, kept = holder(key), reservation(key)
    return {
        "holder": None if used is None else asdict(used),
        "reservation": None if kept is None else asdict(kept),
        "kept_up": entry.virtual is not None and entry.name in held_endpoints(state),
    }


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


def _tell(options: Namespace, document: Mapping[str, Any], text: str) -> int:
    if options.json:
        return _print_json(document)
    _print_line(text)
    return 0


def _print_line(text: str) -> None:
    print(text, flush=True)


def _print_json(document: Any) -> int:
    print(json.dumps(document, indent=2, default=str), flush=True)
    return 0
