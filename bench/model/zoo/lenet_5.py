"""LeNet-5 (LeCun et al. 1998) as it is built today: ReLU and max-pools, every map of C3 reading every map of S2.

61,706 parameters at 28x28, where the first convolution pads by 2 to the original's 32x32.
"""

from bench.model.graph import Graph, Shape
from bench.model.zoo.builder import Builder

INPUT_SHAPE = (28, 28, 1)
CLASSES = 10


def build(input_shape: Shape, classes: int, seed: int) -> Graph:
    """Two convolutions with pools, three dense layers."""
    net = Builder("lenet-5", input_shape, seed)
    net.conv(6, 5, pad=2)
    net.max_pool(2)
    net.conv(16, 5, pad="valid")
    net.max_pool(2)
    net.dense(120)
    net.dense(84)
    net.dense(classes, activation="linear")
    return net.graph()
