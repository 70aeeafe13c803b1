"""Bytes on the wire by formula, beside frames that are built."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.link import messages
from bench.link.frame import Frame
from bench.link.size import Wire, exchange, frame_bytes, read, training_round, write


@given(st.binary(max_size=2000))
def test_a_frame_is_at_most_as_long_as_said_and_hardly_shorter(payload: bytes) -> None:
    actual = len(Frame(3, 16, 7, payload).encode())
    assert 0 <= frame_bytes(len(payload)) - actual <= 1 + len(payload) // 254


@given(st.integers(0, 3000))
def test_without_zeros_it_is_exact(size: int) -> None:
    header_has_zeros = len(Frame(3, 16, 7, b"\x55" * size).encode())
    assert frame_bytes(size) - header_has_zeros in (0, 1)


@given(st.integers(0, 20_000), st.sampled_from([64, 256, 1024]))
def test_chunks_add_up(size: int, chunk: int) -> None:
    step = chunk - messages.WRITE.size
    parts = [min(step, size - at) for at in range(0, size, step)]
    sent = sum((exchange(part + messages.WRITE.size, 0) for part in parts), Wire(0, 0))
    assert write(size, chunk) == sent
    parts = [min(chunk, size - at) for at in range(0, size, chunk)]
    fetched = sum((exchange(messages.READ.size, part) for part in parts), Wire(0, 0))
    assert read(size, chunk) == fetched


def test_a_round_is_its_parts() -> None:
    whole = training_round(1000, 700, 1024)
    assert whole.down > 1000
    assert whole.up > 700
    assert whole.total < 1700 + 200
