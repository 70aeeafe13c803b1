"""The data partition: the architecture page's layout, and no damage goes unseen."""

from __future__ import annotations

import hashlib
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import partition
from bench.errors import ConfigError


def made(count: int = 5, size: int = 4, classes: int = 10) -> bytes:
    generator = np.random.default_rng(count)
    samples = generator.integers(-128, 128, (count, 1, size // 2, 2)).astype(np.int8)
    return partition.build(samples, generator.integers(0, classes, count).astype(np.uint8), classes)


def test_the_layout_is_the_documented_one() -> None:
    samples = np.array([[1, -2, 3], [4, 5, -6]], np.int8)
    blob = partition.build(samples, np.array([7, 0], np.uint8), 10)
    records = bytes([7, 1, 254, 3, 0, 4, 5, 250])
    header = b"FTTEDAT1" + struct.pack("<4I", 2, 3, 10, zlib.crc32(records)) + hashlib.sha256(records).digest()[:16]
    assert blob == header + bytes(64 - len(header)) + records


@given(count=st.integers(1, 30), size=st.integers(1, 20), classes=st.integers(1, 255), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_what_is_built_is_parsed_again_also_before_erased_flash(count: int, size: int, classes: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    samples = generator.integers(-128, 128, (count, size)).astype(np.int8)
    labels = generator.integers(0, classes, count).astype(np.uint8)
    blob = partition.build(samples, labels, classes)
    found = partition.parse(blob + b"\xff" * 100)
    np.testing.assert_array_equal(found.samples, samples)
    np.testing.assert_array_equal(found.labels, labels)
    assert (found.classes, found.crc32) == (classes, zlib.crc32(blob[64:]))
    assert partition.capacity(len(blob), size) == count
    assert partition.capacity(len(blob) - 1, size) == count - 1


def test_every_flipped_bit_is_found() -> None:
    blob = made()
    for bit in range(8 * len(blob)):
        damaged = bytearray(blob)
        damaged[bit // 8] ^= 1 << bit % 8
        with_classes = 16 <= bit // 8 < 20
        try:
            found = partition.parse(bytes(damaged))
        except ConfigError:
            continue
        assert with_classes, f"bit {bit % 8} of byte {bit // 8} went unseen"
        assert found.classes != 10, "the number of classes is checked against the program's by the board"


@pytest.mark.parametrize("blob", [b"", b"\xff" * 200, made()[:63], made()[:-1]])
def test_what_is_no_partition_is_refused(blob: bytes) -> None:
    with pytest.raises(ConfigError, match="flash the board's data again"):
        partition.parse(blob)


@pytest.mark.parametrize(
    ("samples", "labels", "classes"),
    [
        (np.zeros((0, 4), np.int8), np.zeros(0, np.uint8), 10),
        (np.zeros((2, 4), np.int8), np.zeros(3, np.uint8), 10),
        (np.zeros((2, 4), np.uint8), np.zeros(2, np.uint8), 10),
        (np.zeros((2, 4), np.int8), np.array([0, 10], np.uint8), 10),
        (np.zeros((2, 0), np.int8), np.zeros(2, np.uint8), 10),
    ],
)
def test_what_cannot_be_a_partition_is_not_built(samples: np.ndarray, labels: np.ndarray, classes: int) -> None:
    with pytest.raises(ConfigError, match="data partition"):
        partition.build(samples, labels, classes)
