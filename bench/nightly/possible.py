"""What is known to fail before anything runs: a night is not to find out at three o'clock that a model has no such
layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from bench.compiler.adapters import insert
from bench.compiler.recipe import Recipe, load_model
from bench.compiler.scheme import choose
from bench.errors import ConfigError
from bench.nightly.matrix import Cell


def check(path: Path, cells: Sequence[Cell], boards: Mapping[str, int]) -> None:
    """That each cell's model can be had, its scheme be chosen, and its federation be carried out by so many boards.

    Args:
        path: the nightly file, for messages.
        cells: of its matrix.
        boards: how many each cell runs on, by its name.

    Raises:
        ConfigError: naming every cell that cannot run, and why.
    """
    faults = []
    for cell in cells:
        try:
            _check(cell, boards[cell.name])
        except ConfigError as error:
            faults.append(f"cell {cell.name}: {error}")
    if len(faults) == 1:
        raise ConfigError(f"{path}: {faults[0]}")
    if faults:
        raise ConfigError("\n".join([f"{path}: {len(faults)} cells cannot run", *(f"  {fault}" for fault in faults)]))


def _check(cell: Cell, boards: int) -> None:
    model = cell.experiment.model
    for variant in model.variants:
        _check_scheme(model.source, model.input, model.classes, variant.scheme)
        least = cell.experiment.section_of(variant).get("min_clients", 1)
        if least > boards:
            raise ConfigError(f"min_clients is {least}, its cohort has {boards} boards")
        cell.experiment.federation_of(variant, boards)


@cache
def _check_scheme(source: str, shape: tuple[int, int, int] | None, classes: int | None, scheme: str) -> None:
    graph = load_model(Recipe(source, input_shape=shape, classes=classes))
    choose(insert(graph, scheme), scheme)
