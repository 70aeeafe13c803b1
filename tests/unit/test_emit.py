"""Emitted programs: C++ that compiles without a warning, constants in flash, the same text every time."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from bench.compiler.compile import Compiled, Settings, compile_graph, default_name, random_calibration, write
from bench.compiler.differentiate import Dtype
from bench.compiler.recipe import Recipe, compile_recipe, make
from bench.errors import ConfigError
from bench.model.graph import Activation, Graph, Node
from bench.model.plan import FIRMWARE, load_plan
from bench.model.zoo import load_zoo
from bench.model.zoo.builder import Builder

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
    Recipe("mcunet-5fps", "tte-49kb", rule="compensated"),
    Recipe("demo-cnn", rule="compensated4"),
]

FEW = [CASES[0], CASES[1], CASES[8]]


def name(recipe: Recipe) -> str:
    return f"{recipe.model}-{recipe.scheme}-{recipe.dtype}-{recipe.batch}-{recipe.rule}-{recipe.loss}"


@pytest.mark.parametrize("recipe", CASES, ids=map(name, CASES))
def test_a_program_compiles_without_a_warning(recipe: Recipe, tmp_path: Path) -> None:
    assert_compiles(write(compile_recipe(recipe), tmp_path))


def assert_compiles(folder: Path) -> None:
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


@pytest.mark.parametrize("recipe", FEW, ids=map(name, FEW))
def test_a_program_takes_no_static_ram(recipe: Recipe, tmp_path: Path) -> None:
    """Tables, layers and the program itself are constants: on the target no symbol lies in .data or .bss."""
    folder = write(compile_recipe(recipe), tmp_path)
    compiler = ["arm-none-eabi-g++", "-std=c++17", "-O2", "-mcpu=cortex-m4", "-mthumb", f"-I{FIRMWARE}", f"-I{folder}"]
    kinds: dict[str, str] = {}
    for source in ("program", "tables"):
        built = str(tmp_path / f"{source}.o")
        subprocess.run([*compiler, "-c", str(folder / f"{source}.cpp"), "-o", built], check=True)
        listed = subprocess.run(["arm-none-eabi-nm", "-C", built], check=True, capture_output=True, text=True)
        rows = re.findall(r"^[0-9a-f]+ (\w) (.+)$", listed.stdout, re.MULTILINE)
        kinds |= {symbol: kind for kind, symbol in rows}
    assert not {symbol: kind for symbol, kind in kinds.items() if kind in "dDbBC"}
    assert kinds["kProgram"] == "R"
    constants = {symbol for symbol, kind in kinds.items() if "::tables::" in symbol and kind == "R"}
    assert constants == {f"ftte::program::tables::{key}" for key in compile_recipe(recipe).layout.tables}


def test_float_constants_are_written_with_all_their_digits() -> None:
    made = compile_recipe(Recipe("ds-cnn", "sparse-10", dtype="float32"))
    found = dict(re.findall(r"const float (\w+)\[\d+\] = \{([^}]*)\}", made.sources["tables.cpp"]))
    assert found.keys() == made.layout.tables.keys()
    for key, table in made.layout.tables.items():
        written = np.array(found[key].replace("F", "").split(","), dtype=np.float32)
        np.testing.assert_array_equal(written, table.reshape(-1))


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


def test_one_changed_constant_is_another_plan(tmp_path: Path) -> None:
    """Only a frozen weight differs: what is in RAM, every address and all words about the program stay."""
    graph = load_zoo("mlp")
    changed = dataclasses.replace(graph, nodes=tuple(shifted(node) for node in graph.nodes))
    plans = []
    for network in (graph, changed):
        made = compile_graph(network, Settings("last-1", "float32"), random_calibration(graph), "plan")
        write(made, tmp_path)
        plans.append(load_plan("plan", tmp_path))
    before, after = (plan.model_dump(exclude={"constants_sha256"}) for plan in plans)
    assert before == after
    assert plans[0].plan_id != plans[1].plan_id


def shifted(node: Node) -> Node:
    """fc1 with one weight a little larger."""
    if node.name != "fc1" or node.weights is None:
        return node
    weights = node.weights.copy()
    weights[0, 0, 0, 0] += 1e-3
    return dataclasses.replace(node, weights=weights)


def test_other_settings_are_another_plan(tmp_path: Path) -> None:
    """Even where the network and its addresses are the same."""
    ids = set()
    for recipe in (Recipe("demo-cnn"), Recipe("demo-cnn", rule="truncated"), Recipe("demo-cnn", "last-2")):
        make(dataclasses.replace(recipe, name="plan"), tmp_path)
        ids.add(load_plan("plan", tmp_path).plan_id)
    assert len(ids) == 3


def test_one_changed_file_is_written_and_the_others_are_left_alone(tmp_path: Path) -> None:
    folder = write(compile_recipe(Recipe("demo-cnn", name="same")), tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    (folder / "tables.cpp").write_text("damaged")
    (folder / "program.hpp").unlink()
    compiled = make(Recipe("demo-cnn", name="same"), tmp_path)
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {file for file in before if before[file] != after[file]} == {"tables.cpp", "program.hpp"}
    assert (folder / "tables.cpp").read_text() == compiled.sources["tables.cpp"]
    assert after.keys() == before.keys(), "no scratch file stays"


def test_the_text_is_the_same_in_every_process() -> None:
    """Whatever the hash seed, which orders Python's sets of strings."""
    script = (
        "import hashlib\n"
        "from bench.compiler.compile import plan_text\n"
        "from bench.compiler.recipe import Recipe, compile_recipe\n"
        "made = compile_recipe(Recipe('resnet-8', 'last-3', batch=2))\n"
        "print(hashlib.sha256('\\0'.join([*made.sources.values(), plan_text(made.plan)]).encode()).hexdigest())"
    )
    digests = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", script]
        root = FIRMWARE.parent
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, env=environment)
        digests.add(done.stdout)
    assert len(digests) == 1


