"""DS-CNN, keyword spotting of MLPerf Tiny (after Zhang et al. 2017, arXiv:1711.07128), batch normalisation folded.

Its dropout has no counterpart here.
"""

from bench.model.graph import Graph, Shape
from bench.model.zoo.builder import Builder

INPUT_SHAPE = (49, 10, 1)
CLASSES = 12
_CHANNELS = 64
_BLOCKS = 4


def build(input_shape: Shape, classes: int, seed: int) -> Graph:
    """A 10x4 convolution of stride 2, four depthwise-separable blocks, global average pool, dense."""
    net = Builder("ds-cnn", input_shape, seed)
    net.conv(_CHANNELS, (10, 4), stride=2)
    for _ in range(_BLOCKS):
        net.depthwise(3)
        net.conv(_CHANNELS, 1)
    net.global_average()
    net.dense(classes, activation="linear")
    return net.graph()
