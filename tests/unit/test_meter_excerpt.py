"""What is kept of a recording: few buckets, from which its energy, phases and gaps can still be told."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from pydantic import TypeAdapter

from bench.meters.excerpt import MOST_BUCKETS, Excerpt, excerpt
from bench.meters.trace import PHASES, Gap, Instrument, Trace

RATE_HZ = 100_000.0
COMPUTE, LINK, IDLE = range(3)


def recorded(current_ua: np.ndarray, gaps: tuple[Gap, ...] = ()) -> Trace:
    return Trace(Instrument("ppk2", "a PPK2", False), 3000, "meter", RATE_HZ, current_ua, gaps=gaps)


def test_each_bucket_has_least_mean_greatest_and_the_phase_of_most_of_its_samples() -> None:
    current = np.array([1.0, 2.0, 3.0, 10.0, 20.0, 60.0, 5.0])
    codes = np.array([IDLE, IDLE, LINK, COMPUTE, COMPUTE, IDLE, LINK], dtype=np.uint8)
    found = excerpt(recorded(current), codes, "the marker pin", most=3)
    assert found == Excerpt(
        7, RATE_HZ, 3, (1.0, 10.0, 5.0), (2.0, 30.0, 5.0), (3.0, 60.0, 5.0), (IDLE, COMPUTE, LINK), (0, 0, 0),
        "the marker pin",
    )  # fmt: skip


def test_of_equally_many_samples_the_bucket_is_the_busier_phases() -> None:
    codes = np.array([IDLE, LINK, LINK, COMPUTE], dtype=np.uint8)
    assert excerpt(recorded(np.ones(4)), codes, "", most=2).phases == (LINK, COMPUTE)


def test_lost_samples_are_left_out_of_the_currents_and_counted() -> None:
    nan = np.nan
    trace = recorded(np.array([4.0, nan, 6.0, nan, nan, nan, 8.0, 8.0, nan]), (Gap(1, 1), Gap(3, 3), Gap(8, 1)))
    found = excerpt(trace, np.zeros(9, dtype=np.uint8), "", most=3)
    assert found.mean_ua == (5.0, None, 8.0)
    assert found.least_ua == (4.0, None, 8.0)
    assert found.lost == (1, 3, 1)
    assert found.gaps() == [(0.0, pytest.approx(9 / RATE_HZ))]


@pytest.mark.parametrize("samples", [1, MOST_BUCKETS, MOST_BUCKETS + 1, 1_234_567])
def test_energy_and_phases_can_be_told_from_it_and_it_stays_small(samples: int) -> None:
    generator = np.random.default_rng(samples)
    current = generator.uniform(1, 50_000, samples)
    codes = np.sort(generator.integers(0, len(PHASES), samples)).astype(np.uint8)
    trace = recorded(current)
    found = excerpt(trace, codes, "the marker pin")
    assert found.buckets <= MOST_BUCKETS
    sizes = np.minimum(found.bucket_samples, samples - found.bucket_samples * np.arange(found.buckets))
    assert sizes.sum() == samples
    energy_uj = float(np.dot(found.mean_ua, sizes)) * 3.0 / RATE_HZ
    assert energy_uj == pytest.approx(trace.energy_uj(), rel=1e-4)
    for phase, begin, end in found.spans():
        share = np.count_nonzero(codes == PHASES.index(phase)) / RATE_HZ
        assert end - begin == pytest.approx(share, abs=2 * found.bucket_s)
    assert len(json.dumps(asdict(found))) < 100_000


def test_it_is_read_back_from_json_as_it_was() -> None:
    current = np.array([1.5, np.nan, 2.5])
    found = excerpt(recorded(current, (Gap(1, 1),)), np.zeros(3, dtype=np.uint8), "the host's marks")
    assert TypeAdapter(Excerpt).validate_python(json.loads(json.dumps(asdict(found)))) == found


def test_a_recording_without_samples() -> None:
    found = excerpt(recorded(np.array([])), np.array([], dtype=np.uint8), "")
    assert (found.buckets, found.seconds, found.spans(), found.gaps()) == (0, 0.0, [], [])


def test_spans_of_many_buckets_are_their_majority_s() -> None:
    """Rounds shorter than what can be drawn, after a little rest: it is not rest that is drawn."""
    codes = np.array([2, 2, *([0, 0, 1] * 666)], dtype=np.uint8)
    trace = Trace(Instrument("ppk2", "a PPK2", False), 3300, "meter", 1000.0, np.ones(codes.size))
    told = excerpt(trace, codes, "the marker pin")
    assert len(told.spans()) > 1000
    assert told.spans(together=4)[-1] == ("compute", 0.0, 2.0)
    assert sum(end - begin for _, begin, end in told.spans(together=7)) == pytest.approx(2.0)
