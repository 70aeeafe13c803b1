"""Plans: validation that names the field, and values that survive encoding and decoding."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.compiler.recipe import Recipe, compile_recipe, make
from bench.errors import ConfigError
from bench.model.plan import LARGEST_BIAS, Plan, load_initial, load_plan

RECIPES = (
    Recipe("demo-cnn", name="int8"),
    Recipe("demo-cnn", dtype="float32", name="float32"),
    Recipe("ds-cnn", scheme="sparse-10", name="sparse"),
    Recipe("demo-cnn", batch=4, name="batch"),
    Recipe("demo-cnn", scheme="list:conv1.weight,fc2.bias", rule="compensated4", name="packed"),
)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A firmware folder with programs in firmware/generated."""
    firmware = tmp_path_factory.mktemp("firmware")
    for recipe in RECIPES:
        make(recipe, firmware)
    return firmware


def plan_path(firmware: Path, name: str) -> Path:
    return firmware / "generated" / name / "plan.json"


def test_a_plan_s_id_is_the_hash_of_its_file(programs: Path) -> None:
    ids = set()
    for recipe in RECIPES:
        assert recipe.name is not None
        plan = load_plan(recipe.name, programs)
        assert plan.plan_id == hashlib.sha256(plan_path(programs, recipe.name).read_bytes()).digest()[:8]
        ids.add(plan.plan_id)
    assert len(ids) == len(RECIPES)


def test_the_demo_fits_the_smallest_board(programs: Path) -> None:
    """micro:bit, 16 KB: parameters and arena leave room for the link's buffers, the stack and all else."""
    plan = load_plan("int8", programs)
    assert plan.params_bytes + plan.arena_bytes <= 11_600
    assert plan.down_bytes >= 4096, "framing is judged by updates of 4 KB and more"


def test_both_number_formats_are_the_same_network(programs: Path) -> None:
    int8, float32 = (load_plan(name, programs) for name in ("int8", "float32"))
    assert [(t.name, t.shape) for t in int8.trained] == [(t.name, t.shape) for t in float32.trained]
    assert int8.layers == float32.layers
    start, other = (load_initial(name, programs) for name in ("int8", "float32"))
    for name, value in start.items():
        np.testing.assert_array_equal(value, other[name])


def test_initial_values_survive_to_half_a_quantum(programs: Path) -> None:
    for name in ("int8", "sparse", "batch"):
        plan = load_plan(name, programs)
        values = load_initial(name, programs)
        decoded = plan.decode(plan.encode_down(values))
        for tensor in plan.trained:
            quantum = np.broadcast_to(2.0 ** -tensor.exponents.astype(float), tensor.shape)
            inside = np.abs(values[tensor.name]) < 127 * quantum
            error = np.abs(decoded[tensor.name] - values[tensor.name])
            assert (error[inside] <= quantum[inside] / 2).all(), f"{name} {tensor.name}"


@given(st.integers(0, 10_000), st.sampled_from([RECIPES[0], RECIPES[-1]]))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_params_decode_to_values_that_encode_to_the_same_down_bytes(seed: int, recipe: Recipe) -> None:
    """Whatever the residuals: q is the weight rounded to nearest, so what is sent down again is what was trained."""
    plan = _compiled(recipe)
    generator = np.random.default_rng(seed)
    params = bytearray(generator.integers(0, 256, plan.params_bytes, np.uint8).tobytes())
    for tensor in plan.tensors:
        if tensor.kind == "bias":
            biases = generator.integers(-LARGEST_BIAS, LARGEST_BIAS + 1, tensor.size).astype("<i4")
            params[tensor.offset : tensor.offset + tensor.bytes] = biases.tobytes()
    values = plan.decode(bytes(params))
    assert plan.encode_down(values) == params[: plan.down_bytes]
    assert all((values[name] == value).all() for name, value in plan.decode(bytes(params[: plan.up_bytes])).items())


@cache
def _compiled(recipe: Recipe) -> Plan:
    return compile_recipe(recipe).plan


def test_a_residual_is_worth_a_256th_and_each_channel_has_its_own_exponent(programs: Path) -> None:
    plan = load_plan("sparse", programs)
    weight = next(t for t in plan.tensors if t.kind == "weight" and any(t.lift))
    residual = next(t for t in plan.tensors if t.of == weight.name)
    channel = next(c for c, lift in enumerate(weight.lift) if lift)
    place = (channel, 0, 0, 0) if weight.axis == 0 else (0, 0, channel)
    index = int(np.ravel_multi_index(place, weight.shape))
    params = bytearray(plan.params_bytes)
    params[weight.offset + index] = 2
    params[residual.offset + index] = 256 - 64
    quantum = 2.0 ** -(weight.exponent - weight.lift[channel])
    assert plan.decode(bytes(params))[weight.name][place] == (2 - 0.25) * quantum
    assert plan.decode(bytes(params[: plan.down_bytes]))[weight.name][place] == 2 * quantum


