"""What can be wrong with a board's entry by itself, beyond its fields' types, and what to do about it."""

from __future__ import annotations

import difflib
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import serial

from bench.errors import ConfigError
from bench.rack.entry import BoardEntry
from bench.rack.manifest import environments, load_manifest
from bench.rack.meter_faults import meter_faults
from bench.virtual.parts import MACHINES
from bench.virtual.spec import VirtualBoardSpec

Location = tuple[int | str, ...]
"""Where in the document a problem is: keys and indices from the top."""


def entry_faults(entry: BoardEntry) -> Iterator[tuple[Location, str]]:
    """Where in the entry, and what."""
    known = environments()
    if entry.env not in known:
        yield ("env",), f"no environment {entry.env!r}; {near(entry.env, known)}"
    elif not load_manifest(entry.env).pyocd_target:
        yield ("env",), f"{entry.env} is no board that can be flashed"
    else:
        yield from _target_faults(entry)
        yield from _virtual_faults(entry)
    yield from _probe_faults(entry)
    yield from _serial_faults(entry)
    yield from _power_faults(entry)
    if entry.meter is not None:
        yield from meter_faults(entry.meter, entry)


def _target_faults(entry: BoardEntry) -> Iterator[tuple[Location, str]]:
    if entry.pack is not None:
        if not Path(entry.pack).is_file():
            yield ("pack",), f"no such file {entry.pack}"
        elif not _is_pack(Path(entry.pack)):
            yield ("pack",), f"{entry.pack}: no CMSIS pack, which is a zip archive with a .pdsc file at its top"
    elif entry.target != load_manifest(entry.env).pyocd_target:
        targets = _builtin_targets()
        if entry.target not in targets:
            hint = near(entry.target, targets, most=4)
            yield ("target",), f"pyOCD has no target {entry.target!r} built in; {hint} Or name its CMSIS pack in `pack`"


def _is_pack(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".pdsc") and "/" not in name for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _virtual_faults(entry: BoardEntry) -> Iterator[tuple[Location, str]]:
    if entry.virtual is None:
        return
    machine = entry.virtual.machine
    if machine not in MACHINES:
        yield ("virtual", "machine"), f"no machine {machine!r}; {near(machine, MACHINES)}"
        return
    try:
        VirtualBoardSpec.for_env(entry.name, entry.env, machine).check()
    except ConfigError as error:
        yield ("virtual", "machine"), str(error)


def _probe_faults(entry: BoardEntry) -> Iterator[tuple[Location, str]]:
    port = entry.remote_port
    if entry.probe.startswith("remote:"):
        if port is None or port > 65535:
            yield ("probe",), f"{entry.probe!r} is not remote:HOST:PORT"
        elif port == 0 and entry.virtual is None:
            yield ("probe",), "port 0 (any free one) is for virtual boards; name the port of the probe's server"
    if entry.probe.lower().startswith("jlink:0"):
        plain = entry.probe[len("jlink:") :].lstrip("0")
        yield ("probe",), f"{entry.probe!r}: pyOCD knows J-Links without leading zeros; write jlink:{plain}"
    if entry.virtual is not None and not entry.probe.startswith("remote:127.0.0.1:"):
        yield ("probe",), "a virtual board's probe is remote:127.0.0.1:PORT, with port 0 for any free one"


def _serial_faults(entry: BoardEntry) -> Iterator[tuple[Location, str]]:
    if entry.virtual is not None:
        if entry.serial:
            yield ("serial",), "a virtual board's line is made when it starts; say `auto` or leave the field out"
    elif not entry.serial:
        yield ("serial",), "missing; name the board's serial port, best by its /dev/serial/by-id path"
    elif "://" in entry.serial:
        try:
            serial.serial_for_url(entry.serial, do_not_open=True)
        except ValueError as error:
            yield ("serial",), f"{entry.serial}: not a URL that pyserial knows: {error}"


def _power_faults(entry: BoardEntry) -> Iterator[tuple[Location, str]]:
    power, meter = entry.power, entry.meter
    if power is None or power.kind != "ppk2":
        return
    if entry.virtual is not None:
        yield ("power", "kind"), "a virtual board's power is the bench's to switch: leave `power` out"
    elif meter is None or meter.kind != "ppk2" or meter.supply != "meter":
        yield ("power", "kind"), "there is no PPK2 that feeds this board: say `meter: {kind: ppk2, supply: meter, ...}`"


def _builtin_targets() -> list[str]:
    from pyocd.target import TARGET  # imported when needed: it takes most of a second

    return sorted(TARGET)


def near(name: str, known: Iterable[str], most: int = 3) -> str:
    """Names that may have been meant, as a hint."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=most, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known are {', '.join(known)}." if len(known) <= 20 else "`pyocd list --targets` shows all."
