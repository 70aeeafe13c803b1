"""Plans: validation that names the field, and values that survive encoding and decoding."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import ConfigError
from bench.fleet.calibrate import calibrate
from bench.model.plan import FIRMWARE, LARGEST_BIAS, load_plan

PROGRAMS = ("demo_int8", "demo_float32")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_plan_s_id_is_the_hash_of_its_file(name: str) -> None:
    blob = (FIRMWARE / "programs" / name / "plan.json").read_bytes()
    assert load_plan(name).plan_id == hashlib.sha256(blob).digest()[:8]


def test_the_demo_fits_the_smallest_board() -> None:
    """micro:bit, 16 KB: parameters and arena leave room for the link's buffers, the stack and all else."""
    plan = load_plan("demo_int8")
    assert plan.params_bytes + plan.arena_bytes <= 10_800
    assert plan.down_bytes >= 4096, "framing is judged by updates of 4 KB and more"


def test_both_programs_are_the_same_network() -> None:
    int8, float32 = (load_plan(name) for name in PROGRAMS)
    assert [(t.name, t.shape) for t in int8.trained] == [(t.name, t.shape) for t in float32.trained]
    assert int8.input == float32.input
    assert [(layer.op, layer.weights, layer.relu) for layer in int8.layers] == [
        (layer.op, layer.weights, layer.relu) for layer in float32.layers
    ]
    for name, value in int8.initial(7).items():
        np.testing.assert_array_equal(value, float32.initial(7)[name])


def test_the_int8_exponents_are_those_that_calibration_finds() -> None:
    plan = load_plan("demo_int8")
    found = calibrate("demo_float32")
    exponents = {tensor.name: tensor.exponent for tensor in plan.tensors}
    assert {name: exponents[name] for name in found if not name.startswith("layers")} == {
        name: value for name, value in found.items() if not name.startswith("layers")
    }
    for index, layer in enumerate(plan.layers[:-1]):
        assert layer.exponent == found[f"layers.{index}"]
    # A bias adds to its layer's accumulator, 2^8 times finer.
    assert exponents["conv.bias"] == plan.input.exponent + exponents["conv.weight"] + 8
    assert exponents["dense.bias"] == (plan.layers[1].exponent or 0) + exponents["dense.weight"] + 8


def test_initial_values_are_he_normal_seeded_and_within_range() -> None:
    plan = load_plan("demo_int8")
    values = plan.initial(1)
    assert values["dense.weight"].std() == pytest.approx(np.sqrt(2 / 432), rel=0.03)
    assert not values["conv.bias"].any()
    assert not np.array_equal(values["dense.weight"], plan.initial(2)["dense.weight"])
    decoded = plan.decode(plan.encode_down(values))
    for name, value in values.items():
        unit = 2.0 ** -next(t.exponent for t in plan.tensors if t.name == name)
        assert np.abs(decoded[name] - value).max() <= unit / 2, name


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_int8_params_decode_to_values_that_encode_to_the_same_down_bytes(seed: int) -> None:
    """Whatever the residuals: q is the weight rounded to nearest, so what is sent down again is what was trained."""
    plan = load_plan("demo_int8")
    generator = np.random.default_rng(seed)
    params = bytearray(generator.integers(0, 256, plan.params_bytes, np.uint8).tobytes())
    for tensor in plan.tensors:
        if tensor.kind == "bias":
            biases = generator.integers(-LARGEST_BIAS, LARGEST_BIAS + 1, tensor.size).astype("<i4")
            params[tensor.offset : tensor.offset + tensor.bytes] = biases.tobytes()
    values = plan.decode(bytes(params))
    assert plan.encode_down(values) == params[: plan.down_bytes]


def test_a_residual_is_worth_a_256th() -> None:
    plan = load_plan("demo_int8")
    params = bytearray(plan.params_bytes)
    weight = next(t for t in plan.tensors if t.name == "dense.weight")
    residual = next(t for t in plan.tensors if t.of == "dense.weight")
    params[weight.offset + 3] = 2
    params[residual.offset + 3] = 256 - 64
    assert plan.decode(bytes(params))["dense.weight"].reshape(-1)[3] == (2 - 0.25) * 2.0**-weight.exponent
    assert plan.decode(bytes(params[: plan.down_bytes]))["dense.weight"].reshape(-1)[3] == 2 * 2.0**-weight.exponent


