"""`bench energy` on emulated boards and meters: what comes through the instrument's wire is what was counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.rack.manifest import load_manifest
from bench.results.table import rows_of

ENV = "microbit"
BOARDS = {
    "ppk2": "meter: {kind: ppk2, line: [1, 2], virtual: {}}",
    "lpm01a": "meter: {kind: lpm01a, virtual: {}}",
    "plain": "meter: {kind: modelled}",
    "lossy": "meter: {kind: ppk2, virtual: {drops_per_s: 100.0, drop_samples: 9}}",
    "frozen": "meter: {kind: ppk2, virtual: {unplug_after_s: 0.01}}",
}
MODEL = ("demo-cnn", "--scheme", "bias", "--name", "test_energy", "--local-samples", "5")


@pytest.fixture(scope="module", autouse=True)
def _boards(bench: Any) -> None:
    entries = [
        f"  - name: {name}\n    env: {ENV}\n    probe: remote:127.0.0.1:0\n"
        f"    virtual: {{machine: {ENV}}}\n    {meter}\n"
        for name, meter in BOARDS.items()
    ]
    bench.rack.write_text("boards:\n" + "".join(entries))


def energy(bench: Any, board: str, *more: str) -> dict[str, Any]:
    done = bench.run("energy", *MODEL, "--board", board, "--quick", "--json", *more)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def counted(bench: Any) -> dict[str, Any]:
    """From the instructions that the emulator counted, and the bytes that the host did."""
    return energy(bench, "plain")


def test_without_a_meter_it_is_modelled_from_counts(bench: Any, counted: dict[str, Any]) -> None:
    done = bench.run("step", "demo-cnn", "--scheme", "bias", "--name", "test_energy", "--board", "plain", "--json")
    instructions = json.loads(done.stdout)["instructions"]
    manifest = load_manifest(ENV)
    seconds = instructions * manifest.energy.cycles_per_instruction / manifest.core_hz
    by_hand = seconds * manifest.energy.run_ma * manifest.energy.supply_v * 1000
    assert counted["kind"] == "modelled"
    assert counted["rule"] is None
    assert counted["step"]["energy_uj"] == pytest.approx(by_hand, rel=0.001)


@pytest.mark.parametrize("meter", ["ppk2", "lpm01a"])
def test_the_meters_wire_says_what_was_counted(bench: Any, counted: dict[str, Any], meter: str, tmp_path: Path) -> None:
    table = tmp_path / "energy.csv"
    found = energy(bench, meter, "--output", str(table))
    assert found["meter"] == meter
    assert found["kind"] == "modelled", "an emulated instrument measures nothing"
    assert found["voltage_mv"] == 3000
    assert not found["rule"]["satisfies_eembc"]
    for what in ("step", "inference"):
        # An LPM01A has no marker pin: the request and the reply are in its window.
        assert found[what]["energy_uj"] == pytest.approx(counted[what]["energy_uj"], rel=0.02), what
        assert list(found[what]["by_phase_uj"]) == ["compute"]
    rounds, expected = found["round"]["by_phase_uj"], counted["round"]["by_phase_uj"]
    assert rounds["compute"] == pytest.approx(expected["compute"], rel=0.1 if meter == "lpm01a" else 0.02)
    if meter == "ppk2":
        assert rounds["link"] == pytest.approx(expected["link"], rel=0.02)
        assert rounds["idle"] > 0
    rows = rows_of(pd.read_csv(table, keep_default_na=False))
    assert {(row.metric, row.phase) for row in rows} == {
        ("step_energy", "compute"),
        ("inference_energy", "compute"),
        *(("energy", phase) for phase in ("compute", "link", "idle")),
    }
    assert {row.unit for row in rows} == {"uJ"}
    assert {row.kind for row in rows} == {"modelled"}


def test_too_many_lost_samples_end_it(bench: Any) -> None:
    done = bench.run("energy", *MODEL, "--board", "lossy", "--quick", "--what", "step", "--json")
    assert done.returncode == 3
    assert "too many samples lost in each of 3 attempts" in json.loads(done.stdout)["error"]["message"]
    assert done.stderr.count("refused:") == 3


def test_an_instrument_that_goes_away_ends_it(bench: Any) -> None:
    done = bench.run("energy", *MODEL, "--board", "frozen", "--quick", "--what", "step", "--json")
    assert done.returncode == 3
    assert "the instrument is gone" in json.loads(done.stdout)["error"]["message"]
    assert not bench.leftovers()


def test_options_that_contradict_each_other_are_refused(bench: Any) -> None:
    done = bench.run("energy", *MODEL, "--board", "ppk2", "--quick", "--runs", "3")
    assert done.returncode == 2
    assert "--quick" in done.stderr
