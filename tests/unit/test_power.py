"""A board's supply, switched by what the inventory names: commands, a hub's port, the PPK2 that feeds it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.errors import InfrastructureError
from bench.rack.entry import BoardEntry, Meter, Power
from bench.rack.power import power_cycle
from bench.virtual.instruments.running import running
from bench.virtual.instruments.spec import Script, Stretch


def board(power: Power, meter: Meter | None = None) -> BoardEntry:
    return BoardEntry(name="bit", env="microbit", probe="AB12", serial="/dev/ttyACM7", power=power, meter=meter)


def test_commands_are_run_with_the_boards_own_in_them(tmp_path: Path) -> None:
    power = Power(
        kind="command",
        off=("touch", str(tmp_path / "off-{name}-{probe}")),
        on=("touch", str(tmp_path / "on-{name}")),
        off_s=0.1,
    )
    power_cycle(board(power))
    assert (tmp_path / "off-bit-AB12").stat().st_mtime_ns < (tmp_path / "on-bit").stat().st_mtime_ns


def test_a_command_that_fails_is_told_with_what_it_said() -> None:
    power = Power(kind="command", off=("sh", "-c", "echo no such port; exit 4"), on=("true",))
    with pytest.raises(InfrastructureError, match=r"board bit: power command sh failed \(exit 4\): no such port"):
        power_cycle(board(power))


def test_a_hubs_port_is_switched_by_uhubctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of that name that writes down what it was asked."""
    program = tmp_path / "uhubctl"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    power_cycle(board(Power(kind="uhubctl", location="1-1.4", port=2, off_s=0.01)))
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == [f"--action {way} --location 1-1.4 --ports 2" for way in ("off", "on")]


def test_without_uhubctl_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InfrastructureError, match=r"board bit: power command uhubctl failed .*No such file"):
        power_cycle(board(Power(kind="uhubctl", location="1-1.4", port=2, off_s=0.01)))


def test_the_ppk2_that_feeds_a_board_switches_it() -> None:
    """At the emulated instrument's wire: after the cycle it feeds the board, and what flows is measured again."""
    from bench.meters.meter import MeterSettings
    from bench.meters.ppk2 import Ppk2

    script = Script((Stretch(600.0, 5000.0),))
    with running("ppk2", script) as instrument:
        meter = Meter(kind="ppk2", port=instrument.port, voltage_mv=3300)
        ppk2 = Ppk2(MeterSettings("ppk2", instrument.port, 3300, "meter", physical=False))
        ppk2.arm()
        ppk2.switch_off()
        assert mean_current(ppk2) < 100
        ppk2.close()
        power_cycle(board(Power(kind="ppk2", off_s=0.1), meter))
        ppk2 = Ppk2(MeterSettings("ppk2", instrument.port, 3300, "meter", physical=False))
        ppk2._read_calibration()  # all that arm() does but switching the board on
        ppk2._api.set_source_voltage(3300)
        ppk2._api.use_source_meter()
        assert mean_current(ppk2) > 4000
        ppk2.close()


def mean_current(ppk2: object) -> float:
    ppk2.start()
    ppk2.wait(0.05, 10)
    return float(ppk2.stop().current_ua.mean())
