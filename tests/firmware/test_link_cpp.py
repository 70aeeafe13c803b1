"""The firmware's frame and messages: the same golden vectors and properties as the host's, and a fuzz run."""

from __future__ import annotations

import ctypes
import json
import re
import shutil
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.link.frame import Corrupt, Frame, Parser, Received, cobs_encode
from tests.firmware.link_board import GOLDEN, ROOT, SOURCES, WARNINGS, build_library, call_for_bytes, compile_host

LONGEST_PAYLOAD = 1040
RECORD = struct.Struct("<BBBBHHI")
EVENTS = {1: "frame", 2: "corrupt", 3: "text"}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build_library(tmp_path_factory.mktemp("link"))


def golden(name: str) -> list[Any]:
    vectors = json.loads((GOLDEN / f"{name}.json").read_text())
    return [pytest.param(vector, id=vector["name"]) for vector in vectors]


payloads = st.one_of(
    st.binary(max_size=600),
    st.lists(st.sampled_from([b"\0", b"\1", b"x" * 253, b"y" * 254, b"z" * 255]), max_size=4).map(b"".join),
)
frames = st.builds(Frame, st.integers(0, 63), st.integers(0, 255), st.integers(0, 0xFFFF), payloads, st.integers(0, 3))


def encode(library: ctypes.CDLL, frame: Frame, head: int = 0) -> bytes | None:
    header = struct.pack("<BBBxHH", frame.version, frame.type, frame.flags, frame.sequence, 0)
    return call_for_bytes(library.link_encode, header, frame.payload, len(frame.payload), min(head, len(frame.payload)))


def parse(library: ctypes.CDLL, stream: bytes) -> list[tuple[str, Frame | None, int]]:
    """Events of the C++ parser: what, the frame, and the bytes between its delimiters."""
    records = call_for_bytes(library.link_parse, stream, len(stream))
    assert records is not None
    found, at = [], 0
    while at < len(records):
        event, version, kind, flags, sequence, length, segment = RECORD.unpack_from(records, at)
        at += RECORD.size
        frame = Frame(kind, flags, sequence, records[at : at + length], version) if EVENTS[event] == "frame" else None
        at += length
        found.append((EVENTS[event], frame, segment))
    return found


