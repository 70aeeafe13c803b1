"""Which parameters train: a scheme's text becomes the chosen set.

A scheme is `full`, `last-2`, `sparse:mine.toml` ... (see `scheme_help`); in front of it may stand adapters and a plus
sign, as in `low-rank-4+bias`. Weights are chosen by input channels, the first n of each layer, as in MCUNetV3 (Lin et
al. 2022, arXiv:2206.15472): that many channels of the layer's input are all that has to be kept for the backward pass.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.compiler import scheme_file
from bench.errors import ConfigError
from bench.model import graph as g
from bench.model.graph import Graph, Node
from bench.model.plan import Rule
from bench.model.zoo import mcunet_5fps

LOW_RANK_A = "_lora_a"
LOW_RANK_B = "_lora_b"
LITE_CONV = "_lite_conv"
LITE_OUT = "_lite_out"
"""Suffixes of the adapters' convolutions (adapters.py inserts them)."""

_SHARES = (2, 4, 8)
"""Of a layer's input channels that `sparse-P` tries: 1/2, 1/4, 1/8."""
_FORMS = ("full", "bias", "last-2", "sparse-10", "sparse:FILE.toml", "list:LAYER.weight", "tte-49kb", "low-rank-4",
          "lite-residual")  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """What of a convolution trains.

    `in_channels`: the first n input channels of each group, 0 to in_c / groups; of a depthwise layer the first n of its
    channels.
    """

    bias: bool
    in_channels: int


Chosen = Mapping[str, Trained]
"""By node; nodes that are absent train nothing."""


@dataclass(frozen=True)
class Row:
    """A layer of a chosen set, for tables.

    `weights` train of `of`; `bias` says how many biases train; `bytes` is the RAM that the parameters take in an int8
    program: a byte and a byte of residual for a weight, four for a bias.
    """

    layer: str
    weights: int
    of: int
    bias: int
    bytes: int


def split_scheme(scheme: str) -> tuple[str | None, str]:
    """Adapters and the rest of a scheme: `low-rank-4+bias` is ("low-rank-4", "bias"), `bias` is (None, "bias").

    Raises:
        ConfigError: adapters alike, but not quite.
    """
    head, plus, rest = scheme.strip().partition("+")
    if not head.startswith(("low-rank", "lite-residual")):
        return None, scheme.strip()
    if head != "lite-residual" and not re.fullmatch(r"low-rank-[1-9]\d*", head):
        raise ConfigError(
            f"scheme {scheme!r}: {head!r} are no adapters; there are lite-residual and low-rank-R with R at least 1, "
            "such as low-rank-4"
        )
    if plus and not rest:
        raise ConfigError(f"scheme {scheme!r}: nothing after the plus sign; {head} alone trains the adapters")
    return head, rest


def usual_rule(scheme: str) -> Rule:
    """How a scheme's int8 steps are rounded unless told otherwise: tte-49kb keeps half a byte of residual for a weight,
    as it is there for boards whose memory the input alone fills by half."""
    return "compensated4" if scheme.strip() == "tte-49kb" else "compensated"


def choose(graph: Graph, scheme: str) -> Chosen:
    """The parameters that a scheme trains.

    Args:
        graph: with the scheme's adapters inserted (adapters.insert). What the rest of the scheme says is about the
            layers of the network proper.
        scheme: see `scheme_help`.

    Raises:
        ConfigError: an unknown scheme or layer, channels that are not there, or nothing left to train.
    """
    adapter, rest = split_scheme(scheme)
    layers = _own_layers(graph)
    if not layers:
        raise ConfigError(f"model {graph.name}: has no layer with parameters, nothing can train")
    chosen = dict(_select(graph, layers, rest)) if rest or adapter is None else {}
    if adapter is not None:
        for name, trained in _with_adapters(graph, layers, adapter).items():
            chosen[name] = _union(trained, chosen.get(name))
    kept = {node.name: chosen[node.name] for node in graph.convs if _trains(chosen.get(node.name))}
    if not kept:
        raise ConfigError(f"scheme {scheme!r}: nothing of model {graph.name} would train")
    return kept


def describe(graph: Graph, chosen: Chosen) -> list[Row]:
    """A row for each layer with parameters, in order."""
    rows = []
    for node in graph.convs:
        trained = chosen.get(node.name, Trained(bias=False, in_channels=0))
        assert node.weights is not None
        weights = trained.in_channels * _channel_weights(graph, node)
        bias = node.shape[2] if trained.bias else 0
        rows.append(Row(node.name, weights, node.weights.size, bias, 2 * weights + 4 * bias))
    return rows


