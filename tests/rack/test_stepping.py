"""What a plan says of a board's memory is what the board says of itself, and what the emulator saw."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.compiler.recipe import Recipe
from bench.errors import ConfigError
from bench.planning import alternatives, make_plan, misfit, require_fit
from bench.pytest_plugin.boards import RackBoard
from bench.pytest_plugin.metrics import MetricRecorder, Within
from bench.stepping import step_on_core

CASES = [
    (Recipe("demo-cnn", name="test_step_full"), "microbit"),
    (Recipe("demo-cnn", dtype="float32", name="test_step_float"), "b_l475e_iot01a"),
    (Recipe("ds-cnn", "sparse-25", name="test_step_sparse"), "netduinoplus2"),
    (Recipe("lenet-5", "low-rank-4", name="test_step_rank"), "olimex_stm32_h405"),
    (Recipe("autoencoder", "bias", name="test_step_auto"), "mps2_an385"),
    (Recipe("mlp", "last-2", batch=4, name="test_step_batch"), "mps2_an500"),
    (Recipe("demo-cnn", "lite-residual", name="test_step_lite"), "mps2_an505"),
]


@pytest.mark.parametrize(("recipe", "env"), CASES, ids=[f"{r.model}-{r.scheme}-{r.dtype}-{e}" for r, e in CASES])
def test_predicted_is_measured(recipe: Recipe, env: str) -> None:
    planned = make_plan(recipe, env)
    assert planned.fits
    run = step_on_core(planned, witness=True, layers=True)
    predicted, figures = planned.footprint.keys(), run.figures
    for exact in ("sram_static_bytes", "sram_arena_bytes", "sram_federation_bytes"):
        assert figures[exact] == predicted[exact], exact
    assert figures["sram_stack_bytes"] <= predicted["sram_stack_bytes"]

    assert run.witness is not None
    assert run.witness["stack"] == figures["sram_stack_bytes"], "paint and emulator agree"
    # The pointer is read where blocks begin: what the deepest function pushes in one that it also leaves is not seen.
    # And what was reserved last may not be stored to.
    assert -40 <= run.witness["stack_pointer"] - run.witness["stack"] <= 8
    assert run.witness["arena"] <= figures["sram_arena_bytes"]
    assert run.witness["outside"] == 0

    parts = {group: sum(p.bytes for p in planned.footprint.parts if p.group == group) for group in ("static", "arena")}
    assert parts == {"static": predicted["sram_static_bytes"], "arena": predicted["sram_arena_bytes"]}
    by_layer = sum(layer["instructions"] for layer in run.by_layer())
    assert 0.9 * figures["instructions"] < by_layer < figures["instructions"], "what is missing is the command loop's"
    assert sum(layer["macs_forward"] for layer in run.by_layer()) * recipe.batch == figures["macs_forward"]


def test_a_board_says_what_was_predicted(
    board: RackBoard, record_metric: MetricRecorder, assert_within: Within
) -> None:
    step = board.step("demo-cnn", "bias")
    predicted = step.planned.footprint.keys()
    for exact in ("sram_static", "sram_arena", "sram_federation"):
        assert step[exact].value == predicted[f"{exact}_bytes"], exact
    assert_within(step["sram_stack_high_water"], min=1, max=predicted["sram_stack_bytes"])
    assert_within(step["sram_total"], max=board.manifest.ram.size)
    assert record_metric(step.work).value > step["macs_forward"].value


def test_mcunet_trains_in_the_memory_of_an_stm32l475() -> None:
    """With little left, what is left is reserved for the stack."""
    said: list[str] = []
    planned = make_plan(Recipe("mcunet-5fps", "tte-49kb", name="test_step_mcunet"), "b_l475e_iot01a", said.append)
    assert planned.fits
    assert any("for the stack of at most" in line for line in said)
    run = step_on_core(planned)
    predicted, figures = planned.footprint.keys(), run.figures
    assert figures["sram_total_bytes"] - figures["sram_stack_bytes"] == (
        predicted["sram_static_bytes"] + predicted["sram_arena_bytes"]
    )
    assert figures["sram_stack_bytes"] <= predicted["sram_stack_bytes"]
    assert figures["sram_total_bytes"] <= 98304, "all that the board has"
    assert figures["instructions"] <= 70_000_000


@pytest.mark.board(one=True)
def test_what_a_step_takes_does_not_depend_on_the_data(board: RackBoard) -> None:
    one, other = (board.step("demo-cnn", "bias", seed=seed).work.value for seed in (1, 2))
    few = 0.001 * one if board.physical else 64
    assert abs(one - other) <= few, "but for the CRC's and the loss's few branches"


def test_what_does_not_fit_is_measured_all_the_same_and_says_what_would() -> None:
    recipe = Recipe("ds-cnn", name="test_plan_large")
    planned = make_plan(recipe, "netduinoplus2")
    assert not planned.fits
    assert "of RAM, netduinoplus2 has 131072" in planned.footprint.problems(planned.manifest)[0]
    others = alternatives(recipe, planned)
    assert others
    scheme, total = others[-1][0].scheme, others[-1][1]
    smaller = make_plan(Recipe("ds-cnn", scheme, name="test_plan_small"), "netduinoplus2")
    assert smaller.fits
    assert abs(smaller.footprint.needed_bytes - total) < 1024
    with pytest.raises(ConfigError, match=r"does not fit netduinoplus2: needs .*`bench plan` tries smaller schemes"):
        step_on_core(planned)
    assert f"--scheme {scheme} --dtype int8" in misfit(recipe, planned, others).partition("what would: ")[2]


def test_what_would_fit_fits_the_flash_too() -> None:
    """Of lenet-5 no scheme fits a micro:bit's 40 KB for the image: its frozen weights alone are more."""
    recipe = Recipe("lenet-5", "last-1", name="test_plan_flash")
    planned = make_plan(recipe, "microbit")
    problems = " ".join(planned.footprint.problems(planned.manifest))
    assert "microbit has a partition of 40960 for it: of 262144 bytes 221184 are the data partition's" in problems
    with pytest.raises(ConfigError, match="nor does any other scheme that was tried"):
        require_fit(recipe, planned)
    for other, _ in alternatives(recipe, planned):
        assert make_plan(other, "microbit").footprint.flash_bytes <= planned.manifest.flash.image_size


