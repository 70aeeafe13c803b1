"""Ranges for an int8 program that will train: a float32 twin trains for a while on the host.

Exponents are fixed when a program is compiled, yet weights and activations grow while it trains. So the scheme is
rehearsed in float32, and the int8 program's exponents cover the network before and after. Nothing of the rehearsal but
ranges reaches the int8 program: it begins with the weights that it was given.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from bench.compiler.compile import INPUT_EXPONENT, Calibration, Settings, compile_graph, random_calibration, write
from bench.compiler.layout import merged
from bench.fleet.engine import Engine
from bench.model.graph import Graph

CALIBRATION_SAMPLES = 256


def rehearsed_calibration(
    graph: Graph,
    scheme: str,
    samples: NDArray[np.int8],
    labels: NDArray[np.uint8],
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    source: str,
) -> Calibration:
    """Calibration by `steps` steps of float32 training on the host.

    Args:
        graph: without the scheme's adapters.
        scheme: what trains.
        samples: int8 [n, h, w, c], exponent INPUT_EXPONENT.
        labels: uint8 [n].
        steps: 0 takes ranges from the network as it is.
        learning_rate: of every step.
        seed: of the order of samples.
        source: where the samples come from, in words.
    """
    shaped = samples.reshape(len(samples), *graph.input_shape)
    generator = np.random.default_rng(seed)
    chosen = generator.permutation(len(shaped))[:CALIBRATION_SAMPLES]
    real = np.ldexp(shaped[chosen].astype(np.float32), -INPUT_EXPONENT)
    text = f"{len(chosen)} samples of {source}"
    if steps == 0:
        return Calibration(real, text)
    settings = Settings(scheme=scheme, dtype="float32")
    digest = hashlib.sha256(f"{graph.name} {graph.input_shape} {scheme} {seed}".encode()).hexdigest()[:12]
    compiled = compile_graph(graph, settings, random_calibration(graph), f"rehearsal_{digest}")
    write(compiled)
    engine = Engine(compiled.plan.name)
    order = np.concatenate([generator.permutation(len(shaped)) for _ in range(-(-steps // len(shaped)))])[:steps]
    params, _ = engine.train(
        engine.begin(engine.initial()), shaped, labels, learning_rate=learning_rate, seed=seed, order=order
    )
    trained = merged(compiled.graph, engine.plan.decode(params))
    return Calibration(real, f"{text}, before and after {steps} float32 steps", trained)
