"""Arithmetic on traces, against figures worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bench.errors import InfrastructureError
from bench.meters.ppk2 import lost_before
from bench.meters.recording import Arrival, late_by_s
from bench.meters.split import Wiring, phase_codes, split
from bench.meters.trace import Gap, Instrument, Mark, Trace, count_outliers, with_gaps

EMULATED = Instrument("ppk2", "PPK2", physical=False)


def trace(current: list[float], logic: list[int] | None = None, rate_hz: float = 1000.0, **more: object) -> Trace:
    levels = None if logic is None else np.array(logic, dtype=np.uint8)
    return Trace(EMULATED, 3000, "meter", rate_hz, np.array(current), levels, **more)  # type: ignore[arg-type]


def test_energy_is_current_times_voltage_times_time() -> None:
    # 1 s of 2 mA at 3 V: 6 mJ.
    assert trace([2000.0] * 1000).energy_uj() == pytest.approx(6000.0)
    assert trace([2000.0] * 1000).seconds == 1.0


def test_a_lost_sample_counts_as_a_straight_line_between_its_neighbours() -> None:
    lossy = trace([100.0, float("nan"), float("nan"), 400.0], gaps=(Gap(1, 2),))
    assert lossy.whole_current_ua().tolist() == [100.0, 200.0, 300.0, 400.0]
    assert lossy.lost_share == 0.5


def test_samples_that_the_clock_alone_misses_are_lost_as_well() -> None:
    assert trace([1.0] * 936, unplaced_samples=64).lost_share == pytest.approx(0.064)


def test_a_recording_without_samples_lost_everything() -> None:
    assert trace([]).lost_share == 1.0


def test_what_arrived_is_put_in_its_place() -> None:
    current, logic, gaps = with_gaps(
        np.array([1.0, 2.0, 3.0]), np.array([1, 0, 1], dtype=np.uint8), np.array([0, 2, 0])
    )
    assert np.isnan(current).tolist() == [False, True, True, False, False]
    assert current[[0, 3, 4]].tolist() == [1.0, 2.0, 3.0]
    assert logic is not None
    assert logic.tolist() == [1, 1, 1, 0, 1], "a level is that before the gap"
    assert gaps == (Gap(1, 2),)


@pytest.mark.parametrize(
    ("counters", "lost"),
    [([5, 6, 7], [0, 0, 0]), ([62, 63, 0, 1], [0, 0, 0, 0]), ([5, 9], [0, 3]), ([60, 2], [0, 5]), ([5, 5], [0, 63])],
)
def test_losses_are_read_off_the_raw_counter(counters: list[int], lost: list[int]) -> None:
    words = np.array([(0xAB << 24) | (counter << 18) | 0x1FFFF for counter in counters], dtype=np.uint32)
    assert lost_before(words).tolist() == lost


def test_a_loss_that_the_counter_cannot_show_makes_everything_after_it_late() -> None:
    """Blocks wait in buffers for up to 4 ms, differently each; 640 ms at 100 bytes a second are missing."""
    waits = [0.004, 0.0, 0.002, 0.003, 0.001] * 20
    arrivals = [
        Arrival(index * 0.1 + (0.64 if index > 50 else 0.0) + wait, (index + 1) * 10)
        for index, wait in enumerate(waits)
    ]
    assert late_by_s(arrivals, 100.0) == pytest.approx(0.64, abs=1e-6)
    assert late_by_s(arrivals[:50], 100.0) == pytest.approx(0.0, abs=1e-6)
    assert late_by_s(arrivals[:5], 100.0) == 0.0, "too short to tell"


REST, MARKED = 0b110, 0b111
TX_LOW, RX_LOW = 0b100, 0b010


def codes(logic: list[int], wiring: Wiring, rate_hz: float = 100_000.0) -> str:
    found = phase_codes(trace([1.0] * len(logic), logic, rate_hz), wiring)
    return "".join("cli"[code] for code in found)


def test_the_marker_pin_tells_compute_and_lines_that_fall_tell_transfers() -> None:
    logic = [REST] * 4 + [RX_LOW] * 9 + [REST] + [MARKED] * 5 + [TX_LOW] * 9 + [REST] * 6
    # At the edges of a pause one sample belongs to what is beside it, and a transfer ends with its stop bit.
    assert codes(logic, Wiring(0, (1, 2))) == "iiil" + "l" * 9 + "l" + "c" * 5 + "l" * 9 + "ll" + "iiii"


def test_characters_of_a_transfer_belong_together_and_transfers_far_apart_do_not() -> None:
    short, long = [REST] * 15, [REST] * 60
    logic = [*[REST] * 3, *[TX_LOW] * 9, *short, *[TX_LOW] * 9, *long, *[TX_LOW] * 9, *[REST] * 5]
    found = codes(logic, Wiring(0, (1, 2)))
    assert found[3 : 3 + 9 + 15 + 9] == "l" * 33
    assert found.count("i") == 2 + 57 + 3


def test_without_lines_what_is_not_marked_is_what_the_host_says() -> None:
    marked = trace([1.0] * 8, [0, 0, 0, 1, 1, 0, 0, 0], marks=(Mark(0, "idle"), Mark(6, "link")))
    assert "".join("cli"[code] for code in phase_codes(marked, Wiring(0))) == "iicccc" + "ll"


def test_without_logic_channels_the_marks_decide() -> None:
    told = trace([100.0, 200.0, 300.0, 400.0], marks=(Mark(0, "link"), Mark(1, "compute"), Mark(3, "idle")))
    shares = split(told, Wiring())
    assert {phase: share.energy_uj for phase, share in shares.items()} == pytest.approx(
        {"link": 0.3, "compute": 1.5, "idle": 1.2}
    )
    assert sum(share.seconds for share in shares.values()) == pytest.approx(told.seconds)


def test_a_line_that_is_low_all_the_time_is_not_connected() -> None:
    with pytest.raises(InfrastructureError, match="D1 was low all the time"):
        codes([0] * 100, Wiring(0, (1,)))


def test_a_glitch_stands_out_and_a_step_does_not() -> None:
    quiet = [100.0] * 10
    assert count_outliers(np.array([*quiet, 90_000.0, *quiet])) == 1
    assert count_outliers(np.array([*quiet, *[90_000.0] * 10, *quiet])) == 0
