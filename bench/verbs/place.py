"""`bench place`: blocks of a file into as little memory as can be, or into what there is."""

from __future__ import annotations

import argparse
import os
import re
import time
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench.compiler.blocks_file import read_blocks, write_offsets
from bench.compiler.exact import library
from bench.compiler.exact.library import Verdict
from bench.compiler.exact.minimise import minimise
from bench.compiler.place import Block, lower_bound, rows_of
from bench.compiler.place import place as place_blocks
from bench.errors import ConfigError
from bench.progress import Reporter
from bench.results.files import check_writable
from bench.verbs.options import Verbs, common, with_examples
from bench.verbs.output import print_json


@dataclass(frozen=True)
class Found:
    """What is known when the search ends: addresses by block, if all were placed as wanted. Bytes."""

    status: str
    feasible: bool | None
    """None if the search gave up."""
    peak_bytes: int | None
    """Of the best placement that was found, also where it is above the capacity."""
    lower_bound_bytes: int
    proved_optimal: bool
    offsets: tuple[int, ...]
    too_many_for_exact: int | None = None
    """Blocks of the largest connected part, if these are more than the exact search takes: it was left out."""


_EXAMPLES = """\
A file of blocks is CSV in MiniMalloc's format: a header, then a block a line. It lives from `lower` up to, not
including, `upper`; `size` is in bytes; a column `alignment` is optional.

  id,lower,upper,size
  b1,0,3,4
  b2,3,9,4

examples:
  bench place net.csv                               the lowest peak, and whether it is proved that none is lower
  bench place net.csv --capacity 1048576 --output placed.csv   does it fit? the same rows with their offsets
  bench place net.csv --capacity 65536 --time-limit 600 --json

How it ends, as `result` in the table and `status` with --json:
  placed             exit code 0; `optimal` says whether it is proved that no placement has a lower peak
  proved infeasible  exit code 1: no placement does with the capacity
  gave up            exit code 1: none was found in the time; there may be one
Wrong files and options end with 2, what cannot be written (a full disk) with 3; files are written whole or not at all.

The exact search takes connected parts of up to 4000 blocks (between two parts there is a time at which nothing lives
on). Of larger ones heuristics give the peak, and nothing is proved but the lower bound; `exact_search` is false then.
A column `offset`, as --output writes it, is not looked at: all blocks are placed anew.
"""


def add(verbs: Verbs) -> None:
    """The verb."""
    place_ = verbs.add_parser(
        "place",
        help="place blocks of a file in memory, exactly: does it fit, and what is the least?",
        **with_examples(_EXAMPLES),
    )
    place_.add_argument("file", type=Path, metavar="FILE.csv")
    place_.add_argument("--capacity", type=_bytes, metavar="BYTES",
                       help="what there is, as in 65536 or 64K; the least is looked for if absent")  # fmt: skip
    place_.add_argument("--time-limit", type=float, default=60, metavar="S",
                       help="of reading and search, in seconds; a first placement is always made, which takes longer "
                       "only for tens of thousands of blocks; default: %(default)s")  # fmt: skip
    place_.add_argument("--output", type=Path, metavar="FILE.csv",
                       help="write the same rows with a column `offset`, if they are placed")  # fmt: skip
    place_.set_defaults(call=place)
    common(place_)


def _bytes(text: str) -> int:
    """A number of bytes, K or M for 1024 or 1024 x 1024 of them."""
    found = re.fullmatch("(-?[0-9]+)([KM]?)", text.upper())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r}: give whole bytes, as in 65536, 64K or 1M")
    return int(found[1]) * {"": 1, "K": 1 << 10, "M": 1 << 20}[found[2]]


def place(options: Namespace) -> int:
    """`bench place`: 1 where no placement within the capacity was found."""
    began = time.monotonic()
    _check(options)
    source = read_blocks(options.file)
    reporter = Reporter()
    reporter.say(f"placing {len(source.blocks)} block{'' if len(source.blocks) == 1 else 's'}")
    if source.has_offsets:
        reporter.say(f"{options.file}: column offset is not looked at: all blocks are placed anew")
    compiling = time.monotonic()
    library.load()
    began += time.monotonic() - compiling
    found = solve(source.blocks, options.capacity, began + options.time_limit)
    seconds = time.monotonic() - began
    if found.too_many_for_exact is not None:
        reporter.say(_too_many(options, found))
    if options.output is not None and found.feasible:
        write_offsets(options.output, source, found.offsets)
    hidden = ("offsets", "too_many_for_exact")
    document = {
        "file": str(options.file),
        "blocks": len(source.blocks),
        "capacity_bytes": options.capacity,
        **{key: value for key, value in asdict(found).items() if key not in hidden},
        "exact_search": found.too_many_for_exact is None,
        "seconds": round(seconds, 3),
        "output": str(options.output) if options.output is not None and found.feasible else None,
    }
    if options.json:
        print_json(document)
    else:
        _show(document)
    return 0 if found.feasible else 1


