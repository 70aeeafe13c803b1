"""A network's outputs and gradients from an independent autodiff (jax_network.py), in a process of its own.

XLA's compiler aborts its process once in some thousand compilations when the libraries of ONNX and OR-tools are loaded
beside it, as they are in a test's. Here it has a process to itself, and one that dies is replaced once: a wrong result
stays wrong.
"""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.model.graph import Graph

Array = NDArray[Any]
Parameters = Mapping[str, tuple[Any, Any]]
"""Weights and bias of every convolution, by node name."""

_ANSWER_S = 240.0


def parameters(graph: Graph) -> dict[str, tuple[Array, Array]]:
    """The network's own, in double precision."""
    return {
        node.name: (np.asarray(node.weights, np.float64), np.asarray(node.bias, np.float64)) for node in graph.convs
    }


def outputs(graph: Graph, sample: Array, params: Parameters | None = None) -> dict[str, Array]:
    """What every node writes for a sample [h, w, c], [h, w, c] each."""
    return dict(_ask("outputs", graph, sample, params or parameters(graph)))


def gradients(
    graph: Graph, sample: Array, label: int, params: Parameters | None = None
) -> tuple[float, dict[str, tuple[Array, Array]]]:
    """The loss of a sample [h, w, c], and its derivatives by weights and bias of every convolution."""
    value, found = _ask("gradients", graph, sample, label, params or parameters(graph))
    return value, found


def map_gradients(graph: Graph, sample: Array, label: int, params: Parameters | None = None) -> dict[str, Array]:
    """The loss's derivatives by every node's output (after its activation) and by INPUT, [h, w, c]."""
    return dict(_ask("map_gradients", graph, sample, label, params or parameters(graph)))


_pools: list[ProcessPoolExecutor] = []


def _ask(what: str, graph: Graph, *arguments: Any) -> Any:
    work = (what, pickle.dumps(graph), arguments)
    try:
        return _pool().submit(_answer, *work).result(timeout=_ANSWER_S)
    except BrokenProcessPool:
        _pools.clear()
        return _pool().submit(_answer, *work).result(timeout=_ANSWER_S)


def _pool() -> ProcessPoolExecutor:
    if not _pools:
        _pools.append(ProcessPoolExecutor(1, multiprocessing.get_context("spawn")))
    return _pools[0]


def _answer(what: str, graph: bytes, arguments: tuple[Any, ...]) -> Any:
    """In the other process."""
    from tests import jax_network

    return getattr(jax_network, what)(_known(graph), *arguments)


@lru_cache(maxsize=16)
def _known(graph: bytes) -> Graph:
    """One object for each network, for which jax_network keeps what is compiled."""
    found: Graph = pickle.loads(graph)
    return found
