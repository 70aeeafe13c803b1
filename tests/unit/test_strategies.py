"""Strategies against their formulas worked by hand, and what must hold for any buffer."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import ConfigError
from bench.federation.events import Form
from bench.federation.strategies import ftte
from bench.federation.strategies.base import Received, Strategy
from bench.federation.strategies.fedasync import FedAsync
from bench.federation.strategies.fedavg import FedAvg
from bench.federation.strategies.fedbuff import FedBuff
from bench.federation.strategies.fedprox import FedProx
from bench.federation.strategies.ftte import Ftte


def received(
    vector: list[float], staleness: int = 0, samples: int = 1, variance: float | None = 1.0, job: int = 1
) -> Received:
    return Received(f"client-{job}", job, staleness, samples, variance, np.array(vector, dtype=np.float64))


W = np.array([1.0, -2.0])


def test_fedavg_is_the_mean_of_trained_weights_by_samples() -> None:
    updates = [received([4.0, 0.0], samples=1, job=1), received([0.0, 8.0], samples=3, job=2)]
    # Trained weights (5, −2) and (1, 6): (1·5 + 3·1) / 4 = 2 and (1·(−2) + 3·6) / 4 = 4.
    step = FedAvg().step(W, updates)
    np.testing.assert_array_equal(step.weights, [2.0, 4.0])
    np.testing.assert_array_equal(step.factors, [0.25, 0.75])
    # Half the server rate, half the way from (1, −2).
    np.testing.assert_array_equal(FedAvg(server_rate=0.5).step(W, updates).weights, [1.5, 1.0])


def test_fedprox_steps_as_fedavg_and_tells_clients_mu() -> None:
    updates = [received([4.0, 0.0], samples=1, job=1), received([0.0, 8.0], samples=3, job=2)]
    np.testing.assert_array_equal(FedProx(mu=0.1).step(W, updates).weights, FedAvg().step(W, updates).weights)
    assert dict(FedProx(mu=0.1).client_options) == {"proximal_mu": 0.1}
    assert dict(FedAvg().client_options) == {}


@pytest.mark.parametrize(
    ("strategy", "staleness", "share"),
    [
        (FedAsync(0.5, "constant"), 7, 0.5),
        (FedAsync(0.5, "polynomial", a=0.5), 0, 0.5),
        (FedAsync(0.5, "polynomial", a=0.5), 3, 0.25),  # 0.5 · 4^(−1/2)
        (FedAsync(0.8, "polynomial", a=2.0), 1, 0.2),  # 0.8 · 2^(−2)
        (FedAsync(0.5, "hinge", a=0.5, b=4.0), 4, 0.5),
        (FedAsync(0.5, "hinge", a=0.5, b=4.0), 6, 0.25),  # 0.5 / (0.5 · 2 + 1)
        (FedAsync(1.0, "hinge", a=10.0, b=4.0), 5, 1 / 11),
    ],
)
def test_fedasync_mixes_by_alpha_times_the_function_of_staleness(
    strategy: FedAsync, staleness: int, share: float
) -> None:
    assert strategy.form is Form.TRAINED
    step = strategy.step(W, [received([5.0, 6.0], staleness)])
    np.testing.assert_allclose(step.factors, [share], rtol=1e-15)
    # (1 − share) · (1, −2) + share · (5, 6)
    np.testing.assert_allclose(step.weights, [1 + 4 * share, -2 + 8 * share], rtol=1e-15)


def test_fedasync_refuses_two_updates_at_once() -> None:
    with pytest.raises(ValueError):
        FedAsync().step(W, [received([1.0, 1.0], job=1), received([1.0, 1.0], job=2)])


def test_fedbuff_divides_the_discounted_sum_by_k() -> None:
    updates = [received([2.0, 0.0], 0, job=1), received([4.0, 4.0], 3, job=2), received([3.0, 9.0], 8, job=3)]
    # s = 1/√1, 1/√4, 1/√9 = 1, 1/2, 1/3; Σ s Δ = (2 + 2 + 1, 0 + 2 + 3) = (5, 5); /K = 5/3.
    step = FedBuff(buffer=3).step(W, updates)
    np.testing.assert_allclose(step.weights, [1 + 5 / 3, -2 + 5 / 3], rtol=1e-15)
    np.testing.assert_allclose(step.factors, [1 / 3, 1 / 6, 1 / 9], rtol=1e-15)
    np.testing.assert_allclose(FedBuff(3, server_rate=0.6).step(W, updates).weights, [2.0, -1.0], rtol=1e-15)


def test_ftte_weighs_by_age_and_by_variance() -> None:
    updates = [
        received([2.0, 0.0], staleness=0, variance=3.0, job=1),
        received([4.0, 4.0], staleness=3, variance=1.0, job=2),
    ]
    # σ̄² = 2; 1 + σ²/σ̄² = 2.5 and 1.5. a = 1/2: ages 1 and 4^(−1/2) = 1/2. b = 1: s = 1/2.5 = 0.4 and 0.5/1.5 = 1/3.
    # Shares: 0.4 / (0.4 + 1/3) = 6/11 and 5/11. Σ = (6·2 + 5·4, 5·4) / 11 = (32/11, 20/11).
    step = Ftte(buffer=2, a=0.5, b=1.0).step(W, updates)
    np.testing.assert_allclose(step.factors, [6 / 11, 5 / 11], rtol=1e-15)
    np.testing.assert_allclose(step.weights, [1 + 32 / 11, -2 + 20 / 11], rtol=1e-15)
    # The other form: (0.4·2 + 4/3, 4/3) / 2 = (16/15, 2/3); a server rate of 3 makes it (16/5, 2).
    step = Ftte(buffer=2, server_rate=3.0, a=0.5, b=1.0, normalise="buffer").step(W, updates)
    np.testing.assert_allclose(step.weights, [1 + 16 / 5, 0.0], rtol=1e-15, atol=1e-15)
    # The other sign, b = −1, age ignored: s = 2.5 and 1.5, shares 5/8 and 3/8.
    np.testing.assert_allclose(Ftte(buffer=2, a=0.0, b=-1.0).step(W, updates).factors, [5 / 8, 3 / 8], rtol=1e-15)


@pytest.mark.parametrize("b", [-8.0, 0.5, 8.0])
def test_ftte_of_updates_without_variance_weighs_them_all_the_same(b: float) -> None:
    updates = [received([1.0, 1.0], variance=0.0, job=1), received([3.0, 3.0], variance=0.0, job=2)]
    np.testing.assert_array_equal(Ftte(buffer=2, b=b).step(W, updates).factors, [0.5, 0.5])
    # As equal variances do that are not zero: 1 + σ²/σ̄² = 2, so that the /K form does not jump at zero.
    tiny = [received([1.0, 1.0], variance=5e-324, job=1), received([3.0, 3.0], variance=5e-324, job=2)]
    form = Ftte(buffer=2, b=b, normalise="buffer")
    np.testing.assert_array_equal(form.step(W, updates).factors, form.step(W, tiny).factors)
    np.testing.assert_allclose(form.step(W, updates).factors, 2.0**-b / 2, rtol=1e-15)


def test_ftte_with_a_buffer_of_one_takes_the_whole_update_however_old() -> None:
    for staleness, variance in itertools.product((0, 10**6, 2**62), (0.0, 1e-300, 1e70)):
        step = Ftte(buffer=1, a=8.0, b=8.0).step(W, [received([1.0, 2.0], staleness, variance=variance)])
        np.testing.assert_allclose(step.weights, [2.0, 0.0], rtol=1e-15, atol=1e-15)


def test_ftte_of_updates_that_are_all_very_old_shares_by_their_ages_or_hardly_moves() -> None:
    updates = [received([1.0, 0.0], 10**12 - 1, job=1), received([0.0, 1.0], 2 * 10**12 - 1, job=2)]
    # (10¹²)^(−8) to (2·10¹²)^(−8) is 256 to 1, though both are below 1e-95.
    np.testing.assert_allclose(Ftte(2, a=8.0, b=0.0).step(W, updates).factors, [256 / 257, 1 / 257], rtol=1e-12)
    assert Ftte(2, a=8.0, b=0.0, normalise="buffer").step(W, updates).weights.tolist() == W.tolist()


def test_a_formula_is_found_by_name_and_what_it_gives_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ftte.FORMULAS, "youngest", lambda age, variance, a, b: (age == age.min()).astype(np.float64))
    monkeypatch.setitem(ftte.FORMULAS, "nobody", lambda age, variance, a, b: np.zeros_like(age))
    monkeypatch.setitem(ftte.FORMULAS, "negative", lambda age, variance, a, b: -np.ones_like(age))
    monkeypatch.setitem(ftte.FORMULAS, "nan", lambda age, variance, a, b: age * np.nan)
    updates = [received([2.0, 2.0], 5, job=1), received([4.0, 6.0], 1, job=2)]
    np.testing.assert_array_equal(Ftte(2, formula="youngest").step(W, updates).weights, [5.0, 4.0])
    for normalise in ("weights", "buffer"):
        unmoved = Ftte(2, formula="nobody", normalise=normalise).step(W, updates)  # type: ignore[arg-type]
        np.testing.assert_array_equal(unmoved.weights, W)
        np.testing.assert_array_equal(unmoved.factors, [0.0, 0.0])
    for wrong in ("negative", "nan"):
        with pytest.raises(ConfigError, match=wrong):
            Ftte(2, formula=wrong).step(W, updates)
    with pytest.raises(ConfigError, match=r"federation\.formula"):
        Ftte(2, formula="unheard-of")


def test_float32_updates_are_summed_in_float64() -> None:
    # 1 + 2^-30 is no float32; each summand is.
    updates = [
        Received("a", 1, 0, 1, 0.0, np.array([2.0], np.float32)),
        Received("b", 2, 0, 1, 0.0, np.array([2.0**-29], np.float32)),
    ]
    zero = np.zeros(1)
    for strategy in (FedAvg(), FedBuff(2), Ftte(2)):
        assert strategy.step(zero, updates).weights.tolist() == [1 + 2.0**-30]


BUFFERS = st.integers(1, 5).flatmap(
    lambda count: st.lists(
        st.tuples(
            st.lists(st.floats(-1e30, 1e30), min_size=3, max_size=3),
            st.one_of(st.integers(0, 20), st.integers(0, 2**60)),
            st.integers(1, 10**6),
            st.one_of(st.just(0.0), st.floats(0.0, 1e70)),
        ),
        min_size=count,
        max_size=count,
    )
)


def buffer_of(items: list[tuple[list[float], int, int, float]]) -> list[Received]:
    return [received(vector, age, n, variance, job=i) for i, (vector, age, n, variance) in enumerate(items)]


def strategies(count: int, a: float = 0.5, b: float = 0.5) -> list[Strategy]:
    return [
        FedAvg(),
        FedProx(mu=1.0),
        FedBuff(count),
        Ftte(count, a=a, b=b),
        Ftte(count, a=a, b=b, normalise="buffer"),
        Ftte(count, a=a, b=-b),
    ]


@given(BUFFERS, st.floats(0, 8), st.floats(0, 8))
@settings(max_examples=60, deadline=None)
def test_order_of_arrival_changes_no_bit_and_nothing_is_nan(
    items: list[tuple[list[float], int, int, float]], a: float, b: float
) -> None:
    updates, start = buffer_of(items), np.array([0.1, -7.0, 3.0])
    for strategy in strategies(len(updates), a, b):
        orders = [updates, updates[::-1], updates[2:] + updates[:2], sorted(updates, key=lambda u: u.samples)]
        results = {strategy.step(start, order).weights.tobytes() for order in orders}
        assert len(results) == 1
        step = strategy.step(start, updates)
        assert np.isfinite(step.weights).all()
        assert np.isfinite(step.factors).all()
        assert (step.factors >= 0).all()
    np.testing.assert_array_equal(start, [0.1, -7.0, 3.0])


@given(BUFFERS)
@settings(max_examples=60, deadline=None)
def test_shares_sum_to_the_server_rate_and_no_update_moves_the_model_beyond_its_share(
    items: list[tuple[list[float], int, int, float]],
) -> None:
    updates, start = buffer_of(items), np.zeros(3)
    for strategy in (FedAvg(0.7), Ftte(len(updates), 0.7, a=2.0, b=-3.0)):
        assert math.isclose(strategy.factors(updates).sum(), 0.7, rel_tol=1e-12)
    assert FedBuff(len(updates), 0.7).factors(updates).sum() <= 0.7 * (1 + 1e-12)
    for strategy in strategies(len(updates)):
        step = strategy.step(start, updates)
        bound = sum(f * np.abs(u.vector) for f, u in zip(step.factors, step.updates, strict=True))
        assert (np.abs(step.weights) <= bound * (1 + 1e-12)).all()


@given(BUFFERS)
@settings(max_examples=60, deadline=None)
def test_without_age_and_variance_ftte_is_the_mean_and_fresh_fedbuff_as_well(
    items: list[tuple[list[float], int, int, float]],
) -> None:
    updates, start = buffer_of(items), np.zeros(3)
    mean = np.mean([update.vector for update in updates], axis=0)
    scale = max(float(np.abs(update.vector).max()) for update in updates) * 1e-14
    for normalise in ("weights", "buffer"):
        plain = Ftte(len(updates), a=0.0, b=0.0, normalise=normalise).step(start, updates)  # type: ignore[arg-type]
        np.testing.assert_allclose(plain.weights, mean, rtol=1e-12, atol=scale)
    fresh = buffer_of([(vector, 0, n, variance) for vector, _, n, variance in items])
    np.testing.assert_allclose(FedBuff(len(fresh)).step(start, fresh).weights, mean, rtol=1e-12, atol=scale)
    even = buffer_of([(vector, age, 5, variance) for vector, age, _, variance in items])
    np.testing.assert_allclose(FedAvg().step(start, even).weights, mean, rtol=1e-12, atol=scale)
