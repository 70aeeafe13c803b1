"""Files of blocks to be placed, as MiniMalloc reads and writes them.

CSV with a header; columns in any order: `id`, `lower` and `upper` (a life, half-open), `size` in bytes, and if wanted
`alignment` (1 if absent). What is written has the same rows and columns, and `offset`.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.compiler.place import Block
from bench.errors import ConfigError

_ALIASES = {"buffer": "id", "buffer_id": "id", "start": "lower", "begin": "lower"}
_NEEDED = ("id", "lower", "upper", "size")
_REFUSED = {
    "end": "some versions of the format include that time and some do not; name it `upper`, the first time at which "
    "the block does not live",
}
_ONLY_EMPTY = {
    "gaps": "blocks that leave out a part of their life are not supported; split them, or remove the column",
    "offset": "offsets cannot be given in advance; remove the column",
}
_CARRIED = ("hint",)  # changes how a solver searches, not what it may answer


@dataclass(frozen=True)
class BlocksFile:
    """Header and rows as they were written, and the blocks that they describe, in the same order."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    blocks: tuple[Block, ...]


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
    reader = csv.reader(text.splitlines())
    try:
        lines = [(reader.line_num, tuple(field.strip() for field in fields)) for fields in reader if any(fields)]
    except csv.Error as error:
        raise ConfigError(f"{path}, line {reader.line_num}: {error}") from error
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
    """Writes the rows of `source` with their offsets. Raises ConfigError if the file cannot be written."""
    kept = [index for index, name in enumerate(source.header) if name.lower() != "offset"]
    lines = [[*(source.header[index] for index in kept), "offset"]]
    for fields, offset in zip(source.rows, offsets, strict=True):
        lines.append([*(fields[index] for index in kept), str(offset)])
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(lines)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def _columns(where: str, header: Sequence[str]) -> dict[str, int]:
    """The position of each column by its proper name."""
    known = (*_NEEDED, "alignment", *_ONLY_EMPTY, *_CARRIED)
    columns: dict[str, int] = {}
    for index, written in enumerate(header):
        name = _ALIASES.get(written.lower(), written.lower())
        if name in _REFUSED:
            raise ConfigError(f"{where}: column {written}: {_REFUSED[name]}")
        if name not in known:
            raise ConfigError(f"{where}: column {written!r} is not known; there are {', '.join(known)}")
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
    for name, why in _ONLY_EMPTY.items():
        if name in columns and fields[columns[name]]:
            raise ConfigError(f"{where}, column {name}: {fields[columns[name]]}: {why}")

    def number(column: str) -> int:
        text = fields[columns[column]]
        try:
            return int(text)
        except ValueError:
            raise ConfigError(f"{where}, column {column}: {text!r} is not a whole number") from None

    lower, upper, size = number("lower"), number("upper"), number("size")
    align = number("alignment") if "alignment" in columns else 1
    if lower >= upper:
        raise ConfigError(f"{where}, column upper: the block lives from {lower} up to {upper}, not included: give an "
                          "upper above its lower")  # fmt: skip
    if size < 0:
        raise ConfigError(f"{where}, column size: {size}: give 0 or more bytes")
    if align < 1:
        raise ConfigError(f"{where}, column alignment: {align}: give 1 or more")
    return Block(fields[columns["id"]], lower, upper, size, align)
