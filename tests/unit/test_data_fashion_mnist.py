"""The Fashion-MNIST loader: what a feature means, and what is said when the files are not there or not right."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from bench.data import fashion_mnist
from bench.errors import ConfigError


def test_the_whole_set() -> None:
    data = fashion_mnist.load()
    assert data.train_x.shape == (60000, 1, 14, 14)
    assert data.test_x.shape == (10000, 1, 14, 14)
    assert data.train_x.dtype == data.test_x.dtype == np.int8
    assert np.bincount(data.train_y).tolist() == [6000] * 10
    assert np.bincount(data.test_y).tolist() == [1000] * 10
    assert data.classes == 10
    features = data.train_x / 2.0**fashion_mnist.EXPONENT
    assert abs(features.mean()) < 0.02  # standardised
    assert 0.85 < features.std() < 1.0  # averaging four pixels takes a little of the deviation of one
    assert data.train_x.min() == -52  # black
    assert data.train_x.max() == 127  # white


def test_a_feature_is_the_rounded_standardised_mean_of_its_pixels() -> None:
    generator = np.random.default_rng(1)
    images = generator.integers(0, 256, (20, 28, 28)).astype(np.uint8)
    for shape in ((14, 14), (7, 14), (28, 28), (4, 7)):
        found = fashion_mnist.reduce_images(images, shape)
        rows, columns = 28 // shape[0], 28 // shape[1]
        for n, y, x in generator.integers(0, (20, *shape), (50, 3)):
            block = images[n, y * rows : (y + 1) * rows, x * columns : (x + 1) * columns].astype(float)
            exact = (block.mean() - 73) / 90 * 64
            assert abs(found[n, 0, y, x] - min(exact, 127)) <= 0.5 + 1e-9


def test_a_shape_that_does_not_divide_the_images_is_refused() -> None:
    for shape in ((13, 14), (0, 14), (56, 28)):
        with pytest.raises(ConfigError, match="does not divide"):
            fashion_mnist.load(shape)


def test_absent_files_name_the_package(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="apt-get install dataset-fashion-mnist"):
        fashion_mnist.load(folder=tmp_path)


@pytest.mark.parametrize("damage", ["not gzip", "cut", "other magic", "short header"])
def test_damaged_files_are_not_read(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    content = struct.pack(">4I", 2051, 1, 28, 28) + bytes(28 * 28)
    if damage == "not gzip":
        path.write_bytes(b"hello")
    elif damage == "cut":
        path.write_bytes(gzip.compress(content[:-1]))
    elif damage == "other magic":
        path.write_bytes(gzip.compress(b"\0" + content[1:3] + b"\7" + content[4:]))
    else:
        path.write_bytes(gzip.compress(content[:7]))
    with pytest.raises(ConfigError, match="train-images"):
        fashion_mnist.load(folder=tmp_path)
