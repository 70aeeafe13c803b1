"""Downloads: the difference between two versions of what is sent down, without loss."""

from __future__ import annotations

import json

import numpy as np
import pytest
from codec_cases import make_plan, parameters, plans
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bench.errors import ConfigError
from bench.federation.download_codec import decode_download, encode_download
from bench.model.wire import Segment, segments_of

EXAMPLES = hypothesis_settings(max_examples=150, deadline=None)
BYTES = (Segment(words=False, count=6),)


def test_a_difference_by_hand() -> None:
    """1, 0, 0, -1, 0, 0 in zigzag is 2, 0, 0, 1, 0, 0. Rice with k = 0 takes 9 bits, two bits each 12: code 33 + 0.

    Bits, the first of each byte lowest: 100001 (33), then 001 1 1 01 1 1: 1000 0100 = 21, 1110 111 = 77.
    """
    old, new = bytes([5, 5, 5, 0, 9, 9]), bytes([6, 5, 5, 255, 9, 9])
    message = bytes.fromhex("13 06000000 21 77")
    assert decode_download(BYTES, message, old) == new
    assert encode_download(BYTES, new, old) == message


def test_what_is_all_new_is_sent_as_it_is() -> None:
    new = bytes([0x80, 0x7F, 0x81, 0x55, 0xAA, 0xC3])
    assert encode_download(BYTES, new, bytes(6)) == bytes([0x12, 6, 0, 0, 0]) + new


def test_tensors_of_one_width_are_one_segment() -> None:
    plan = make_plan([(3, "int8", "int8"), (2, "int32", None), (5, "int8", None), (1, "float32", None)])
    assert segments_of(plan) == (Segment(words=True, count=3), Segment(words=False, count=8))


@pytest.mark.parametrize("vector", range(6))
def test_golden_vectors(project_root, vector: int) -> None:
    stored = json.loads((project_root / "tests/golden/federation/downloads.json").read_text())
    assert len(stored) == 6
    case = stored[vector]
    old, new, blob = (bytes.fromhex(case[key]) for key in ("old", "new", "blob"))
    words = case["words"]
    both = (Segment(words=True, count=words), Segment(words=False, count=len(old) - 4 * words))
    segments = tuple(segment for segment in both if segment.count)
    assert encode_download(segments, new, old) == blob
    assert decode_download(segments, blob, old) == new


@EXAMPLES
@given(plan=plans(), seed=st.integers(0, 2**32), spread=st.one_of(st.just(0.0), st.floats(0, 33)))
def test_round_trip(plan, seed: int, spread: float) -> None:
    params, old = parameters(plan, np.random.default_rng(seed), spread)
    new, segments = params[: plan.down_bytes], segments_of(plan)
    message = encode_download(segments, new, old)
    assert decode_download(segments, message, old) == new
    assert len(message) <= 5 + len(new)


@EXAMPLES
@given(plan=plans(), seed=st.integers(0, 2**32), data=st.data())
def test_a_damaged_download_is_refused_or_means_something(plan, seed: int, data) -> None:
    params, old = parameters(plan, np.random.default_rng(seed), 2)
    new, segments = params[: plan.down_bytes], segments_of(plan)
    message = bytearray(encode_download(segments, new, old))
    how = data.draw(st.sampled_from(("cut", "lengthen", "change", "random")))
    if how == "cut":
        del message[data.draw(st.integers(0, len(message) - 1)) :]
    elif how == "lengthen":
        message += data.draw(st.binary(min_size=1, max_size=9))
    elif how == "change":
        message[data.draw(st.integers(0, len(message) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        message[5:] = data.draw(st.binary(max_size=200))
    try:
        decoded = decode_download(segments, bytes(message), old)
    except ConfigError:
        return
    assert how not in ("cut", "lengthen"), "an end that is not the blocks' own"
    assert len(decoded) == len(new)


def test_other_lengths_are_refused() -> None:
    message = encode_download(BYTES, bytes(6), bytes(6))
    with pytest.raises(ConfigError, match="7 bytes of the new version, the plan says 6"):
        encode_download(BYTES, bytes(7), bytes(6))
    with pytest.raises(ConfigError, match="5 bytes of the old version"):
        decode_download(BYTES, message, bytes(5))
    with pytest.raises(ConfigError, match="for 7 bytes"):
        decode_download((Segment(words=False, count=7),), message, bytes(7))
