"""Updates: what their bits say, and that error feedback loses nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from codec_cases import SETTINGS, Case, cases, make_plan, parameters, plans
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bench.compiler.recipe import Recipe, compile_recipe
from bench.errors import ConfigError
from bench.federation.update_codec import CodecSettings, Encoded, UpdateCodec

EXAMPLES = hypothesis_settings(max_examples=150, deadline=None)
DENSE = CodecSettings(bits=8, keep=256, error_feedback=False, entropy=False)


def encode(p: list[int], settings: CodecSettings) -> Encoded:
    """The update of one int32 tensor that moves by p."""
    plan = make_plan([(len(p), "int32", None)])
    return UpdateCodec(plan, settings).encode(np.array(p, "<i4").tobytes(), bytes(4 * len(p)))


def left(p: list[int], settings: CodecSettings) -> list[int]:
    """What error feedback keeps."""
    return encode(p, replace(settings, error_feedback=True)).residual.tolist()


def header(flags: int, keep: int, values: int) -> bytes:
    """Version 1, an update."""
    return bytes([0x11, flags, keep - 1]) + values.to_bytes(4, "little")


def test_four_bits_by_hand() -> None:
    """max|p| / 7 = 25 / 7 = 3.57, and 4 = (8 + 0) << 2 >> 3 is representable: code 2 * 8 + 0 = 16.

    p / 4 is 2.5, -0.75, 0, 1.75, -6.25, so levels are 3 (halves go away from zero), -1, 0, 2, -6; zigzag 6, 1, 0, 4,
    11; in half bytes, the low half first, 16 40 0b. What is left: 10 - 12, -3 + 4, 0, 7 - 8, -25 + 24.
    """
    p, settings = [10, -3, 0, 7, -25], replace(DENSE, bits=4)
    assert encode(p, settings).blob == header(2, 256, 5) + bytes.fromhex("10 16 40 0b")
    assert left(p, settings) == [-2, 1, 0, -1, -1]


def test_rice_coding_by_hand() -> None:
    """max|p| / 7 = 1 / 7: the smallest scale is 1, code 1. 1, -1, -1, 1 over and over is 2, 1, 1, 2 in zigzag.

    Rice with k = 0: 2 is 001, 1 is 01: 64 * 2.5 = 160 bits; plain takes 256, a bitmap 64 + 64 * 4. So there is a switch
    to mode 1, 241 + 1 = f2, then the code, then bits 001 01 01 001, 16 times, the first lowest: 0010 1010 = 54,
    0100 1010 = 52, 1001 0010 = 49, 1010 0100 = 25, 1010 1001 = 95, and so again after five bytes.
    """
    p, settings = [1, -1, -1, 1] * 16, replace(DENSE, bits=4, entropy=True)
    assert encode(p, settings).blob == header(2 + 4, 256, 64) + bytes.fromhex("f2 01" + "54 52 49 25 95" * 4)
    assert left(p, settings) == [0] * 64


def test_one_bit_by_hand() -> None:
    """The mean of 5, 3, 4 is 4, code 16. Two of five are 0, more than a quarter, so zeros are told apart: a bit 1, then
    11010, then a sign for each that is not 0, 1 for plus: 101. As bytes, the first bit lowest: 1110 1010 = 57, 1.

    Of 5, -3, 0, 4 one is 0, just a quarter, at an even place: plus. A bit 0, signs 1011: 01011 = 1a. Then -4 is left.
    """
    settings = replace(DENSE, bits=1)
    assert encode([5, -3, 0, 4, 0], settings).blob == header(0, 256, 5) + bytes.fromhex("10 57 01")
    assert left([5, -3, 0, 4, 0], settings) == [1, 1, 0, 0, 0]
    assert encode([5, -3, 0, 4], settings).blob == header(0, 256, 4) + bytes.fromhex("10 1a")
    assert left([5, -3, 0, 4], settings) == [1, 1, -4, 0]


def test_runs_by_hand() -> None:
    """Levels 7 and -7 at 20 and 63 of 64: runs of 20 and 42 zeros. z - 1 is 13 and 12, in four bits.

    The count less one is 1 in 6 bits. Rice with k = 5: 20 is 1 and 10100, 42 = 32 + 10 is 01 and 01010: 13 bits; with
    k = 4 (01, 001) as many, so k = 4 it is, mode 9 + 4: 241 + 13 = fe. Scale 1, code 1. Bits, the first lowest:
    100000 01 001 0010 0101 1011 0011, in bytes 1000 0001 = 81, 0010 0100 = 24, 1011 0110 = 6d, 011 = 06.
    """
    p, settings = [0] * 64, replace(DENSE, bits=4, entropy=True)
    p[20], p[63] = 7, -7
    assert encode(p, settings).blob == header(2 + 4, 256, 64) + bytes.fromhex("fe 01 81 24 6d 06")


def test_top_k_by_hand() -> None:
    """ceil(5 * 128 / 256) = 3 of five values stay: 10, and of the three 7 the first two.

    Scale 10 = (8 + 2) << 3 >> 3: code 26 = 1a. Levels 1, -1, 0, 1, 0; zigzag 2, 1, 0, 2, 0 in two bits each, the first
    lowest: 10 00 01 10 = 86, and 00.
    """
    p, settings = [10, -7, 3, 7, -7], replace(DENSE, bits=2, keep=128)
    assert encode(p, settings).blob == header(1, 128, 5) + bytes.fromhex("1a 86 00")
    assert left(p, settings) == [0, 3, 3, -3, -7]


def test_the_largest_difference_by_hand() -> None:
    """2^30 / 127 = 8454660.03. Of scales m << 20 the next is 9 << 20 = 9437184: code 23 * 8 + 1 = 185 = b9.

    2^30 / 9437184 = 113.8, so the level is 114 (zigzag 228 = e4) and 2^30 - 114 * 9437184 = -2097152 is left. What is
    larger still is cut to 2^30 before.
    """
    assert encode([2**30], DENSE).blob == header(3, 256, 1) + bytes.fromhex("b9 e4")
    assert left([2**30], DENSE) == [-2097152]
    cut = encode([2**31 - 1], DENSE)
    assert (cut.blob, cut.clipped) == (encode([2**30], DENSE).blob, 1)


def test_a_block_of_zeros_is_one_byte() -> None:
    for settings in SETTINGS:
        assert encode([0] * 130, settings).blob[7:] == bytes(3)


def test_values_on_the_grid_by_hand() -> None:
    """int8 with a residual of 8 bits: (3 - 1) * 256 - 5; of 4 bits, -2 in a low half: (0 - 1) * 16 - 2."""
    plan = make_plan([(1, "int8", "int8"), (1, "int8", "int4")])
    codec = UpdateCodec(plan, DENSE)
    assert codec.grid(bytes([3, 0, 251, 14]), bytes([1, 1])).tolist() == [507, -18]
    real = codec.to_real(np.array([507, -18], np.int32))  # exponents 5 and 6, and 8 and 4 of the residuals
    assert {name: value.tolist() for name, value in real.items()} == {"t0": [507 * 2.0**-13], "t1": [-18 * 2.0**-10]}


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("demo-cnn"),
        Recipe("demo-cnn", batch=4),
        Recipe("demo-cnn", rule="compensated4"),
        Recipe("demo-cnn", rule="truncated"),
        Recipe("ds-cnn", scheme="sparse-10"),
    ],
    ids=str,
)
def test_the_grid_of_a_compiled_program_is_exact(recipe: Recipe) -> None:
    """A grid difference is the difference of the real values, lifts of channels included."""
    plan = compile_recipe(recipe).plan
    codec = UpdateCodec(plan, CodecSettings())
    generator = np.random.default_rng(1)
    params, base = parameters(plan, generator, 4)
    before, after = plan.decode(base), plan.decode(params[: plan.up_bytes])
    real = codec.to_real(codec.grid(params, base).astype(np.int32))
    assert list(real) == [tensor.name for tensor in plan.trained]
    for name, moved in real.items():
        np.testing.assert_array_equal(moved, after[name] - before[name])
    done = codec.encode(params, base)
    decoded = codec.to_real(codec.decode(done.blob))
    kept = codec.to_real(done.residual)
    for name, moved in real.items():
        np.testing.assert_array_equal(decoded[name] + kept[name], moved)


def test_float32_differences_are_rounded_to_the_nearest_millionth_or_so() -> None:
    """In units of 2^-20: halves to even; beyond 2^10 cut; what is not a number is 0. The last three are counted."""
    plan = make_plan([(6, "float32", None)])
    codec = UpdateCodec(plan, DENSE)
    moved = np.array([1.5 * 2**-20, 2.5 * 2**-20, -0.75, 2000, -np.inf, np.nan], "<f4").tobytes()
    assert codec.grid(moved, bytes(24)).tolist() == [2, 2, -0.75 * 2**20, 2**30, -(2**30), 0]
    assert codec.encode(moved, bytes(24)).clipped == 3


@pytest.mark.parametrize("vector", range(45))
def test_golden_vectors(project_root, vector: int) -> None:
    stored = json.loads((project_root / "tests/golden/federation/updates.json").read_text())
    assert len(stored) == 45
    case = stored[vector]
    settings = CodecSettings(case["bits"], case["keep"], error_feedback=False, entropy=case["entropy"])
    assert encode(case["p"], settings).blob.hex() == case["blob"]
    assert left(case["p"], settings) == case["left"]


@EXAMPLES
@given(case=cases())
def test_what_is_decoded_and_what_is_left_are_what_was_to_be_sent(case: Case) -> None:
    """Over rounds: the sum of all decoded updates and the last residual is the sum of what training moved."""
    codec = UpdateCodec(case.plan, replace(case.settings, error_feedback=True))
    sent, moved, residual, clipped = 0, 0, None, 0
    for number in range(4):
        params, base = Case(case.plan, codec.settings, case.seed + number, case.spread).bytes()
        done = codec.encode(params, base, residual)
        residual, clipped = done.residual, clipped + done.clipped
        moved = moved + codec.grid(params, base)
        sent = sent + codec.decode(done.blob).astype(np.int64)
    assert residual is not None
    if clipped == 0:
        np.testing.assert_array_equal(sent + residual, moved)


@EXAMPLES
@given(plan=plans(), bits=st.sampled_from((8, 4, 2)), seed=st.integers(0, 2**32), spread=st.floats(0, 9))
def test_the_error_is_at_most_half_a_scale(plan, bits: int, seed: int, spread: float) -> None:
    """Of a block's scale, with which all its values are decoded; and levels are in order of what they stand for."""
    codec = UpdateCodec(plan, CodecSettings(bits=bits))
    params, base = parameters(plan, np.random.default_rng(seed), spread)
    done = codec.encode(params, base)
    p, decoded = codec.grid(params, base), codec.decode(done.blob).astype(np.int64)
    at = 0
    for span in codec.spans:
        for start in range(0, span.count, 64):
            block = slice(at + start, at + min(start + 64, span.count))
            bound = np.abs(p[block]).max() / (2 ** (bits - 1) - 1)
            scale = bound * 1.125 + 1  # three bits of mantissa: at most an eighth above
            if not done.clipped:
                assert np.abs(done.residual[block]).max() <= scale / 2
            order = np.argsort(p[block], kind="stable")
            assert (np.diff(decoded[block][order]) >= 0).all(), "a larger value is never decoded to less"
        at += span.count