def test_values_out_of_range_are_clipped_and_halves_round_up() -> None:
    plan = load_plan("demo_int8")
    values = {name: np.zeros_like(value) for name, value in plan.initial(1).items()}
    unit = 2.0 ** -next(t.exponent for t in plan.tensors if t.name == "conv.weight")
    values["conv.weight"].reshape(-1)[:5] = [1e6, -1e6, 2.5 * unit, -2.5 * unit, 0.49 * unit]
    values["conv.bias"][:2] = [1e30, -1e30]
    decoded = plan.decode(plan.encode_down(values))
    assert (decoded["conv.weight"].reshape(-1)[:5] / unit).tolist() == [127, -128, 3, -2, 0]
    assert (decoded["conv.bias"][:2] * 2.0**19).tolist() == [LARGEST_BIAS, -LARGEST_BIAS]


def test_float32_round_trips() -> None:
    plan = load_plan("demo_float32")
    values = plan.initial(3)
    down = plan.encode_down(values)
    assert len(down) == plan.down_bytes == plan.params_bytes
    for name, value in plan.decode(down).items():
        np.testing.assert_array_equal(value, values[name].astype(np.float32))


def test_wrong_values_and_lengths_are_refused() -> None:
    plan = load_plan("demo_int8")
    good = plan.initial(1)
    for wrong in (
        {name: value for name, value in good.items() if name != "conv.bias"},
        {**good, "more": np.zeros(3)},
        {**good, "conv.bias": np.zeros(3)},
        {**good, "conv.bias": np.full(12, np.nan)},
    ):
        with pytest.raises(ConfigError, match="program demo_int8"):
            plan.encode_down(wrong)
    with pytest.raises(ConfigError, match="bytes of parameters"):
        plan.decode(bytes(plan.down_bytes + 1))


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    """A copy of the programs that a test may damage."""
    shutil.copytree(FIRMWARE / "programs", tmp_path / "programs")
    return tmp_path


Damage = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.pop("classes"), "classes"),
        (lambda p: p.update(colour="red"), "colour"),
        (lambda p: p.update(dtype="int4"), "dtype"),
        (lambda p: p.update(sample_bytes=195), "sample_bytes 195"),
        (lambda p: p.update(params_bytes=9000), "the tensors take 8944 bytes"),
        (lambda p: p.update(down_bytes=9000), "down_bytes 9000"),
        (lambda p: p.update(down_bytes=4000), "residuals lie behind"),
        (lambda p: p.update(name="other"), "name: is 'other'"),
        (lambda p: p["tensors"][2].update(offset=89), "offset 89"),
        (lambda p: p["tensors"][0].update(shape=[11]), "ends at 44"),
        (lambda p: p["tensors"][4].update(of="conv.bias"), "must be int8 and refine"),
        (lambda p: p["tensors"][4].update(exponent=12), "exponent 13"),
        (lambda p: p["tensors"][2].update(of="conv.bias"), "only a residual"),
        (lambda p: p["tensors"][3].update(name="conv.weight"), "must differ|refine"),
        (lambda p: p["layers"][0].update(weights="conv.bias"), "layers.0"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(firmware: Path, damage: Damage, message: str) -> None:
    path = firmware / "programs" / "demo_int8" / "plan.json"
    document = json.loads(path.read_text())
    damage(document)
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigError, match=message) as caught:
        load_plan("demo_int8", firmware)
    assert "plan.json" in str(caught.value)


def test_an_unknown_program_lists_the_known_and_bad_json_is_named(firmware: Path) -> None:
    with pytest.raises(ConfigError, match="demo_float32, demo_int8"):
        load_plan("demo_int9", firmware)
    (firmware / "programs" / "demo_int8" / "plan.json").write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        load_plan("demo_int8", firmware)
