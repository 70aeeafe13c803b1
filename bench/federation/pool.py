"""The clients of a federation, and a seeded choice among those that are free."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bench.errors import ConfigError


class Standing(enum.StrEnum):
    """How a client stands."""

    FREE = "free"
    WORKING = "working"
    RESTING = "resting"
    """Here, but not to be chosen now: it has had its part in the open round."""
    AWAY = "away"


class End(enum.StrEnum):
    """How a client's last job ended."""

    ANSWERED = "answered"
    CANCELLED = "cancelled"
    LOST = "lost"


_FREE = Standing.FREE
_BLOCK = 512  # clients
_HALVES = [(width, (1 << width) - 1) for width in (256, 128, 64, 32, 16, 8, 4, 2, 1)]


class Seat:
    """A client: its place in the order of registration, and a fixed amount of memory about it."""

    __slots__ = ("ended", "failures", "index", "job", "last_job", "name", "standing")

    def __init__(self, name: str, index: int) -> None:
        self.name = name
        self.index = index
        self.standing = Standing.AWAY
        self.job = 0  # open; 0 is none, jobs are counted from 1
        self.last_job = 0
        self.ended = End.LOST
        self.failures = 0  # in a row


class Pool:
    """Clients by name.

    A choice draws uniformly among free clients in the order of registration, so that it depends on who is free and not
    on who was free first. Draw i is taken from SHA-256 of `seed/i`: the state is one number, and the same on every
    platform. Who is free is a bit in blocks of bits: at ten thousand clients, choosing one takes some microseconds, and
    a tree of counts takes twice as long, for it is all over memory.
    """

    def __init__(self, seed: int) -> None:
        self.free = 0
        self._seed = seed
        self._draws = 0
        self._seats: dict[str, Seat] = {}
        self._order: list[Seat] = []
        self._free_bits: list[int] = []  # of a block of clients each
        self._free_counts: list[int] = []
        self._prefix = hashlib.sha256(f"{seed}/".encode())

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Seat]:
        return iter(self._order)

    def __getitem__(self, name: str) -> Seat:
        """The client of a name. Raises KeyError."""
        return self._seats[name]

    def get(self, name: str) -> Seat | None:
        """The client of a name, if there is one."""
        return self._seats.get(name)

    def add(self, names: Iterable[str]) -> None:
        """Registers clients, who are away until they are released. Raises ConfigError for a name that is taken."""
        for name in names:
            if name in self._seats:
                raise ConfigError(f"clients need names of their own: {name}")
            seat = Seat(name, len(self._order))
            self._seats[name] = seat
            self._order.append(seat)
        blocks = -(-len(self._order) // _BLOCK) - len(self._free_bits)
        self._free_bits += [0] * blocks
        self._free_counts += [0] * blocks

    def stand(self, seat: Seat, standing: Standing) -> None:
        """Changes how a client stands."""
        before, seat.standing = seat.standing, standing
        change = (standing is _FREE) - (before is _FREE)
        if change:
            block, bit = divmod(seat.index, _BLOCK)
            self.free += change
            self._free_counts[block] += change
            self._free_bits[block] ^= 1 << bit

    def choose(self) -> Seat:
        """A free client, who is working from now on. Raises IndexError if there is none."""
        if not self.free:
            raise IndexError("no client is free")
        seat = self._order[self._find(self._below(self.free))]
        self.stand(seat, Standing.WORKING)
        return seat

    def to_state(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        seats = [[s.name, s.standing.value, s.job, s.last_job, s.ended.value, s.failures] for s in self._order]
        return {"seed": self._seed, "draws": self._draws, "seats": seats}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Pool:
        """The pool that `to_state` was asked of."""
        pool = cls(state["seed"])
        pool._draws = state["draws"]
        pool.add(seat[0] for seat in state["seats"])
        for name, standing, job, last_job, ended, failures in state["seats"]:
            seat = pool[name]
            seat.job, seat.last_job, seat.ended, seat.failures = job, last_job, End(ended), failures
            pool.stand(seat, Standing(standing))
        return pool

    def _below(self, count: int) -> int:
        """The next draw, from 0 to `count` - 1. The bias of the product is below count / 2^64."""
        digest = self._prefix.copy()
        digest.update(b"%d" % self._draws)
        self._draws += 1
        return int.from_bytes(digest.digest()[:8], "little") * count >> 64

    def _find(self, rank: int) -> int:
        """Index of the free client before whom there are `rank` others."""
        index = 0
        for block, count in enumerate(self._free_counts):
            if rank < count:
                index = block * _BLOCK
                bits = self._free_bits[block]
                break
            rank -= count
        for width, lower in _HALVES:
            below = bits & lower
            count = below.bit_count()
            if rank < count:
                bits = below
            else:
                rank -= count
                bits >>= width
                index += width
        return index
