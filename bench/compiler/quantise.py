"""Exponents of an int8 program: for every map one, for every layer's weights one a channel, all powers of two.

A stored integer v with exponent e stands for v * 2^-e. Each exponent is the one with the least mean squared error of
rounding and clipping: a few outliers may be clipped where that makes all other values finer. Then come the limits of
the arithmetic:
  * a convolution shifts its sums right by x_e + w_e - y_e, 0 to 30;
  * weights of one layer may differ by the lifts that `lift_limit` allows; those of the layer in front of the loss not;
  * max-pool and upsampling pass the exponent on, an average pool raises it by 0 to 7;
  * a sum shifts its terms left by at most 15 to their common exponent, and right by at most 22;
  * ReLU6's six is an integer of its output: exponent -1 to 4;
  * a bias stays below 2^28 as it is stored, 2^8 times finer than its sums;
  * the loss takes logits with exponents 0 to 30.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.compiler.scheme import Chosen
from bench.errors import ConfigError
from bench.model import graph as g
from bench.model.evaluate import forward
from bench.model.graph import INPUT, Float, Graph, Node
from bench.model.plan import BIAS_BITS

Ints = NDArray[np.int64]

MAX_SHIFT = 30
MAX_LIFT = 7
MAX_ADD_LEFT = 15
MAX_ADD_RIGHT = 22
MAX_POOL_LIFT = 7
RELU6_EXPONENTS = (-1, 4)
LOGIT_EXPONENTS = (0, 30)
LARGEST_BIAS_BITS = 28

_LIFT_BITS = 17
"""Sums of (gradient << lift) * weight over taps and output channels fit int32: 7 + 7 + lift + log2(terms) <= 31."""
_FINER = 3
"""Bits by which an exponent may exceed the one that clips nothing."""
_COARSEST = -64
"""Exponents below this are a sign that none will do."""
_CHUNK = 16
"""Samples that are evaluated at a time, so that maps of large networks fit into memory."""
_SEEN = 1 << 16
"""Values of each map that the exponent is found from."""


@dataclass(frozen=True)
class WeightExponents:
    """Of a layer: output channel o has exponent - lift[o]."""

    exponent: int
    lift: tuple[int, ...]


@dataclass(frozen=True)
class Exponents:
    """Of the sample, of each node's stored output, of each layer's weights.

    The last node has no output exponent where the loss reads its sums as they are (graph.gives_sums).
    """

    input: int
    outputs: Mapping[str, int]
    weights: Mapping[str, WeightExponents]


def quantise(
    graph: Graph,
    samples: Float,
    *,
    input_exponent: int = 6,
    rehearsed: Graph | None = None,
    trained: Chosen | None = None,
) -> Exponents:
    """Finds exponents.

    Args:
        graph: with adapters, as it is compiled.
        samples: float32 [n, h, w, c]: typical inputs.
        input_exponent: of the int8 sample.
        rehearsed: the same network after some training in float32. The exponents suit its weights and maps too.
        trained: what trains. Its weights have a bit of headroom, so that they can grow to twice their largest.

    Raises:
        ConfigError: samples or a rehearsed network that do not fit, or values that int8 cannot hold.
    """
    _check(graph, samples, rehearsed)
    graphs = (graph,) if rehearsed is None else (graph, rehearsed)
    stored = np.clip(np.rint(np.ldexp(samples, input_exponent)), -128, 127)
    seen = [_observe(version, np.ldexp(stored, -input_exponent).astype(np.float32)) for version in graphs]
    wanted = {node.name: _least(_map_exponent(values[node.name]) for values in seen) for node in graph.nodes}
    weights = {node.name: _weights_wanted(graph, rehearsed, node, trained or {}) for node in graph.convs}
    biases = {node.name: _largest_bias(graphs, node.name) for node in graph.convs}
    return _Solver(graph, input_exponent, wanted, weights, biases).solve()


def lift_limit(node: Node) -> int:
    """The most by which exponents of a layer's channels may differ; 0 to 7."""
    terms = node.conv.taps * (node.shape[2] // node.conv.groups)
    return max(0, min(MAX_LIFT, _LIFT_BITS - math.ceil(math.log2(terms))))


# --- the exponent of least error ---


def least_error_exponents(values: NDArray[np.floating]) -> Ints:
    """For each row of `values` [k, n] the exponent with the least mean squared error as int8.

    The coarsest that comes into question clips nothing; finer ones clip more and round less. Rows of zeros have none:
    the largest int64.
    """
    rows = np.asarray(values, np.float64)
    largest = np.abs(rows).max(axis=1, initial=0.0)
    cover = np.floor(np.log2(127.0 / np.where(largest > 0, largest, 1.0)))
    candidates = [cover + finer for finer in range(_FINER + 1)]
    errors = np.stack([_error(rows, exponents) for exponents in candidates])
    best = np.asarray(np.stack(candidates)[errors.argmin(axis=0), np.arange(len(rows))], np.int64)
    return np.where(largest > 0, best, _NONE)


def _error(rows: NDArray[np.float64], exponents: NDArray[np.float64]) -> NDArray[np.float64]:
    scale = np.exp2(exponents)[:, None]
    error: NDArray[np.float64] = np.square(np.clip(np.rint(rows * scale), -128, 127) / scale - rows).mean(axis=1)
    return error


_NONE = np.iinfo(np.int64).max


def _least(exponents: Iterable[int | None]) -> int | None:
    """The coarsest; None where there are none."""
    return min((e for e in exponents if e is not None), default=None)


# --- what maps and weights ask for ---


def _observe(graph: Graph, samples: Float) -> dict[str, Float]:
    """Values of each map over the samples: at most some 2^16, evenly spread."""
    parts: dict[str, list[Float]] = {node.name: [] for node in graph.nodes}
    for start in range(0, len(samples), _CHUNK):
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is reported below
            maps = forward(graph, samples[start : start + _CHUNK])
        for node in graph.nodes:
            values = np.asarray(maps[node.name], np.float32).ravel()
            if not np.isfinite(values).all():
                raise ConfigError(
                    f"model {graph.name}: outputs of {node.name} are not finite: scale its inputs or weights down"
                )
            step = max(1, node.size * len(samples) // _SEEN)
            parts[node.name].append(values[::step].copy())
    return {name: np.concatenate(values) for name, values in parts.items()}


def _map_exponent(values: Float) -> int | None:
    """Of a map; None for one that is all zeros, as behind an adapter that has not trained."""
    exponent = int(least_error_exponents(values[None])[0])
    return None if exponent == _NONE else exponent


def _weights_wanted(graph: Graph, rehearsed: Graph | None, node: Node, trained: Chosen) -> Ints:
    """Exponents [out_c] that a layer's weights ask for; in front of the loss one for all channels."""
    together = node is graph.nodes[-1]
    rows = _rows(node, together)
    wanted = least_error_exponents(rows)
    grows = _grows(graph, node, trained, len(rows)) & (wanted != _NONE)
    wanted = wanted - grows
    if rehearsed is not None:
        wanted = np.minimum(wanted, least_error_exponents(_rows(rehearsed.node(node.name), together)))
    if (wanted == _NONE).all():
        wanted = np.full(len(rows), _untrained_exponent(node))
    filled = np.minimum(wanted, wanted[wanted != _NONE].max())
    return np.broadcast_to(filled, (node.shape[2],)).copy() if together else filled


def _rows(node: Node, together: bool) -> Float:
    assert node.weights is not None
    return node.weights.reshape(1 if together else node.shape[2], -1)


def _grows(graph: Graph, node: Node, trained: Chosen, rows: int) -> NDArray[np.bool_]:
    """For each row of weights: some of it trains."""
    channels = trained[node.name].in_channels if node.name in trained else 0
    if g.is_depthwise(graph, node) and rows > 1:
        return np.arange(rows) < channels
    return np.full(rows, channels > 0)


def _untrained_exponent(node: Node) -> int:
    """Of weights that are all zero, an adapter's.

    What trains there is a correction: the range of int8 is the standard deviation that He's normal weights would have,
    with which the adapter's output were as large as the layer's.
    """
    assert node.weights is not None
    fan_in = node.weights.size // node.shape[2]
    return math.floor(math.log2(127.0 * math.sqrt(fan_in)))


def _largest_bias(graphs: Iterable[Graph], name: str) -> float:
    return max(float(np.abs(bias).max()) for graph in graphs if (bias := graph.node(name).bias) is not None)


# --- the limits of the arithmetic ---


class _TooFineError(Exception):
    """The map `name` must be at most as fine as `cap`. Never leaves this file."""

    def __init__(self, name: str, cap: int) -> None:
        super().__init__(name, cap)
        self.name = name
        self.cap = cap


@dataclass
class _Solver:
    """Assigns exponents from the input on. What proves too fine further on is capped, and all begins again."""

    graph: Graph
    input_exponent: int
    wanted: Mapping[str, int | None]
    weights_wanted: Mapping[str, Ints]
    biases: Mapping[str, float]
    caps: dict[str, int] = field(default_factory=dict)

    def solve(self) -> Exponents:
        """Raises ConfigError where no exponents satisfy all."""
        while True:
            try:
                return self._assign()
            except _TooFineError as error:
                if error.name == INPUT or error.cap < _COARSEST:
                    raise ConfigError(
                        f"model {self.graph.name}: what is added to {error.name} is more than 2^{MAX_ADD_LEFT} "
                        "times as large: int8 cannot hold both; scale the samples or the weights"
                    ) from None
                self.caps[error.name] = error.cap

    def _assign(self) -> Exponents:
        known = {INPUT: self.input_exponent}
        weights: dict[str, WeightExponents] = {}
        for node in self.graph.nodes:
            inputs = [known[name] for name in node.inputs]
            if node.is_conv:
                weights[node.name] = scale = self._weights(node, inputs[0])
                if g.gives_sums(self.graph, node):
                    self._check_logits(inputs[0] + scale.exponent)
                    continue
                known[node.name] = self._conv(node, inputs[0], scale)
            elif isinstance(node.op, g.Add):
                known[node.name] = self._add(node, inputs)
            else:
                known[node.name] = self._passed_on(node, inputs[0])
        last = self.graph.nodes[-1].name
        if last in known:
            self._check_logits(known[last])
        del known[INPUT]
        return Exponents(self.input_exponent, known, weights)

    def _output(self, node: Node, default: int) -> int:
        """What a map asks for, within its caps."""
        wanted = self.wanted[node.name]
        exponent = default if wanted is None else wanted
        exponent = min(exponent, self.caps.get(node.name, exponent))
        if node.activation == "relu6":
            exponent = min(exponent, RELU6_EXPONENTS[1])
        if node is self.graph.nodes[-1]:
            exponent = min(exponent, LOGIT_EXPONENTS[1])
        return exponent

    def _weights(self, node: Node, x: int) -> WeightExponents:
        wanted = self.weights_wanted[node.name]
        finest = LOGIT_EXPONENTS[1] - x
        if not g.gives_sums(self.graph, node):
            finest = MAX_SHIFT + self._output(node, x) - x
        if self.biases[node.name] > 0:
            finest = min(finest, math.floor(math.log2(2.0**LARGEST_BIAS_BITS / self.biases[node.name])) - BIAS_BITS - x)
        wanted = np.minimum(wanted, finest)
        limit = 0 if node is self.graph.nodes[-1] else lift_limit(node)
        exponent = int(min(wanted.max(), wanted.min() + limit))
        return WeightExponents(exponent, tuple(int(lift) for lift in exponent - np.minimum(wanted, exponent)))

    def _conv(self, node: Node, x: int, scale: WeightExponents) -> int:
        """Sums are never shifted left: that would make the map finer than they are."""
        exponent = min(self._output(node, x), x + scale.exponent - max(scale.lift))
        if node.activation == "relu6" and exponent < RELU6_EXPONENTS[0]:
            largest = 2.0 ** (max(scale.lift) - scale.exponent) * 127
            raise ConfigError(
                f"model {self.graph.name}: node {node.name}: weights up to {largest:g} in front of a ReLU6: int8 "
                "cannot hold its six: normalise the weights"
            )
        return exponent

    def _add(self, node: Node, inputs: list[int]) -> int:
        coarser, finer = sorted(inputs)
        finer_input = node.inputs[inputs.index(finer)]
        if finer - coarser > MAX_ADD_LEFT:
            raise _TooFineError(finer_input, coarser + MAX_ADD_LEFT)
        exponent = min(self._output(node, coarser), coarser + MAX_ADD_LEFT)
        if finer - exponent > MAX_ADD_RIGHT:
            raise _TooFineError(finer_input, exponent + MAX_ADD_RIGHT)
        return exponent

    def _passed_on(self, node: Node, x: int) -> int:
        exponent = x
        if isinstance(node.op, g.AvgPool):
            exponent = min(max(self._output(node, x), x), x + MAX_POOL_LIFT)
        if exponent > self.caps.get(node.name, exponent):
            raise _TooFineError(node.inputs[0], self.caps[node.name])
        return exponent

    def _check_logits(self, exponent: int) -> None:
        low, high = LOGIT_EXPONENTS
        if not low <= exponent <= high:
            raise ConfigError(
                f"model {self.graph.name}: its outputs are in steps of {2.0**-exponent:g}, the loss takes steps of "
                f"2^-{high} to 1: scale the last layer's weights"
            )


def _check(graph: Graph, samples: Float, rehearsed: Graph | None) -> None:
    if samples.ndim != 4 or samples.shape[1:] != graph.input_shape or len(samples) == 0:
        raise ConfigError(
            f"model {graph.name}: takes samples of shape {graph.input_shape}; these to quantise with have shape "
            f"{samples.shape}"
        )
    if not np.isfinite(samples).all():
        raise ConfigError(f"model {graph.name}: samples to quantise with are not finite")
    if rehearsed is None:
        return
    same = [(node.name, node.op, node.shape) for node in graph.nodes]
    if same != [(node.name, node.op, node.shape) for node in rehearsed.nodes]:
        raise ConfigError(f"model {graph.name}: the rehearsed network is another one: rehearse it with its adapters")