def channel_limit(graph: Graph, node: Node) -> int:
    """The most that Trained.in_channels of a layer can be."""
    return node.shape[2] if g.is_depthwise(graph, node) else g.in_channels(graph, node) // node.conv.groups


def scheme_help() -> str:
    """What schemes there are, for a terminal."""
    shipped = ", ".join(scheme_file.shipped()) or "none"
    return f"""\
A scheme says which parameters train. What does not train costs flash only: no RAM, no gradient, nothing on the wire.

  full              every weight and every bias
  last-K            weights and biases of the last K layers; last-1 is the classifier alone
  bias              all biases: almost no memory, as no activation has to be kept
  sparse-P          at most P percent of the parameters: the last layer (as many input channels of it as fit); then,
                    going backwards, the biases of each layer and 1/2, 1/4 or 1/8 of its input channels: the largest
                    share that takes at most half of what is left, or none. Ends where a layer's biases do not fit
  sparse:FILE.toml  layer by layer from a file:
                        [[layer]]
                        name = "conv3"
                        bias = true        # the default
                        channels = 8       # the first 8 input channels; or fraction = 0.25; or neither: no weights
  sparse:NAME       such a file that comes with the bench: {shipped}
  list:A,B,...      conv1 (all of it), conv1.bias, conv1.weight, conv1.weight[:8] (the first 8 input channels)
  tte-49kb          the sparse scheme that TinyTrainingEngine ships for MCUNet-5fps; for model mcunet-5fps only. Keeps
                    rounding residuals of 4 bits (--rule compensated4) unless told otherwise

Adapters are small layers added to the network, which computes the same as before until they have trained:

  low-rank-R        LoRA: beside each dense layer and 1x1 convolution a product of two matrices of rank R. The matrices
                    and the last layer train
  lite-residual     TinyTL: beside each block a branch at half the resolution. The branches, the last layer and all
                    biases train

A scheme may be added to adapters: low-rank-4+bias. Layers that train must be kept small where memory is: a weight
takes two bytes of RAM, a bias four, and for each trained input channel its map is kept until the backward pass.
"""


# --- layers ---


def is_adapter(node: Node) -> bool:
    """A convolution that adapters.py has inserted."""
    return node.name.endswith((LOW_RANK_A, LOW_RANK_B, LITE_CONV, LITE_OUT))


def _own_layers(graph: Graph) -> list[Node]:
    return [node for node in graph.convs if not is_adapter(node)]


def _channel_weights(graph: Graph, node: Node) -> int:
    """Weights that belong to one trained channel."""
    assert node.weights is not None
    return node.weights.size // channel_limit(graph, node)


def _trains(trained: Trained | None) -> bool:
    return trained is not None and (trained.bias or trained.in_channels > 0)


def _union(a: Trained, b: Trained | None) -> Trained:
    return a if b is None else Trained(a.bias or b.bias, max(a.in_channels, b.in_channels))


def _everything(graph: Graph, nodes: Iterable[Node]) -> Chosen:
    return {node.name: Trained(bias=True, in_channels=channel_limit(graph, node)) for node in nodes}


