"""MobileNetV1 with width 0.25 (Howard et al. 2017, arXiv:1704.04861), visual wake words of MLPerf Tiny.

Batch normalisation folded; plain ReLU, as in MLPerf Tiny's reference.
"""

from bench.model.graph import Graph, Shape
from bench.model.zoo.builder import Builder

INPUT_SHAPE = (96, 96, 3)
CLASSES = 2
_FIRST = 8
_BLOCKS = (
    (16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (128, 1), (128, 1), (128, 1), (128, 1), (256, 2),
    (256, 1),
)  # fmt: skip
"""Output channels and stride of each depthwise-separable block."""


def build(input_shape: Shape, classes: int, seed: int) -> Graph:
    """A 3x3 convolution of stride 2, 13 depthwise-separable blocks, global average pool, dense."""
    net = Builder("mobilenet-v1-0.25", input_shape, seed)
    net.conv(_FIRST, 3, stride=2)
    for channels, stride in _BLOCKS:
        net.depthwise(3, stride=stride)
        net.conv(channels, 1)
    net.global_average()
    net.dense(classes, activation="linear")
    return net.graph()
