"""Emitted programs: C++ that compiles without a warning, constants in flash, the same text every time."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bench.compiler.compile import Compiled, write
from bench.compiler.recipe import Recipe, compile_recipe, make
from bench.model.plan import FIRMWARE, load_plan

CASES = [
    Recipe("demo-cnn"),
    Recipe("demo-cnn", dtype="float32"),
    Recipe("demo-cnn", batch=8),
    Recipe("demo-cnn", rule="truncated"),
    Recipe("demo-cnn", loss="mean_squared_error"),
    Recipe("demo-cnn", dtype="float32", loss="mean_squared_error", batch=4),
    Recipe("mlp", "list:fc1.bias,fc2.weight[:3]"),
    Recipe("lenet-5", "low-rank-2"),
    Recipe("ds-cnn", "sparse-10"),
    Recipe("ds-cnn", "lite-residual", dtype="float32"),
    Recipe("resnet-8", "last-3"),
    Recipe("resnet-8", "full", dtype="float32", batch=2),
    Recipe("autoencoder"),
    Recipe("autoencoder", "bias", dtype="float32"),
    Recipe("mobilenet-v1-0.25", "bias"),
    Recipe("mcunet-5fps", "tte-49kb"),
]


def name(recipe: Recipe) -> str:
    return f"{recipe.model}-{recipe.scheme}-{recipe.dtype}-{recipe.batch}-{recipe.rule}-{recipe.loss}"


@pytest.mark.parametrize("recipe", CASES, ids=map(name, CASES))
def test_a_program_compiles_without_a_warning(recipe: Recipe, tmp_path: Path) -> None:
    folder = write(compile_recipe(recipe), tmp_path)
    command = ["g++", "-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
    command += [f"-I{FIRMWARE}", f"-I{folder}", str(folder / "program.cpp"), str(folder / "tables.cpp")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def sparse() -> Compiled:
    return compile_recipe(Recipe("ds-cnn", "sparse-10"))


def test_frozen_parameters_are_constants_with_the_values_of_the_layout(sparse: Compiled) -> None:
    text = sparse.sources["tables.cpp"]
    found = dict(re.findall(r"alignas\(4\) const \w+ (\w+)\[\d+\] = \{([^}]*)\}", text))
    assert found.keys() == sparse.layout.tables.keys()
    for key, table in sparse.layout.tables.items():
        np.testing.assert_array_equal(np.array(found[key].split(","), dtype=table.dtype), table.reshape(-1))
    trained = {tensor.name.replace(".", "_") for tensor in sparse.plan.trained}
    split = {key for key in found if key in trained}
    assert split, "a layer whose first channels train keeps the rest in flash"


def test_nothing_lies_on_the_stack_but_numbers(sparse: Compiled) -> None:
    """Straight-line calls: no array, no table is a local variable."""
    step = sparse.sources["program.cpp"].split("StepResult step(")[1]
    assert not re.search(r"^\s+(?:const )?(?:u?int\d+_t|float) \w+\[", step, re.MULTILINE)
    assert not re.search(r"\b(?:for|while)\b", step)


def test_the_same_recipe_gives_the_same_text_and_leaves_files_alone(tmp_path: Path) -> None:
    recipe = Recipe("demo-cnn", "last-1", name="same")
    folder = write(compile_recipe(recipe), tmp_path)
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    make(recipe, tmp_path)
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()} == before


def test_other_constants_are_another_plan(tmp_path: Path) -> None:
    """Only frozen weights differ: what is in RAM and every address stay."""
    ids = []
    for seed in (1, 2):
        make(Recipe("mlp", "bias", seed=seed, name="plan"), tmp_path)
        ids.append(load_plan("plan", tmp_path).plan_id)
    assert ids[0] != ids[1]
