"""What each verb of the command does, in terms of the parts that do it. Returns the exit code."""

from __future__ import annotations

import json
import signal
import time
from argparse import Namespace
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.build import build, project_root
from bench.errors import ConfigError
from bench.experiment.run import run as run_experiment
from bench.experiment.setting import DEFAULT_RACK
from bench.link.messages import ClockSource, Hello, ResetCause
from bench.progress import Reporter
from bench.rack.board import Board
from bench.rack.inventory import BoardEntry, Inventory, load_inventory
from bench.rack.locks import BoardLock, Holder, holder
from bench.rack.manifest import load_manifest
from bench.rack.rack import Rack, at_once, keep_up, lock_key
from bench.report import terminal_summary, write_report
from bench.results.store import find_run, load_run


def rack_list(options: Namespace) -> int:
    """`bench rack list`."""
    inventory = _inventory(options)
    rows = [_describe(entry) for entry in inventory.boards]
    if options.json:
        return _print_json({"rack": str(inventory.path), "boards": rows})
    table = Table(title=str(inventory.path), title_justify="left")
    for column in ("board", "environment", "core", "probe", "serial", "virtual"):
        table.add_column(column)
    for row in rows:
        table.add_row(
            row["name"], row["env"], row["core"], row["probe"], row["serial"] or "made at start", _yes(row["virtual"])
        )
    Console().print(table)
    return 0


def rack_show(options: Namespace) -> int:
    """`bench rack show`."""
    entry = _inventory(options).board(options.board)
    document = {
        "board": entry.model_dump(mode="json"),
        "manifest": asdict(load_manifest(entry.env)),
        "holder": _holder(entry, options.state),
    }
    if options.json:
        return _print_json(document)
    Console().print_json(json.dumps(document, default=str))
    return 0


def rack_who(options: Namespace) -> int:
    """`bench rack who`."""
    held = {entry.name: _holder(entry, options.state) for entry in _inventory(options).boards}
    if options.json:
        return _print_json(held)
    for name, by in held.items():
        print(f"{name}: {'free' if by is None else Holder(**by)}")
    return 0


def rack_lock(options: Namespace) -> int:
    """`bench rack lock`."""
    entries = _inventory(options).select(options.boards)
    with ExitStack() as stack:
        for entry in entries:
            stack.enter_context(BoardLock(lock_key(entry, options.state), entry.name, options.purpose))
        _announce(options, {"locked": [entry.name for entry in entries]}, "locked; Ctrl-C gives them back")
        _wait_for_interrupt()
    return 0


def rack_up(options: Namespace) -> int:
    """`bench rack up`."""
    with keep_up(_inventory(options), options.state) as endpoints:
        lines = [f"{name}: probe {ends.probe}, serial {ends.serial}" for name, ends in endpoints.items()]
        document = {name: {"probe": ends.probe, "serial": str(ends.serial)} for name, ends in endpoints.items()}
        _announce(options, document, "\n".join([*lines, "running; Ctrl-C stops them"]))
        _wait_for_interrupt()
    return 0


def build_images(options: Namespace) -> int:
    """`bench build`."""
    envs = options.env or sorted({entry.env for entry in _inventory(options).boards})
    images = build(envs, options.program, Reporter().say)
    if options.json:
        return _print_json({env: str(path) for env, path in images.items()})
    for env, path in images.items():
        print(f"{env}: {path} ({path.stat().st_size} bytes)")
    return 0


def flash(options: Namespace) -> int:
    """`bench flash`."""
    inventory = _inventory(options)
    reporter = Reporter()
    entries = inventory.select(options.board)
    if options.image is None:
        images = build([entry.env for entry in entries], options.program, reporter.say)
    else:
        images = dict.fromkeys((entry.env for entry in entries), options.image)
    blobs = {env: _read(path) for env, path in images.items()}
    flashed: dict[str, bool] = {}

    def bring(board: Board) -> None:
        flashed[board.name] = board.flash(
            blobs[board.entry.env], force=options.force, step=lambda text: reporter.board_step(board.name, text)
        )

    with _open(options, inventory, "bench flash") as rack:
        at_once(list(rack.boards.values()), bring)
        hellos = {board.name: _hello(board.connect()) for board in rack.boards.values()}
    if options.json:
        return _print_json({name: {"flashed": flashed[name], **hello} for name, hello in hellos.items()})
    return 0


def reset(options: Namespace) -> int:
    """`bench reset`."""
    hellos: dict[str, Any] = {}

    def bring(board: Board) -> None:
        hellos[board.name] = _hello(board.reset())

    with _open(options, _inventory(options), "bench reset") as rack:
        at_once(list(rack.boards.values()), bring)
    if options.json:
        return _print_json(hellos)
    for name, hello in hellos.items():
        print(f"{name}: build {hello['build_id'][:12]}, reset by {hello['reset_cause']}, {hello['core_hz']} Hz")
    return 0


def console(options: Namespace) -> int:
    """`bench console`."""
    options.board = [options.board]
    with _open(options, _inventory(options), "bench console") as rack:
        board = next(iter(rack.boards.values()))
        lines: list[str] = []
        board.on_line = lines.append if options.json else print
        hello = _hello(board.connect())
        if not options.json:
            for key, value in hello.items():
                print(f"{key}: {value}")
        deadline = None if options.seconds is None else time.monotonic() + options.seconds
        try:
            while deadline is None or time.monotonic() < deadline:
                left = 1.0 if deadline is None else min(1.0, deadline - time.monotonic())
                board.device().session.listen(max(0.0, left))
        except KeyboardInterrupt:
            pass
    return _print_json({"hello": hello, "log": lines}) if options.json else 0


def run(options: Namespace) -> int:
    """`bench run`: 1 when the experiment ran but missed one of its targets."""
    with Reporter() as reporter:
        folder = run_experiment(
            options.experiment,
            rack=options.rack,
            reports=options.reports,
            state_dir=options.state,
            resume=options.resume,
            command=options.command,
            reporter=reporter,
        )
    return _show(folder, options.json)


def report(options: Namespace) -> int:
    """`bench report`."""
    folder = find_run(options.reports, options.run)
    write_report(folder)
    return _show(folder, options.json)


def _show(folder: Path, as_json: bool) -> int:
    document = load_run(folder).document
    if as_json:
        _print_json({"folder": str(folder), **document})
    else:
        Console().print(terminal_summary(folder))
        print(f"report: {folder / 'report.html'}")
    return 0 if all(check["passed"] for check in document["checks"]) else 1


def _inventory(options: Namespace) -> Inventory:
    if options.rack is not None:
        return load_inventory(options.rack)
    return load_inventory(DEFAULT_RACK if DEFAULT_RACK.is_file() else project_root() / DEFAULT_RACK)


def _open(options: Namespace, inventory: Inventory, purpose: str) -> Any:
    return Rack.open(inventory, options.board, purpose=purpose, state_dir=options.state)


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


def _holder(entry: BoardEntry, state: Path) -> dict[str, Any] | None:
    found = holder(lock_key(entry, state))
    return None if found is None else asdict(found)


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


def _announce(options: Namespace, document: Mapping[str, Any], text: str) -> None:
    if options.json:
        _print_json(document)
    else:
        print(text, flush=True)


def _wait_for_interrupt() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        return


def _print_json(document: Any) -> int:
    print(json.dumps(document, indent=2, default=str), flush=True)
    return 0


def _yes(value: bool) -> str:
    return "yes" if value else ""
