"""`bench place`: blocks of a file into as little memory as can be, or into what there is."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from bench.compiler.blocks_file import read_blocks, write_offsets
from bench.compiler.exact import library
from bench.compiler.exact.library import Verdict
from bench.compiler.exact.minimise import minimise
from bench.compiler.place import Block, lower_bound, rows_of
from bench.compiler.place import place as place_blocks
from bench.errors import ConfigError
from bench.progress import Reporter


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


def place(options: Namespace) -> int:
    """`bench place`: 1 where no placement within the capacity was found."""
    if options.capacity is not None and options.capacity < 0:
        raise ConfigError(f"--capacity {options.capacity}: give 0 or more bytes")
    if not options.time_limit > 0:
        raise ConfigError(f"--time-limit {options.time_limit}: give more than 0 seconds")
    source = read_blocks(options.file)
    reporter = Reporter()
    reporter.say(f"placing {len(source.blocks)} blocks")
    library.load()  # compiled before the clock starts
    began = time.monotonic()
    found = solve(source.blocks, options.capacity, began + options.time_limit)
    seconds = time.monotonic() - began
    if options.output is not None and found.feasible:
        write_offsets(options.output, source, found.offsets)
    document = {
        "file": str(options.file),
        "blocks": len(source.blocks),
        "capacity_bytes": options.capacity,
        **{key: value for key, value in asdict(found).items() if key != "offsets"},
        "seconds": round(seconds, 3),
        "output": str(options.output) if options.output is not None and found.feasible else None,
    }
    if options.json:
        print(json.dumps(document, indent=2), flush=True)
    else:
        _show(document)
    return 0 if found.feasible else 1


def solve(blocks: tuple[Block, ...], capacity: int | None, deadline: float) -> Found:
    """Places blocks within a capacity, or as low as can be without one, until `deadline` of time.monotonic().

    Raises:
        ConfigError: blocks that the exact search cannot take.
    """
    solid = [block for block in blocks if block.size > 0]
    bound = lower_bound(blocks)
    if capacity is not None and bound > capacity:
        return Found("proved infeasible", False, None, bound, False, ())
    first = place_blocks(blocks, effort=0, capacity=capacity)
    if first.peak <= max(bound, capacity or 0):
        return _placed(blocks, first.offsets, bound)
    rows = rows_of(solid)
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
        "gave up": "not found in the time that there was; there may be one: try a longer --time-limit",
    }
    lines = [
        ("blocks", document["blocks"]),
        ("capacity", document["capacity_bytes"]),
        ("result", said[str(document["status"])]),
        ("peak", document["peak_bytes"]),
        ("lower bound", document["lower_bound_bytes"]),
        ("optimal", "proved" if document["proved_optimal"] else "not proved"),
        ("seconds", f"{document['seconds']:.2f}"),
        ("offsets in", document["output"]),
    ]
    for name, value in lines:
        if value is not None:
            print(f"{name:<12} {value}")
