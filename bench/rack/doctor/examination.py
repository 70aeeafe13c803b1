"""The whole examination of an inventory: every environment, then this machine, then the boards that are here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.rack.doctor import environment, host, wire
from bench.rack.doctor.finding import Finding, Level
from bench.rack.doctor.usb import Machine
from bench.rack.entry import BoardEntry
from bench.rack.inventory import Inventory
from bench.rack.manifest import load_manifest
from bench.rack.rack import STATE_DIR, Rack

Step = Callable[[str], None]


def tables(entries: Sequence[BoardEntry]) -> Iterator[Finding]:
    """What needs no hardware, for every kind of board, target and baud rate of the inventory once."""
    for env, target, baud in sorted({(entry.env, entry.target, entry.baud) for entry in entries}):
        yield from environment.examine(env, target=target, baud=baud)


def hardware(
    inventory: Inventory,
    entries: Sequence[BoardEntry],
    *,
    expected: bool,
    machine: Machine | None = None,
    state_dir: Path = STATE_DIR,
    step: Step = lambda _text: None,
) -> Iterator[Finding]:
    """Findings about this machine and the boards.

    Args:
        inventory: the rack.
        entries: its boards that are to be examined.
        expected: whether the boards should be here. Otherwise, an inventory of which nothing at all is plugged in
            here is that of another machine, which is no error.
        machine: this machine, unless it is another tree.
        state_dir: where virtual boards keep their flash.
        step: is told in a few words what is being done.
    """
    machine = machine or Machine()
    real = [entry for entry in entries if entry.virtual is None]
    step("looking at probes and ports")
    devices = machine.usb_devices() if real else ()
    if real and not expected and not any(host.is_here(entry, machine, devices) for entry in real):
        what = f"none of the {len(real)} real boards is plugged in here or answers: only the tables were looked at"
        mend = "plug them in; with --hardware, what is missing is an error"
        yield Finding(Level.NOTE, str(inventory.path), "hardware", what, mend)
        entries = [entry for entry in entries if entry.virtual is not None]
    else:
        found = host.examine(real, machine)
        yield from found
        lost = {finding.where for finding in found if finding.reach}
        entries = [entry for entry in entries if entry.name not in lost]
    answers = wire.Answers()
    for entry in entries:
        step(f"asking {entry.name}")
        yield from _board(inventory, entry, answers, state_dir)


def _board(inventory: Inventory, entry: BoardEntry, answers: wire.Answers, state_dir: Path) -> Iterator[Finding]:
    """One at a time: a board that somebody uses does not keep the others from being examined."""
    try:
        with Rack.open(inventory, [entry.name], purpose="bench rack doctor", state_dir=state_dir) as rack:
            ends = rack.boards[entry.name].ends
            found = list(wire.examine(entry, ends, state_dir / "doctor" / entry.name, answers))
    except BenchError as error:
        what = f"it could not be examined: {error}"
        yield Finding(Level.WARNING, entry.name, "not examined", what, "`bench rack who` shows who uses which board")
        return
    yield from found
    if not found:
        target = load_manifest(entry.env).core
        yield Finding(Level.NOTE, entry.name, "board", f"probe, image and serial line of this {target}: well")
