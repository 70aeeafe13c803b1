"""What each client does in its turns: decided by the experiment alone, so that every run does the same."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """`local_samples` steps of batch 1 per turn; `learning_rate` of a server step, counted from 1.

    A client's turns are counted from 1: where the server steps in rounds, by the rounds, and else by what the client
    has been asked.
    """

    local_samples: int
    learning_rate: Callable[[int], float]
    seed: int

    def first_sample(self, turn: int, capacity: int) -> int:
        """Index of a turn's first sample in a shard of `capacity`: each turn goes on where the last one ended."""
        return (turn - 1) * self.local_samples % capacity

    def seed_of(self, client: str, turn: int) -> int:
        """31-bit seed of a client's turn: the first bytes of SHA-256 of `seed/client/turn`."""
        text = f"{self.seed}/{client}/{turn}".encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:4], "little") & 0x7FFFFFFF
