"""A PPK2 at the wire: the unmodified ppk2-api, the bench's driver on it, and what goes wrong with a real one."""

from __future__ import annotations

import time

import numpy as np
import pytest
from metered import VOLTAGE_MV, WIRED, metered, settings
from ppk2_api.ppk2_api import PPK2_API

from bench.errors import InfrastructureError
from bench.meters.meter import Meter
from bench.meters.opening import opened
from bench.meters.rule import Rule, measure
from bench.meters.split import split
from bench.meters.trace import PHASES
from bench.virtual.instruments.running import running
from bench.virtual.instruments.spec import Faults, Script, Stretch

SECONDS = 0.1


def test_the_package_as_its_users_use_it() -> None:
    """The sequence of its own example, without any code of the bench's meters."""
    with running("ppk2", Script((Stretch(1.0, 1_000.0, "compute"),))) as instrument:
        api = PPK2_API(instrument.port, timeout=0.5)
        assert api.get_modifiers()
        assert api.modifiers["HW"].strip() == "9173"
        api.set_source_voltage(3300)
        api.use_source_meter()
        api.toggle_DUT_power("ON")
        api.start_measuring()
        samples, bits = api.get_samples(api.ser.read(4 * 5000))
        api.stop_measuring()
        assert len(samples) == 5000
        assert np.mean(samples) == pytest.approx(1000.0, rel=0.01)
        assert set(bits) == {0b111}
        while api.ser.read(1 << 16):
            pass
        api.toggle_DUT_power("OFF")
        api.start_measuring()
        dark, _ = api.get_samples(api.ser.read(4 * 1000))
        assert np.mean(dark[10:]) == pytest.approx(0.0, abs=0.05), "the switch is open"
        api.ser.close()


def test_energy_is_true_across_the_ranges() -> None:
    """Steps up and down through all ranges; of each step, the first and last milliseconds are left out."""
    currents = [1.0, 5.0, 49.0, 51.0, 520.0, 5_200.0, 50_000.0, 12.0]
    with metered("ppk2", *(Stretch(SECONDS, current) for current in currents)) as (meter, _):
        meter.start()
        meter.wait(SECONDS * len(currents), 10)
        trace = meter.stop()
    assert trace.lost_share == 0
    assert trace.voltage_mv == VOLTAGE_MV
    assert not trace.instrument.physical
    places = np.arange(trace.samples) / trace.rate_hz
    for index, current_ua in enumerate(currents):
        steady = (places > index * SECONDS + 0.005) & (places < (index + 1) * SECONDS - 0.005)
        true_uj = current_ua * VOLTAGE_MV / 1000 * np.count_nonzero(steady) / trace.rate_hz
        assert trace.energy_uj(steady) == pytest.approx(true_uj, rel=0.05 if current_ua < 5 else 0.01), current_ua


def test_phases_are_told_apart_though_ranges_change_between_them() -> None:
    """In deep sleep, one misplaced sample at the run current is a hundredth of a pause."""
    pulse = (
        Stretch(0.0021, 4_400.0, "receive"),
        Stretch(0.01003, 4_400.0, "compute"),
        Stretch(0.0032, 4_400.0, "send"),
        Stretch(0.03, 3.0),
    )
    with metered("ppk2", *pulse * 4) as (meter, instrument):
        meter.start()
        meter.wait(4 * 0.045, 10)
        trace, truth = meter.stop(), instrument.truth()
    shares = split(trace, WIRED)
    for phase in PHASES:
        assert shares[phase].energy_uj == pytest.approx(truth.charge_uc[phase] * VOLTAGE_MV / 1000, rel=0.02), phase
    assert shares["compute"].seconds == pytest.approx(4 * 0.01003, rel=0.002)


def test_lost_samples_are_found_and_have_their_place() -> None:
    faults = Faults(seed=2, drops_per_s=100.0, drop_samples=7)
    with metered("ppk2", Stretch(SECONDS, 20_000.0), faults=faults) as (meter, instrument):
        meter.start()
        meter.wait(SECONDS * 0.9, 10)
        trace, truth = meter.stop(), instrument.truth()
    assert truth.dropped_samples > 0
    # What is dropped behind the last sample that arrives, nothing tells.
    assert truth.dropped_samples - 7 <= trace.lost_samples <= truth.dropped_samples
    assert truth.samples - 7 <= trace.samples <= truth.samples
    assert trace.energy_uj() == pytest.approx(20_000 * VOLTAGE_MV / 1000 * trace.seconds, rel=0.005)


