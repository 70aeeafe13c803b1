"""Switching a board off and on: by commands that the inventory names, by uhubctl, or by the PPK2 that feeds it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from bench import process
from bench.errors import InfrastructureError
from bench.meters.meter import MeterSettings
from bench.rack.entry import BoardEntry, Power

_COMMAND_S = 30.0  # for a command that switches power


def power_cycle(entry: BoardEntry, cancelled: threading.Event | None = None) -> None:
    """Switches off, waits `power.off_s`, and switches on. Raises InfrastructureError when a switch fails or hangs."""
    power = entry.power
    assert power is not None
    assert power.kind != "none"
    if power.kind == "ppk2":
        _by_ppk2(entry, power, cancelled)
        return
    _run(entry.name, power.command("off", entry))
    try:
        (cancelled or threading.Event()).wait(power.off_s)
    finally:
        _run(entry.name, power.command("on", entry))  # also when cancelled: a board is not left without power


def _run(name: str, command: Sequence[str]) -> None:
    try:
        ended = process.run(command, timeout_s=_COMMAND_S)
    except process.OutOfTimeError as error:
        raise InfrastructureError(
            f"board {name}: power command {command[0]} did not end within {_COMMAND_S:g} s"
        ) from error
    if ended.code != 0:
        said = ended.output.strip()[-200:] or "it printed nothing"
        raise InfrastructureError(f"board {name}: power command {command[0]} failed (exit {ended.code}): {said}")


def _by_ppk2(entry: BoardEntry, power: Power, cancelled: threading.Event | None) -> None:
    from bench.meters.ppk2 import Ppk2  # an optional package

    meter = entry.meter
    assert meter is not None  # the inventory has checked this
    assert meter.voltage_mv is not None
    ppk2 = Ppk2(MeterSettings("ppk2", meter.port, meter.voltage_mv, meter.supply))
    try:
        ppk2.switch_off()
        try:
            (cancelled or threading.Event()).wait(power.off_s)
        finally:
            ppk2.arm()  # which feeds the board
    finally:
        ppk2.close()
