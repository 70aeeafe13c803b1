"""The demo's network: one convolution, a max-pool and a dense layer; 4,450 parameters at 14x14."""

from bench.model.graph import Graph, Shape
from bench.model.zoo.builder import Builder

INPUT_SHAPE = (14, 14, 1)
CLASSES = 10


def build(input_shape: Shape, classes: int, seed: int) -> Graph:
    """Convolution 3x3 with 12 channels and no padding, 2x2 max-pool, dense."""
    net = Builder("demo-cnn", input_shape, seed)
    net.conv(12, 3, pad="valid")
    net.max_pool(2)
    net.dense(classes, activation="linear")
    return net.graph()
