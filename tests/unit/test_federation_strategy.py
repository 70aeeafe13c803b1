"""Federated averaging against sums worked by hand, and the schedule that says who does what."""

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.federation.schedule import Schedule
from bench.federation.strategies.base import Received
from bench.federation.strategies.fedavg import FedAvg


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def change(client: str, samples: int, *values: float) -> Received:
    return Received(client, 1, 0, samples, None, array(*values))


def test_changes_are_weighted_by_samples() -> None:
    one = change("one", 1, 1.0, 2.0)  # a quarter
    three = change("three", 3, 3.0, -4.0)  # three quarters
    # 1 + 0.25·1 + 0.75·3 = 3.5 and 2 + 0.25·2 − 0.75·4 = −0.5
    np.testing.assert_array_equal(FedAvg().step(array(1.0, 2.0), [one, three]).weights, array(3.5, -0.5))


def test_what_the_broadcast_rounded_away_stays_at_the_server() -> None:
    updates = [change("a", 10, 0.5), change("b", 10, 0.0)]  # from 1.0, which is what int8 made of 1.25
    np.testing.assert_array_equal(FedAvg().step(array(1.25), updates).weights, array(1.5))  # 1.25 + (0.5 + 0) / 2


def test_one_client_that_learned_nothing_changes_nothing_and_inputs_stay_as_they_were() -> None:
    master = array(0.1, 0.2, 0.3)
    result = FedAvg().step(master, [change("a", 5, 0.0, 0.0, 0.0)]).weights
    assert result.tolist() == [0.1, 0.2, 0.3]
    result[0] = 9.0
    assert master.tolist() == [0.1, 0.2, 0.3]


def mean_of_trained_weights(start: np.ndarray, trained: list[np.ndarray], samples: list[int]) -> np.ndarray:
    """McMahan et al. 2017, algorithm 1, as it is printed: the mean of what clients have, not of their changes."""
    total = sum(samples)
    return sum((n / total * w for n, w in zip(samples, trained, strict=True)), np.zeros_like(start))


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_rounds_of_the_core_are_the_mean_of_the_trained_weights(seed: int, clients: int) -> None:
    generator = np.random.default_rng(seed)
    ours = theirs = generator.normal(size=20)
    for _ in range(5):
        samples = generator.integers(1, 1000, clients).tolist()
        moved = [generator.normal(size=20) for _ in samples]
        theirs = mean_of_trained_weights(theirs, [theirs + move for move in moved], samples)
        updates = [change(f"c{i}", n, *move) for i, (n, move) in enumerate(zip(samples, moved, strict=True))]
        ours = FedAvg().step(ours, updates).weights
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13)


@given(
    st.lists(
        st.tuples(st.floats(-1e6, 1e6), st.integers(1, 10_000)), min_size=3, max_size=4, unique_by=lambda item: item[0]
    )
)
def test_the_order_of_arrival_does_not_change_one_bit(updates: list[tuple[float, int]]) -> None:
    received = [change(f"client-{i}", samples, value) for i, (value, samples) in enumerate(updates)]
    results = {FedAvg().step(array(0.1), order).weights.tobytes() for order in itertools.permutations(received)}
    assert len(results) == 1


def plan(seed: int = 5) -> Schedule:
    return Schedule(600, lambda round_: 0.01 * 0.5 ** (round_ - 1), seed)


@pytest.mark.parametrize(("round_", "first"), [(1, 0), (2, 600), (3, 200), (4, 800), (6, 0)])
def test_each_round_goes_on_where_the_last_one_ended(round_: int, first: int) -> None:
    assert plan().first_sample(round_, capacity=1000) == first


def test_seeds_are_the_documented_hash_and_differ_between_clients_rounds_and_runs() -> None:
    digest = hashlib.sha256(b"5/client-2/3").digest()
    assert plan().seed_of("client-2", 3) == (digest[0] | digest[1] << 8 | digest[2] << 16 | (digest[3] & 0x7F) << 24)
    seeds = {plan(seed).seed_of(f"client-{c}", r) for seed in (5, 6) for c in range(20) for r in range(1, 21)}
    assert len(seeds) == 2 * 20 * 20
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_the_learning_rate_is_data_of_the_schedule() -> None:
    assert [plan().learning_rate(round_) for round_ in (1, 2, 3)] == [0.01, 0.005, 0.0025]
