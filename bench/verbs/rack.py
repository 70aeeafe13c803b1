"""`bench rack`: who the boards are, who uses them, and keeping virtual ones up."""

from __future__ import annotations

import json
import threading
from argparse import Namespace
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.rack.entry import BoardEntry
from bench.rack.locks import Holder, Reservation, holder, reservation, reserve, unreserve
from bench.rack.manifest import load_manifest
from bench.rack.rack import held_endpoints, keep_up, lock_key
from bench.verbs import lab
from bench.verbs.options import Verbs, common, rack_inventory, with_examples
from bench.verbs.output import print_json, print_line, tell

_WATCH_S = 1.0  # how soon a virtual board that has crashed is noticed

_EXAMPLES = """\
examples:
  bench rack list --rack hosts/lab.yaml             ids and ports of your boards, after checking the file
  bench rack discover --output hosts/lab.yaml       writes an inventory of what is plugged in
  bench rack doctor hosts/lab.yaml                  what is wrong with your boards, and how to mend it
  bench rack who                                    who uses or has reserved which board
  bench rack lock plus2 bit --purpose "soak test"   keep two boards from other users until `bench rack unlock plus2 bit`
  bench rack up                                     then, in another terminal: pyocd flash -u remote:127.0.0.1:45615 ...
"""


def add(verbs: Verbs) -> None:
    """`bench rack` and its actions."""
    rack = verbs.add_parser(
        "rack",
        help="the rack's boards: list, show, doctor, discover, who, lock, unlock, up",
        **with_examples(_EXAMPLES),
    )
    actions = rack.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="all boards, one a line")
    listing.set_defaults(call=list_boards)
    show_ = actions.add_parser("show", help="everything that is known of one board")
    show_.add_argument("board")
    show_.set_defaults(call=show)
    who_ = actions.add_parser("who", help="who uses which board now")
    who_.set_defaults(call=who)
    lock_ = actions.add_parser("lock", help="reserve boards: other users are refused them until you unlock")
    lock_.add_argument("boards", nargs="+", metavar="BOARD")
    lock_.add_argument("--purpose", default="reserved by hand", help="shown to those who want the board meanwhile")
    lock_.set_defaults(call=lock)
    unlock_ = actions.add_parser("unlock", help="give reserved boards back")
    unlock_.add_argument("boards", nargs="+", metavar="BOARD")
    unlock_.add_argument("--force", action="store_true", help="even if another user reserved them")
    unlock_.set_defaults(call=unlock)
    up_ = actions.add_parser("up", help="start the rack's virtual boards and keep them running until Ctrl-C")
    up_.add_argument("--board", action="append", metavar="BOARD", help="may be repeated; all virtual boards if absent")
    up_.set_defaults(call=up)
    lab.add(actions)
    for action in (listing, show_, who_, lock_, unlock_, up_):
        common(action)


def list_boards(options: Namespace) -> int:
    """`bench rack list`."""
    inventory = rack_inventory(options)
    rows = [_describe(entry) for entry in inventory.boards]
    if options.json:
        return print_json({"rack": str(inventory.path), "boards": rows})
    columns = ("name", "env", "core", "target", "probe", "serial")
    lines = [["board", "environment", "core", "target", "probe", "serial"]]
    lines += [[row[column] or "made at start" for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]  # ids are never cut short
    for line in lines:
        print_line("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return 0


def show(options: Namespace) -> int:
    """`bench rack show`."""
    entry = rack_inventory(options).board(options.board)
    document = {
        "board": entry.model_dump(mode="json"),
        "manifest": asdict(load_manifest(entry.env)),
        **_users(entry, options.state),
    }
    if options.json:
        return print_json(document)
    Console().print_json(json.dumps(document, default=str))
    return 0


def who(options: Namespace) -> int:
    """`bench rack who`."""
    used = {entry.name: _users(entry, options.state) for entry in rack_inventory(options).boards}
    if options.json:
        return print_json(used)
    for name, by in used.items():
        states = [f"used by {Holder(**by['holder'])}"] if by["holder"] else []
        states += [f"reserved by {Reservation(**by['reservation'])}"] if by["reservation"] else []
        up = " (kept up by `bench rack up`: pyOCD or PlatformIO may be at work on it)" if by["kept_up"] else ""
        print(f"{name}: {'; '.join(states) or 'free'}{up}")
    return 0


def lock(options: Namespace) -> int:
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
    return tell(options, {"reserved": [entry.name for entry in entries], "before": before}, told)


def unlock(options: Namespace) -> int:
    """`bench rack unlock`."""
    freed = [
        entry.name
        for entry in rack_inventory(options).select(options.boards)
        if unreserve(lock_key(entry, options.state), entry.name, force=options.force)
    ]
    return tell(options, {"freed": freed}, f"freed: {', '.join(freed) or 'none, for none was reserved'}")


def up(options: Namespace) -> int:
    """`bench rack up`."""
    with keep_up(rack_inventory(options), options.board, state_dir=options.state) as virtual:
        ends = {name: {"probe": end.probe, "serial": end.serial} for name, end in virtual.endpoints.items()}
        lines = [f"{name}: probe {end['probe']}, serial {end['serial']}" for name, end in ends.items()]
        tell(options, ends, "\n".join([*lines, "running; Ctrl-C stops them"]))
        with suppress(KeyboardInterrupt):
            while True:
                virtual.check()
                threading.Event().wait(_WATCH_S)
    return 0


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
