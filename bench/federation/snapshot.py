"""Vectors as JSON can hold them, without losing a bit."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack(vector: NDArray[Any]) -> dict[str, str]:
    """A flat array of a fixed-size type, as little-endian bytes in base64."""
    little = vector.astype(vector.dtype.newbyteorder("<"), copy=False)
    return {"dtype": little.dtype.str, "base64": base64.b64encode(little.tobytes()).decode("ascii")}


def unpack(packed: Mapping[str, str]) -> NDArray[Any]:
    """What `pack` was given; read-only."""
    values = np.frombuffer(base64.b64decode(packed["base64"]), packed["dtype"])
    return values.astype(values.dtype.newbyteorder("="), copy=False)
