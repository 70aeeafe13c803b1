"""The fully connected autoencoder of MLPerf Tiny's anomaly detection, batch normalisation folded.

640 features: five frames of 128 mel bands. The loss compares the output with the sample itself.
"""

import math

from bench.errors import ConfigError
from bench.model.graph import Graph, Shape
from bench.model.zoo.builder import Builder

INPUT_SHAPE = (1, 1, 640)
CLASSES = None
_HIDDEN = (128, 128, 128, 128, 8, 128, 128, 128, 128)


def build(input_shape: Shape, classes: int, seed: int) -> Graph:
    """Nine hidden dense layers with ReLU; as many outputs as features."""
    features = math.prod(input_shape)
    if classes not in (0, features):
        raise ConfigError(
            f"model autoencoder: has no classes, it reconstructs its {features} inputs: leave classes out"
        )
    net = Builder("autoencoder", input_shape, seed)
    for units in _HIDDEN:
        net.dense(units)
    net.dense(features, activation="linear")
    return net.graph("mean_squared_error")