def test_a_loss_of_a_multiple_of_the_counter_is_found_by_the_clock() -> None:
    """In real time twice over, which a busy machine keeps up with: 6400 samples are 64 ms of the instrument's time."""
    speed = 2.0
    faults = Faults(seed=9, drops_per_s=1.0, drop_samples=6_400)
    with metered("ppk2", Stretch(1.0, 1_000.0), speed=speed, faults=faults, clock=lambda: time.monotonic() * speed) as (
        meter,
        instrument,
    ):
        meter.start()
        meter.wait(6.0, 20)
        trace, truth = meter.stop(), instrument.truth()
    assert truth.dropped_samples >= 6_400
    # A host that is late may lose some more, which the counter does show.
    assert sum(gap.samples for gap in trace.gaps) < 640, "the counter shows none of 6,400"
    assert trace.unplaced_samples == pytest.approx(truth.dropped_samples, abs=3_000)
    assert trace.lost_share > 0.001


RULE = Rule(window_s=0.05, iterations=1, runs=3)
PULSE = (Stretch(0.06, 10_000.0, "compute"), Stretch(0.005, 100.0))


def once(meter: Meter, _count: int) -> None:
    meter.wait(0.065, 10)


def test_a_run_that_lost_too_much_is_refused_and_made_again() -> None:
    said: list[str] = []
    # The first recording finds out how long a run takes; the next two lose too much.
    faults = Faults(seed=1, drops_per_s=200.0, drop_samples=5, faulty_recordings=3)
    with metered("ppk2", *PULSE, faults=faults) as (meter, _):
        figure = measure(meter, once, RULE, WIRED, ("compute",), said.append)
    assert [run.refused for run in figure.runs] == [2, 0, 0]
    assert sum("refused" in line for line in said) == 2
    assert figure.energy_uj == pytest.approx(0.06 * 10_000 * VOLTAGE_MV / 1000, rel=0.01)


def test_a_meter_that_always_loses_too_much_is_given_up() -> None:
    faults = Faults(seed=1, drops_per_s=200.0, drop_samples=5)
    with (
        metered("ppk2", *PULSE, faults=faults) as (meter, _),
        pytest.raises(InfrastructureError, match=r"too many samples lost in each of 3 attempts .*hub"),
    ):
        measure(meter, once, RULE, WIRED, ("compute",))


def test_a_marker_that_is_not_wired_is_named() -> None:
    with (
        metered("ppk2", Stretch(0.06, 10_000.0)) as (meter, _),
        pytest.raises(InfrastructureError, match="no marker was seen on logic channel D0"),
    ):
        measure(meter, once, RULE, WIRED, ("compute",))


@pytest.mark.parametrize(("spike_ua", "changes_range"), [(50_000.0, False), (300_000.0, True)])
def test_spikes_are_counted_and_the_median_run_bears_them(spike_ua: float, changes_range: bool) -> None:
    """One that changes the range is not even seen: the samples around a change of range are replaced."""
    pulse = (Stretch(0.06, 6_000.0, "compute"), Stretch(0.005, 100.0))
    faults = Faults(seed=4, spikes_per_s=300.0, spike_ua=spike_ua, faulty_recordings=2)
    with metered("ppk2", *pulse, faults=faults) as (meter, _):
        figure = measure(meter, once, RULE, WIRED, ("compute",))
    assert (figure.runs[0].outlier_samples > 0) == (not changes_range)
    assert (figure.spread > 0.01) == (not changes_range)
    assert figure.energy_uj == pytest.approx(0.06 * 6_000 * VOLTAGE_MV / 1000, rel=0.01)


def test_a_frozen_port_is_noticed() -> None:
    faults = Faults(freeze_after_s=0.05)
    with metered("ppk2", Stretch(1.0, 100.0), faults=faults, silence_s=0.5) as (meter, _):
        meter.start()
        with pytest.raises(InfrastructureError, match="the instrument is frozen; unplug it"):
            meter.wait(0.5, 20)


def test_an_instrument_that_is_unplugged_is_noticed() -> None:
    def use(meter: Meter) -> None:
        meter.start()
        meter.wait(0.5, 20)

    with (
        metered("ppk2", Stretch(1.0, 100.0), faults=Faults(unplug_after_s=0.05)) as (meter, _),
        pytest.raises(InfrastructureError, match="the instrument is gone"),
    ):
        use(meter)


def test_one_that_a_killed_program_left_sending_can_be_used() -> None:
    with running("ppk2", Script((Stretch(SECONDS, 700.0),))) as instrument:
        api = PPK2_API(instrument.port, timeout=1)
        api.get_modifiers()
        api.set_source_voltage(3300)
        api.start_measuring()
        assert len(api.ser.read(400)) == 400
        api.ser.close()
        with opened(settings("ppk2", instrument.port)) as meter:
            meter.start()
            meter.wait(SECONDS, 10)
            assert meter.stop().current_ua.mean() == pytest.approx(700.0, rel=0.01)


def test_a_port_that_is_no_meter_is_named() -> None:
    with (
        running("lpm01a", Script((Stretch(1.0, 1.0),))) as instrument,
        pytest.raises(InfrastructureError, match="does not say its calibration"),
        opened(settings("ppk2", instrument.port)),
    ):
        pass
    with (
        pytest.raises(InfrastructureError, match="cannot be opened"),
        opened(settings("ppk2", "/dev/no-such-port")),
    ):
        pass
