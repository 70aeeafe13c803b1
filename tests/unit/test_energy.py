"""Modelled time and energy against figures worked by hand from the formula of `bench/meters/modelled.py`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from bench.errors import ConfigError
from bench.meters.modelled import BoardRound, modelled_round
from bench.rack.manifest import all_manifests, load_manifest
from bench.results.table import Recorder


@dataclass(frozen=True)
class Currents:
    supply_v: float
    run_ma: float
    sleep_ma: float
    cycles_per_instruction: float
    source: str = "made up"


@dataclass(frozen=True)
class Manifest:
    core_hz: int
    baud: int
    energy: Currents


FAST = Manifest(100_000_000, 115_200, Currents(3.3, 40.0, 12.0, 1.25))
SLOW = Manifest(16_000_000, 115_200, Currents(3.0, 4.0, 1.0, 1.6))
# 1 million instructions take FAST 12.5 ms; 11,520 bytes take 1 s on the line.
QUICK = BoardRound("quick", FAST, instructions=1_000_000, cycles=0, wire_bytes=11_520, steps=100)
# 160 million take SLOW 16 s; 1,152 bytes take 0.1 s.
TARDY = BoardRound("tardy", SLOW, instructions=160_000_000, cycles=0, wire_bytes=1_152, steps=100)
RECORDER = Recorder("run", "int8", round=3)


def figures(*boards: BoardRound) -> dict[tuple[str, str, str], float]:
    return {(row.board, row.metric, row.phase): row.value for row in modelled_round(RECORDER, boards)}


def test_the_formula_by_hand() -> None:
    found = figures(QUICK, TARDY)
    assert found == {
        ("quick", "round_time", ""): pytest.approx(1.0125),
        ("quick", "step_time", "train"): pytest.approx(125e-6),
        ("quick", "energy", "compute"): pytest.approx(1_650.0),  # 0.0125 s · 40 mA · 3.3 V = 1.65 mJ
        ("quick", "energy", "link"): pytest.approx(132_000.0),  # 1 s · 40 mA · 3.3 V
        ("quick", "energy", "idle"): pytest.approx(597_465.0),  # (16.1 − 1.0125) s · 12 mA · 3.3 V
        ("tardy", "round_time", ""): pytest.approx(16.1),
        ("tardy", "step_time", "train"): pytest.approx(0.16),
        ("tardy", "energy", "compute"): pytest.approx(192_000.0),  # 16 s · 4 mA · 3 V
        ("tardy", "energy", "link"): pytest.approx(1_200.0),
        ("tardy", "energy", "idle"): 0.0,  # all wait for it
        ("", "round_time", ""): pytest.approx(16.1),
    }


def test_every_row_is_called_modelled_and_carries_its_round() -> None:
    rows = modelled_round(RECORDER, [QUICK, TARDY])
    assert {row.kind for row in rows} == {"modelled"}
    assert {(row.run, row.variant, row.round) for row in rows} == {("run", "int8", 3)}
    assert {row.metric: row.unit for row in rows} == {"energy": "uJ", "round_time": "s", "step_time": "s"}


def test_cycles_that_the_board_counted_are_taken_instead_of_instructions() -> None:
    counted = replace(QUICK, instructions=0, cycles=5_000_000)  # 50 ms
    assert figures(counted)["quick", "energy", "compute"] == pytest.approx(6_600.0)
    assert figures(replace(counted, instructions=1))["quick", "energy", "compute"] == pytest.approx(6_600.0)


def test_boards_without_counts_or_currents_have_no_made_up_figures() -> None:
    process = BoardRound("process", FAST, instructions=0, cycles=0, wire_bytes=1e9, steps=100)
    assert figures(process) == {}
    assert figures(QUICK, process) == figures(QUICK)  # nor does it decide how long the others are idle
    unpowered = replace(QUICK, manifest=replace(FAST, energy=replace(FAST.energy, run_ma=0.0)))
    assert {metric for _, metric, _ in figures(unpowered)} == {"round_time", "step_time"}
    assert figures() == {}


def test_rows_do_not_depend_on_the_boards_order() -> None:
    assert modelled_round(RECORDER, [QUICK, TARDY]) == modelled_round(RECORDER, [TARDY, QUICK])


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ConfigError, match="board quick: a count of round 3 is negative"):
        modelled_round(RECORDER, [replace(QUICK, wire_bytes=-1)])


def test_every_board_of_the_bench_can_be_modelled() -> None:
    for env, manifest in all_manifests().items():
        rows = modelled_round(RECORDER, [BoardRound(env, manifest, 1_000_000, 0, 1_000, 10)])
        energy = {row.phase: row.value for row in rows if row.metric == "energy"}
        if manifest.energy.run_ma == 0:
            assert energy == {}
            continue
        assert set(energy) == {"compute", "link", "idle"}
        assert manifest.energy.sleep_ma < manifest.energy.run_ma
        assert manifest.energy.source
    bit = load_manifest("microbit")
    [compute] = [
        row.value
        for row in modelled_round(RECORDER, [BoardRound("bit", bit, 16_000_000, 0, 0, 1)])
        if (row.metric, row.phase) == ("energy", "compute")
    ]
    # One second's worth of cycles, times the CPI: the currents of the manifest in one line.
    assert compute == pytest.approx(1e3 * bit.energy.cycles_per_instruction * bit.energy.run_ma * bit.energy.supply_v)
