"""The data partition of a board's flash: one shard, with a header that lets the board tell a damaged one.

Layout (docs/architecture.md, "Image and flash"): a 64-byte little-endian header `magic[8] count sample_bytes classes
crc32 shard_id[16]`, zero-padded, then `count` records of one label byte and `sample_bytes` int8 features.
"""

import hashlib
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.errors import ConfigError

MAGIC = b"FTTEDAT1"
HEADER_BYTES = 64
_HEADER = struct.Struct("<8sIIII16s")


@dataclass(frozen=True)
class Partition:
    """A parsed partition: features int8 [count, sample_bytes], labels uint8 [count]."""

    samples: NDArray[np.int8]
    labels: NDArray[np.uint8]
    classes: int
    crc32: int
    shard_id: bytes


def capacity(partition_bytes: int, sample_bytes: int) -> int:
    """How many samples a partition of so many bytes holds."""
    return max(0, partition_bytes - HEADER_BYTES) // (1 + sample_bytes)


def build(samples: NDArray[np.int8], labels: NDArray[np.uint8], classes: int) -> bytes:
    """The bytes of a partition.

    Args:
        samples: int8 features [count, ...]; the axes after the first are flattened.
        labels: class of each sample, below `classes`.
        classes: how many classes the task has.

    Raises:
        ConfigError: no samples, as many labels as samples are not given, or a label is out of range.
    """
    count = len(samples)
    if count == 0 or samples.size == 0 or len(labels) != count:
        raise ConfigError(f"data partition: {count} samples of {samples.shape[1:]} with {len(labels)} labels")
    if samples.dtype != np.int8 or int(labels.max()) >= classes:
        raise ConfigError(
            f"data partition: features must be int8 (are {samples.dtype}), labels below {classes} "
            f"(the highest is {int(labels.max())})"
        )
    flat = samples.reshape(count, -1)
    records = np.concatenate([labels.astype(np.uint8)[:, np.newaxis], flat.view(np.uint8)], axis=1).tobytes()
    header = _HEADER.pack(MAGIC, count, flat.shape[1], classes, zlib.crc32(records), _shard_id(records))
    return header.ljust(HEADER_BYTES, b"\0") + records


def parse(blob: bytes) -> Partition:
    """Reads a partition and checks all that its header says; what follows the records (erased flash) is ignored.

    Raises:
        ConfigError: there is no partition, or it is damaged.
    """
    if len(blob) < HEADER_BYTES or blob[: len(MAGIC)] != MAGIC:
        raise ConfigError(f"data partition: no {MAGIC.decode()} header; flash the board's data again")
    _, count, sample_bytes, classes, crc32, shard_id = _HEADER.unpack_from(blob)
    if any(blob[_HEADER.size : HEADER_BYTES]):
        raise ConfigError("data partition: header padding is not zero: damaged; flash the board's data again")
    size = count * (1 + sample_bytes)
    if count == 0 or sample_bytes == 0 or classes == 0 or len(blob) - HEADER_BYTES < size:
        raise ConfigError(
            f"data partition: header claims {count} samples of {sample_bytes} bytes in {classes} classes, "
            f"{len(blob) - HEADER_BYTES} bytes follow: damaged; flash the board's data again"
        )
    records = blob[HEADER_BYTES : HEADER_BYTES + size]
    found = zlib.crc32(records)
    if found != crc32 or _shard_id(records) != shard_id:
        raise ConfigError(
            f"data partition: CRC-32 is {found:#010x}, header says {crc32:#010x}: damaged; flash the board's data again"
        )
    table = np.frombuffer(records, np.uint8).reshape(count, 1 + sample_bytes)
    if int(table[:, 0].max()) >= classes:
        raise ConfigError(f"data partition: a label is not below {classes}; flash the board's data again")
    return Partition(table[:, 1:].copy().view(np.int8), table[:, 0].copy(), classes, crc32, shard_id)


def _shard_id(records: bytes) -> bytes:
    return hashlib.sha256(records).digest()[:16]
