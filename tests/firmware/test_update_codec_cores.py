"""The update codec in C++ gives the bits that the one in Python does: on the host, and on Cortex-M0, M3 and M4F.

Cost of an update of int8 weights with residuals of 8 bits, and of a download of which a tenth changed, in instructions
a value (test_what_it_costs holds the code to it):

                         M0    M3   M4F
    8 bits, plain       110    80    80
    8 bits, entropy     155   110   110
    2 bits, entropy     140   105   110
    the same, top 1/4   210   160   165
    download            115    90    90
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from codec_cases import SETTINGS, STORAGES, Case, cases, make_plan, parameters, plans, settings
from engine_targets import BOARD_OF_CORE, FIRMWARE, CoreTarget, HostTarget, Target
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.errors import ConfigError
from bench.federation.update_codec import CodecSettings, Encoded, UpdateCodec

SOURCES = [Path(__file__).with_name("update_codec_probe.cpp"), *sorted((FIRMWARE / "federation").glob("*.cpp"))]
WITHOUT_FPU = ("cortex-m0", "cortex-m3")
CANARY = 0xA5


class Firmware:
    """The codec of a plan as a board runs it, behind the interface of UpdateCodec."""

    def __init__(self, target: Target, codec: UpdateCodec) -> None:
        self.target, self.codec = target, codec
        settings = codec.settings
        self.settings = np.array([settings.bits, settings.keep, settings.entropy, settings.error_feedback], np.int32)
        rows = [(span.kind, span.count, span.value, span.residual, span.error) for span in codec.spans]
        self.spans = np.array(rows, np.uint32)
        self.segments = np.array([(segment.words, segment.count) for segment in codec.segments], np.uint32)

    def encode(
        self, params: bytes, base: bytes, residual: NDArray[np.int32] | None, capacity: int | None = None
    ) -> Encoded:
        codec = self.codec
        errors = self._packed(np.zeros(codec.values, np.int32) if residual is None else residual)
        capacity = codec.max_bytes if capacity is None else capacity
        out, result = np.full(capacity + 8, CANARY, np.uint8), np.zeros(3, np.uint32)
        self.target.call(
            "encode", self.settings, self.spans, len(self.spans), array(params), array(base),
            errors if codec.settings.error_feedback else None, out, capacity, result,
        )  # fmt: skip
        error, size, clipped = (int(word) for word in result)
        assert (out[max(size, 0) if error else capacity :] == CANARY).all(), "wrote behind its buffer"
        if error:
            raise ConfigError(f"error {error}")
        return Encoded(out[:size].tobytes(), self._unpacked(errors), clipped)

    def decode(self, blob: bytes) -> NDArray[np.int32]:
        deltas = np.zeros(self.codec.values, np.int32)
        error = self.target.call(
            "decode", self.settings, self.spans, len(self.spans), array(blob), len(blob), deltas
        )  # fmt: skip
        if error:
            raise ConfigError(f"error {error}")
        return deltas

    def decode_down(self, blob: bytes, old: bytes) -> bytes:
        stored = array(old)
        error = self.target.call("apply", self.segments, len(self.segments), array(blob), len(blob), stored)
        if error:
            assert stored.tobytes()[: len(old)] == old, "a refused download changed something"
            raise ConfigError(f"error {error}")
        return stored.tobytes()[: len(old)]

    def sizes(self) -> list[int]:
        result = np.zeros(4, np.uint32)
        self.target.call("sizes", self.settings, self.spans, len(self.spans), result)
        return result.tolist()

    def _packed(self, residual: NDArray[np.int32]) -> NDArray[np.uint8]:
        packed = np.zeros(sum(span.count * span.error_bytes for span in self.codec.spans) + 4, np.uint8)
        for span, part in self._parts(residual):
            stored = part.astype("<i2" if span.error_bytes == 2 else "<i4").tobytes()
            packed[span.error : span.error + len(stored)] = np.frombuffer(stored, np.uint8)
        return packed

    def _unpacked(self, errors: NDArray[np.uint8]) -> NDArray[np.int32]:
        residual = np.zeros(self.codec.values, np.int32)
        for span, part in self._parts(residual):
            part[:] = np.frombuffer(errors.tobytes(), "<i2" if span.error_bytes == 2 else "<i4", span.count, span.error)
        return residual

    def _parts(self, flat):
        ends = np.cumsum([span.count for span in self.codec.spans])
        return zip(self.codec.spans, np.split(flat, ends[:-1]), strict=True)


def array(blob: bytes) -> NDArray[np.uint8]:
    """Bytes as an argument, never empty."""
    return np.frombuffer(blob + bytes(4), np.uint8).copy()


def assert_equal(case: Case, target: Target, rounds: int = 2) -> None:
    """Both sides code the same case, over rounds that hand the error feedback on."""
    codec = UpdateCodec(case.plan, case.settings)
    firmware = Firmware(target, codec)
    residual = None
    for number in range(rounds):
        params, base = Case(case.plan, case.settings, case.seed + number, case.spread).bytes()
        expected, found = codec.encode(params, base, residual), firmware.encode(params, base, residual)
        assert found.blob == expected.blob
        assert found.clipped == expected.clipped
        np.testing.assert_array_equal(found.residual, expected.residual)
        np.testing.assert_array_equal(firmware.decode(found.blob), codec.decode(found.blob))
        residual = expected.residual if case.settings.error_feedback else None


@pytest.fixture(scope="module")
def host() -> HostTarget:
    return HostTarget("update-codec", SOURCES)


@pytest.fixture(scope="module", params=BOARD_OF_CORE)
def core(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CoreTarget:
    return CoreTarget(request.param, "update-codec", tmp_path_factory.mktemp("image"), SOURCES)


@given(case=cases())
@hypothesis_settings(max_examples=300, deadline=None)
def test_the_host_gives_the_bits_of_python(host: HostTarget, case: Case) -> None:
    assert_equal(case, host)


@given(case=cases(), data=st.data())
@hypothesis_settings(max_examples=300, deadline=None)
def test_the_host_refuses_what_python_refuses(host: HostTarget, case: Case, data) -> None:
    """Updates and downloads, damaged in few bytes or cut or made longer."""
    codec = UpdateCodec(case.plan, case.settings)
    firmware = Firmware(host, codec)
    params, base = case.bytes()
    new = params[: case.plan.down_bytes]
    for blob, there, here in (
        (codec.encode(params, base).blob, firmware.decode, codec.decode),
        (
            codec.encode_down(new, base),
            lambda blob: firmware.decode_down(blob, base),
            lambda blob: codec.decode_down(blob, base),
        ),
    ):
        damaged = bytearray(blob[: data.draw(st.integers(0, len(blob)))] if data.draw(st.booleans()) else blob)
        damaged += data.draw(st.binary(max_size=3))
        for _ in range(data.draw(st.integers(0, 3)) if damaged else 0):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
        assert outcome(there, bytes(damaged)) == outcome(here, bytes(damaged))


def outcome(decode: Callable[[bytes], bytes | NDArray[np.int32]], blob: bytes) -> bytes | None:
    """What a message is decoded to, or None if it is refused."""
    try:
        decoded = decode(blob)
    except ConfigError:
        return None
    return decoded if isinstance(decoded, bytes) else decoded.tobytes()


@given(plan=plans(), seed=st.integers(0, 2**32), spread=st.one_of(st.just(0.0), st.floats(0, 33)))
@hypothesis_settings(max_examples=150, deadline=None)
def test_the_host_applies_what_python_sends_down(host: HostTarget, plan, seed: int, spread: float) -> None:
    codec = UpdateCodec(plan, CodecSettings())
    params, old = parameters(plan, np.random.default_rng(seed), spread)
    new = params[: plan.down_bytes]
    assert Firmware(host, codec).decode_down(codec.encode_down(new, old), old) == new


@given(plan=plans(), settings=settings())
@hypothesis_settings(max_examples=50, deadline=None)
def test_sizes_are_python_s(host: HostTarget, plan, settings: CodecSettings) -> None:
    codec = UpdateCodec(plan, replace(settings, error_feedback=True))
    blocks = sum(-(-tensor.size // 64) for tensor in plan.trained)
    assert Firmware(host, codec).sizes() == [codec.values, blocks, codec.error_bytes, codec.max_bytes]


def test_a_buffer_that_is_too_small_is_left_alone(host: HostTarget) -> None:
    codec = UpdateCodec(make_plan([(70, "int8", "int8")]), CodecSettings())
    params, base = parameters(codec.plan, np.random.default_rng(1), 4)
    with pytest.raises(ConfigError, match="error 2"):
        Firmware(host, codec).encode(params, base, None, codec.max_bytes - 1)


def test_settings_that_are_not_possible_are_refused(host: HostTarget) -> None:
    codec = UpdateCodec(make_plan([(70, "int8", "int8")]), CodecSettings())
    params, base = parameters(codec.plan, np.random.default_rng(1), 4)
    for bits, keep in ((3, 256), (0, 256), (16, 256), (8, 0), (8, 257)):
        firmware = Firmware(host, codec)
        firmware.settings[:2] = bits, keep
        with pytest.raises(ConfigError, match="error 1"):
            firmware.encode(params, base, None)


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_cores_give_the_bits_of_python(core: CoreTarget, setting: CodecSettings) -> None:
    """All kinds of storage, from differences of no unit to any bytes."""
    storages = STORAGES[core.core in WITHOUT_FPU :]
    plan = make_plan([(size, *storage) for storage, size in zip(storages, (65, 64, 1, 67, 130, 97, 70), strict=False)])
    for spread in (0.5, 6.0, 18.0, 32.0):
        assert_equal(Case(plan, setting, 7, spread), core)


@pytest.mark.parametrize("spread", [0.0, 1.0, 6.0, 33.0])
def test_cores_apply_what_python_sends_down(core: CoreTarget, spread: float) -> None:
    codec = UpdateCodec(make_plan([(67, "int32", None), (200, "int8", "int8"), (70, "int32", None)]), CodecSettings())
    firmware = Firmware(core, codec)
    params, old = parameters(codec.plan, np.random.default_rng(3), spread)
    message = codec.encode_down(params[: codec.plan.down_bytes], old)
    assert firmware.decode_down(message, old) == params[: codec.plan.down_bytes]
    for damaged in (message[:-1], message + b"\0", message[:5] + b"\xff" * 20, b""):
        assert outcome(lambda blob: firmware.decode_down(blob, old), damaged) == outcome(
            lambda blob: codec.decode_down(blob, old), damaged
        )


def test_cores_without_an_fpu_have_no_code_for_float32(core: CoreTarget) -> None:
    codec = UpdateCodec(make_plan([(70, "float32", None)]), CodecSettings())
    params, base = parameters(codec.plan, np.random.default_rng(1), 4)
    firmware = Firmware(core, codec)
    if core.core in WITHOUT_FPU:
        with pytest.raises(ConfigError, match="error 1"):
            firmware.encode(params, base, None)
    else:
        assert firmware.encode(params, base, None).blob == codec.encode(params, base).blob


@pytest.mark.parametrize(
    ("setting", "most"),
    [
        (CodecSettings(8, entropy=False), (110, 80, 80)),
        (CodecSettings(8), (155, 110, 110)),
        (CodecSettings(2), (140, 105, 110)),
        (CodecSettings(2, keep=64), (210, 160, 165)),
    ],
    ids=str,
)
def test_what_it_costs(core: CoreTarget, setting: CodecSettings, most: tuple[int, int, int]) -> None:
    """The table above."""
    codec = UpdateCodec(make_plan([(3968, "int8", "int8"), (64, "int32", None)]), setting)
    params, base = parameters(codec.plan, np.random.default_rng(1), 6)
    Firmware(core, codec).encode(params, base, np.zeros(codec.values, np.int32))
    assert core.instructions <= codec.values * most[list(BOARD_OF_CORE).index(core.core)]


def test_what_a_download_costs(core: CoreTarget) -> None:
    """The table above."""
    codec = UpdateCodec(make_plan([(4096, "int8", "int8")]), CodecSettings())
    generator = np.random.default_rng(1)
    old = generator.integers(0, 100, 4096).astype(np.uint8)
    new = old + (generator.random(4096) < 0.1)
    Firmware(core, codec).decode_down(codec.encode_down(new.astype(np.uint8).tobytes(), old.tobytes()), old.tobytes())
    assert core.instructions <= 4096 * (115 if core.core == "cortex-m0" else 90)


def test_fuzz_target_finds_nothing_in_ten_seconds(tmp_path: Path) -> None:
    """Long runs are by hand: see tests/fuzz/fuzz_update_codec.cpp."""
    if shutil.which("clang++") is None:
        pytest.skip("clang++ with libFuzzer is not installed")
    root, target = FIRMWARE.parent, tmp_path / "fuzz_update_codec"
    command = ["clang++", "-std=c++17", "-O1", "-g", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
    sources = [root / "tests/fuzz/fuzz_update_codec.cpp", *SOURCES[1:]]
    subprocess.run([*command, f"-I{FIRMWARE}", *map(str, sources), "-o", str(target)], check=True)
    (tmp_path / "corpus").mkdir()
    run = subprocess.run(
        [str(target), "-max_total_time=10", "-max_len=1024", "-print_final_stats=1", "corpus"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-4000:]
    executed = re.search(r"stat::number_of_executed_units: (\d+)", run.stderr)
    assert executed is not None
    assert int(executed[1]) > 1000
