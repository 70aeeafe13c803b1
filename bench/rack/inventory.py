"""The rack's inventory: which boards there are and how each is reached. One YAML file, validated whole.

Every problem is reported at once, as `file:line: boards[2].probe: what is wrong; what to do`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from bench.errors import ConfigError
from bench.rack.entry import BoardEntry, Meter, Power, Section, Virtual
from bench.rack.entry_faults import Location, entry_faults, near
from bench.rack.manifest import environments, load_manifest
from bench.virtual.instruments.spec import Faults

DEFAULT_RACK = Path("hosts/virtual.yaml")
"""The rack that is used when none is named, in the project's folder."""


class _Document(Section):
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
        raise ConfigError(f"{self.path}: no board {name!r}; {near(name, names)}")

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
        problems += [_Problem(("boards", index, *where), text) for where, text in entry_faults(entry)]
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
        message = f"unknown field; {near(str(where[-1]), _fields_of(where[:-1]))}"
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
