"""What is wrong with a board that can be reached: asked through its probe and over its serial line, as a run would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import BenchError, ConfigError, InfrastructureError
from bench.link.device import Device
from bench.link.messages import Hello
from bench.link.port import open_port
from bench.link.session import Session
from bench.rack import flash as pyocd
from bench.rack import image as images
from bench.rack.board import Ends
from bench.rack.doctor.finding import Finding, Level
from bench.rack.entry import BoardEntry
from bench.rack.manifest import load_manifest

RATES = (115200, 9600, 57600, 230400, 38400, 460800, 19200, 921600, 1_000_000)
"""Baud rates that a board of unknown firmware is called at, the likely ones first."""

_HELLO_S = 0.6  # a board that computes its image's checksum first answers the second HELLO
_HELLO_RETRIES = 2


@dataclass
class Answers:
    """What the boards have said so far, to tell two that are one: chip id by board."""

    uids: dict[str, str] = field(default_factory=dict)


def examine(entry: BoardEntry, ends: Ends, folder: Path, answers: Answers) -> Iterator[Finding]:
    """All findings about one board, which the caller has locked. `folder` is for its files and its log's."""
    try:
        flashed = _through_probe(entry, ends, folder)
    except ConfigError as error:
        yield Finding(Level.ERROR, entry.name, "probe", str(error), "see `bench rack list`")
        return
    except BenchError as error:
        yield _probe_failed(entry, error)
        flashed = None
    try:
        hello = call(ends.serial, entry.baud)
    except InfrastructureError as error:
        yield Finding(Level.ERROR, entry.name, "serial line", str(error), "see the line above", reach=True)
        return
    if hello is not None:
        yield from _of_hello(entry, hello, flashed, answers)
    elif isinstance(flashed, images.ImageDescriptor):
        yield from _silent(entry, ends)
    elif flashed is not None:
        what = "its flash holds no image of this bench, so its serial line cannot be judged"
        yield Finding(Level.NOTE, entry.name, "image", what, f"`bench flash --board {entry.name}`")


def call(serial: str, baud: int) -> Hello | None:
    """A board's answer at a baud rate; None when there is none. Raises InfrastructureError for the port."""
    with Session(open_port(serial, baud)) as session:
        try:
            return Device(session).hello(check=False, timeout_s=_HELLO_S, retries=_HELLO_RETRIES)
        except BenchError:
            return None


def _through_probe(entry: BoardEntry, ends: Ends, folder: Path) -> images.ImageDescriptor | str:
    """The descriptor in the board's flash, or what lies there instead of one."""
    target = pyocd.Target(entry.name, ends.probe, entry.target, entry.pack)
    address = load_manifest(entry.env).flash.base + images.DESCRIPTOR_OFFSET
    blob = pyocd.read(target, address, images.DESCRIPTOR_SIZE, folder, log=lambda _line: None)
    try:
        return images.ImageDescriptor.parse(b"\0" * images.DESCRIPTOR_OFFSET + blob)
    except ConfigError:
        return "erased" if not blob.strip(b"\xff") else "foreign"


def _probe_failed(entry: BoardEntry, error: BenchError) -> Finding:
    text, _, hint = str(error).rpartition(": ")
    lower = str(error).lower()
    check = "locked chip" if "protect" in lower else "probe firmware" if "too old" in lower else "probe"
    return Finding(Level.ERROR, entry.name, check, text, hint, reach=True)


def _of_hello(
    entry: BoardEntry, hello: Hello, flashed: images.ImageDescriptor | str | None, answers: Answers
) -> Iterator[Finding]:
    if hello.env != entry.env:
        what = f"the board on this line says that it is a {hello.env}, the inventory that it is a {entry.env}"
        mend = "correct `env`, or exchange `serial` with that board's"
        yield Finding(Level.ERROR, entry.name, "another board", what, mend)
    if isinstance(flashed, images.ImageDescriptor) and flashed.build_id != hello.build_id:
        what = (
            f"behind the probe is build {flashed.build_id.hex()[:12]}, on the serial line {hello.build_id.hex()[:12]}"
        )
        mend = "probe and serial line are of two boards alike: exchange `serial` with the other's"
        yield Finding(Level.ERROR, entry.name, "two alike", what, mend)
    if hello.image_crc32 != hello.image_crc32_expected:
        mend = f"`bench flash --board {entry.name}`"
        yield Finding(Level.ERROR, entry.name, "image", "its image fails its own checksum", mend)
    uid = hello.device_uid.hex()
    other = next((name for name, known in answers.uids.items() if known == uid and uid.strip("0")), None)
    if other is not None:
        what = f"the same chip answers on its line and on {other}'s"
        yield Finding(Level.ERROR, entry.name, "two alike", what, "correct `serial` of one of them")
    answers.uids[entry.name] = uid
    if hello.fault_valid:
        what = f"its last reset was a fault's, at {hello.fault_pc:#010x}"
        mend = f"look it up in its build's firmware.elf, or `bench reset --board {entry.name}`"
        yield Finding(Level.WARNING, entry.name, "fault", what, mend)


def _silent(entry: BoardEntry, ends: Ends) -> Iterator[Finding]:
    """It has an image of ours and does not answer at its rate: it may at another."""
    heard = at_other_rates(ends.serial, entry.baud)
    if heard is not None:
        rate, _ = heard
        what = f"it does not answer at {entry.baud} baud, but at {rate}"
        wanted = load_manifest(entry.env).baud
        mend = f"`bench flash --force --board {entry.name}` brings an image for {wanted} baud; or say `baud: {rate}`"
        yield Finding(Level.ERROR, entry.name, "wrong baud rate", what, mend)
        return
    rates = ", ".join(map(str, sorted({entry.baud, *RATES})))
    what = f"it has an image, and answers at none of {rates} baud"
    mend = (
        "check that the board's TX goes to the adapter's RX and RX to TX, ground, the voltage of both, and that "
        "`serial` is this board's; then `bench reset`"
    )
    yield Finding(Level.ERROR, entry.name, "serial line", what, mend, reach=True)


def at_other_rates(serial: str, baud: int) -> tuple[int, Hello] | None:
    """The first other rate that the board answers at, and what it says; None for none."""
    for rate in _others(baud):
        try:
            hello = call(serial, rate)
        except BenchError:  # an adapter that cannot do this rate
            continue
        if hello is not None:
            return rate, hello
    return None


def _others(baud: int) -> Sequence[int]:
    return [rate for rate in RATES if rate != baud]
