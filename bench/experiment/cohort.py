"""Who holds which data: clients, their shards, and the boards that carry them.

A client is one shard of the training data. Each board is home to one client. A board that cannot run a variant (a core
without an FPU, float32) lends its client to the one with room that holds the least: so every side of a comparison
trains the same clients on the same samples. A board's data partition holds its own client's shard and those of its
guests, one after the other, and is the same for all variants.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.errors import ConfigError


@dataclass(frozen=True)
class Seat:
    """A client's place in a board's data partition: records [offset, offset + count)."""

    client: str
    board: str
    offset: int
    count: int


@dataclass(frozen=True)
class Cohort:
    """Shards and seats of a run.

    `shards` maps a client to the indices of its training samples, `seats` a variant to its clients' places, and
    `holdings` a board to the clients whose shards lie in its partition, in order.
    """

    shards: Mapping[str, NDArray[np.int64]]
    seats: Mapping[str, tuple[Seat, ...]]
    holdings: Mapping[str, tuple[str, ...]]

    def indices(self, board: str) -> NDArray[np.int64]:
        """Sample indices of a board's whole partition, in the order of its records."""
        return np.concatenate([self.shards[client] for client in self.holdings[board]])


def seat_clients(
    boards: Sequence[str],
    shards: Sequence[NDArray[np.int64]],
    capacities: Mapping[str, int],
    variants: Sequence[str],
    can_run: Callable[[str, str], bool],
) -> Cohort:
    """Gives each shard a home board and, for each variant, a board that can run it.

    Args:
        boards: home of client i is boards[i].
        shards: sample indices of client i.
        capacities: records that a board's data partition holds.
        variants: names of the variants.
        can_run: whether a board (first) can run a variant (second).

    Raises:
        ConfigError: no board can run a variant, or the shards do not fit.
    """
    clients = [f"client-{i + 1}" for i in range(len(boards))]
    by_client = dict(zip(clients, shards, strict=True))
    holdings: dict[str, list[str]] = {board: [client] for board, client in zip(boards, clients, strict=True)}
    load = {board: len(by_client[client]) for board, client in zip(boards, clients, strict=True)}
    hosts: dict[str, dict[str, str]] = {}
    for variant in variants:
        able = [board for board in boards if can_run(board, variant)]
        if not able:
            raise ConfigError(
                f"variant {variant}: no board of the rack can run it; remove it or add a board with an FPU"
            )
        hosts[variant] = {}
        for home, client in zip(boards, clients, strict=True):
            if home in able:
                hosts[variant][client] = home
                continue
            held = [board for board in able if client in holdings[board]]
            size = len(by_client[client])
            roomy = [board for board in able if load[board] + size <= capacities[board]]  # none: refused below, by name
            host = held[0] if held else min(roomy or able, key=lambda board: (load[board], board))
            if not held:
                holdings[host].append(client)
                load[host] += size
            hosts[variant][client] = host
    for board in boards:
        if load[board] > capacities[board]:
            raise ConfigError(
                f"board {board}: its partition holds {capacities[board]} samples, but {load[board]} are meant for it; "
                'lower data.train_samples, use more boards, or set data.placement = "stream"'
            )
    seats = {
        variant: tuple(_seat(client, hosts[variant][client], holdings, by_client) for client in clients)
        for variant in variants
    }
    return Cohort(by_client, seats, {board: tuple(held) for board, held in holdings.items()})


def _seat(
    client: str, board: str, holdings: Mapping[str, Sequence[str]], shards: Mapping[str, NDArray[np.int64]]
) -> Seat:
    before = holdings[board][: list(holdings[board]).index(client)]
    return Seat(client, board, sum(len(shards[other]) for other in before), len(shards[client]))
