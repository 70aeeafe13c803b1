"""What each client does in each round: decided by the experiment alone, so that every run does the same."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Rounds of a federated run.

    `local_samples` steps of batch 1 per client and round; `learning_rate` of a round, counted from 1; a round ends
    `deadline_s` (wall time) after it began, and counts when at least `min_clients` have answered.
    """

    rounds: int
    local_samples: int
    learning_rate: Callable[[int], float]
    deadline_s: float
    min_clients: int
    seed: int

    def first_sample(self, round_: int, capacity: int) -> int:
        """Index of a round's first sample in a shard of `capacity`: each round goes on where the last one ended."""
        return (round_ - 1) * self.local_samples % capacity

    def seed_of(self, client: str, round_: int) -> int:
        """31-bit seed of a client's round: the first bytes of SHA-256 of `seed/client/round`."""
        text = f"{self.seed}/{client}/{round_}".encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:4], "little") & 0x7FFFFFFF