@EXAMPLES
@given(case=cases())
def test_entropy_coding_is_never_longer_and_says_the_same(case: Case) -> None:
    params, base = case.bytes()
    plain = UpdateCodec(case.plan, replace(case.settings, entropy=False))
    entropy = UpdateCodec(case.plan, replace(case.settings, entropy=True))
    long, short = plain.encode(params, base), entropy.encode(params, base)
    assert len(short.blob) <= len(long.blob) <= plain.max_bytes
    np.testing.assert_array_equal(entropy.decode(short.blob), plain.decode(long.blob))
    np.testing.assert_array_equal(short.residual, long.residual)


@EXAMPLES
@given(plan=plans(), seed=st.integers(0, 2**32), spread=st.floats(0, 31), bits=st.sampled_from((8, 4, 2)))
def test_more_bits_or_more_values_are_not_less_exact(plan, seed: int, spread: float, bits: int) -> None:
    params, base = parameters(plan, np.random.default_rng(seed), spread)

    def error(settings: CodecSettings) -> float:
        codec = UpdateCodec(plan, settings)
        p = np.clip(codec.grid(params, base), -(2**30), 2**30)
        return float(np.square((p - codec.decode(codec.encode(params, base).blob)).astype(np.float64)).sum())

    errors = [error(CodecSettings(bits, keep, error_feedback=False)) for keep in (256, 128, 32, 1)]
    assert errors == sorted(errors)
    assert error(replace(DENSE, bits=8)) <= 4 * error(replace(DENSE, bits=4)) + 1e-9