def test_kernels_of_a_cortex_m0_have_a_bound_of_their_stack() -> None:
    """Thumb-1 functions that use every register return by a low one, which is no call through a pointer."""
    planned = make_plan(Recipe("ds-cnn", "bias", name="test_plan_thumb"), "microbit")
    assert 200 < planned.footprint.stack_bytes < 2048


def bench(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=200
    )


SHARED_KEYS = {"sram_static_bytes", "sram_arena_bytes", "sram_stack_bytes", "sram_federation_bytes",
               "sram_total_bytes", "flash_bytes", "macs_forward", "macs_backward", "lower_bound_bytes"}  # fmt: skip


def test_the_commands_documents(project_root: Path) -> None:
    asked = ("demo-cnn", "--scheme", "last-1", "--env", "netduino2", "--name", "test_verbs", "--layers", "--json")
    plan = bench("plan", *asked, cwd=project_root)
    step = bench("step", *asked, "--witness", cwd=project_root)
    assert (plan.returncode, step.returncode) == (0, 0), plan.stderr + step.stderr
    planned, stepped = json.loads(plan.stdout), json.loads(step.stdout)
    assert set(planned) >= SHARED_KEYS
    assert set(stepped) >= SHARED_KEYS | {"instructions"}
    assert "cycles" not in stepped, "an emulator's cycles are nobody's"
    assert planned["fits"] is True
    assert planned["ram_needed_bytes"] == planned["sram_total_bytes"] + planned["sram_federation_bytes"]
    assert planned["ram_needed_bytes"] <= planned["ram_bytes"]
    assert {layer["name"] for layer in stepped["layers"]} == {"conv1", "pool1", "fc2"}
    counted = {layer["name"] for layer in stepped["layers"] if layer["instructions"] > 0}
    assert counted == {"conv1", "pool1", "fc2"} - {layer for chain in planned["fused"] for layer in chain[:-1]}
    assert stepped["calibration"] == planned["calibration"] == "16 random inputs, seed 0"


def test_the_picture_and_the_table(project_root: Path, tmp_path: Path) -> None:
    picture = tmp_path / "map.png"
    asked = ("plan", "demo-cnn", "--scheme", "last-1", "--env", "netduino2", "--name", "test_verbs")
    done = bench(*asked, "--picture", str(picture), cwd=project_root)
    assert done.returncode == 0, done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    for line in ("trained weights", "link buffers", "kernel calls; bytes upwards", "lower bound of this order", "fits"):
        assert line in done.stdout
    done = bench(*asked, "--picture", str(tmp_path / "map.nothing"), cwd=project_root)
    assert done.returncode == 2
    assert "map.nothing: the name's end says what it is" in done.stderr
    assert "compiling" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plan", "lenet-6"), "lenet-5"),
        (("plan", "nowhere.onnx"), "nowhere.onnx"),
        (("plan", "demo-cnn", "--scheme", "spars-25"), "did you mean sparse"),
        (("plan", "demo-cnn", "--input", "28x28"), "--input 28x28: height, width and channels"),
        (("plan", "demo-cnn", "--env", "host"), "host"),
        (("plan", "demo-cnn", "--calibration", "none.npy"), "none.npy"),
        (("plan", "demo-cnn", "--input", "²x8x3"), "height, width and channels"),
        (("plan", "demo-cnn", "--seed", "-1"), "--seed -1: 0 or more"),
        (("plan", "demo-cnn", "--name", "../evil"), "a letter, then letters"),
        (("step", "demo-cnn"), "--env"),
        (("step", "demo-cnn", "--env", "arduino"), "arduino"),
    ],
)
def test_mistakes_are_said_plainly(arguments: tuple[str, ...], message: str, project_root: Path) -> None:
    done = bench(*arguments, cwd=project_root)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_step_on_a_board_that_qemu_does_not_have() -> None:
    """Unicorn executes it: the counts are those of the same core in QEMU, but for the boards' own few instructions."""
    planned = make_plan(Recipe("demo-cnn", name="test_step_full"), "nrf52840_dk")
    figures, predicted = step_on_core(planned).figures, planned.footprint.keys()
    for exact in ("sram_static_bytes", "sram_arena_bytes", "sram_federation_bytes"):
        assert figures[exact] == predicted[exact], exact
    assert 0 < figures["sram_stack_bytes"] <= predicted["sram_stack_bytes"]
    again = step_on_core(planned).figures
    assert again == figures, "the same in every run"
    other = step_on_core(make_plan(Recipe("demo-cnn", name="test_step_full"), "netduinoplus2")).figures
    assert abs(figures["instructions"] - other["instructions"]) < 64
    with pytest.raises(ConfigError, match=r"nrf52840_dk: layers and witness are plug-ins of QEMU.*such as mps2_an386"):
        step_on_core(planned, layers=True)
