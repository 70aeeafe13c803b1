"""From gains and a budget to a scheme that is linked for the weakest board and known to fit it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.build import Step
from bench.compiler.compile import Settings, compile_graph, random_calibration, write
from bench.compiler.differentiate import Dtype
from bench.errors import ConfigError
from bench.model.graph import Graph
from bench.planning import Planned, link_plan
from bench.rack.manifest import BoardManifest
from bench.selection.groups import Group, groups_of, parameters, scheme_of
from bench.selection.search import MemoryModel, Selection, federation_bytes, search

_TRIES = 4
"""At a subset that fits once it is linked: the first is all but always right."""


class BudgetError(ConfigError):
    """Not even the smallest group fits the budget: an answer, too, where budgets are compared."""


@dataclass(frozen=True)
class Pick:
    """A selection, its linked image, and the bytes that it takes with the federation's state."""

    selection: Selection
    planned: Planned
    bytes: int


def pick(
    graph: Graph,
    gains: Mapping[Group, float],
    manifest: BoardManifest,
    budget: int,
    dtype: Dtype = "int8",
    most: int | None = None,
    step: Step = lambda _text: None,
) -> Pick:
    """The subset of greatest gain that takes at most `budget` bytes of a board's RAM, federation state included.

    Raises:
        BudgetError: not even the smallest group fits.
        ConfigError: no group lowers the loss, or none has at most `most` parameters.
    """
    _check_gains(graph, gains, most)
    smallest = min(groups_of(graph), key=lambda group: parameters(graph, group))
    small = _linked(graph, [smallest], manifest, dtype, step)
    own = small.compiled.plan
    rest = small.footprint.total_bytes - own.params_bytes - own.arena_bytes
    allowed = budget
    for _ in range(_TRIES):
        found = search(gains, MemoryModel(graph, dtype, rest), graph, allowed, most, step)
        if not found.groups:
            break
        planned = _linked(graph, list(found.groups), manifest, dtype, step)
        taken = planned.footprint.total_bytes + _state(planned, dtype)
        if taken <= budget:
            return Pick(found, planned, taken)
        allowed -= taken - budget
    memory = MemoryModel(graph, dtype, rest)
    least = min(memory.bytes([group]) for group in gains if _useful(graph, group, gains, most))
    raise BudgetError(
        f"model {graph.name}: no parameter group that lowers the loss fits {budget} bytes of {manifest.env}'s RAM; the "
        f"smallest takes about {least}: a larger budget, or a smaller model"
    )


def _check_gains(graph: Graph, gains: Mapping[Group, float], most: int | None) -> None:
    """That something is worth training, whatever the memory. Raises ConfigError."""
    if not any(gain > 0 for gain in gains.values()):
        raise ConfigError(
            f"model {graph.name}: no parameter group lowers the loss when it is trained alone, so no budget helps: "
            "more steps, another learning rate, or samples that the network does not know"
        )
    if not any(_useful(graph, group, gains, most) for group in gains):
        least = min(parameters(graph, group) for group, gain in gains.items() if gain > 0)
        raise ConfigError(
            f"model {graph.name}: no parameter group that lowers the loss has at most {most} parameters; the smallest "
            f"has {least}: allow a larger share"
        )


def _useful(graph: Graph, group: Group, gains: Mapping[Group, float], most: int | None) -> bool:
    return gains[group] > 0 and (most is None or parameters(graph, group) <= most)


def _linked(graph: Graph, groups: list[Group], manifest: BoardManifest, dtype: Dtype, step: Step) -> Planned:
    settings = Settings(scheme_of(groups), dtype)
    compiled = compile_graph(
        graph, settings, random_calibration(graph), f"choose_{graph.name}_{dtype}".replace("-", "_")
    )
    write(compiled)
    return link_plan(compiled, manifest, step)


def _state(planned: Planned, dtype: Dtype) -> int:
    trained = planned.compiled.plan.trained
    if dtype == "float32":
        return 8 * sum(tensor.size for tensor in trained)
    counts = {kind: sum(t.size for t in trained if t.kind == kind) for kind in ("bias", "weight")}
    return federation_bytes(counts["bias"], counts["weight"])