def test_packed_residuals_are_worth_a_sixteenth_two_to_a_byte(programs: Path) -> None:
    plan = load_plan("packed", programs)
    weight = next(t for t in plan.tensors if t.kind == "weight")
    residual = next(t for t in plan.tensors if t.of == weight.name)
    assert residual.bytes == (weight.size + 1) // 2
    params = bytearray(plan.params_bytes)
    params[residual.offset] = 0x87  # 7, and -8
    params[residual.offset + 1] = 0x0F  # -1, and 0
    sixteenths = plan.decode(bytes(params))[weight.name].reshape(-1)[:5] * 2.0 ** (weight.exponent - weight.lift[0] + 4)
    assert sixteenths.tolist() == [7, -8, -1, 0, 0]


def test_values_out_of_range_are_clipped_and_halves_round_up(programs: Path) -> None:
    plan = load_plan("int8", programs)
    values = {name: np.zeros_like(value) for name, value in load_initial("int8", programs).items()}
    tensor = next(t for t in plan.tensors if t.name == "conv1.weight")
    quanta = 2.0 ** -np.broadcast_to(tensor.exponents.astype(float), tensor.shape).reshape(-1)[:5]
    values["conv1.weight"].reshape(-1)[:5] = np.array([1e6, -1e6, 2.5, -2.5, 0.49]) * quanta
    values["conv1.bias"][:2] = [1e30, -1e30]
    decoded = plan.decode(plan.encode_down(values))
    assert (decoded["conv1.weight"].reshape(-1)[:5] / quanta).tolist() == [127, -128, 3, -2, 0]
    bias = next(t for t in plan.tensors if t.name == "conv1.bias")
    stored = decoded["conv1.bias"] * 2.0 ** bias.exponents.astype(float)
    assert stored[:2].tolist() == [LARGEST_BIAS, -LARGEST_BIAS]


def test_float32_round_trips(programs: Path) -> None:
    plan = load_plan("float32", programs)
    values = load_initial("float32", programs)
    down = plan.encode_down(values)
    assert len(down) == plan.down_bytes == plan.up_bytes
    for name, value in plan.decode(down).items():
        np.testing.assert_array_equal(value, values[name].astype(np.float32))


def test_wrong_values_and_lengths_are_refused(programs: Path) -> None:
    plan = load_plan("int8", programs)
    good = load_initial("int8", programs)
    for wrong in (
        {name: value for name, value in good.items() if name != "conv1.bias"},
        {**good, "more": np.zeros(3)},
        {**good, "conv1.bias": np.zeros(3)},
        {**good, "conv1.bias": np.full(12, np.nan)},
    ):
        with pytest.raises(ConfigError, match="program int8"):
            plan.encode_down(wrong)
    with pytest.raises(ConfigError, match="bytes of parameters"):
        plan.decode(bytes(plan.down_bytes + 1))


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    """A firmware folder with one program that a test may damage."""
    make(RECIPES[0], tmp_path)
    return tmp_path


Damage = Callable[[dict[str, Any]], object]


def tensor(plan: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(t for t in plan["tensors"] if t["name"] == name)
    return found


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.pop("classes"), "classes"),
        (lambda p: p.update(colour="red"), "colour"),
        (lambda p: p.update(dtype="int4"), "dtype"),
        (lambda p: p.update(sample_bytes=195), "sample_bytes 195"),
        (lambda p: p.update(params_bytes=p["params_bytes"] + 8), "params_bytes is"),
        (lambda p: p.update(down_bytes=p["up_bytes"] + 1), "down .* <= up"),
        (lambda p: p.update(down_bytes=4000), "a weight lies from byte 0 to 4000"),
        (lambda p: p.update(name="other"), "name: is 'other'"),
        (lambda p: tensor(p, "fc2.weight").update(offset=89), "tensor fc2.weight: offset 89"),
        (lambda p: tensor(p, "conv1.bias").update(shape=[11]), "the tensor before ends at 44"),
        (lambda p: tensor(p, "conv1.weight.residual").update(of="fc2.weight"), "must have the shape and lift"),
        (lambda p: tensor(p, "conv1.weight.residual").update(of="nobody"), "must refine a weight or bias"),
        (lambda p: tensor(p, "fc2.weight.residual").update(of="conv1.weight"), "must have|that no other refines"),
        (lambda p: tensor(p, "fc2.weight").update(of="conv1.bias"), "only a residual"),
        (lambda p: tensor(p, "conv1.weight").update(lift=[1, 2]), "2 lifts for 12 channels"),
        (lambda p: p["layers"][0].update(trained=-1), "layers.0.trained"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(firmware: Path, damage: Damage, message: str) -> None:
    path = plan_path(firmware, "int8")
    document = json.loads(path.read_text())
    damage(document)
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigError, match=message) as caught:
        load_plan("int8", firmware)
    assert "plan.json" in str(caught.value)


def test_unknown_programs_and_damaged_files_are_named(firmware: Path) -> None:
    with pytest.raises(ConfigError, match=r"no program 'int9'.* there are: int8 \(`bench plan MODEL` makes one\)"):
        load_plan("int9", firmware)
    folder = plan_path(firmware, "int8").parent
    (folder / "initial.npz").write_bytes(b"PK\3\4 nothing")
    with pytest.raises(ConfigError, match=r"initial\.npz.*make the program anew"):
        load_initial("int8", firmware)
    (folder / "plan.json").write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        load_plan("int8", firmware)
