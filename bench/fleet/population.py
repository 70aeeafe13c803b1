"""The clients of a simulated federation: what data each holds, what its sensor does, and how slow it is.

Labels are skewed as Hsu et al. 2019 (arXiv:1909.06335) do: each client draws its mixture of classes from a Dirichlet
distribution around the whole set's, then its samples by that mixture. Samples are drawn without replacement until a
class is used up, then from the whole class anew: with more clients than there is data for, clients share samples. A
client is some hundred bytes: its samples are looked up, and seen through its sensor (bench/data/shift.py), when it
trains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.shift import Shift
from bench.errors import ConfigError

IID = float("inf")
"""As Dirichlet's concentration: every client has the whole set's mixture."""


@dataclass(frozen=True)
class Pool:
    """Labelled samples: int8 [n, h, w, c] and uint8 [n]."""

    x: NDArray[np.int8]
    y: NDArray[np.uint8]

    def __getitem__(self, which: NDArray[np.int32] | slice) -> Pool:
        return Pool(self.x[which], self.y[which])

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Stragglers:
    """A share of the clients (0 to 1) whose turnaround, training and link, takes `slowdown` times as long."""

    share: float
    slowdown: float

    def __post_init__(self) -> None:
        if not (0 <= self.share <= 1 and self.slowdown >= 1):
            raise ConfigError(f"stragglers: share {self.share} is not in 0..1, or slowdown {self.slowdown} below 1")


class Population:
    """Clients 0 … n-1, drawn from a seed.

    Args:
        pool: the training samples that clients share out.
        clients: how many.
        samples: that each holds.
        alpha: Dirichlet's concentration; IID for none.
        seed: of everything.
        stragglers: who is slow.
        shifted: whether each client has a sensor of its own.

    Raises:
        ConfigError: no clients, no samples, or an alpha that is not above 0.
    """

    def __init__(
        self,
        pool: Pool,
        clients: int,
        samples: int,
        alpha: float,
        seed: int,
        stragglers: Stragglers,
        *,
        shifted: bool = True,
    ) -> None:
        if clients < 1 or samples < 1 or not alpha > 0 or len(pool) == 0:
            raise ConfigError(f"population: {clients} clients of {samples} samples, alpha {alpha}, of {len(pool)}")
        self._pool = pool
        self._seed = seed
        self._shifted = shifted
        self._indices = _divide(pool.y, clients, samples, alpha, seed)
        order = np.random.default_rng([seed, 2]).permutation(clients)
        self._slow = np.zeros(clients, np.bool_)
        self._slow[order[: round(stragglers.share * clients)]] = True
        self._slowdown = stragglers.slowdown

    def __len__(self) -> int:
        return len(self._indices)

    def shard(self, client: int) -> Pool:
        """A client's samples as its sensor sees them."""
        held = self._pool[self._indices[client]]
        return Pool(self.shift(client).apply(held.x), held.y)

    def shift(self, client: int) -> Shift:
        """A client's sensor."""
        return Shift.draw(self._seed, client) if self._shifted else Shift()

    def slowdown(self, client: int) -> float:
        """By which a client's turnaround is longer than its board's."""
        return self._slowdown if self._slow[client] else 1.0

    def judges(self, pool: Pool, seed: int, sensors: int = 100) -> Pool:
        """Held-out samples as sensors of clients drawn at random see them, an equal share each: what the shared model
        is judged by. `seed` draws the clients; never more of them than there are."""
        chosen = np.random.default_rng([seed, 3]).permutation(len(self))[:sensors]
        parts = np.array_split(np.arange(len(pool), dtype=np.int32), len(chosen))
        seen = [self.shift(int(client)).apply(pool.x[part]) for client, part in zip(chosen, parts, strict=True)]
        return Pool(np.concatenate(seen), pool.y)


def _divide(labels: NDArray[np.uint8], clients: int, samples: int, alpha: float, seed: int) -> NDArray[np.int32]:
    """Indices [clients, samples]."""
    generator = np.random.default_rng([seed, 1])
    classes, counts = np.unique(labels, return_counts=True)
    members = {int(label): np.flatnonzero(labels == label).astype(np.int32) for label in classes}
    prior = counts / counts.sum()
    decks = {label: _Deck(generator, found) for label, found in members.items()}
    found = np.empty((clients, samples), np.int32)
    for client in range(clients):
        mixture = prior if np.isinf(alpha) else generator.dirichlet(np.maximum(alpha * len(classes) * prior, 1e-3))
        drawn = generator.multinomial(samples, mixture)
        held = np.concatenate([decks[int(label)].draw(int(n)) for label, n in zip(classes, drawn, strict=True)])
        found[client] = generator.permutation(held)
    return found


class _Deck:
    """One class's samples, dealt without replacement, and shuffled anew when all are dealt."""

    def __init__(self, generator: np.random.Generator, members: NDArray[np.int32]) -> None:
        self._generator = generator
        self._members = members
        self._left = generator.permutation(members)

    def draw(self, count: int) -> NDArray[np.int32]:
        parts = []
        while count > 0:
            if len(self._left) == 0:
                self._left = self._generator.permutation(self._members)
            parts.append(self._left[:count])
            self._left = self._left[count:]
            count -= len(parts[-1])
        return np.concatenate(parts) if parts else np.empty(0, np.int32)
