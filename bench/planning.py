"""`bench plan`: what a model, a scheme and a board come to, before anything is flashed."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.build import ImageTooLargeError, Step, build, build_unbounded
from bench.compiler.compile import Compiled, write
from bench.compiler.footprint import Footprint, footprint
from bench.compiler.recipe import Recipe, check_files, compile_recipe
from bench.compiler.stack import step_stack
from bench.errors import ConfigError
from bench.model.plan import load_plan
from bench.rack.manifest import BoardManifest, load_manifest

# What is tried when a scheme does not fit, the costliest first.
_ALTERNATIVES = ("full", "last-3", "last-2", "sparse-25", "sparse-10", "last-1", "bias")


@dataclass(frozen=True)
class Planned:
    """A compiled program on one kind of board."""

    compiled: Compiled
    manifest: BoardManifest
    footprint: Footprint
    elf: Path

    @property
    def fits(self) -> bool:
        """Whether the board can hold it."""
        return not self.footprint.problems(self.manifest)

    @property
    def fused(self) -> list[list[str]]:
        """Chains of layers that are computed row by row."""
        return [[stage.layer for stage in call.stages] for call in self.compiled.arranged.calls if call.stages]

    def document(self) -> dict[str, Any]:
        """The plan as JSON."""
        plan = self.compiled.plan
        return {
            "model": plan.model,
            "scheme": plan.scheme,
            "dtype": plan.dtype,
            "batch": plan.batch,
            "env": self.manifest.env,
            "program": plan.name,
            "plan_id": load_plan(plan.name).plan_id.hex(),
            "calibration": plan.calibration,
            "fits": self.fits,
            "problems": self.footprint.problems(self.manifest),
            "ram_needed_bytes": self.footprint.needed_bytes,
            "macs_forward": plan.macs_forward,
            "macs_backward": plan.macs_backward,
            "parameters": self.compiled.graph.parameters,
            "parameters_trained": sum(layer.trained for layer in plan.layers),
            **self.footprint.keys(),
            "lower_bound_bytes": plan.lower_bound_bytes,
            "gap": self.compiled.arranged.placement.gap,
            "fused": self.fused,
            "proved_optimal": self.compiled.arranged.placement.proved_optimal,
            "ram_bytes": self.manifest.ram.size,
            "parts": [{"name": p.name, "group": p.group, "bytes": p.bytes} for p in self.footprint.parts],
        }

    def by_layer(self) -> list[dict[str, Any]]:
        """Each layer's own part: MACs, trained parameters, and bytes of RAM and flash.

        `sram_static_bytes` is what is held of its parameters, `sram_arena_bytes` what lives in the arena while the
        layer's calls run, at the fullest of them, and `flash_bytes` its frozen parameters.
        """
        plan, tables = self.compiled.plan, self.compiled.layout.tables
        return [
            {
                **layer.model_dump(mode="json"),
                "sram_static_bytes": sum(t.bytes for t in plan.tensors if t.name.split(".")[0] == layer.name),
                "sram_arena_bytes": max(
                    (plan.live_bytes(step) for step, call in enumerate(plan.calls) if layer.name in call_layers(call)),
                    default=0,
                ),
                "flash_bytes": sum(
                    tables[key].nbytes for key in (f"{layer.name}_weight", f"{layer.name}_bias") if key in tables
                ),
            }
            for layer in plan.layers
        ]


def call_layers(call: str) -> tuple[str, ...]:
    """The layers of a kernel call, `kernel:layer`, or of a fused one, `rows:layer,layer`."""
    return tuple(call.split(":")[1].rstrip("'").split(","))


def make_plan(recipe: Recipe, env: str, step: Step = lambda _text: None) -> Planned:
    """Compiles a program and links it for a board, whether it fits or not. Where little is left, what is left is the
    stack's.

    Raises:
        ConfigError: model, scheme or environment are not possible.
    """
    manifest = load_manifest(env)
    check_files(recipe)
    step(f"compiling {recipe.model}, scheme {recipe.scheme}, {recipe.dtype}")
    notes: list[str] = []
    compiled = compile_recipe(recipe, notes)
    for note in notes:
        step(note)
    write(compiled)
    return link_plan(compiled, manifest, step)


def link_plan(compiled: Compiled, manifest: BoardManifest, step: Step = lambda _text: None) -> Planned:
    """Links a program that is written for a board, and measures the image."""
    plan = compiled.plan
    if manifest.family == "host":
        raise ConfigError("environment host has no memory to plan for: choose a board")
    # A program that cannot fit is linked for a board of the kind with memory without end, for its figures alone.
    likely = (
        plan.arena_bytes + plan.params_bytes < manifest.ram.size and plan.constants_bytes < manifest.flash.image_size
    )
    elf = None
    if likely:
        with contextlib.suppress(ImageTooLargeError):
            elf = build([manifest.env], plan.name, step)[manifest.env].with_suffix(".elf")
    if elf is None:
        elf = build_unbounded(manifest.env, plan.name, step)
        measured = footprint(elf, plan, step_stack(elf, manifest))
        if measured.problems(manifest):
            return Planned(compiled, manifest, measured, elf)
        # Only the reserve for the stack was too large: what is left is enough for the deepest call chain.
        left = (manifest.ram.size - measured.total_bytes - measured.federation_bytes + measured.stack_bytes) // 8 * 8
        step(
            f"reserving {left} bytes for the stack of at most {measured.stack_bytes}, instead of {manifest.stack_size}"
        )
        elf = build([manifest.env], plan.name, step, stack_bytes=left)[manifest.env].with_suffix(".elf")
    return Planned(compiled, manifest, footprint(elf, plan, step_stack(elf, manifest)), elf)


def alternatives(recipe: Recipe, planned: Planned) -> list[tuple[Recipe, int]]:
    """Recipes of the same model that fit the board, with the RAM that each takes (bytes), estimated without linking.

    Static data other than parameters, the stack and flash other than frozen parameters are taken to be those of
    `planned`.
    """
    own = planned.compiled.plan
    rest = planned.footprint.total_bytes + planned.footprint.federation_bytes - own.params_bytes - own.arena_bytes
    code = planned.footprint.flash_bytes - own.constants_bytes
    found = []
    for other in _other_recipes(recipe):
        try:
            plan = compile_recipe(other).plan
        except ConfigError:
            continue  # last-3 of a model of two layers
        total = rest + plan.params_bytes + plan.arena_bytes
        flash = code + plan.constants_bytes
        if total <= planned.manifest.ram.size and flash <= planned.manifest.flash.image_size:
            found.append((other, total))
    return found


def require_fit(recipe: Recipe, planned: Planned) -> None:
    """Raises ConfigError where the program does not fit its board, with what would."""
    if not planned.fits:
        raise ConfigError(misfit(recipe, planned, alternatives(recipe, planned)))


def misfit(recipe: Recipe, planned: Planned, others: Sequence[tuple[Recipe, int]]) -> str:
    """What to say of a program that does not fit its board, and of the alternatives that would."""
    problems = "; ".join(planned.footprint.problems(planned.manifest))
    options = ", ".join(f"--scheme {other.scheme} --dtype {other.dtype}" for other, _ in others)
    would = (
        f"what would: {options}"
        if options
        else "nor does any other scheme that was tried: take a smaller model, or a larger board"
    )
    what = f"{recipe.model} with scheme {recipe.scheme} in {recipe.dtype}"
    return f"{what} does not fit {planned.manifest.env}: {problems}; {would}"


def _other_recipes(recipe: Recipe) -> Sequence[Recipe]:
    schemes = [scheme for scheme in _ALTERNATIVES if scheme != recipe.scheme]
    same = [replace(recipe, scheme=scheme, name=None) for scheme in schemes]
    if recipe.dtype == "int8":
        return same
    return [replace(other, dtype="int8") for other in (recipe, *same)]
