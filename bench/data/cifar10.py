"""CIFAR-10's binary version from a user's folder: five training batches and a test batch of 10,000 records each.

A record is a label byte and 3,072 bytes: red, green and blue planes of 32x32 (Krizhevsky 2009, "Learning Multiple
Layers of Features from Tiny Images"; the archive is cifar-10-binary.tar.gz). The data set is in no package, and nothing
here fetches it. A feature is the standardised level of its channel, x = (m - mean) / deviation over the training set's
pixels, stored as int8 with exponent 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import ConfigError

CLASSES = 10
SHAPE = (32, 32, 3)
EXPONENT = 6
"""A stored feature q stands for q * 2^-EXPONENT."""

TRAIN_FILES = tuple(f"data_batch_{index}.bin" for index in range(1, 6))
TEST_FILE = "test_batch.bin"
_SUBFOLDER = "cifar-10-batches-bin"
_RECORD = 1 + 3 * 32 * 32
_RECORDS = 10_000
# Of the training set's pixels in 0..255, by channel.
_MEANS = np.array([125.3, 123.0, 113.9])
_DEVIATIONS = np.array([63.0, 62.1, 66.7])


@dataclass(frozen=True)
class Dataset:
    """Images as int8 features [N, 32, 32, 3] and their labels uint8 [N], for training and for test."""

    train_x: NDArray[np.int8]
    train_y: NDArray[np.uint8]
    test_x: NDArray[np.int8]
    test_y: NDArray[np.uint8]


def load(folder: Path) -> Dataset:
    """Reads the six files; `folder` is theirs, or the one that the archive was unpacked in.

    Raises:
        ConfigError: a file is absent or not what it should be; the message says which, and what to do.
    """
    inner = folder / _SUBFOLDER
    source = inner if inner.is_dir() else folder
    train_x, train_y = _read([source / name for name in TRAIN_FILES])
    test_x, test_y = _read([source / TEST_FILE])
    return Dataset(train_x, train_y, test_x, test_y)


def _read(paths: Sequence[Path]) -> tuple[NDArray[np.int8], NDArray[np.uint8]]:
    records = np.concatenate([_records(path) for path in paths])
    labels = records[:, 0].copy()
    planes = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    # A level has one feature for each channel: a table of 256 rows instead of arithmetic on millions of pixels.
    table = np.rint((np.arange(256)[:, np.newaxis] - _MEANS) / _DEVIATIONS * 2**EXPONENT)
    features = np.clip(table, -128, 127).astype(np.int8)
    found = np.empty(planes.shape, np.int8)
    for channel in range(3):
        found[..., channel] = features[planes[..., channel], channel]
    return found, labels


def _records(path: Path) -> NDArray[np.uint8]:
    try:
        blob = np.fromfile(path, np.uint8)
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}: unpack cifar-10-binary.tar.gz and name the folder with data_batch_1.bin to "
            "data_batch_5.bin and test_batch.bin"
        ) from error
    if len(blob) != _RECORDS * _RECORD:
        raise ConfigError(
            f"{path}: {len(blob)} bytes, CIFAR-10's binary version has {_RECORDS * _RECORD}: fetch it again"
        )
    records = blob.reshape(_RECORDS, _RECORD)
    if records[:, 0].max() >= CLASSES:
        raise ConfigError(
            f"{path}: label {records[:, 0].max()}: not CIFAR-10's binary version (CIFAR-100 has two labels)"
        )
    return records
