"""The compiler from end to end: a network and a scheme become a program in firmware/generated."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from bench.compiler import adapters
from bench.compiler.arrange import ARENA_ALIGNMENT, Arranged, arrange
from bench.compiler.calls import Emission, describe
from bench.compiler.calls_float32 import Float32
from bench.compiler.calls_int8 import Int8
from bench.compiler.differentiate import Dtype, Schedule, differentiate
from bench.compiler.emit import Dialect, emit
from bench.compiler.fuse import fuse
from bench.compiler.layout import Layout, lay_out
from bench.compiler.quantise import Exponents, quantise
from bench.compiler.scheme import choose, usual_rule
from bench.errors import ConfigError
from bench.model.graph import Graph, Node
from bench.model.plan import FIRMWARE, GENERATED, BlockSpec, InputSpec, LayerSpec, Plan, Rule
from bench.model.wire import blocks_of, max_update_bytes, spans_of
from bench.project import project_root

INPUT_EXPONENT = 6
"""Of the int8 samples: features from -2 to just below 2."""
IGNORED_LABELS = 255
"""Classes of a model whose loss does not look at the label: any will do."""


@dataclass(frozen=True)
class Calibration:
    """What the exponents of an int8 program are found from.

    `samples` float32 [n, h, w, c]; `source` says in words where they come from; `rehearsed` is the network after some
    float32 training, whose ranges must fit too.
    """

    samples: NDArray[np.float32]
    source: str
    rehearsed: Graph | None = None


@dataclass(frozen=True)
class Settings:
    """What a program is compiled for. `batch`: samples whose gradients are gathered before the weights move. `rule` of
    int8 updates: None for the scheme's own. `federated`: with a client's state, so that updates travel coded."""

    scheme: str = "full"
    dtype: Dtype = "int8"
    batch: int = 1
    rule: Rule | None = None
    federated: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= 256:
            raise ConfigError(f"batch {self.batch}: 1 to 256 samples can be gathered")
        if self.rule not in (None, "compensated") and not self._steps_are_rounded:
            raise ConfigError(f"the {self.rule} update rule is int8's, with batch 1")

    @property
    def update_rule(self) -> Rule:
        """`rule`, or the scheme's own."""
        return self.rule or self.usual_rule

    @property
    def usual_rule(self) -> Rule:
        """The scheme's own; batches and float32 have only one."""
        return usual_rule(self.scheme) if self._steps_are_rounded else "compensated"

    @property
    def _steps_are_rounded(self) -> bool:
        return self.dtype == "int8" and self.batch == 1


@dataclass(frozen=True)
class Compiled:
    """A program: its plan, its sources by file name, and the real values that its trained tensors begin with."""

    plan: Plan
    sources: Mapping[str, str]
    initial: Mapping[str, NDArray[np.float32]]
    graph: Graph
    arranged: Arranged
    layout: Layout
    exponents: Exponents | None


def random_calibration(graph: Graph, seed: int = 0, count: int = 16) -> Calibration:
    """Seeded random inputs, for plans whose accuracy does not matter."""
    generator = np.random.default_rng(seed)
    samples = generator.normal(0.0, 0.7, (count, *graph.input_shape)).clip(-2.0, 127 / 64).astype(np.float32)
    return Calibration(samples, f"{count} random inputs, seed {seed}")


def with_adapters(graph: Graph, scheme: str) -> Graph:
    """The network that is compiled: with the scheme's adapters, if it has any."""
    return adapters.insert(graph, scheme)


def default_name(model: str, settings: Settings) -> str:
    """The name of a program that is given none."""
    parts = [model, settings.scheme, settings.dtype]
    if settings.batch > 1:
        parts.append(f"batch{settings.batch}")
    if settings.update_rule != settings.usual_rule:
        parts.append(settings.update_rule)
    if settings.federated:
        parts.append("federated")
    text = "_".join(parts).lower()
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in text)
    if len(name) > 80:
        name = f"{name[:60]}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return name if name[0].isalpha() else f"m_{name}"


def compile_graph(graph: Graph, settings: Settings, calibration: Calibration, name: str | None = None) -> Compiled:
    """Compiles a network.

    Args:
        graph: without adapters: the scheme's are inserted here.
        settings: scheme, number format, batch, update rule.
        calibration: for int8.
        name: of the program.

    Raises:
        ConfigError: the scheme does not fit the network, or the network the arithmetic.
    """
    model = with_adapters(graph, settings.scheme)
    chosen = choose(model, settings.scheme)
    exponents = None
    if settings.dtype == "int8":
        exponents = quantise(
            model,
            calibration.samples,
            input_exponent=INPUT_EXPONENT,
            rehearsed=calibration.rehearsed,
            trained=chosen,
        )
    arranged = arrange_smallest(differentiate(model, chosen, settings.dtype))
    layout = lay_out(arranged.schedule, exponents, settings.batch, settings.update_rule)
    emission = Emission(arranged, layout, settings.batch)
    dialect: Dialect = Float32(emission, INPUT_EXPONENT)
    if exponents is not None:
        dialect = Int8(emission, exponents, settings.update_rule)
    source = calibration.source if exponents is not None else "none: float32"
    try:
        plan = _plan(name or default_name(graph.name, settings), graph.name, settings, source, arranged, layout)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"model {graph.name}: no plan can say this: {'.'.join(map(str, first['loc']))} {first.get('input')!r}: "
            f"{first['msg']} (weights of an unusual size?)"
        ) from error
    if settings.federated:
        plan = _federated(plan)
    return Compiled(plan, emit(emission, dialect, plan), layout.initial, model, arranged, layout, exponents)


