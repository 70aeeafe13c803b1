"""A multilayer perceptron 784-64-32-10 with ReLU."""

from bench.model.graph import Graph, Shape
from bench.model.zoo.builder import Builder

INPUT_SHAPE = (28, 28, 1)
CLASSES = 10


def build(input_shape: Shape, classes: int, seed: int) -> Graph:
    """Three dense layers."""
    net = Builder("mlp", input_shape, seed)
    net.dense(64)
    net.dense(32)
    net.dense(classes, activation="linear")
    return net.graph()
