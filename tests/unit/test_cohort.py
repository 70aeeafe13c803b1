"""Clients get boards: one home each, and a guest seat where the home cannot run a variant."""

import numpy as np
import pytest

from bench.errors import ConfigError
from bench.experiment.cohort import Cohort, seat_clients

BOARDS = ["f4-a", "f4-b", "f2", "m0"]
SHARDS = [np.arange(0, 40), np.arange(40, 70), np.arange(70, 90), np.arange(90, 100)]


def seat(capacity: int = 1000) -> Cohort:
    return seat_clients(
        BOARDS,
        SHARDS,
        dict.fromkeys(BOARDS, capacity),
        ["int8", "float32"],
        lambda board, variant: variant == "int8" or board.startswith("f4"),
    )


def test_every_variant_trains_every_client_on_the_same_samples() -> None:
    cohort = seat()
    for seats in cohort.seats.values():
        assert [s.client for s in seats] == ["client-1", "client-2", "client-3", "client-4"]
        for client, shard in zip(seats, SHARDS, strict=True):
            held = cohort.indices(client.board)
            assert np.array_equal(held[client.offset : client.offset + client.count], shard)


def test_at_home_where_it_can_run_and_with_the_least_loaded_host_where_not() -> None:
    cohort = seat()
    assert [s.board for s in cohort.seats["int8"]] == BOARDS
    assert [s.board for s in cohort.seats["float32"]] == ["f4-a", "f4-b", "f4-b", "f4-a"]
    assert cohort.holdings["f4-b"] == ("client-2", "client-3")


def test_no_board_for_a_variant() -> None:
    with pytest.raises(ConfigError, match="variant float32: no board"):
        seat_clients(BOARDS, SHARDS, dict.fromkeys(BOARDS, 1000), ["float32"], lambda _board, _variant: False)


def test_a_partition_that_is_too_small() -> None:
    with pytest.raises(ConfigError, match="board f4-a: its partition holds 45 samples, but 50"):
        seat(capacity=45)


def test_a_guest_goes_where_there_is_room_for_it() -> None:
    shards = [np.arange(40), np.arange(20), np.arange(30)]
    capacities = {
        "large": 100,
        "small": 35,
        "no-fpu": 100,
    }  # small holds the least, but not a guest of 30 beside its 20
    cohort = seat_clients(
        ["large", "small", "no-fpu"], shards, capacities, ["float32"], lambda board, _variant: board != "no-fpu"
    )
    assert [seat.board for seat in cohort.seats["float32"]] == ["large", "small", "large"]
