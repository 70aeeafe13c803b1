"""Folds what the compiler has no kernel for: normalisations into convolutions, activations onto what carries them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bench.model.from_onnx.values import Affine, Double, Layer, Rectify, RefusedError, bound
from bench.model.graph import INPUT, Add, Conv2d, MaxPool, Shape, Window

Layers = dict[str, Layer]


class FoldError(Exception):
    """A layer that can be neither folded nor turned into one the compiler has."""

    def __init__(self, layer: Layer, problem: str) -> None:
        super().__init__(problem)
        self.layer = layer


def fold(layers: Layers, input_shape: Shape, output: str, notes: list[str]) -> list[Layer]:
    """The layers that the output needs, convolutions, pools and sums alone, in order; the output's comes last.

    `notes` gets a line for every layer that could not be folded and costs a convolution of its own.

    Raises:
        FoldError: a scale that differs from position to position where no dense layer can take it.
    """
    work = _Fold(layers, input_shape, output)
    work.drop_unread()
    for name in list(work.layers):
        work.affine_back(name)
    for name in reversed(list(work.layers)):
        work.affine_forward(name)
    for name in list(work.layers):
        work.affine_alone(name)
    for name in list(work.layers):
        work.rectify(name)
    work.drop_unread()
    notes.extend(work.notes)
    return list(work.layers.values())


class _Fold:
    """Layers in an order in which they can be computed, changed in place."""

    def __init__(self, layers: Layers, input_shape: Shape, output: str) -> None:
        self.layers = layers
        self.input_shape = input_shape
        self.output = output
        self.notes: list[str] = []

    def drop_unread(self) -> None:
        """Keeps what the output needs."""
        needed = {self.output}
        for name in reversed(list(self.layers)):
            if name in needed:
                needed.update(self.layers[name].inputs)
        self.layers = {name: layer for name, layer in self.layers.items() if name in needed}

    def readers(self, name: str) -> list[Layer]:
        """Who reads a layer's output."""
        return [layer for layer in self.layers.values() if name in layer.inputs]

    def only_reader(self, name: str) -> bool:
        """One layer reads it, or the network's output is it."""
        return len(self.readers(name)) + (name == self.output) == 1

    def shape_of(self, name: str) -> Shape:
        """Of a layer's output, or of INPUT."""
        return self.input_shape if name == INPUT else self.layers[name].shape

    def remove(self, name: str) -> None:
        """Takes a layer of one input out: its readers read that input."""
        source = self.layers.pop(name).inputs[0]
        for reader in self.layers.values():
            reader.inputs = [source if entry == name else entry for entry in reader.inputs]
        if self.output == name:
            self.output = source

    def affine_back(self, name: str) -> None:
        """Into the convolution, or the other affine map, before it."""
        layer = self.layers[name]
        if not isinstance(layer.op, Affine):
            return
        if (layer.op.scale == 1).all() and (layer.op.shift == 0).all() and layer.inputs[0] != INPUT:
            self.remove(name)
            return
        before = self.layers.get(layer.inputs[0])
        if before is None or not self.only_reader(before.name):
            return
        if isinstance(before.op, Affine):
            before.op = Affine(layer.op.scale * before.op.scale, layer.op.scale * before.op.shift + layer.op.shift)
            self.remove(name)
        elif (channels := layer.op.per_channel()) and before.weights is not None and before.bias is not None:
            scale, shift = channels
            before.weights = before.weights * scale[:, None, None, None]
            before.bias = before.bias * scale + shift
            self.remove(name)

    def affine_forward(self, name: str) -> None:
        """Into all convolutions after it: padding has to stay zero, so a shift needs windows that lie in the map."""
        layer = self.layers[name]
        if not isinstance(layer.op, Affine) or name == self.output:
            return
        scale, shift = layer.op.scale, layer.op.shift
        readers = self.readers(name)
        uniform = layer.op.per_channel() is not None
        for reader in readers:
            covers = (
                reader.shape[:2] == (1, 1) and isinstance(reader.op, Conv2d) and reader.op.kernel == layer.shape[:2]
            )
            if (
                not isinstance(reader.op, Conv2d)
                or not (uniform or covers)
                or (shift.any() and _padded(reader, layer.shape))
            ):
                return
        for reader in readers:
            _scale_inputs(reader, scale, shift)
        self.remove(name)

    def affine_alone(self, name: str) -> None:
        """What is left becomes a depthwise 1x1 convolution, or a 1x1 map's dense diagonal."""
        layer = self.layers[name]
        if not isinstance(layer.op, Affine):
            return
        channels = layer.op.per_channel()
        if channels is None:
            raise FoldError(
                layer, "scales or shifts every position of its map differently; one factor a channel is taken"
            )
        self.make_depthwise(layer, *channels, "scales its input where no convolution can take the factors")

    def rectify(self, name: str) -> None:
        """Onto the convolution or sum before it, past max-pools, which commute with it; else onto one made for it."""
        layer = self.layers[name]
        if not isinstance(layer.op, Rectify):
            return
        wanted = layer.op.activation
        certain = bound(self.layers, layer.inputs[0])
        if certain == wanted or certain == "relu6":
            self.remove(name)
            return
        carrier = layer.inputs[0]
        while carrier != INPUT and self.only_reader(carrier) and isinstance(self.layers[carrier].op, MaxPool):
            carrier = self.layers[carrier].inputs[0]
        if carrier != INPUT and self.only_reader(carrier) and isinstance(self.layers[carrier].op, Conv2d | Add):
            self.layers[carrier].activation = wanted
            self.remove(name)
            return
        one, zero = np.ones(layer.shape[2]), np.zeros(layer.shape[2])
        self.make_depthwise(layer, one, zero, f"applies {wanted} where no layer can carry it")
        layer.activation = wanted

    def make_depthwise(self, layer: Layer, scale: Double, shift: Double, why: str) -> None:
        """A 1x1 convolution of each channel by itself."""
        layer.op = Conv2d((1, 1), groups=len(scale))
        layer.weights, layer.bias = scale.reshape(-1, 1, 1, 1).copy(), shift.copy()
        self.notes.append(f"node {layer.origin!r} {why}: it becomes a depthwise 1x1 convolution")


