"""`bench plan` and `bench step` for people: tables and the memory map on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.compiler.memory_map import draw
from bench.compiler.recipe import Recipe
from bench.planning import Planned
from bench.stepping import StepRun


def plan_view(planned: Planned, *, width: int, layers: bool) -> RenderableType:
    """Memory part by part, the map of the arena, and whether it fits."""
    plan, footprint = planned.compiled.plan, planned.footprint
    lines = [
        f"{plan.model}, scheme {plan.scheme}, {plan.dtype}, batch {plan.batch}, on {planned.manifest.env}",
        f"trains {sum(layer.trained for layer in plan.layers)} of {planned.compiled.graph.parameters} parameters; MACs "
        f"{plan.macs_forward} forward, {plan.macs_backward} backward; ranges from {plan.calibration}",
    ]
    parts: list[RenderableType] = [Text("\n".join(lines)), _memory_table(planned)]
    placement = planned.compiled.arranged.placement
    proof = "proved optimal" if placement.proved_optimal else "not proved optimal"
    parts.append(
        Text(
            f"arena {plan.arena_bytes} bytes, lower bound of this order of operations {plan.lower_bound_bytes} "
            f"(another might do with less), gap {100 * placement.gap:.1f} %, {proof}\n"
            f"flash {footprint.flash_bytes} bytes, {plan.constants_bytes} of them frozen parameters"
        )
    )
    parts += [Text(f"fused, row by row: {', '.join(chain)}") for chain in planned.fused]
    arranged = planned.compiled.arranged
    parts.append(Text(draw(arranged.placement, arranged.blocks, width=width)))
    if layers:
        parts.append(layer_table(planned.by_layer()))
    problems = footprint.problems(planned.manifest)
    parts.append(Text("fits" if not problems else "does not fit: " + "; ".join(problems), style="bold"))
    return Group(*parts)


def alternatives_view(found: Sequence[tuple[Recipe, int]]) -> RenderableType:
    """What would fit instead."""
    if not found:
        return Text("no scheme that was tried fits this board: take a smaller model or a larger board")
    table = Table(title="what would fit", title_justify="left")
    for column in ("scheme", "dtype", "RAM, about"):
        table.add_column(column, justify="right" if column.startswith("RAM") else "left")
    for recipe, total in found:
        table.add_row(recipe.scheme, recipe.dtype, str(total))
    return table


_LAYER_COLUMNS = {
    "name": "layer",
    "op": "operator",
    "weights": "parameters",
    "trained": "trained",
    "macs_forward": "MACs fwd",
    "macs_backward": "MACs bwd",
    "sram_arena_bytes": "arena",
    "instructions": "instr.",
}


def layer_table(layers: Sequence[Mapping[str, Any]]) -> Table:
    """One row a layer; with counted instructions of its calls, if there are any."""
    table = Table(title="layers", title_justify="left")
    shown = [key for key in _LAYER_COLUMNS if key in layers[0]]
    for key in shown:
        table.add_column(_LAYER_COLUMNS[key], justify="left" if key in ("name", "op") else "right", no_wrap=key != "op")
    for layer in layers:
        table.add_row(*(str(layer[key]) for key in shown))
    return table


def step_view(run: StepRun, *, layers: bool) -> RenderableType:
    """What a training step took, beside what the plan said."""
    plan, keys = run.planned.compiled.plan, run.planned.footprint.keys()
    table = Table(title=f"{plan.model}, {plan.scheme}, {plan.dtype}: one training step on {run.where}")
    for column in ("", "plan", "board"):
        table.add_column(column, justify="left" if not column else "right")
    for name, value in run.figures.items():
        planned = keys.get(name, {"macs_forward": plan.macs_forward, "macs_backward": plan.macs_backward}.get(name))
        table.add_row(name, "" if planned is None else str(planned), str(value))
    parts: list[RenderableType] = [table]
    if run.witness is not None:
        seen = run.witness
        parts.append(
            Text(
                f"the emulator saw stores down to {seen['stack']} bytes of stack, up to {seen['arena']} bytes of "
                f"arena, and {seen['outside']} elsewhere"
            )
        )
    if layers:
        parts.append(layer_table(run.by_layer()))
    return Group(*parts)


def _memory_table(planned: Planned) -> Table:
    footprint, ram = planned.footprint, planned.manifest.ram.size
    table = Table()
    table.add_column("RAM")
    table.add_column("bytes", justify="right")
    groups = {
        "static": footprint.static_bytes,
        "arena": footprint.arena_bytes,
        "stack": footprint.stack_bytes,
        "federation": footprint.federation_bytes,
    }
    for group, total in groups.items():
        if group == "federation":
            table.add_row("total: static, arena, stack", f"{footprint.total_bytes}", style="bold")
        table.add_row(f"{group}", str(total), style="bold")
        for part in footprint.parts:
            if part.group == group:
                table.add_row(f"  {part.name}", str(part.bytes))
    table.add_row(f"of {planned.manifest.env}", str(ram))
    return table
