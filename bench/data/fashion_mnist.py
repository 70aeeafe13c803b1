"""Fashion-MNIST from Debian's package, reduced to what a microcontroller can hold.

The 28x28 grey images are reduced to 14x14 by the mean of 2x2 pixels. A feature is the standardised grey level
x = (m - 73) / 90, where 73 and 90 are mean and standard deviation of the training set's pixels in 0..255, stored as
int8 with exponent 6: q = round(64 x), that is -52 for black and, cut off, 127 for what is brighter than 251.
"""

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import ConfigError

FOLDER = Path("/usr/share/datasets/fashion-mnist")
PACKAGE = "dataset-fashion-mnist"
CLASSES = 10
EXPONENT = 6
"""A stored feature q stands for q * 2^-EXPONENT."""

_IMAGES_MAGIC = 2051
_LABELS_MAGIC = 2049
_SIDE = 28
_MEAN = 73
_DEVIATION = 90


@dataclass(frozen=True)
class Dataset:
    """Images as int8 features [N, 1, height, width] and their labels uint8 [N], for training and for test."""

    train_x: NDArray[np.int8]
    train_y: NDArray[np.uint8]
    test_x: NDArray[np.int8]
    test_y: NDArray[np.uint8]
    classes: int


def load(shape: tuple[int, int] = (14, 14), folder: Path = FOLDER) -> Dataset:
    """Reads the data set and reduces its images to `shape` by averaging.

    Args:
        shape: (height, width); each must divide 28.
        folder: where the four gzip-compressed IDX files lie.

    Raises:
        ConfigError: the files are absent (naming Debian's package) or not what they should be, or the shape does
            not divide the images.
    """
    if any(side <= 0 or _SIDE % side for side in shape):
        raise ConfigError(f"Fashion-MNIST: image shape {shape[0]}x{shape[1]} does not divide {_SIDE}x{_SIDE}")
    train_x, train_y = _split(folder, "train", shape)
    test_x, test_y = _split(folder, "t10k", shape)
    return Dataset(train_x, train_y, test_x, test_y, CLASSES)


def _split(folder: Path, name: str, shape: tuple[int, int]) -> tuple[NDArray[np.int8], NDArray[np.uint8]]:
    images = _read(folder / f"{name}-images-idx3-ubyte.gz", _IMAGES_MAGIC, 3)
    labels = _read(folder / f"{name}-labels-idx1-ubyte.gz", _LABELS_MAGIC, 1)
    if images.shape[1:] != (_SIDE, _SIDE) or len(images) != len(labels) or labels.max(initial=0) >= CLASSES:
        raise ConfigError(f"{folder}: {name} files are not Fashion-MNIST's; reinstall Debian's package {PACKAGE}")
    return reduce_images(images, shape), labels


def reduce_images(images: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.int8]:
    """Averages grey images [N, H, W] down to standardised int8 features [N, 1, *shape]; exact, halves rounded up."""
    count, height, width = images.shape
    rows, columns = height // shape[0], width // shape[1]
    blocks = images.reshape(count, shape[0], rows, shape[1], columns)
    total = blocks.sum(axis=(2, 4), dtype=np.int32)
    divisor = _DEVIATION * rows * columns
    features = (2 * 2**EXPONENT * (total - _MEAN * rows * columns) + divisor) // (2 * divisor)
    return np.asarray(np.clip(features, -128, 127)[:, np.newaxis], dtype=np.int8)


def _read(path: Path, magic: int, dimensions: int) -> NDArray[np.uint8]:
    """One IDX file: big-endian magic, sizes, then bytes."""
    try:
        with gzip.open(path, "rb") as stream:
            blob = stream.read()
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: not found; install Debian's package {PACKAGE} (apt-get install {PACKAGE})"
        ) from error
    except (OSError, EOFError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); reinstall Debian's package {PACKAGE}") from error
    header = 4 + 4 * dimensions
    if len(blob) < header:
        raise ConfigError(f"{path}: too short for an IDX file; reinstall Debian's package {PACKAGE}")
    found, *sizes = struct.unpack(f">{1 + dimensions}I", blob[:header])
    expected = int(np.prod(sizes, dtype=np.int64))
    if found != magic or len(blob) - header != expected:
        raise ConfigError(f"{path}: not the IDX file it should be; reinstall Debian's package {PACKAGE}")
    return np.frombuffer(blob, np.uint8, offset=header).reshape(sizes)
