"""The meter of a board of the rack: a real one at its port, or an emulated one that follows an emulated board."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.errors import ConfigError
from bench.meters.meter import Meter, MeterKind, MeterSettings
from bench.meters.opening import opened
from bench.meters.split import Wiring
from bench.rack.board import Board
from bench.rack.entry import Meter as MeterEntry
from bench.virtual.instruments.running import running
from bench.virtual.instruments.spec import BoardFeed
from bench.virtual.serial_line import traffic_file

_VIRTUAL_SILENCE_S = 60.0  # an emulated meter tells of a computation when it ends; a real one sends all the time


@contextmanager
def board_meter(board: Board) -> Iterator[Meter]:
    """The board's meter, armed, until the block ends. It may reset the board by feeding it.

    Raises:
        ConfigError: the board has none, or the instrument's package is not installed.
        InfrastructureError: the instrument cannot be reached.
    """
    entry = board.entry.meter
    if entry is None or entry.kind == "modelled":
        raise ConfigError(f"board {board.name} has no meter: say `meter:` in the inventory")
    if entry.virtual is None or entry.kind == "joulescope":
        with opened(_settings(board, entry, entry.kind, entry.port)) as meter:
            yield meter
        return
    with (
        running(entry.kind, _feed(board), entry.virtual) as instrument,
        opened(_settings(board, entry, entry.kind, instrument.port)) as meter,
    ):
        yield meter


def wiring(board: Board) -> Wiring:
    """What the meter's logic channels are connected to."""
    entry = board.entry.meter
    return Wiring() if entry is None else Wiring(entry.marker, entry.line, board.entry.baud)


def _settings(board: Board, entry: MeterEntry, kind: MeterKind, port: str) -> MeterSettings:
    supply_mv = entry.voltage_mv or round(board.manifest.energy.supply_v * 1000)
    if entry.virtual is None:
        return MeterSettings(kind, port, supply_mv, entry.supply, wiring(board), board.physical)
    settings = MeterSettings(kind, port, supply_mv, entry.supply, wiring(board), physical=False)
    return replace(settings, clock=None, silence_s=_VIRTUAL_SILENCE_S)


def _feed(board: Board) -> BoardFeed:
    """Where an emulated board writes what it does, and what turns that into a current."""
    ends, manifest = board.ends, board.manifest
    if ends.counter is None:
        raise ConfigError(f"board {board.name}: it counts no instructions, so a virtual meter has nothing to follow")
    return BoardFeed(
        phases=str(ends.counter.path.with_name("phases")),
        traffic=str(traffic_file(Path(ends.serial))),
        core_hz=manifest.core_hz,
        cycles_per_instruction=manifest.energy.cycles_per_instruction,
        baud=board.entry.baud,
        run_ua=manifest.energy.run_ma * 1000,
        sleep_ua=manifest.energy.sleep_ma * 1000,
    )
