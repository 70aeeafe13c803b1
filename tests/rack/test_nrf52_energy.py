"""Energy of a virtual nRF52840: the meter's D0 is on a pin, and sees what the firmware drives there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.rack.manifest import load_manifest

ENV = "nrf52840_dk"
BOARDS = {
    "metered": ("nrf52840-dk", "{kind: ppk2, line: [1, 2], virtual: {}}"),
    "plain": ("nrf52840-dk", "{kind: modelled}"),
    "miswired": ("nano33ble", "{kind: ppk2, line: [1, 2], virtual: {}}"),  # its D2 is P1.11, the DK's is P1.03
}
QUICK = ("demo-cnn", "--scheme", "bias", "--name", "test_nrf52_energy", "--local-samples", "5", "--quick", "--json")


@pytest.fixture(scope="module", autouse=True)
def _boards(bench: Any) -> None:
    entries = [
        f"  - name: {name}\n    env: {ENV}\n    probe: remote:127.0.0.1:0\n"
        f"    virtual: {{machine: {machine}}}\n    meter: {meter}\n"
        for name, (machine, meter) in BOARDS.items()
    ]
    bench.rack.write_text("boards:\n" + "".join(entries))


def energy(bench: Any, board: str) -> dict[str, Any]:
    done = bench.run("energy", *QUICK, "--board", board)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_its_marker_pin_and_line_split_the_energy_by_phase(bench: Any) -> None:
    """The truth: instructions that the emulator counted and bytes that the host counted, at the manifest's currents."""
    found, counted = energy(bench, "metered"), energy(bench, "plain")
    for what in ("step", "inference"):
        assert found[what]["energy_uj"] == pytest.approx(counted[what]["energy_uj"], rel=0.02), what
    rounds, expected = found["round"]["by_phase_uj"], counted["round"]["by_phase_uj"]
    assert rounds["compute"] == pytest.approx(expected["compute"], rel=0.02)
    assert rounds["link"] == pytest.approx(expected["link"], rel=0.02)
    currents = load_manifest(ENV).energy
    rest_uj = found["round"]["seconds"]["idle"] * currents.sleep_ma * found["voltage_mv"]  # rest is by the clock
    assert rounds["idle"] == pytest.approx(rest_uj, rel=0.02)


def test_a_meter_that_is_not_on_the_marker_pin_is_told(bench: Any) -> None:
    done = bench.run("energy", *QUICK, "--board", "miswired")
    assert done.returncode == 3
    assert "no marker was seen on logic channel D0" in json.loads(done.stdout)["error"]["message"]
