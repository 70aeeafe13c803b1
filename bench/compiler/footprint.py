"""What an image takes of a board's memories, part by part, from the linked image and the plan: no board has booted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from bench.errors import ConfigError
from bench.model.plan import Plan
from bench.rack.manifest import BoardManifest

_STATIC_SECTIONS = (".data", ".bss", ".noinit")
_FLASH_SECTIONS = (".vectors", ".descriptor", ".text", ".rodata", ".init_array", ".data")


@dataclass(frozen=True)
class Part:
    """A line of the table: what lies in RAM, in which sum it counts, and how much. Sizes in bytes."""

    name: str
    group: str
    bytes: int


@dataclass(frozen=True)
class Footprint:
    """An image's memory. `static` excludes arena and federation state, which stands beside the total."""

    static_bytes: int
    arena_bytes: int
    stack_bytes: int
    federation_bytes: int
    flash_bytes: int
    parts: tuple[Part, ...]

    @property
    def total_bytes(self) -> int:
        """Static, arena and stack: there is no heap."""
        return self.static_bytes + self.arena_bytes + self.stack_bytes

    @property
    def needed_bytes(self) -> int:
        """RAM that a board must have: the total and the federation's state beside it."""
        return self.total_bytes + self.federation_bytes

    def problems(self, manifest: BoardManifest) -> list[str]:
        """Why a board cannot hold it; empty when it fits."""
        found = []
        if self.needed_bytes > manifest.ram.size:
            found.append(f"needs {self.needed_bytes} bytes of RAM, {manifest.env} has {manifest.ram.size}")
        if self.stack_bytes > manifest.stack_size:
            found.append(f"needs a stack of {self.stack_bytes} bytes, {manifest.env} reserves {manifest.stack_size}")
        if self.flash_bytes > manifest.flash.image_size:
            flash = manifest.flash
            found.append(
                f"needs {self.flash_bytes} bytes of flash for the image, {manifest.env} has a partition of "
                f"{flash.image_size} for it: of {flash.size} bytes {flash.data_size} are the data partition's"
            )
        return found

    def keys(self) -> dict[str, int]:
        """The figures under the names that `bench plan` and `bench step` share."""
        return {
            "sram_static_bytes": self.static_bytes,
            "sram_arena_bytes": self.arena_bytes,
            "sram_stack_bytes": self.stack_bytes,
            "sram_federation_bytes": self.federation_bytes,
            "sram_total_bytes": self.total_bytes,
            "flash_bytes": self.flash_bytes,
        }


def footprint(elf: Path, plan: Plan, stack_bytes: int) -> Footprint:
    """Reads a linked image.

    Args:
        elf: the image.
        plan: of the program in it.
        stack_bytes: the deepest stack of a training step (bench/compiler/stack.py).

    Raises:
        ConfigError: not an image of this program.
    """
    try:
        with elf.open("rb") as stream:
            image = ELFFile(stream)
            sections = {section.name: int(section["sh_size"]) for section in image.iter_sections()}
            symbols = dict(_symbols(image))
    except (OSError, ELFError) as error:
        raise ConfigError(f"{elf}: cannot be read as an image: {error}") from error
    if sections.get(".arena") != plan.arena_bytes:
        raise ConfigError(
            f"{elf}: arena of {sections.get('.arena')} bytes, plan {plan.name} says {plan.arena_bytes}: build it again"
        )
    static = sum(sections.get(name, 0) for name in _STATIC_SECTIONS)
    parts = [*_parameters(plan), *_firmware(symbols, static - plan.params_bytes), *_arena(plan)]
    parts.append(Part("stack, deepest call chain with an interrupt on top", "stack", stack_bytes))
    parts += _federation(plan)
    return Footprint(
        static_bytes=static,
        arena_bytes=plan.arena_bytes,
        stack_bytes=stack_bytes,
        federation_bytes=sections.get(".federation", 0),
        flash_bytes=sum(sections.get(name, 0) for name in _FLASH_SECTIONS),
        parts=tuple(part for part in parts if part.bytes or part.group == "federation"),
    )


def _symbols(image: ELFFile) -> Iterator[tuple[str, int]]:
    for section in image.iter_sections():
        if isinstance(section, SymbolTableSection):
            for symbol in section.iter_symbols():
                if symbol["st_info"]["type"] == "STT_OBJECT":
                    yield symbol.name, int(symbol["st_size"])


def _parameters(plan: Plan) -> Iterator[Part]:
    kinds = {
        "bias": "trained biases",
        "weight": "trained weights",
        "residual": "rounding residuals of trained weights",
        "state": "state of gradient scales and batch",
    }
    for kind, name in kinds.items():
        yield Part(name, "static", sum(tensor.bytes for tensor in plan.tensors if tensor.kind == kind))
    yield Part("alignment of parameters", "static", plan.params_bytes - sum(tensor.bytes for tensor in plan.tensors))


def _firmware(symbols: Mapping[str, int], total: int) -> Iterator[Part]:
    """What is not the program's: link buffers and the rest."""
    link = sum(size for name, size in symbols.items() if "session" in name.lower() and size > 64)
    yield Part("link buffers", "static", link)
    yield Part("firmware: HAL, receive ring, fault record, alignment", "static", total - link)


def _arena(plan: Plan) -> Iterator[Part]:
    """The arena at its fullest moment, by kind of tensor; what placement adds is a line of its own."""
    fullest = max(range(len(plan.calls)), key=plan.live_bytes)
    for kind, size in sorted(plan.live_by_kind(fullest).items()):
        yield Part(f"arena at {plan.calls[fullest]}: {kind}", "arena", size)
    yield Part("arena: gaps of placement, alignment", "arena", plan.arena_bytes - plan.live_bytes(fullest))


def _federation(plan: Plan) -> Iterator[Part]:
    """What a client keeps from round to round; nothing where parameters travel whole."""
    yield Part("base copy of the trained parameters", "federation", plan.base_bytes)
    yield Part("error feedback", "federation", plan.error_bytes)
