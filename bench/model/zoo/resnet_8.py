"""ResNet-8, image classification of MLPerf Tiny, batch normalisation folded.

Without batch normalisation the variance would double with every sum. Therefore the last convolution of each residual
branch begins at half its usual size, in the spirit of Fixup (Zhang et al. 2019, arXiv:1901.09321): the branches begin
as small corrections, and the network trains from scratch.
"""

from bench.model.graph import Graph, Shape
from bench.model.zoo.builder import Builder

INPUT_SHAPE = (32, 32, 3)
CLASSES = 10
_STACKS = (16, 32, 64)
BRANCH_GAIN = 0.5


def build(input_shape: Shape, classes: int, seed: int) -> Graph:
    """A 3x3 convolution, three residual stacks of one block each, global average pool, dense."""
    net = Builder("resnet-8", input_shape, seed)
    net.conv(_STACKS[0], 3)
    for index, channels in enumerate(_STACKS):
        _block(net, channels, stride=1 if index == 0 else 2)
    net.global_average()
    net.dense(classes, activation="linear")
    return net.graph()


def _block(net: Builder, channels: int, stride: int) -> None:
    """Two 3x3 convolutions beside the identity; beside a 1x1 convolution where the shape changes."""
    start = net.last
    net.conv(channels, 3, stride=stride)
    branch = net.conv(channels, 3, activation="linear", gain=BRANCH_GAIN)
    if stride > 1:
        start = net.conv(channels, 1, stride=stride, activation="linear", source=start)
    net.add(start, branch, activation="relu")
