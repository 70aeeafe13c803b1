"""Energy by a board's meter, and `bench energy`: what comes through an emulated one's wire is what was counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.metering import WHATS
from bench.pytest_plugin.boards import Energy, RackBoard
from bench.results.table import rows_of

ENV = "microbit"
BOARDS = {
    "plain": "meter: {kind: modelled}",
    "lossy": "meter: {kind: ppk2, virtual: {drops_per_s: 100.0, drop_samples: 9}}",
    "frozen": "meter: {kind: ppk2, virtual: {unplug_after_s: 0.01}}",
}
PROGRAM = ("demo-cnn", "bias")
LOCAL_SAMPLES = 5
COMMAND = ("demo-cnn", "--scheme", "bias", "--name", "test_energy", "--local-samples", str(LOCAL_SAMPLES))


@pytest.fixture(scope="module")
def bench(bench: Any) -> Any:
    """The command, on boards without a meter and with meters that fail."""
    entries = [
        f"  - name: {name}\n    env: {ENV}\n    probe: remote:127.0.0.1:0\n"
        f"    virtual: {{machine: {ENV}}}\n    {meter}\n"
        for name, meter in BOARDS.items()
    ]
    bench.rack.write_text("boards:\n" + "".join(entries))
    return bench


def energy(bench: Any, board: str, *more: str) -> dict[str, Any]:
    done = bench.run("energy", *COMMAND, "--board", board, "--quick", "--json", *more)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def metered(board: RackBoard) -> Energy:
    """By the board's meter."""
    return board.measure(*PROGRAM, what=WHATS, local_samples=LOCAL_SAMPLES)


@pytest.mark.board(one=True)
def test_without_a_meter_it_is_modelled_from_counts(board: RackBoard) -> None:
    work = board.step(*PROGRAM).work
    energy = board.measure(*PROGRAM, metered=False)
    currents, core_hz = board.manifest.energy, board.manifest.core_hz
    cycles = work.value * (currents.cycles_per_instruction if work.unit == "instructions" else 1)
    by_hand = cycles / core_hz * currents.run_ma * currents.supply_v * 1000
    assert energy["step_energy"].kind == "modelled"
    assert energy.run.rule is None
    assert energy["step_energy"].value == pytest.approx(by_hand, rel=0.001)


@pytest.mark.board(meter=True)
def test_a_meter_tells_what_each_phase_took(board: RackBoard, metered: Energy) -> None:
    run = metered.run
    assert board.entry.meter is not None
    assert run.instrumented.meter == board.entry.meter.kind
    measured = board.physical and board.entry.meter.virtual is None
    assert {metric.kind for metric in metered} == {"measured" if measured else "modelled"}
    assert {metric.unit for metric in metered} == {"uJ"}
    supply_mv = board.entry.meter.voltage_mv or round(board.manifest.energy.supply_v * 1000)
    assert run.instrumented.voltage_mv == pytest.approx(supply_mv, rel=0.02)
    assert run.rule is not None
    assert not run.rule.satisfies_eembc
    assert {metric.name for metric in metered if "." in metric.name} == {
        "step_energy.compute",
        "inference_energy.compute",
        *(f"energy.{phase}" for phase in ("compute", "link", "idle")),
    }
    assert metered["energy"].value > LOCAL_SAMPLES * metered["step_energy"].value * 0.9
    assert metered["step_energy"].value > metered["inference_energy"].value > 0
    if board.entry.meter.line:
        assert metered["energy.idle"].value > 0


@pytest.mark.board(meter=True, physical=False)
def test_an_emulated_meters_wire_says_what_was_counted(board: RackBoard, metered: Energy) -> None:
    counted = board.measure(*PROGRAM, what=WHATS, local_samples=LOCAL_SAMPLES, metered=False)
    bounds = {"step_energy": 0.02, "inference_energy": 0.02, "energy.compute": 0.02, "energy.link": 0.02}
    if metered.run.instrumented.meter == "lpm01a":
        # It has no marker pin: each run's request and reply are in the window of half a second, some 10 to 20 ms. Of a
        # round each step has them, as long as this computer takes for them.
        bounds = {"step_energy": 0.06, "inference_energy": 0.06}
        assert metered["energy.compute"].value > 0.98 * counted["energy.compute"].value
    for name, bound in bounds.items():
        assert metered[name].value == pytest.approx(counted[name].value, rel=bound), name


def test_the_commands_document_and_table(bench: Any, tmp_path: Path) -> None:
    table = tmp_path / "energy.csv"
    found = energy(bench, "plain", "--output", str(table))
    assert (found["kind"], found["rule"]) == ("modelled", None)
    assert list(found["step"]["by_phase_uj"]) == ["compute"]
    rows = rows_of(pd.read_csv(table, keep_default_na=False))
    assert {(row.metric, row.phase) for row in rows} == {
        ("step_energy", "compute"),
        ("inference_energy", "compute"),
        *(("energy", phase) for phase in ("compute", "link", "idle")),
    }
    assert {row.unit for row in rows} == {"uJ"}
    assert {row.kind for row in rows} == {"modelled"}


def test_too_many_lost_samples_end_it(bench: Any) -> None:
    done = bench.run("energy", *COMMAND, "--board", "lossy", "--quick", "--what", "step", "--json")
    assert done.returncode == 3
    assert "too many samples lost in each of 3 attempts" in json.loads(done.stdout)["error"]["message"]
    assert done.stderr.count("refused:") == 3


def test_an_instrument_that_goes_away_ends_it(bench: Any) -> None:
    done = bench.run("energy", *COMMAND, "--board", "frozen", "--quick", "--what", "step", "--json")
    assert done.returncode == 3
    assert "the instrument is gone" in json.loads(done.stdout)["error"]["message"]
    assert not bench.leftovers()


def test_options_that_contradict_each_other_are_refused(bench: Any) -> None:
    done = bench.run("energy", *COMMAND, "--board", "lossy", "--quick", "--runs", "3")
    assert done.returncode == 2
    assert "--quick" in done.stderr
