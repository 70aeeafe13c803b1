"""The rack's inventory: which boards there are and how each is reached. One YAML file, validated whole.

Every problem is reported at once, as `file:line: boards[2].probe: what is wrong; what to do`.
"""

from __future__ import annotations

import difflib
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import serial
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from bench.errors import ConfigError
from bench.rack.manifest import environments, load_manifest
from bench.rack.meter_faults import meter_faults
from bench.virtual.instruments.spec import Faults
from bench.virtual.parts import MACHINES
from bench.virtual.spec import VirtualBoardSpec

DEFAULT_RACK = Path("hosts/virtual.yaml")
"""The rack that is used when none is named, in the project's folder."""

_REMOTE = re.compile(r"^remote:(?P<host>[^:\s]+):(?P<port>\d{1,5})$")

Location = tuple[int | str, ...]
"""Where in the document a problem is: keys and indices from the top."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Power(_Section):
    """How a board's supply is switched: not at all; by commands, which are run without a shell; by `uhubctl`, on a hub
    that can switch its ports; or by the PPK2 that feeds it."""

    kind: Literal["none", "command", "uhubctl", "ppk2"]
    off: tuple[str, ...] = Field(default=(), strict=False)
    on: tuple[str, ...] = Field(default=(), strict=False)
    """A command and its arguments, in which {name}, {probe} and {serial} stand for the board's own."""
    location: str = Field(default="", pattern=r"^\S*$")
    """The hub, as `uhubctl` lists it: 1-1.4."""
    port: int | None = Field(default=None, ge=1, le=127)
    """The hub's port that feeds the board."""
    off_s: float = Field(default=1.0, gt=0, le=60)
    """How long it stays off, in seconds."""

    @model_validator(mode="after")
    def _fields_belong_to_their_kind(self) -> Power:
        commands = [name for name, command in (("off", self.off), ("on", self.on)) if command]
        hub = [name for name, given in (("location", self.location), ("port", self.port)) if given]
        if self.kind == "command" and commands != ["off", "on"]:
            raise ValueError("kind `command` needs both `off` and `on`, each a command and its arguments in a list")
        if self.kind == "uhubctl" and hub != ["location", "port"]:
            raise ValueError("kind `uhubctl` needs both `location` and `port`, as `uhubctl` by itself lists them")
        if self.kind != "command" and commands:
            raise ValueError(f"kind `{self.kind}` has no commands; say `kind: command` to have them run")
        if self.kind != "uhubctl" and hub:
            raise ValueError(f"kind `{self.kind}` has no {hub[0]}; say `kind: uhubctl` for a hub's port")
        for word in (*self.off, *self.on):
            _filled(word, dict.fromkeys(_PLACES, ""))
        return self

    def command(self, way: Literal["off", "on"], entry: BoardEntry) -> list[str]:
        """What switches this board's power."""
        if self.kind == "uhubctl":
            return ["uhubctl", "--action", way, "--location", self.location, "--ports", str(self.port)]
        values = {place: str(getattr(entry, place)) for place in _PLACES}
        return [_filled(word, values) for word in (self.off if way == "off" else self.on)]


_PLACES = ("name", "probe", "serial")


def _filled(word: str, values: dict[str, str]) -> str:
    """A word of a command with the board's own in it; other braces are left as they are."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise ValueError(
                f"`{word}`: {{{match[1]}}} stands for nothing; there are {{name}}, {{probe}} and {{serial}}"
            )
        return values[match[1]]

    return re.sub(r"\{(\w+)\}", value, word)


class Meter(_Section):
    """What measures the board's current; `modelled`: nothing, its energy is modelled from data-sheet currents."""

    kind: Literal["ppk2", "lpm01a", "joulescope", "modelled"]
    port: str = ""
    """Its serial port; a Joulescope's serial number, which may be left out when there is only one."""
    voltage_mv: int | None = Field(default=None, gt=0)
    """What the board is fed with; of a virtual board, the manifest's unless given."""
    supply: Literal["meter", "external"] = "meter"
    """Who feeds the board: the meter, or something else through the meter."""
    marker: int | None = Field(default=0, ge=0, le=7)
    """The logic channel that the board's marker pin is connected to; null: none."""
    line: tuple[Annotated[int, Field(ge=0, le=7)], ...] = Field(default=(), max_length=2, strict=False)
    """The logic channels that the console's TX and RX are connected to, if they are: they tell transfers from rest."""
    virtual: Faults | None = None
    """An emulated meter, of a virtual board, and what is wrong with it on purpose."""


