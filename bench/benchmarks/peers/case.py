"""What all sides of a comparison do, as files: case.json and arrays.npz in a folder.

Weights are float32 [out, kernel_h, kernel_w, in / groups], the tensors are called `LAYER.weight` and `LAYER.bias`.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Weights = dict[str, Floats]

TOLERANCE = 1e-4
"""How far the median client's update may lie from the expected one: the length of the difference of the weights over
the length of the expected update. float32 sums in another order differ by about 1e-6 of it."""
PARTED = 2e-2
"""The same for every client. Where a sum is zero but for its rounding, a ReLU passes it on one side and not on the
other, and from that step on the weights part: rarely, and float32 from float64 no less than two float32 sides."""


@dataclass(frozen=True)
class Case:
    """Clients that all begin with `start` and make one pass over their own samples by plain SGD.

    `layers`: in order, each with `op` (conv, dense, max_pool, avg_pool), `kernel`, `stride`, `pad` (top, left, bottom,
    right), `relu`, and, where it has weights, `name` and `groups`. `x` float32 [clients, samples, h, w, c], `y` int64
    [clients, samples]. `expected`: the weights with which the first clients end. A measurement is `repeats` rounds
    in about `seconds`, fewer if they take longer.
    """

    layers: Sequence[Mapping[str, Any]]
    batch: int
    rate: float
    repeats: int
    seconds: float
    x: Floats
    y: NDArray[np.int64]
    start: Weights
    expected: Sequence[Weights]

    @property
    def clients(self) -> int:
        """How many hold samples."""
        return len(self.x)

    @property
    def steps(self) -> int:
        """Of a client's update."""
        return int(self.x.shape[1]) // self.batch


def save(case: Case, folder: Path) -> None:
    """Writes a case, whose features must be multiples of 1/64 from -2 to below 2, into an existing folder."""
    said = {"layers": case.layers, "batch": case.batch, "rate": case.rate, "repeats": case.repeats,
            "seconds": case.seconds, "expected": len(case.expected)}  # fmt: skip
    arrays = {f"start/{name}": value for name, value in case.start.items()}
    for client, weights in enumerate(case.expected):
        arrays |= {f"expected/{client}/{name}": value for name, value in weights.items()}
    (folder / "case.json").write_text(json.dumps(said), encoding="utf-8")
    x = np.rint(case.x * 64).astype(np.int8)
    np.savez(folder / "arrays.npz", allow_pickle=False, x=x, y=case.y.astype(np.uint8), **arrays)


def load(folder: Path) -> Case:
    """Reads what save() wrote."""
    said = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:

        def tensors(prefix: str) -> Weights:
            return {name.removeprefix(prefix): arrays[name] for name in arrays.files if name.startswith(prefix)}

        expected = [tensors(f"expected/{client}/") for client in range(said.pop("expected"))]
        x = arrays["x"].astype(np.float32) / 64
        return Case(x=x, y=arrays["y"].astype(np.int64), start=tensors("start/"), expected=expected, **said)


def check(case: Case, found: Sequence[Weights]) -> dict[str, float]:
    """Distances of the first clients' updates from the expected ones, as TOLERANCE has them: `median` and `most`.

    Raises:
        SystemExit: one is larger than it may be, or the clients are not those that were expected.
    """
    if len(found) != len(case.expected):
        raise SystemExit(f"{len(found)} clients, expected {len(case.expected)}")
    distances = [_distance(case.start, *pair) for pair in zip(case.expected, found, strict=True)]
    median, most = statistics.median(distances), max(distances)
    if not (median <= TOLERANCE and most <= PARTED):
        raise SystemExit(
            f"updates are {median:.1e} (median) and {most:.1e} (most) of their length away from ours, more than "
            f"{TOLERANCE} or {PARTED}"
        )
    return {"median": median, "most": most}


def _distance(start: Weights, expected: Weights, found: Weights) -> float:
    if {name: value.shape for name, value in expected.items()} != {name: value.shape for name, value in found.items()}:
        return float("inf")
    apart = sum(float(np.sum((found[name].astype(np.float64) - expected[name]) ** 2)) for name in expected)
    moved = sum(float(np.sum((expected[name].astype(np.float64) - start[name]) ** 2)) for name in expected)
    distance = float(np.sqrt(apart / moved)) if moved > 0 else float("inf")
    return distance if np.isfinite(distance) else float("inf")
