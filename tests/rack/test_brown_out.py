"""Power is cut in mid-flash; whatever that leaves, the next flash brings the board back. The benchmark does it at 200
points; here are 12, half of them on a part with sectors of 128 KB and half on one with pages of 1 KB."""

from __future__ import annotations

from bench.benchmarks.brown_out import examine


def test_the_next_flash_brings_a_board_back() -> None:
    points = examine(["plus2", "bit"], points=12, seed=0)
    assert len({(point.board, point.request) for point in points}) == 12
    assert {point.board for point in points} == {"plus2", "bit"}
    assert [point for point in points if not point.back] == []
    assert any(point.state != "runs" for point in points), "no cut came while flash was being written"
