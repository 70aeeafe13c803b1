"""The rack's inventory: which boards there are and how each is reached. One YAML file, validated whole.

Every problem is reported at once, as `file:line: boards[2].probe: what is wrong; what to do`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from bench.errors import ConfigError
from bench.rack.manifest import environments, load_manifest

MACHINES = ("netduinoplus2", "olimex-stm32-h405", "netduino2", "b-l475e-iot01a", "microbit")
_REMOTE = re.compile(r"^remote:(?P<host>[^:\s]+):(?P<port>\d{1,5})$")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Power(_Section):
    """How a board's supply is switched: commands that are run without a shell."""

    kind: Literal["command"]
    off: tuple[str, ...] = Field(min_length=1, strict=False)
    on: tuple[str, ...] = Field(min_length=1, strict=False)
    off_s: float = Field(default=1.0, gt=0, le=60)
    """How long it stays off, in seconds."""


class Virtual(_Section):
    """The emulated board behind probe and serial line; absent for a real one."""

    machine: Literal[MACHINES]  # type: ignore[valid-type]  # one list of names for check and message
    serial_index: int | None = Field(default=None, ge=0, le=7)
    """Which of the machine's serial lines is the console; absent: the one that the board's firmware uses."""


class BoardEntry(_Section):
    """One board of the rack."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    env: str
    target: str = ""
    """pyOCD's target; that of the environment's manifest unless given."""
    probe: str = Field(min_length=1)
    """The probe's full unique id, or remote:HOST:PORT."""
    serial: str = ""
    """A pyserial URL; empty only for virtual boards, whose line is made when they start."""
    baud: int = Field(default=0, ge=0, le=4_000_000)
    """Baud rate that the firmware was built for; the manifest's unless given."""
    power: Power | None = None
    features: tuple[str, ...] = Field(default=(), strict=False)
    pack: str | None = None
    """A CMSIS pack for a target that pyOCD does not have built in."""
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


def load_inventory(path: Path) -> Inventory:
    """Reads and validates an inventory.

    Raises:
        ConfigError: naming the file and, for every problem, line, field and what to do.
    """
    document = _read(path)
    problems: list[tuple[int, str]] = []
    entries: list[BoardEntry] = []
    try:
        entries = list(_Document.model_validate(_plain(document)).boards)
    except ValidationError as error:
        problems += [_describe(document, item["loc"], item["msg"], item["type"]) for item in error.errors()]
        entries = _valid_entries(document)
    lines = _board_lines(document)
    checked = []
    for index, entry in enumerate(entries):
        line = lines.get(entry.name, 1)
        problems += [(line, f"boards[{index}].{text}") for text in _faults(entry)]
        checked.append(_with_defaults(entry))
    problems += [(lines.get(name, 1), text) for name, text in _clashes(checked)]
    if problems:
        listed = "\n".join(f"{path}:{line}: {text}" for line, text in sorted(set(problems)))
        raise ConfigError(f"{path}: {len(set(problems))} problem(s) in this inventory\n{listed}")
    return Inventory(path, tuple(checked))


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


def _valid_entries(document: CommentedMap) -> list[BoardEntry]:
    """Those boards that are well-formed: what is wrong among them is reported together with the malformed ones."""
    boards = document.get("boards")
    entries = []
    for node in boards if isinstance(boards, CommentedSeq) else ():
        try:
            entries.append(BoardEntry.model_validate(_plain(node)))
        except ValidationError:
            continue
    return entries


def _board_lines(document: CommentedMap) -> dict[str, int]:
    boards = document.get("boards")
    if not isinstance(boards, CommentedSeq):
        return {}
    return {
        str(node.get("name")): boards.lc.item(index)[0] + 1
        for index, node in enumerate(boards)
        if isinstance(node, CommentedMap)
    }


def _describe(document: CommentedMap, location: tuple[int | str, ...], message: str, kind: str) -> tuple[int, str]:
    line, node, field = 1, document, ""
    for part in location:
        field += f"[{part}]" if isinstance(part, int) else f".{part}" if field else str(part)
        if isinstance(node, CommentedMap) and part in node:
            line = node.lc.key(part)[0] + 1
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line = node.lc.item(part)[0] + 1
        else:
            break
        node = node[part]
    if kind == "extra_forbidden":
        message = f"unknown field; {_near(str(location[-1]), list(BoardEntry.model_fields))}"
    elif kind == "missing":
        message = "missing; add it"
    return line, f"{field}: {message}"


def _faults(entry: BoardEntry) -> list[str]:
    faults = []
    known = environments()
    if entry.env not in known:
        faults.append(f"env: no environment {entry.env!r}; {_near(entry.env, known)}")
    elif entry.target and entry.target != load_manifest(entry.env).pyocd_target and not entry.pack:
        targets = _builtin_targets()
        if entry.target not in targets:
            near = _near(entry.target, targets, most=4)
            faults.append(f"target: pyOCD has no {entry.target!r} built in; {near}, or name its CMSIS pack in `pack`")
    if entry.probe.startswith("remote:"):
        port = entry.remote_port
        if port is None or port > 65535:
            faults.append(f"probe: {entry.probe!r} is not remote:HOST:PORT")
        elif port == 0 and entry.virtual is None:
            faults.append("probe: port 0 (any free one) is for virtual boards; name the port of the probe's server")
    elif entry.virtual is not None:
        faults.append("probe: a virtual board's probe is remote:127.0.0.1:PORT, with port 0 for any free one")
    if entry.virtual is None and not entry.serial:
        faults.append("serial: missing; name the board's serial port, best by its /dev/serial/by-id path")
    if entry.virtual is not None and entry.serial:
        faults.append("serial: a virtual board's line is made when it starts; leave the field out")
    if entry.pack and not Path(entry.pack).is_file():
        faults.append(f"pack: no such file {entry.pack}")
    return faults


def _with_defaults(entry: BoardEntry) -> BoardEntry:
    if entry.env not in environments():
        return entry
    manifest = load_manifest(entry.env)
    return entry.model_copy(
        update={"target": entry.target or manifest.pyocd_target, "baud": entry.baud or manifest.baud}
    )


def _clashes(entries: list[BoardEntry]) -> list[tuple[str, str]]:
    clashes = []
    for index, entry in enumerate(entries):
        for other in entries[:index]:
            where = f"boards[{index}]"
            if entry.name == other.name:
                clashes.append((entry.name, f"{where}.name: {entry.name!r} is taken; a board's name is unique"))
            if entry.serial and entry.serial == other.serial:
                clashes.append((entry.name, f"{where}.serial: {entry.serial} is that of {other.name} as well"))
            one, two = entry.probe.lower(), other.probe.lower()
            if one == two and entry.remote_port != 0:
                clashes.append((entry.name, f"{where}.probe: {entry.probe} is that of {other.name} as well"))
            elif one != two and not one.startswith("remote:") and (one in two or two in one):
                text = f"{where}.probe: {entry.probe} and {other.name}'s {other.probe} contain each other: pyOCD would "
                clashes.append((entry.name, text + "match both; give full ids"))
    return clashes


def _builtin_targets() -> list[str]:
    from pyocd.target import TARGET  # imported when needed: it takes most of a second

    return sorted(TARGET)


def _near(name: str, known: Iterable[str], most: int = 3) -> str:
    known = list(known)
    close = difflib.get_close_matches(name, known, n=most, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known are {', '.join(known)}" if len(known) <= 20 else "see `pyocd list --targets`"
