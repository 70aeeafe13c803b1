"""Simulated clients: their data, sensors and speed."""

from __future__ import annotations

import numpy as np
import pytest

from bench.errors import ConfigError
from bench.fleet.population import IID, Pool, Population, Stragglers

NOBODY = Stragglers(0.0, 1.0)


def pool(count: int = 2000, classes: int = 10) -> Pool:
    generator = np.random.default_rng(0)
    x = generator.integers(-52, 128, (count, 4, 4, 1)).astype(np.int8)
    return Pool(x, (np.arange(count) % classes).astype(np.uint8))


def skew(population: Population) -> float:
    """Mean share of a client's commonest class."""
    return float(np.mean([np.bincount(population.shard(c).y).max() / len(population.shard(c)) for c in range(20)]))


def test_no_sample_is_dealt_twice_while_there_are_others() -> None:
    found = Population(pool(), 20, 100, IID, 3, NOBODY, shifted=False)
    dealt = np.concatenate([found._indices[c] for c in range(20)])
    counts = np.bincount(dealt, minlength=2000)
    assert counts.max() <= 2
    assert (counts == 1).mean() > 0.75, "classes are drawn, so some run out a little earlier"


def test_a_smaller_alpha_skews_more_and_iid_hardly_at_all() -> None:
    found = [skew(Population(pool(), 20, 100, alpha, 1, NOBODY)) for alpha in (IID, 0.5, 0.1)]
    assert found[0] < 0.25 < found[1] < found[2]


def test_the_same_seed_gives_the_same_clients() -> None:
    one, same, other = (Population(pool(), 8, 30, 0.5, seed, Stragglers(0.5, 10)) for seed in (4, 4, 5))
    for client in range(8):
        np.testing.assert_array_equal(one.shard(client).x, same.shard(client).x)
        assert one.slowdown(client) == same.slowdown(client)
    assert any((one.shard(c).y != other.shard(c).y).any() for c in range(8))


def test_as_many_are_slow_as_was_said() -> None:
    found = Population(pool(), 50, 10, IID, 1, Stragglers(0.9, 10))
    assert sorted(found.slowdown(c) for c in range(50)) == [1.0] * 5 + [10.0] * 45


def test_what_is_judged_is_what_sensors_see() -> None:
    found = Population(pool(), 10, 10, IID, 1, NOBODY)
    judged = found.judges(pool(100), 7)
    assert judged.x.shape == (100, 4, 4, 1)
    np.testing.assert_array_equal(judged.y, pool(100).y)
    assert (judged.x != pool(100).x).mean() > 0.5
    plain = Population(pool(), 10, 10, IID, 1, NOBODY, shifted=False)
    np.testing.assert_array_equal(plain.judges(pool(100), 7).x, pool(100).x)


def test_ten_thousand_clients_are_a_few_megabytes() -> None:
    found = Population(pool(), 10_000, 20, 0.5, 1, NOBODY)
    assert found._indices.nbytes == 10_000 * 20 * 4
    assert len(found.shard(9_999)) == 20


@pytest.mark.parametrize(
    "wrong",
    [lambda: Population(pool(), 0, 1, 1, 1, NOBODY), lambda: Population(pool(), 1, 1, 0, 1, NOBODY),
     lambda: Stragglers(1.5, 2), lambda: Stragglers(0.5, 0.5)],
)  # fmt: skip
def test_what_cannot_be_is_refused(wrong) -> None:
    with pytest.raises(ConfigError):
        wrong()