def _find(graph: Graph, layers: Sequence[Node], name: str, where: str) -> Node:
    """A layer by name. Raises ConfigError with the nearest names."""
    by_name = {node.name: node for node in layers}
    if name in by_name:
        return by_name[name]
    if name in {node.name for node in graph.nodes}:
        raise ConfigError(f"{where}: {name} of model {graph.name} has no parameters that could train")
    near = difflib.get_close_matches(name, by_name, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ConfigError(f"{where}: model {graph.name} has no layer {name!r}; {hint}It has {', '.join(by_name)}")


def _channels(graph: Graph, node: Node, channels: int, where: str) -> int:
    limit = channel_limit(graph, node)
    if not 0 <= channels <= limit:
        kind = "channels" if g.is_depthwise(graph, node) or node.conv.groups == 1 else "input channels a group"
        raise ConfigError(f"{where}: {channels} channels of {node.name}: it has {limit} {kind}")
    return channels


# --- schemes ---


def _select(graph: Graph, layers: Sequence[Node], scheme: str) -> Chosen:
    if scheme == "full":
        return _everything(graph, layers)
    if scheme == "bias":
        return {node.name: Trained(bias=True, in_channels=0) for node in layers}
    if scheme == "tte-49kb":
        return _tte(graph)
    if match := re.fullmatch(r"last-(\d+)", scheme):
        return _last(graph, layers, int(match[1]))
    if match := re.fullmatch(r"sparse-(\d+(?:\.\d+)?)", scheme):
        return _sparse(graph, layers, float(match[1]))
    if scheme.startswith("sparse:"):
        return _from_file(graph, layers, scheme.removeprefix("sparse:"))
    if scheme.startswith("list:"):
        return _from_list(graph, layers, scheme)
    near = difflib.get_close_matches(scheme, _FORMS, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(f"scheme {scheme!r}: unknown; {hint}There are {', '.join(_FORMS)}")


def _last(graph: Graph, layers: Sequence[Node], count: int) -> Chosen:
    if not 1 <= count <= len(layers):
        raise ConfigError(
            f"scheme last-{count}: model {graph.name} has {len(layers)} layers: last-1 to last-{len(layers)}"
        )
    return _everything(graph, layers[-count:])


def _sparse(graph: Graph, layers: Sequence[Node], percent: float) -> Chosen:
    """See `scheme_help`. The budget counts parameters of the network without adapters."""
    total = sum(node.weights.size + node.shape[2] for node in layers if node.weights is not None)
    left = int(total * percent / 100)
    last = layers[-1]
    if not 0 < percent <= 100 or left < last.shape[2]:
        least = 100 * last.shape[2] / total
        raise ConfigError(
            f"scheme sparse-{percent:g}: from {least:.2g} percent (the last layer's biases) to 100 percent of model "
            f"{graph.name}'s {total} parameters can be asked for"
        )
    left -= last.shape[2]
    channels = min(channel_limit(graph, last), left // _channel_weights(graph, last))
    left -= channels * _channel_weights(graph, last)
    chosen = {last.name: Trained(bias=True, in_channels=channels)}
    for node in reversed(layers[:-1]):
        if node.shape[2] > left:
            break
        left -= node.shape[2]
        shares = [channel_limit(graph, node) // share for share in _SHARES]
        channels = next((n for n in shares if 2 * n * _channel_weights(graph, node) <= left), 0)
        left -= channels * _channel_weights(graph, node)
        chosen[node.name] = Trained(bias=True, in_channels=channels)
    return chosen


def _from_file(graph: Graph, layers: Sequence[Node], name: str) -> Chosen:
    chosen: dict[str, Trained] = {}
    for entry in scheme_file.load(name):
        where = f"scheme sparse:{name}"
        node = _find(graph, layers, entry.name, where)
        if node.name in chosen:
            raise ConfigError(f"{where}: layer {node.name} stands there twice")
        channels = entry.channels
        if entry.fraction is not None:
            channels = max(1, int(channel_limit(graph, node) * entry.fraction))
        chosen[node.name] = Trained(entry.bias, _channels(graph, node, channels, where))
    return chosen


def _from_list(graph: Graph, layers: Sequence[Node], scheme: str) -> Chosen:
    chosen: dict[str, Trained] = {}
    where = f"scheme {scheme}"
    for item in scheme.removeprefix("list:").split(","):
        match = re.fullmatch(r"\s*(\w+)(?:\.(?:(bias)|(weight)(?:\[:(\d+)\])?))?\s*", item)
        if match is None:
            raise ConfigError(f"{where}: {item!r}: NAME, NAME.bias, NAME.weight or NAME.weight[:CHANNELS]")
        name, bias, weight, channels = match.groups()
        node = _find(graph, layers, name, where)
        every = channel_limit(graph, node)
        count = 0 if bias else every if channels is None else _channels(graph, node, int(channels), where)
        chosen[name] = _union(Trained(bias=weight is None, in_channels=count), chosen.get(name))
    return chosen


def _tte(graph: Graph) -> Chosen:
    if graph.name != mcunet_5fps.NAME:
        raise ConfigError(
            f"scheme tte-49kb: is for model {mcunet_5fps.NAME}, not {graph.name}: use sparse-P, or a file"
        )
    return {
        mcunet_5fps.node_name(row): Trained(
            bias=row["train_bias"] == "1", in_channels=int(row["train_weight_first_in_channels"] or 0)
        )
        for row in mcunet_5fps.table()
        if row["train_bias"] == "1" or row["train_weight_first_in_channels"]
    }


def _with_adapters(graph: Graph, layers: Sequence[Node], adapter: str) -> Chosen:
    """LoRA trains its matrices (Hu et al. 2021, section 4.1), TinyTL its branches and the biases (Cai et al. 2020,
    section 3.2); both the classifier, whose classes are new."""
    inserted = [node for node in graph.convs if is_adapter(node)]
    if not inserted:
        raise ConfigError(f"scheme {adapter}: model {graph.name} has no adapters yet: insert them first")
    chosen = dict(_everything(graph, [*inserted, layers[-1]]))
    if adapter == "lite-residual":
        for node in layers[:-1]:
            chosen[node.name] = Trained(bias=True, in_channels=0)
    else:
        for node in inserted:
            chosen[node.name] = Trained(bias=False, in_channels=channel_limit(graph, node))
    return chosen