@EXAMPLES
@given(case=cases(), data=st.data())
def test_a_damaged_update_is_refused_or_means_something(case: Case, data) -> None:
    codec = UpdateCodec(case.plan, case.settings)
    blob = bytearray(codec.encode(*case.bytes()).blob)
    how = data.draw(st.sampled_from(("cut", "lengthen", "change", "random")))
    if how == "cut":
        del blob[data.draw(st.integers(0, len(blob) - 1)) :]
    elif how == "lengthen":
        blob += data.draw(st.binary(min_size=1, max_size=9))
    elif how == "change":
        for _ in range(data.draw(st.integers(1, 4))):
            blob[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        blob[7:] = data.draw(st.binary(max_size=200))
    try:
        decoded = codec.decode(bytes(blob))
    except ConfigError:
        return
    assert how not in ("cut", "lengthen"), "an end that is not the blocks' own"
    assert decoded.shape == (codec.values,)


def test_other_settings_are_refused() -> None:
    plan = make_plan([(70, "int8", "int8")])
    params, base = parameters(plan, np.random.default_rng(1), 5)
    blob = UpdateCodec(plan, DENSE).encode(params, base).blob
    for other in (replace(DENSE, bits=4), replace(DENSE, keep=7), replace(DENSE, entropy=True)):
        with pytest.raises(ConfigError, match="70 values with"):
            UpdateCodec(plan, other).decode(blob)
    with pytest.raises(ConfigError, match="71 values with"):
        UpdateCodec(make_plan([(71, "int8", "int8")]), DENSE).decode(blob)


def test_what_is_not_the_plan_s_is_refused() -> None:
    plan = make_plan([(70, "int8", "int8")])
    codec = UpdateCodec(plan, DENSE)
    with pytest.raises(ConfigError, match="3 bytes of parameters"):
        codec.encode(bytes(3), bytes(plan.down_bytes))
    with pytest.raises(ConfigError, match="residual"):
        codec.encode(bytes(plan.params_bytes), bytes(plan.down_bytes), np.zeros(70, np.int32))
    for wrong in ({"bits": 3}, {"keep": 0}, {"keep": 257}):
        with pytest.raises(ConfigError, match=f"update: {next(iter(wrong))}"):
            replace(DENSE, **wrong)


def test_bytes_that_a_client_keeps() -> None:
    """The base as it was sent down; two bytes a weight and four a bias of error feedback."""
    plan = make_plan([(10, "int32", None), (70, "int8", "int8")])
    codec = UpdateCodec(plan, CodecSettings())
    assert (codec.base_bytes, codec.error_bytes, codec.state_bytes) == (110, 180, 290)
    assert UpdateCodec(plan, DENSE).state_bytes == 110