def _federated(plan: Plan) -> Plan:
    """With a client's state. Coded updates lie in the arena, free between steps, so it has to hold the longest."""
    spans = spans_of(plan)
    blocks = sum(blocks_of(span.count) for span in spans)
    update = max_update_bytes(sum(span.count for span in spans), blocks, 8)
    return plan.model_copy(
        update={
            "base_bytes": plan.down_bytes,
            "error_bytes": sum(span.count * span.error_bytes for span in spans),
            "arena_bytes": max(plan.arena_bytes, -(-update // ARENA_ALIGNMENT) * ARENA_ALIGNMENT),
        }
    )


def arrange_smallest(schedule: Schedule) -> Arranged:
    """With chains fused, if that makes the arena smaller."""
    plain, fused = arrange(schedule), fuse(schedule)
    if fused.calls == schedule.calls:
        return plain
    smaller = arrange(fused)
    return smaller if smaller.arena_bytes < plain.arena_bytes else plain


def write(compiled: Compiled, firmware: Path = FIRMWARE) -> Path:
    """Writes a program's folder; a file that says the same already is left alone, so that nothing is built again."""
    if firmware == FIRMWARE:
        project_root()  # an installed package's is made when it is first needed
    folder = firmware / GENERATED / compiled.plan.name
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in compiled.sources.items():
        _replace(folder / name, text.encode())
    with tempfile.TemporaryFile() as buffer:
        np.savez(buffer, allow_pickle=False, **compiled.initial)
        buffer.seek(0)
        _replace(folder / "initial.npz", buffer.read())
    # Last: with a plan, the folder counts as a program.
    _replace(folder / "plan.json", plan_text(compiled.plan).encode())
    return folder


def plan_text(plan: Plan) -> str:
    """plan.json."""
    return json.dumps(plan.model_dump(mode="json", exclude_defaults=True), indent=1) + "\n"


def _replace(path: Path, content: bytes) -> None:
    if path.is_file() and path.read_bytes() == content:
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as scratch:
        scratch.write(content)
    Path(scratch.name).chmod(0o644)
    Path(scratch.name).replace(path)


def _plan(name: str, model: str, settings: Settings, calibration: str, arranged: Arranged, layout: Layout) -> Plan:
    graph, schedule = arranged.schedule.graph, arranged.schedule
    digest = hashlib.sha256()
    for key, table in layout.tables.items():
        digest.update(key.encode() + table.tobytes())
    return Plan(
        name=name,
        model=model,
        scheme=settings.scheme,
        dtype=settings.dtype,
        loss=graph.loss,
        classes=graph.outputs if graph.loss == "softmax_cross_entropy" else _label_classes(graph),
        input=InputSpec(shape=graph.input_shape, exponent=INPUT_EXPONENT),
        batch=settings.batch,
        rule=settings.update_rule,
        calibration=calibration,
        params_bytes=layout.params_bytes,
        down_bytes=layout.down_bytes,
        up_bytes=layout.up_bytes,
        arena_bytes=arranged.arena_bytes,
        lower_bound_bytes=arranged.lower_bound_bytes,
        sample_bytes=math.prod(graph.input_shape),
        constants_bytes=sum(table.nbytes for table in layout.tables.values()),
        constants_sha256=digest.hexdigest(),
        macs_forward=schedule.macs_forward,
        macs_backward=schedule.macs_backward,
        layers=tuple(_layer(schedule, layout, node) for node in graph.nodes),
        calls=tuple(call.name for call in arranged.calls),
        blocks=tuple(
            BlockSpec(
                name=block.name,
                kind=block.kind,
                offset=arranged.placement.offsets[block.name],
                size=block.size,
                lower=block.lower,
                upper=block.upper,
            )
            for block in arranged.blocks
        ),
        tensors=layout.tensors,
    )


def _label_classes(graph: Graph) -> int:
    return IGNORED_LABELS if graph.reconstructs else min(graph.outputs, 255)


def _layer(schedule: Schedule, layout: Layout, node: Node) -> LayerSpec:
    calls = [part for call in schedule.calls for part in call.parts if part.node is node]
    tensors = [layout.tensor(f"{node.name}.{what}") for what in ("weight", "bias")]
    return LayerSpec(
        name=node.name,
        op=describe(schedule.graph, node),
        output=node.shape,
        macs_forward=sum(call.macs for call in calls if call.forward),
        macs_backward=sum(call.macs for call in calls if not call.forward),
        weights=0 if node.weights is None or node.bias is None else node.weights.size + node.bias.size,
        trained=sum(tensor.size for tensor in tensors if tensor is not None),
    )
