"""Instructions between marked addresses of a virtual board's image: what the QEMU plug-in call_counter writes."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from bench.errors import InfrastructureError

_MAGIC: Final = b"FTTECAL1"
_HEADER = struct.Struct("<8sQ")
_COUNT = struct.Struct("<QQ")


def read_calls(path: Path) -> list[tuple[int, int]]:
    """Instructions executed from each mark on until the next, and visits of the mark, in the order of the marks' file.

    Raises InfrastructureError: the file is not there or not what the plug-in writes.
    """
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise InfrastructureError(f"{path}: no count of calls: {error.strerror}") from error
    if len(blob) < _HEADER.size or blob[:8] != _MAGIC:
        raise InfrastructureError(f"{path}: not a count of calls")
    _, marks = _HEADER.unpack_from(blob)
    if len(blob) != _HEADER.size + marks * _COUNT.size:
        raise InfrastructureError(f"{path}: a count of calls that is cut off")
    return [_COUNT.unpack_from(blob, _HEADER.size + index * _COUNT.size) for index in range(marks)]