def _padded(reader: Layer, source: Shape) -> bool:
    """Some window reaches over the map's edge."""
    assert isinstance(reader.op, Window)
    op = reader.op
    ends = [(reader.shape[i] - 1) * op.stride[i] - op.pad[i] + op.kernel[i] for i in (0, 1)]
    return any(op.pad) or any(end > source[i] for i, end in enumerate(ends))


def _scale_inputs(reader: Layer, scale: Double, shift: Double) -> None:
    """conv(scale * x + shift) as one convolution; scale [h, w, c] is the kernel's own, or the same at all positions."""
    assert isinstance(reader.op, Conv2d)
    assert reader.weights is not None
    assert reader.bias is not None
    groups, outputs = reader.op.groups, len(reader.weights)
    if scale.shape[:2] != reader.op.kernel or reader.shape[:2] != (1, 1):
        scale, shift = scale[:1, :1], shift[:1, :1]
    # Input channels of each output: [1 or kernel_h, 1 or kernel_w, groups, in_c / groups] -> [out_c, ...].
    per_group = [operand.reshape(*operand.shape[:2], groups, -1).transpose(2, 0, 1, 3) for operand in (scale, shift)]
    factors, offsets = (np.repeat(operand, outputs // groups, axis=0) for operand in per_group)
    reader.bias = reader.bias + (reader.weights * offsets).sum(axis=(1, 2, 3))
    reader.weights = reader.weights * factors


def check_finite(layers: Iterable[Layer]) -> None:
    """Raises RefusedError where folding has left the range of float32."""
    for layer in layers:
        for values in (layer.weights, layer.bias):
            if values is not None and not (np.abs(values) <= np.finfo(np.float32).max).all():
                raise RefusedError(f"node {layer.origin!r}: its weights leave float32's range")