class Virtual(_Section):
    """The emulated board behind probe and serial line; absent for a real one."""

    machine: str
    """QEMU's name of the machine."""
    serial_index: int | None = Field(default=None, ge=0, le=15)
    """Which of the machine's serial lines is the console; absent: the one that the board's firmware uses."""


class BoardEntry(_Section):
    """One board of the rack."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)
    env: str
    target: str = ""
    """pyOCD's target; that of the environment's manifest unless given."""
    probe: str = Field(pattern=r"^\S+$")
    """The probe's full unique id, or remote:HOST:PORT. `stlink:`, `jlink:` or `cmsisdap:` before an id keeps pyOCD from
    asking probes of other kinds for theirs."""
    serial: str = ""
    """A pyserial URL; empty (or `auto`) only for virtual boards, whose line is made when they start."""
    baud: int = Field(default=0, ge=1200, le=4_000_000)
    """Baud rate that the firmware was built for; the manifest's unless given."""
    power: Power | None = None
    meter: Meter | None = None
    features: tuple[str, ...] = Field(default=(), strict=False)
    pack: str | None = None
    """A CMSIS pack for a target that pyOCD does not have built in; a relative path starts at the inventory's folder."""
    virtual: Virtual | None = None

    @property
    def remote_port(self) -> int | None:
        """TCP port of a remote probe."""
        match = _REMOTE.match(self.probe)
        return int(match["port"]) if match else None


class _Document(_Section):
    boards: tuple[BoardEntry, ...] = Field(min_length=1, strict=False)


@dataclass(frozen=True)
class Inventory:
    """A rack as its file describes it."""

    path: Path
    boards: tuple[BoardEntry, ...]

    def board(self, name: str) -> BoardEntry:
        """The board of that name. Raises ConfigError, with names that are near."""
        for entry in self.boards:
            if entry.name == name:
                return entry
        names = [entry.name for entry in self.boards]
        raise ConfigError(f"{self.path}: no board {name!r}; {_near(name, names)}")

    def select(self, names: Iterable[str] | None) -> tuple[BoardEntry, ...]:
        """These boards, or all for None, in the file's order. Raises ConfigError for an unknown name."""
        if names is None:
            return self.boards
        wanted = {self.board(name).name for name in names}
        return tuple(entry for entry in self.boards if entry.name in wanted)


@dataclass(frozen=True)
class _Problem:
    where: Location
    text: str


def load_inventory(path: Path) -> Inventory:
    """Reads and validates an inventory.

    Raises:
        ConfigError: naming the file and, for every problem, line, field and what to do.
    """
    document = _read(path)
    problems: list[_Problem] = []
    try:
        _Document.model_validate(_plain(document))
    except ValidationError as error:
        problems += [_told(item["loc"], item["msg"], item["type"], item["input"]) for item in error.errors()]
    # What is wrong among the boards that are well-formed is told together with what is malformed.
    entries = {index: _with_defaults(entry, path) for index, entry in _well_formed(document)}
    for index, entry in entries.items():
        problems += [_Problem(("boards", index, *where), text) for where, text in _faults(entry)]
    problems += _clashes(entries)
    if problems:
        told = sorted({(_line(document, problem.where), _field(problem.where), problem.text) for problem in problems})
        listed = "\n".join(f"{path}:{line}: {field}: {text}" for line, field, text in told)
        raise ConfigError(f"{path}: {len(told)} problem(s) in this inventory\n{listed}")
    return Inventory(path, tuple(entries.values()))


def _read(path: Path) -> CommentedMap:
    try:
        document = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such inventory; hosts/virtual.yaml is the default rack") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: not YAML: {error.problem or error.context}") from error
    if not isinstance(document, CommentedMap):
        raise ConfigError(f"{path}:1: an inventory is a mapping with the key `boards`")
    return document


def _plain(node: Any) -> Any:
    if isinstance(node, CommentedMap):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value) for value in node]
    if isinstance(node, bool) or node is None:
        return node
    for kind in (int, float, str):  # ruamel's own number and string types
        if isinstance(node, kind):
            return kind(node)
    return node


def _well_formed(document: CommentedMap) -> Iterator[tuple[int, BoardEntry]]:
    boards = document.get("boards")
    for index, node in enumerate(boards if isinstance(boards, CommentedSeq) else ()):
        try:
            yield index, BoardEntry.model_validate(_plain(node))
        except ValidationError:
            continue


def _line(document: CommentedMap, where: Location) -> int:
    """The line of the field, or of the innermost section around it that the document has."""
    line, node = 1, document
    for part in where:
        if isinstance(node, CommentedMap) and part in node:
            line = node.lc.key(part)[0] + 1
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line = node.lc.item(part)[0] + 1
        else:
            break
        node = node[part]
    return line


def _field(where: Location) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).removeprefix(".")