# --- names ---


def named_network(layer: str, activation: Activation) -> Graph:
    net = Builder("net", (6, 6, 1), 0)
    net.conv(3, 3, name="x")
    net.max_pool(2)
    net.dense(4, name=layer, activation=activation)
    return net.graph()


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize(
    "layer",
    ["at", "words", "step", "infer", "begin", "loss", "sgd", "peaks", "sample", "label", "params", "arena", "layer",
     "tables", "program", "shape", "e_d_x"],
)  # fmt: skip
def test_a_layer_may_have_a_name_that_the_program_uses(layer: str, dtype: Dtype, tmp_path: Path) -> None:
    syntax_check(named_network(layer, "linear"), dtype, tmp_path)


@pytest.mark.parametrize("layer", ["d_x", "gate_x", "wide_x", "int", "xor", "Arena", "NULL"])
def test_a_name_that_means_something_else_is_refused(layer: str) -> None:
    with pytest.raises(ConfigError, match=f"node '{layer}': .* a name that emitted programs use"):
        named_network(layer, "linear")


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_a_layer_of_which_logits_are_made_may_be_called_logits(dtype: Dtype, tmp_path: Path) -> None:
    syntax_check(named_network("logits", "relu"), dtype, tmp_path)


def syntax_check(graph: Graph, dtype: Dtype, folder: Path) -> None:
    made = compile_graph(graph, Settings("full", dtype), random_calibration(graph), "names")
    assert "d_x" in made.arranged.schedule.values
    assert_compiles(write(made, folder))


def test_programs_without_a_name_get_one_of_their_recipe() -> None:
    assert default_name("ds-cnn", Settings("sparse-2.5")) == "ds_cnn_sparse_2_5_int8"
    assert default_name("mlp", Settings("bias", "float32", 4)) == "mlp_bias_float32_batch4"
    assert default_name("mlp", Settings(rule="truncated")) == "mlp_full_int8_truncated"
    assert default_name("3net", Settings()) == "m_3net_full_int8"


def test_long_names_are_cut_and_stay_different() -> None:
    lists = ["list:" + ",".join(f"conv{index}.weight[:{last}]" for index in range(12)) for last in (1, 2)]
    names = [default_name("mcunet-5fps", Settings(scheme)) for scheme in lists]
    assert names[0] != names[1]
    assert all(re.fullmatch("[a-z][a-z0-9_]{1,79}", found) for found in names)


def test_programs_of_different_files_have_different_names(tmp_path: Path) -> None:
    """Two of one name would overwrite each other."""
    golden = Path(__file__).resolve().parents[1] / "golden" / "onnx" / "torch_image_script.onnx"
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir()
        (folder / "mine.onnx").write_bytes(golden.read_bytes())
    other = onnx.load(golden)
    other.graph.initializer[0].raw_data = bytes(len(other.graph.initializer[0].raw_data))
    onnx.save(other, folders[2] / "mine.onnx")
    names = [compile_recipe(Recipe(str(folder / "mine.onnx"), "last-1")).plan.name for folder in folders]
    assert names[0] == names[1] != names[2]
    assert names[0].startswith("mine_")
    seeds = [compile_recipe(Recipe("mlp", "bias", seed=seed)).plan.name for seed in (0, 1)]
    assert seeds[0] == "mlp_bias_int8" != seeds[1]
