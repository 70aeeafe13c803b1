"""What a client's sensor does to its images: gain, brightness and a displacement, one of each for a client.

Labels skewed by Dirichlet shares (split.py) are half of what makes clients differ; the other half is that no two
sensors see alike. A shift maps int8 features x to clip(round(gain * x + offset)), moved by whole pixels, with black
(the darkest feature) moving in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GAINS = (0.45, 1.0)
OFFSETS = (-10, 30)
"""In features: 64 are a standard deviation of the training set."""
PIXELS = 2
"""Of displacement, each way, at most."""


@dataclass(frozen=True)
class Shift:
    """One sensor."""

    gain: float = 1.0
    offset: int = 0
    rows: int = 0
    columns: int = 0

    @classmethod
    def draw(cls, seed: int, client: int) -> Shift:
        """Of a client: independent of how many clients there are."""
        generator = np.random.default_rng([seed, client, 0x5F])
        rows, columns = generator.integers(-PIXELS, PIXELS + 1, 2).tolist()
        return cls(float(generator.uniform(*GAINS)), int(generator.integers(*OFFSETS)), rows, columns)

    def apply(self, images: NDArray[np.int8]) -> NDArray[np.int8]:
        """Images [n, height, width, channels] as this sensor sees them."""
        if images.size == 0:
            return images
        seen = np.roll(images, (self.rows, self.columns), axis=(1, 2))
        black = images.min()
        for axis, by in ((1, self.rows), (2, self.columns)):
            edge = [slice(None)] * 4
            edge[axis] = slice(0, by) if by >= 0 else slice(by, None)
            if by:
                seen[tuple(edge)] = black
        found: NDArray[np.int8] = np.clip(np.rint(self.gain * seen.astype(np.float32) + self.offset), -128, 127).astype(
            np.int8
        )
        return found
