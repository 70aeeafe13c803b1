"""Files of blocks to be placed, as MiniMalloc reads and writes them.

CSV with a header; columns in any order: `id`, `lower` and `upper` (a life, half-open), `size` in bytes, and if wanted
`alignment` (1 if absent). What is written has the same rows and columns, and `offset`; a column of that name in what
is read, as a file that was written has it, is not looked at.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.compiler.place import Block
from bench.errors import ConfigError
from bench.results.files import write_atomically, writing

_ALIASES = {"buffer": "id", "buffer_id": "id", "start": "lower", "begin": "lower"}
_NEEDED = ("id", "lower", "upper", "size")
_REFUSED = {
    "end": "some versions of the format include that time and some do not; name it `upper`, the first time at which "
    "the block does not live",
}
_ONLY_EMPTY = {
    "gaps": "blocks that leave out a part of their life are not supported; split them, or remove the column",
}
_CARRIED = ("hint", "offset")  # a hint changes how a solver searches, not what it may answer; offsets are written anew
_FILLED_IN = (*_NEEDED, "alignment", *_CARRIED)


@dataclass(frozen=True)
class BlocksFile:
    """Header and rows as they were written, and the blocks that they describe, in the same order."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    blocks: tuple[Block, ...]

    @property
    def has_offsets(self) -> bool:
        """Whether there is a column of offsets, which nothing looks at."""
        return any(name.lower() == "offset" for name in self.header)


def read_blocks(path: Path) -> BlocksFile:
    """Reads a file of blocks.

    Raises:
        ConfigError: it cannot be read, or says what cannot be placed; names file, line and column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text: a CSV file of blocks is wanted") from error
    lines = list(_records(path, text))
    if not lines:
        raise ConfigError(f"{path}: is empty; the first line names the columns: {','.join(_NEEDED)}")
    header_line, header = lines[0]
    columns = _columns(f"{path}, line {header_line}", header)
    blocks: list[Block] = []
    seen: dict[str, int] = {}
    for line, fields in lines[1:]:
        where = f"{path}, line {line}"
        if len(fields) != len(header):
            raise ConfigError(f"{where}: {len(fields)} fields; the header has {len(header)} columns")
        block = _block(where, columns, fields)
        if block.name in seen:
            raise ConfigError(f"{where}, column {header[columns['id']]}: {block.name} is the id of line "
                              f"{seen[block.name]} too; give each block its own")  # fmt: skip
        seen[block.name] = line
        blocks.append(block)
    return BlocksFile(header, tuple(fields for _, fields in lines[1:]), tuple(blocks))


def write_offsets(path: Path, source: BlocksFile, offsets: Sequence[int]) -> None:
    """Writes the rows of `source` with their offsets, all or none. Raises InfrastructureError, of a full disk too."""
    kept = [index for index, name in enumerate(source.header) if name.lower() != "offset"]
    lines = [[*(source.header[index] for index in kept), "offset"]]
    for fields, offset in zip(source.rows, offsets, strict=True):
        lines.append([*(fields[index] for index in kept), str(offset)])
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(lines)
    data = text.getvalue().encode()
    if path.exists() and not path.is_file():  # a pipe or a device is written to, not replaced
        with writing(path), path.open("wb", buffering=0) as device:
            device.write(data)
    else:
        write_atomically(path.resolve(), data)


def _records(path: Path, text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Fields, and the line on which they begin, of everything that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    begins = 1
    try:
        for fields in reader:
            if any(fields):
                yield begins, tuple(field.strip() for field in fields)
            begins = reader.line_num + 1
    except csv.Error as error:
        what = "a quotation mark is not closed" if "unexpected end of data" in str(error) else str(error)
        raise ConfigError(f"{path}, line {begins}: {what}") from error


def _columns(where: str, header: Sequence[str]) -> dict[str, int]:
    """The position of each column by its proper name."""
    known = (*_NEEDED, "alignment", *_ONLY_EMPTY, *_CARRIED)
    columns: dict[str, int] = {}
    for index, written in enumerate(header):
        name = _ALIASES.get(written.lower(), written.lower())
        if name in _REFUSED:
            raise ConfigError(f"{where}: column {written}: {_REFUSED[name]}")
        if name not in known:
            raise ConfigError(f"{where}: column {written!r} is not known; there are {', '.join(_FILLED_IN)}")
        if name in columns:
            raise ConfigError(f"{where}: column {written} stands there twice ({name}); remove one")
        columns[name] = index
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise ConfigError(
            f"{where}: no column {', '.join(missing)}; the first line names the columns, as in {','.join(_NEEDED)}"
        )
    return columns


def _block(where: str, columns: dict[str, int], fields: Sequence[str]) -> Block:
    for column, why in _ONLY_EMPTY.items():
        if column in columns and fields[columns[column]]:
            raise ConfigError(f"{where}, column {column}: {fields[columns[column]]}: {why}")

    name = fields[columns["id"]]
    if not name or "\0" in name:
        raise ConfigError(f"{where}, column id: {name!r}: give each block an id of its own, without NUL")

    def number(column: str) -> int:
        text = fields[columns[column]]
        if not re.fullmatch("[+-]?[0-9]{1,40}", text):
            raise ConfigError(f"{where}, column {column}: {text[:60]!r} is not a whole number in digits 0 to 9")
        return int(text)

    lower, upper, size = number("lower"), number("upper"), number("size")
    align = number("alignment") if "alignment" in columns else 1
    if lower >= upper:
        raise ConfigError(f"{where}, column upper: the block lives from {lower} up to {upper}, not included: give an "
                          "upper above its lower")  # fmt: skip
    if size < 0:
        raise ConfigError(f"{where}, column size: {size}: give 0 or more bytes")
    if align < 1:
        raise ConfigError(f"{where}, column alignment: {align}: give 1 or more")
    return Block(name, lower, upper, size, align)
