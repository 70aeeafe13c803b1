"""Networks that come with the bench; one architecture a file, weights drawn from a seed."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from bench.errors import ConfigError
from bench.model.graph import Graph, Shape
from bench.model.zoo import (
    autoencoder,
    demo_cnn,
    ds_cnn,
    lenet_5,
    mcunet_5fps,
    mlp,
    mobilenet_v1_025,
    resnet_8,
)


@dataclass(frozen=True)
class _Entry:
    """`classes` None: the network has none."""

    build: Callable[[Shape, int, int], Graph]
    input_shape: Shape
    classes: int | None


_ZOO = {
    "demo-cnn": _Entry(demo_cnn.build, demo_cnn.INPUT_SHAPE, demo_cnn.CLASSES),
    "mlp": _Entry(mlp.build, mlp.INPUT_SHAPE, mlp.CLASSES),
    "lenet-5": _Entry(lenet_5.build, lenet_5.INPUT_SHAPE, lenet_5.CLASSES),
    "ds-cnn": _Entry(ds_cnn.build, ds_cnn.INPUT_SHAPE, ds_cnn.CLASSES),
    "resnet-8": _Entry(resnet_8.build, resnet_8.INPUT_SHAPE, resnet_8.CLASSES),
    "mobilenet-v1-0.25": _Entry(mobilenet_v1_025.build, mobilenet_v1_025.INPUT_SHAPE, mobilenet_v1_025.CLASSES),
    "autoencoder": _Entry(autoencoder.build, autoencoder.INPUT_SHAPE, autoencoder.CLASSES),
    "mcunet-5fps": _Entry(mcunet_5fps.build, mcunet_5fps.INPUT_SHAPE, mcunet_5fps.CLASSES),
}


def zoo_names() -> tuple[str, ...]:
    """What `load_zoo` knows, small networks first."""
    return tuple(_ZOO)


def load_zoo(name: str, *, input_shape: Shape | None = None, classes: int | None = None, seed: int = 0) -> Graph:
    """A network of the zoo.

    Args:
        name: one of `zoo_names()`.
        input_shape: height, width, channels; the published one unless given.
        classes: outputs; the published number unless given.
        seed: of the weights.

    Raises:
        ConfigError: an unknown name, or a shape or number of classes that the architecture does not allow.
    """
    if name not in _ZOO:
        near = difflib.get_close_matches(name, _ZOO, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(f"model {name!r}: not in the zoo; {hint}There are {', '.join(_ZOO)}")
    entry = _ZOO[name]
    shape = entry.input_shape if input_shape is None else input_shape
    if len(shape) != 3 or min(shape) < 1:
        raise ConfigError(f"model {name}: input shape {shape}: height, width and channels, each at least 1")
    return entry.build(shape, (entry.classes or 0) if classes is None else classes, seed)