def _check(options: Namespace) -> None:
    """What can be refused before a search that may be long. Raises ConfigError."""
    if options.capacity is not None and options.capacity < 0:
        raise ConfigError(f"--capacity {options.capacity}: give 0 or more bytes")
    if not options.time_limit > 0:
        raise ConfigError(f"--time-limit {options.time_limit}: give more than 0 seconds")
    output: Path | None = options.output
    if output is None:
        return
    if output.exists() and options.file.exists() and output.samefile(options.file):
        raise ConfigError(f"--output {output}: is the file that is read: give another name")
    if options.json and output.exists() and _is_standard_output(output):
        raise ConfigError(f"--output {output}: --json has standard output for itself: give a file")
    check_writable(output)


def _is_standard_output(path: Path) -> bool:
    try:
        return path.resolve() != Path(os.devnull) and os.path.samestat(path.stat(), os.fstat(1))
    except OSError:
        return False


def _too_many(options: Namespace, found: Found) -> str:
    return (
        f"{options.file}: {found.too_many_for_exact} blocks are connected, each alive with another; the exact search "
        f"takes {library.MOST_BLOCKS} at most, so it was left out: join blocks that live and die together, or cut the "
        "file where few live"
    )


def solve(blocks: tuple[Block, ...], capacity: int | None, deadline: float) -> Found:
    """Places blocks within a capacity, or as low as can be without one, until `deadline` of time.monotonic().

    Raises:
        ConfigError: numbers that the exact search cannot take.
    """
    solid = [block for block in blocks if block.size > 0]
    bound = lower_bound(blocks)
    if capacity is not None and bound > capacity:
        return Found("proved infeasible", False, None, bound, False, ())
    first = place_blocks(blocks, effort=0, capacity=capacity, deadline=deadline)
    if first.peak <= max(bound, capacity or 0):
        return _placed(blocks, first.offsets, bound)
    rows = rows_of(solid)
    if (largest := library.largest_part(rows)) > library.MOST_BLOCKS:
        if capacity is None:
            return replace(_placed(blocks, first.offsets, bound), too_many_for_exact=largest)
        return Found("gave up", None, first.peak, bound, False, (), largest)
    if capacity is None:
        least = minimise(rows, [first.offsets[block.name] for block in solid], bound, deadline=deadline)
        return _placed(blocks, {b.name: o for b, o in zip(solid, least.offsets, strict=True)}, least.lower_bound)
    attempt = library.attempt(rows, capacity, deadline=deadline)
    if attempt.verdict is Verdict.PLACED:
        return _placed(blocks, {b.name: o for b, o in zip(solid, attempt.offsets, strict=True)}, bound)
    if attempt.verdict is Verdict.INFEASIBLE:
        return Found("proved infeasible", False, first.peak, max(bound, capacity + 1), first.peak == capacity + 1, ())
    return Found("gave up", None, first.peak, bound, False, ())


def _placed(blocks: tuple[Block, ...], offsets: Mapping[str, int], bound: int) -> Found:
    found = tuple(offsets.get(block.name, 0) for block in blocks)
    peak = max((offset + block.size for offset, block in zip(found, blocks, strict=True) if block.size), default=0)
    return Found("placed", True, peak, bound, peak <= bound, found)


def _show(document: dict[str, object]) -> None:
    said = {
        "placed": "placed",
        "proved infeasible": "proved: no placement does with the capacity",
        "gave up": "not found in the time that there was; there may be one: try a longer --time-limit"
        if document["exact_search"]
        else "not found by heuristics; there may be one",
    }
    placed = document["status"] == "placed"
    optimal = "proved" if document["proved_optimal"] else "not proved"
    lines = [
        ("blocks", document["blocks"]),
        ("capacity", document["capacity_bytes"]),
        ("result", said[str(document["status"])]),
        ("peak" if placed else "best peak", document["peak_bytes"]),
        ("lower bound", document["lower_bound_bytes"]),
        ("optimal", optimal if placed else None),
        ("seconds", f"{document['seconds']:.2f}"),
        ("offsets in", document["output"]),
    ]
    for name, value in lines:
        if value is not None:
            print(f"{name:<12} {value}")
