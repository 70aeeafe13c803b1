"""Switching a board off and on, by the commands that the inventory names."""

from __future__ import annotations

import threading

from bench import process
from bench.errors import InfrastructureError
from bench.rack.inventory import Power

_COMMAND_S = 30.0  # for a command that switches power


def power_cycle(name: str, power: Power, cancelled: threading.Event | None = None) -> None:
    """Switches off, waits `power.off_s`, and switches on. Raises InfrastructureError when a command fails or hangs."""
    _switch(name, power.off)
    (cancelled or threading.Event()).wait(power.off_s)
    _switch(name, power.on)  # also when cancelled: a board is not left without power


def _switch(name: str, command: tuple[str, ...]) -> None:
    try:
        ended = process.run(command, timeout_s=_COMMAND_S)
    except process.OutOfTimeError as error:
        raise InfrastructureError(
            f"board {name}: power command {command[0]} did not end within {_COMMAND_S:g} s"
        ) from error
    if ended.code != 0:
        said = ended.output.strip()[-200:] or "it printed nothing"
        raise InfrastructureError(f"board {name}: power command {command[0]} failed (exit {ended.code}): {said}")