_SECTIONS: dict[str, type[BaseModel]] = {"power": Power, "meter": Meter, "virtual": Virtual}


def _told(where: Location, message: str, kind: str, value: Any) -> _Problem:
    """pydantic's finding in this file's words, where those say better what to do."""
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        message = f"unknown field; {_near(str(where[-1]), _fields_of(where[:-1]))}"
    elif kind == "missing":
        message = "missing; add it"
    elif kind == "too_short":
        message = "no board is named; add one, `- name: ...`"
    elif kind in ("tuple_type", "list_type"):
        message = "must be a list, an entry a line that begins with `-`"
    elif kind in ("model_type", "dataclass_type", "dict_type"):
        message = "must be a section of fields, `name: value`"
    elif kind == "string_type" and isinstance(value, int | float):
        message = "must be text: put it in quotes, for YAML takes it for a number"
    elif kind == "string_pattern_mismatch" and where[-1] == "name":
        message = f"{value!r} is no name: letters, digits, `_`, `.` and `-`, the first a letter or digit"
    elif kind == "string_pattern_mismatch":
        message = f"{value!r} is empty or has blanks in it; give the full id, or remote:HOST:PORT"
    return _Problem(where, message.removeprefix("Value error, "))


def _fields_of(where: Location) -> list[str]:
    """The fields of the section there."""
    around = [part for part in where if isinstance(part, str)]
    if around[-2:] == ["meter", "virtual"]:
        return [field.name for field in fields(Faults)]
    section = _SECTIONS.get(around[-1], BoardEntry) if around else _Document
    return list(section.model_fields)


def _faults(entry: BoardEntry) -> Iterator[tuple[Location, str]]:
    """What is wrong with a board by itself."""
    known = environments()
    if entry.env not in known:
        yield ("env",), f"no environment {entry.env!r}; {_near(entry.env, known)}"
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
            near = _near(entry.target, targets, most=4)
            yield ("target",), f"pyOCD has no target {entry.target!r} built in; {near} Or name its CMSIS pack in `pack`"


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
        yield ("virtual", "machine"), f"no machine {machine!r}; {_near(machine, MACHINES)}"
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


def _with_defaults(entry: BoardEntry, path: Path) -> BoardEntry:
    found: dict[str, object] = {}
    if entry.env in environments():
        manifest = load_manifest(entry.env)
        found |= {"target": entry.target or manifest.pyocd_target, "baud": entry.baud or manifest.baud}
    if entry.virtual is not None and entry.serial == "auto":
        found["serial"] = ""
    if entry.pack is not None:
        found["pack"] = str((path.parent / entry.pack).resolve())
    return entry.model_copy(update=found)


def _clashes(entries: dict[int, BoardEntry]) -> Iterator[_Problem]:
    """What is wrong between boards; told at the later one."""
    for index, entry in entries.items():
        for other in (entries[before] for before in entries if before < index):
            if entry.name == other.name:
                yield _Problem(("boards", index, "name"), f"{entry.name!r} is taken; a board's name is unique")
            if entry.meter and entry.meter.port and entry.meter.port in (other.serial, _meter_port(other)):
                yield _Problem(
                    ("boards", index, "meter", "port"), f"{entry.meter.port} is that of {other.name} as well"
                )
            if entry.serial and entry.serial == other.serial:
                yield _Problem(("boards", index, "serial"), f"{entry.serial} is that of {other.name} as well")
            if text := _probe_clash(entry, other):
                yield _Problem(("boards", index, "probe"), text)


def _meter_port(entry: BoardEntry) -> str:
    return "" if entry.meter is None else entry.meter.port


def _probe_clash(entry: BoardEntry, other: BoardEntry) -> str | None:
    if entry.probe.startswith("remote:") or other.probe.startswith("remote:"):
        same = entry.probe == other.probe and entry.remote_port != 0
        return f"{entry.probe} is that of {other.name} as well" if same else None
    one, two = (probe.lower().rpartition(":")[2] for probe in (entry.probe, other.probe))
    if one == two:
        return f"{entry.probe} is that of {other.name} as well"
    if one in two or two in one:
        both = f"{entry.probe} and {other.name}'s {other.probe} contain each other"
        return f"{both}: pyOCD would match both; give full ids"
    return None


def _builtin_targets() -> list[str]:
    from pyocd.target import TARGET  # imported when needed: it takes most of a second

    return sorted(TARGET)


def _near(name: str, known: Iterable[str], most: int = 3) -> str:
    known = list(known)
    close = difflib.get_close_matches(name, known, n=most, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known are {', '.join(known)}." if len(known) <= 20 else "`pyocd list --targets` shows all."