@pytest.mark.parametrize("vector", golden("crc32"))
def test_crc_agrees_with_the_reference(library: ctypes.CDLL, vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["data"])
    for split in {0, len(data) // 3, len(data)}:
        assert library.link_crc32(data, len(data), split) == vector["crc32"]


@pytest.mark.parametrize("vector", golden("cobs"))
def test_cobs_agrees_with_the_reference(library: ctypes.CDLL, vector: dict[str, str]) -> None:
    data, encoded = bytes.fromhex(vector["data"]), bytes.fromhex(vector["encoded"])
    for first, second in ((0, 0), (len(data) // 3, len(data) // 2), (len(data), len(data))):
        assert call_for_bytes(library.link_cobs_encode, data, len(data), first, second) == encoded
    assert call_for_bytes(library.link_cobs_decode, encoded, len(encoded), capacity=len(data)) == data
    if data:
        assert call_for_bytes(library.link_cobs_decode, encoded, len(encoded), capacity=len(data) - 1) is None


@pytest.mark.parametrize("vector", golden("frames"))
def test_frame_agrees_with_the_reference(library: ctypes.CDLL, vector: dict[str, Any]) -> None:
    payload, wire = bytes.fromhex(vector["payload"]), bytes.fromhex(vector["wire"])
    frame = Frame(vector["type"], vector["flags"], vector["sequence"], payload, vector["version"])
    assert encode(library, frame, head=5) == wire
    assert parse(library, wire) == [("frame", frame, len(wire) - 2)]


@pytest.mark.parametrize("vector", golden("streams"))
def test_stream_gives_the_reference_events(library: ctypes.CDLL, vector: dict[str, Any]) -> None:
    events = [
        ["frame", frame.type, frame.sequence] if frame is not None else [what]
        for what, frame, _ in parse(library, bytes.fromhex(vector["stream"]))
    ]
    assert events == vector["events"]


def test_message_fields_lie_where_the_table_says(library: ctypes.CDLL) -> None:
    ours: dict[str, list[dict[str, Any]]] = {}
    for line in library.link_layouts().decode().splitlines():
        name, field, offset, size = line.split()
        ours.setdefault(name, []).append({"field": field, "offset": int(offset), "size": int(size)})
    assert ours == {layout["name"]: layout["fields"] for layout in json.loads((GOLDEN / "layouts.json").read_text())}


@given(payloads, st.integers(0, 600), st.integers(0, 600))
def test_cobs_of_scattered_pieces_is_the_hosts(library: ctypes.CDLL, data: bytes, a: int, b: int) -> None:
    first, second = sorted((min(a, len(data)), min(b, len(data))))
    assert call_for_bytes(library.link_cobs_encode, data, len(data), first, second) == cobs_encode(data)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_decoder_stays_in_its_buffer(library: ctypes.CDLL, data: bytes, capacity: int) -> None:
    """The harness watches the byte behind the buffer; the fuzz run below has the address sanitizer do it."""
    decoded = call_for_bytes(library.link_cobs_decode, data.replace(b"\0", b"\1"), len(data), capacity=capacity)
    assert decoded is None or len(decoded) <= capacity


@given(frames, st.integers(0, 600))
def test_frame_round_trip_with_the_host(library: ctypes.CDLL, frame: Frame, head: int) -> None:
    wire = encode(library, frame, head)
    assert wire == frame.encode()
    assert parse(library, wire) == [("frame", frame, len(wire) - 2)]


@given(frames, st.data())
def test_any_damage_is_detected_or_harmless(library: ctypes.CDLL, frame: Frame, data: st.DataObject) -> None:
    wire = bytearray(frame.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    following = Frame(1, 0x10, 77, b"after")
    received = [f for _, f, _ in parse(library, bytes(wire) + following.encode()) if f is not None]
    assert received[-1] == following
    assert all(other == frame for other in received[:-1])


@settings(max_examples=200)
@given(st.lists(st.one_of(frames.map(Frame.encode), st.binary(max_size=1500), st.text().map(str.encode)), max_size=4))
def test_both_parsers_see_the_same(library: ctypes.CDLL, parts: list[bytes]) -> None:
    stream = b"".join(parts) + b"\0"
    expected = []
    for event in Parser(LONGEST_PAYLOAD).feed(stream):
        what = "frame" if isinstance(event, Received) else "corrupt" if isinstance(event, Corrupt) else "text"
        expected.append((what, event.frame if isinstance(event, Received) else None))
    # The host keeps no more of an overlong segment than tells whether it is text, so a tail is not looked at.
    ours = [(what, frame) for what, frame, _ in parse(library, stream)]
    assert [frame for _, frame in ours] == [frame for _, frame in expected]
    if max((len(segment) for segment in stream.split(b"\0")), default=0) <= LONGEST_PAYLOAD:
        assert ours == expected


def test_session_fits_a_small_board(library: ctypes.CDLL) -> None:
    """The receive buffer, the cached head and little else: the micro:bit has 16 KB of RAM."""
    assert library.link_session_bytes() <= library.link_chunk_bytes() + 16 + 10 + 128 + 220


@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m3", "cortex-m4"])
def test_compiles_for_the_boards_without_heap_or_exceptions(core: str, tmp_path: Path) -> None:
    objects = []
    for source in SOURCES:
        output = tmp_path / f"{source.stem}.o"
        command = [
            "arm-none-eabi-g++",
            f"-mcpu={core}",
            "-mthumb",
            "-std=c++17",
            "-O2",
            *WARNINGS,
            "-Wdouble-promotion",
        ]
        command += ["-fno-exceptions", "-fno-rtti", f"-I{ROOT / 'firmware'}", "-c", str(source), "-o", str(output)]
        subprocess.run(command, check=True)
        objects.append(str(output))
    table = subprocess.run(["arm-none-eabi-nm", "-C", "-u", *objects], check=True, capture_output=True, text=True)
    outside = {line.split(None, 1)[1] for line in table.stdout.splitlines() if line.strip().startswith("U ")}
    outside = {name for name in outside if not name.startswith("link::")}
    helpers = {name for name in outside if name.startswith("__gnu_thumb1_case")}  # libgcc's switch tables
    assert outside <= {"memcpy", "memset", "memmove", "strlen"} | helpers


def seeds(folder: Path) -> None:
    """A corpus from the golden vectors; the fuzz target's first byte chooses what it does with the rest."""
    folder.mkdir()
    streams = [bytes.fromhex(v["stream"]) for v in json.loads((GOLDEN / "streams.json").read_text())]
    wires = [bytes.fromhex(v["wire"]) for v in json.loads((GOLDEN / "frames.json").read_text())]
    for index, data in enumerate([*streams, *wires]):
        (folder / f"raw{index}").write_bytes(b"\0" + data)
    opening = bytes([1, 0x18, 0])  # a HELLO that opens session 1; what follows is executed in it
    requests = [bytes.fromhex(v["payload"])[:255] for v in json.loads((GOLDEN / "layouts.json").read_text())]
    requests += [b"\0\0\0\0" + bytes(40), struct.pack("<IH", 8, 60), struct.pack("<IH", 100, 200)]
    for index, payload in enumerate(requests):
        script = b"".join(bytes([kind, 0, len(payload)]) + payload for kind in range(2, 12))
        (folder / f"script{index}").write_bytes(b"\1" + opening + script)


def test_fuzz_target_finds_nothing_in_ten_seconds(tmp_path: Path) -> None:
    """Long runs are by hand: see tests/fuzz/fuzz_link.cpp."""
    if shutil.which("clang++") is None:
        pytest.skip("clang++ with libFuzzer is not installed")
    target = tmp_path / "fuzz_link"
    flags = ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", "-DFTTE_CHUNK_BYTES=128"]
    compile_host("clang++", flags, ROOT / "tests/fuzz/fuzz_link.cpp", target)
    seeds(tmp_path / "seeds")
    (tmp_path / "corpus").mkdir()
    run = subprocess.run(
        [str(target), "-max_total_time=10", "-max_len=2048", "-print_final_stats=1", "corpus", "seeds"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    executed = re.search(r"stat::number_of_executed_units: (\d+)", run.stderr)
    assert executed is not None
    assert int(executed[1]) > 1000


def test_python_and_zlib_agree_with_the_header_check(library: ctypes.CDLL) -> None:
    assert library.link_crc32(b"123456789", 9, 4) == zlib.crc32(b"123456789") == 0xCBF43926
