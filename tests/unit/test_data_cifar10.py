"""CIFAR-10's binary files, made here, as nothing may be fetched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.data import cifar10
from bench.errors import ConfigError


def batch(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    records = np.zeros((10_000, 3073), np.uint8)
    records[:, 0] = np.arange(10_000) % 10
    records[:, 1:] = generator.integers(0, 256, (10_000, 1), np.uint8)  # a grey of its own for each image
    return records


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate((*cifar10.TRAIN_FILES, cifar10.TEST_FILE)):
        batch(index).tofile(folder / name)


def test_reads_planes_as_channels_and_standardises_each(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    write(folder)
    first = batch(0)
    first[7, 1 : 1 + 1024] = 255  # red
    first[7, 1 + 1024 : 1 + 2048] = 0  # green
    first[7, 1 + 2048 + 33] = 114  # one blue pixel: row 1, column 1
    first.tofile(folder / "data_batch_1.bin")
    for where in (folder, tmp_path):
        data = cifar10.load(where)
        assert data.train_x.shape == (50_000, 32, 32, 3)
        assert data.test_x.shape == (10_000, 32, 32, 3)
        assert (data.train_x[7, :, :, 0] == 127).all(), "(255 - 125.3) / 63 * 64 is above 127"
        assert (data.train_x[7, :, :, 1] == -127).all()
        assert data.train_x[7, 1, 1, 2] == 0
        np.testing.assert_array_equal(data.train_y[:12], np.arange(12) % 10)


def test_what_is_not_there_or_not_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data_batch_1.bin: No such file.*unpack cifar-10-binary.tar.gz"):
        cifar10.load(tmp_path)
    write(tmp_path)
    (tmp_path / "data_batch_3.bin").write_bytes(b"\0" * 3073)
    with pytest.raises(ConfigError, match=r"data_batch_3.bin: 3073 bytes, .* has 30730000"):
        cifar10.load(tmp_path)
    wrong = batch(2)
    wrong[5, 0] = 77
    wrong.tofile(tmp_path / "data_batch_3.bin")
    with pytest.raises(ConfigError, match="label 77"):
        cifar10.load(tmp_path)
