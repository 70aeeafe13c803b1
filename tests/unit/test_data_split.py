"""The Dirichlet division: exact, without repetition, within capacities, skewed as alpha says, and repeatable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.split import dirichlet
from bench.errors import ConfigError

LABELS = np.random.default_rng(0).integers(0, 10, 3000).astype(np.uint8)


@st.composite
def requests(draw: st.DrawFn) -> tuple[int, float, int, list[int], int, int]:
    clients = draw(st.integers(1, 8))
    capacities = draw(st.lists(st.integers(5, 800), min_size=clients, max_size=clients))
    total = draw(st.integers(clients, min(3000, sum(capacities))))
    minimum = draw(st.integers(0, min(total // clients, *capacities)))
    return (
        clients,
        draw(st.sampled_from([0.05, 0.5, 5.0, 1000.0])),
        draw(st.integers(0, 999)),
        capacities,
        total,
        minimum,
    )


@given(requests())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_every_division_keeps_its_promises(request: tuple[int, float, int, list[int], int, int]) -> None:
    clients, alpha, seed, capacities, total, minimum = request
    shards = dirichlet(LABELS, clients, alpha, seed, capacities, total, minimum)
    assert len(shards) == clients
    together = np.concatenate(shards)
    assert len(together) == total == len(set(together.tolist()))
    assert together.min() >= 0
    assert together.max() < len(LABELS)
    for shard, capacity in zip(shards, capacities, strict=True):
        assert minimum <= len(shard) <= capacity
    again = dirichlet(LABELS, clients, alpha, seed, capacities, total, minimum)
    assert all((a == b).all() for a, b in zip(shards, again, strict=True))


def skew(alpha: float) -> float:
    """Mean share of a client's commonest class."""
    shares = []
    for seed in range(20):
        shards = dirichlet(LABELS, 5, alpha, seed, [3000] * 5, 2500, 20)
        shares += [np.bincount(LABELS[shard]).max() / len(shard) for shard in shards]
    return float(np.mean(shares))


def test_alpha_sets_the_skew() -> None:
    assert skew(0.1) > skew(0.5) > skew(5.0) > skew(1000.0)
    assert skew(1000.0) < 0.16
    assert 0.25 < skew(0.5) < 0.6


def test_classes_keep_their_shares_and_shards_are_shuffled() -> None:
    shards = dirichlet(LABELS, 4, 0.5, 3, [1000] * 4, 2000, 100)
    assert np.abs(np.bincount(LABELS[np.concatenate(shards)]) - np.bincount(LABELS) * 2 / 3).max() < 40
    assert any((np.diff(LABELS[shard].astype(int)) < 0).any() for shard in shards)
    assert not np.array_equal(shards[0], np.sort(shards[0]))
    other = dirichlet(LABELS, 4, 0.5, 4, [1000] * 4, 2000, 100)
    assert not np.array_equal(np.sort(shards[0]), np.sort(other[0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 0.5, 1, [100] * 4, 100, 1), "capacities"),
        ((0, 0.5, 1, [], 0, 0), "client"),
        ((2, 0.0, 1, [100] * 2, 100, 1), "alpha"),
        ((2, float("nan"), 1, [100] * 2, 100, 1), "alpha"),
        ((2, 0.5, 1, [100] * 2, 201, 1), "do not fit"),
        ((2, 0.5, 1, [9999] * 2, 3001, 1), "the data set has 3000"),
        ((2, 0.5, 1, [100] * 2, 100, 51), "min_samples"),
        ((2, 0.5, 1, [100, 40], 120, 50), "min_samples"),
    ],
)
def test_what_cannot_be_is_refused(arguments: tuple[int, float, int, list[int], int, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dirichlet(LABELS, *arguments)
