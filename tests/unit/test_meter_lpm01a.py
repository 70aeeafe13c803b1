"""An LPM01A at the wire, and its stream against the examples of UM2269."""

from __future__ import annotations

import numpy as np
import pytest
import serial
from metered import WIRED, metered, settings

from bench.errors import DeviceError, InfrastructureError
from bench.meters.lpm01a import decode
from bench.meters.opening import opened
from bench.meters.split import split
from bench.virtual.instruments.running import running
from bench.virtual.instruments.spec import Faults, Script, Stretch

SECONDS = 0.05


def stamp(milliseconds: int) -> bytes:
    return b"\xf0\xf3" + milliseconds.to_bytes(4, "big") + b"\x05\xff\xff"


END = b"\xf0\xf4\xff\xff"
ACK = b"\r\nPowerShield > ack start\r\n\r\n"


def test_the_manuals_example() -> None:
    """52A0 is (2A0)16 · 16^-5 = 640.9 µA."""
    found = decode(ACK + stamp(0) + b"\x52\xa0" + END, "meter")
    assert found.current_a.tolist() == [pytest.approx(640.9e-6, rel=1e-4)]


def test_values_that_look_like_a_record() -> None:
    """Second bytes of 0xF0, and the load of the buffer: only the first byte of a value tells a record."""
    values = b"\x52\xf0\x53\xf3\x5f\xff"
    found = decode(stamp(0) + values + END, "meter")
    assert (found.current_a * 16**5).round().astype(int).tolist() == [0x2F0, 0x3F3, 0xFFF]


def test_what_a_time_stamp_misses_was_lost_before_it() -> None:
    block = b"\x52\xa0" * 990
    found = decode(stamp(0) + block + stamp(10) + b"\x52\xa0" * 5 + END, "meter")
    assert [(gap.at, gap.samples) for gap in found.gaps] == [(990, 10)]
    assert len(found.current_a) == 1005
    assert np.isnan(found.current_a[990:1000]).all()


@pytest.mark.parametrize(
    ("raw", "error", "said"),
    [
        (b"", InfrastructureError, "holds no value"),
        (stamp(0) + b"\x52\xa0", InfrastructureError, "cut off"),
        (stamp(0) + b"\xf0\xf1buffer full\xff\xff" + END, InfrastructureError, "buffer full"),
        (stamp(0) + b"\xf0\xf5\xff\xff" + END, DeviceError, "more than 50 mA"),
    ],
)
def test_what_is_not_whole_is_refused(raw: bytes, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        decode(raw, "meter")


def test_a_session_by_hand() -> None:
    """The dialogue that a terminal program sees."""
    with (
        running("lpm01a", Script((Stretch(1.0, 640.9),))) as instrument,
        serial.Serial(instrument.port, 3_686_400, timeout=2) as port,
    ):

        def say(command: str, until: bytes) -> bytes:
            port.write(f"{command}\r\n".encode())
            return bytes(port.read_until(until))

        assert b"error freq 1k" in say("freq 1k", b"htc'\r\n"), "not before the host takes control"
        assert say("htc", b"\n\r\n") == b"\r\nPowerShield > ack htc\r\n\r\n"
        assert b"Error detail" in say("freq 42k", b"100k, 50k")
        port.reset_input_buffer()
        for command in ("format ascii_dec", "freq 1k", "volt 3300m"):
            say(command, f"ack {command}\r\n\r\n".encode())
        assert b"TimeStamp: 000s 000ms" in say("start", b"%\r\n")
        assert port.read_until(b"\r\n") == b"6409-07\r\n"
        assert b"Acquisition completed" in say("stop", b"completed\r\n")


def test_energy_is_true() -> None:
    currents = [1.0, 5.0, 640.9, 10_000.0, 49_000.0]
    with metered("lpm01a", *(Stretch(SECONDS, current) for current in currents)) as (meter, _):
        meter.start()
        meter.wait(SECONDS * len(currents), 10)
        trace = meter.stop()
    assert trace.logic is None
    step = round(SECONDS * trace.rate_hz)
    for index, current_ua in enumerate(currents):
        assert trace.current_ua[index * step : (index + 1) * step].mean() == pytest.approx(current_ua, rel=0.005)


def test_each_phase_is_an_acquisition_of_its_own() -> None:
    with metered("lpm01a", Stretch(SECONDS, 2_000.0)) as (meter, _):
        meter.start()
        meter.wait(SECONDS, 10)
        meter.mark("compute")
        meter.wait(2 * SECONDS, 10)
        trace = meter.stop()
    shares = split(trace, WIRED)
    assert shares["compute"].seconds >= 2 * SECONDS
    assert shares["idle"].seconds >= SECONDS
    assert shares["link"].seconds == 0


def test_losses_are_found_by_the_time_stamps() -> None:
    faults = Faults(seed=3, drops_per_s=200.0, drop_samples=3)
    with metered("lpm01a", Stretch(0.2, 2_000.0), faults=faults) as (meter, instrument):
        meter.start()
        meter.wait(0.19, 10)
        trace, truth = meter.stop(), instrument.truth()
    assert truth.dropped_samples > 30
    assert trace.lost_samples == pytest.approx(truth.dropped_samples, abs=15), "those of the last block are not told"


def test_too_much_current_is_the_boards_fault() -> None:
    with metered("lpm01a", Stretch(SECONDS, 60_000.0)) as (meter, _):
        meter.start()
        meter.wait(SECONDS / 2, 10)
        with pytest.raises(DeviceError, match="more than 50 mA"):
            meter.stop()


def test_a_frozen_port_is_noticed() -> None:
    with metered("lpm01a", Stretch(1.0, 100.0), faults=Faults(freeze_after_s=0.05), silence_s=0.5) as (meter, _):
        meter.start()
        with pytest.raises(InfrastructureError, match="the instrument is frozen"):
            meter.wait(0.5, 20)


def test_a_port_that_is_no_meter_is_named() -> None:
    with (
        running("ppk2", Script((Stretch(1.0, 1.0),))) as instrument,
        pytest.raises(InfrastructureError, match="no answer to `htc`"),
        opened(settings("lpm01a", instrument.port)),
    ):
        pass


def test_a_voltage_that_it_does_not_have_is_refused_by_it() -> None:
    with (
        running("lpm01a", Script((Stretch(1.0, 1.0),))) as instrument,
        pytest.raises(InfrastructureError, match="refuses `volt 5000m`"),
        opened(settings("lpm01a", instrument.port, voltage_mv=5000)),
    ):
        pass
