"""MCUNet-5fps (Lin et al. 2020, arXiv:2007.10319) at 128x128, layer by layer from mcunet_5fps.csv.

The csv is the graph that TinyTrainingEngine ships, with its "49 KB" sparse update scheme (scheme tte-49kb). Nodes have
the kind and the number of their row: conv0, dw1, ... add9, ... pool49, conv50. The last convolution of each residual
branch begins at half its usual size, as in resnet_8.py.
"""

import csv
from functools import cache
from pathlib import Path

from bench.errors import ConfigError
from bench.model.graph import Activation, Graph, Shape
from bench.model.zoo.builder import Builder
from bench.model.zoo.resnet_8 import BRANCH_GAIN

NAME = "mcunet-5fps"
INPUT_SHAPE = (128, 128, 3)
CLASSES = 10
TABLE = Path(__file__).with_name("mcunet_5fps.csv")

Row = dict[str, str]
_KINDS = {"conv_2d": "conv", "depthwise_conv_2d": "dw", "add": "add", "average_pool_2d": "pool"}
_ACTIVATIONS: dict[str, Activation] = {"linear": "linear", "relu6": "relu6"}


@cache
def table() -> tuple[Row, ...]:
    """The csv's rows, in order."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return tuple(csv.DictReader(file))


def node_name(row: Row) -> str:
    """What the zoo calls a row of the table."""
    return _KINDS[row["op"]] + row["layer"]


def build(input_shape: Shape, classes: int, seed: int) -> Graph:
    """The table as a network. Raises ConfigError for another input than the table's."""
    if input_shape != INPUT_SHAPE:
        raise ConfigError(f"model {NAME}: its table is for inputs of 128x128x3, not {'x'.join(map(str, input_shape))}")
    net = Builder(NAME, input_shape, seed)
    rows = table()
    names = [node_name(row) for row in rows]
    branches = {_terms(row)[-1] for row in rows if _terms(row)}
    for index, row in enumerate(rows):
        if row["op"] == "add":
            a, b = _terms(row)
            net.add(names[a], names[b], name=names[index])
        elif row["op"] == "average_pool_2d":
            net.global_average(name=names[index])
        else:
            channels = classes if index == len(rows) - 1 else int(row["out_c"])
            _convolution(net, row, channels, BRANCH_GAIN if index in branches else 1.0)
    return net.graph()


def _convolution(net: Builder, row: Row, channels: int, gain: float) -> None:
    kernel, stride, pad = (int(row[column]) for column in ("kernel", "stride", "pad"))
    activation = _ACTIVATIONS[row["activation"]]
    name = node_name(row)
    if row["op"] == "depthwise_conv_2d":
        net.depthwise(kernel, stride=stride, pad=pad, activation=activation, name=name)
    else:
        net.conv(channels, kernel, stride=stride, pad=pad, activation=activation, gain=gain, name=name)


def _terms(row: Row) -> tuple[int, ...]:
    """The two layers that a sum adds, the residual branch's last; empty for other rows."""
    return tuple(int(index) for index in row["adds_layers"].split("+")) if row["adds_layers"] else ()
