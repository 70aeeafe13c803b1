"""Federated averaging against sums worked by hand, and the schedule that says who does what."""

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.federation.schedule import Schedule
from bench.federation.strategies.fedavg import Contribution, fedavg


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_changes_are_weighted_by_samples() -> None:
    start = {"w": array(1.0, 2.0)}
    one = Contribution("one", start, {"w": array(2.0, 4.0)}, samples=1)  # changes (1, 2), a quarter
    three = Contribution("three", start, {"w": array(4.0, -2.0)}, samples=3)  # changes (3, -4), three quarters
    # 1 + 0.25·1 + 0.75·3 = 3.5 and 2 + 0.25·2 − 0.75·4 = −0.5; likewise (1·2 + 3·4) / 4 and (1·4 − 3·2) / 4
    np.testing.assert_array_equal(fedavg(start, [one, three])["w"], array(3.5, -0.5))


def test_what_the_broadcast_rounded_away_stays_at_the_server() -> None:
    master = {"w": array(1.25)}
    sent = {"w": array(1.0)}  # what int8 made of it
    updates = [Contribution("a", sent, {"w": array(1.5)}, 10), Contribution("b", sent, {"w": array(1.0)}, 10)]
    np.testing.assert_array_equal(fedavg(master, updates)["w"], array(1.5))  # 1.25 + (0.5 + 0) / 2


def test_one_client_that_learned_nothing_changes_nothing_and_inputs_stay_as_they_were() -> None:
    master = {"w": array(0.1, 0.2), "b": array(0.3)}
    result = fedavg(master, [Contribution("a", master, master, 5)])
    assert {name: tensor.tolist() for name, tensor in result.items()} == {"w": [0.1, 0.2], "b": [0.3]}
    result["w"][0] = 9.0
    assert master["w"].tolist() == [0.1, 0.2]


@given(
    st.lists(
        st.tuples(st.floats(-1e6, 1e6), st.integers(1, 10_000)), min_size=3, max_size=4, unique_by=lambda item: item[0]
    )
)
def test_the_order_of_arrival_does_not_change_one_bit(updates: list[tuple[float, int]]) -> None:
    start = {"w": array(0.1)}
    contributions = [
        Contribution(f"client-{i}", start, {"w": array(value)}, samples) for i, (value, samples) in enumerate(updates)
    ]
    results = {fedavg(start, order)["w"].tobytes() for order in itertools.permutations(contributions)}
    assert len(results) == 1


def plan(seed: int = 5) -> Schedule:
    return Schedule(10, 600, lambda round_: 0.01 * 0.5 ** (round_ - 1), 60.0, 1, seed)


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
