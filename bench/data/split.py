"""Division of a training set among clients with skewed labels.

Each class is divided by shares drawn from a symmetric Dirichlet distribution, the usual model of label skew in
federated learning: alpha towards 0 gives each client few classes, alpha towards infinity equal mixtures. Classes are
divided in random order, and a client that already holds its equal part of the whole gets no more of the next class,
which keeps shards from being of very different size (as Li, Diao, Chen, He 2022, "Federated Learning on Non-IID Data
Silos", divide). A board's data partition holds so many samples and no more: what does not fit goes to those with room.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.errors import ConfigError


def dirichlet(
    labels: NDArray[np.uint8],
    clients: int,
    alpha: float,
    seed: int,
    capacities: Sequence[int],
    total: int,
    minimum: int = 1,
) -> list[NDArray[np.int64]]:
    """Draws `total` samples without replacement and divides them among clients.

    Args:
        labels: class of each sample, [N].
        clients: how many clients.
        alpha: concentration of the Dirichlet distribution over clients, drawn once per class.
        seed: the same seed gives the same division.
        capacities: the most samples each client can hold.
        total: samples over all clients; the classes keep about their shares of the whole set.
        minimum: the fewest samples a client gets.

    Returns:
        For each client the indices of its samples, in random order. Together they are exactly `total` different ones.

    Raises:
        ConfigError: no such division exists.
    """
    room = np.array(capacities, dtype=np.int64)
    _check(len(labels), clients, alpha, room, total, minimum)
    generator = np.random.default_rng(seed)
    chosen = generator.permutation(len(labels))[:total]
    shards: list[list[int]] = [[] for _ in range(clients)]
    for label in generator.permutation(np.unique(labels[chosen])):
        members = chosen[labels[chosen] == label]
        lacks_part = np.array([len(shard) * clients < total for shard in shards])
        counts = _shares(generator, alpha, room, lacks_part, len(members))
        room -= counts
        for shard, part in zip(shards, np.split(members, np.cumsum(counts)[:-1]), strict=True):
            shard.extend(part.tolist())
    _top_up(generator, shards, minimum)
    return [generator.permutation(np.array(shard, dtype=np.int64)) for shard in shards]


def _check(samples: int, clients: int, alpha: float, room: NDArray[np.int64], total: int, minimum: int) -> None:
    if clients < 1 or len(room) != clients or minimum < 0 or not alpha > 0:
        raise ConfigError(
            f"data split: {clients} clients with {len(room)} capacities, alpha {alpha}, minimum {minimum}: "
            "needs at least one client, a capacity for each, alpha > 0 and minimum >= 0"
        )
    if total > samples:
        raise ConfigError(f"data.train_samples: {total} samples asked for, the data set has {samples}")
    if total > int(room.sum()):
        raise ConfigError(
            f"data.train_samples: {total} samples do not fit; the clients hold {int(room.sum())} together; "
            "lower data.train_samples or add boards"
        )
    if minimum * clients > total or minimum > int(room.min()):
        raise ConfigError(
            f"data.min_samples: {clients} clients cannot each get {minimum} of {total} samples "
            f"(the smallest client holds {int(room.min())})"
        )


def _shares(
    generator: np.random.Generator,
    alpha: float,
    room: NDArray[np.int64],
    preferred: NDArray[np.bool_],
    count: int,
) -> NDArray[np.int64]:
    """Divides `count` samples by Dirichlet shares among preferred clients; what does not fit, among all with room."""
    shares = np.maximum(generator.dirichlet(np.full(len(room), alpha)), 1e-12)
    counts = np.zeros(len(room), dtype=np.int64)
    while (left := count - int(counts.sum())) > 0:
        fits = counts < room
        open_shares = np.where(fits & preferred if (fits & preferred).any() else fits, shares, 0.0)
        wanted = open_shares / open_shares.sum() * left
        step = np.floor(wanted).astype(np.int64)
        by_remainder = np.argsort(-(wanted - step), kind="stable")
        step[by_remainder[: left - int(step.sum())]] += 1
        counts = np.minimum(counts + step, room)
    return counts


def _top_up(generator: np.random.Generator, shards: list[list[int]], minimum: int) -> None:
    """Moves random samples, one at a time, from the largest shard to those below the minimum."""
    for shard in shards:
        while len(shard) < minimum:
            donor = max(shards, key=len)
            shard.append(donor.pop(int(generator.integers(len(donor)))))
