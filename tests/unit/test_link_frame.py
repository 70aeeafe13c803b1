"""COBS and frames in Python: golden vectors of an independent reference, and properties."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.link.frame import Corrupt, Event, Frame, Parser, Received, Text, cobs_decode, cobs_encode, decode

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "link"
LONGEST_PAYLOAD = 1040  # of the golden streams: a board with a chunk of 1024


def golden(name: str) -> list[Any]:
    vectors = json.loads((GOLDEN / f"{name}.json").read_text())
    return [pytest.param(vector, id=vector["name"]) for vector in vectors]


# Many zeros and long runs without them: what COBS cares about.
payloads = st.one_of(
    st.binary(max_size=600),
    st.lists(st.sampled_from([b"\0", b"\1", b"x" * 253, b"y" * 254, b"z" * 255]), max_size=6).map(b"".join),
)
frames = st.builds(Frame, st.integers(0, 63), st.integers(0, 255), st.integers(0, 0xFFFF), payloads, st.integers(0, 3))


def names(events: list[Event]) -> list[list[object]]:
    found: list[list[object]] = []
    for event in events:
        if isinstance(event, Received):
            found.append(["frame", event.frame.type, event.frame.sequence])
        else:
            found.append(["corrupt" if isinstance(event, Corrupt) else "text"])
    return found


@pytest.mark.parametrize("vector", golden("cobs"))
def test_cobs_agrees_with_the_reference(vector: dict[str, str]) -> None:
    data, encoded = bytes.fromhex(vector["data"]), bytes.fromhex(vector["encoded"])
    assert cobs_encode(data) == encoded
    assert cobs_decode(encoded) == data


@pytest.mark.parametrize("vector", golden("frames"))
def test_frame_agrees_with_the_reference(vector: dict[str, Any]) -> None:
    payload, wire = bytes.fromhex(vector["payload"]), bytes.fromhex(vector["wire"])
    frame = Frame(vector["type"], vector["flags"], vector["sequence"], payload, vector["version"])
    assert frame.encode() == wire
    assert Parser().feed(wire) == [Received(frame, len(wire))]


@pytest.mark.parametrize("vector", golden("streams"))
def test_stream_gives_the_reference_events(vector: dict[str, Any]) -> None:
    assert names(Parser(LONGEST_PAYLOAD).feed(bytes.fromhex(vector["stream"]))) == vector["events"]


@pytest.mark.parametrize("bad", [b"", b"\0", b"\x05abc", b"\x02a\0", b"\xff" + b"x" * 253])
def test_what_is_no_cobs_is_refused(bad: bytes) -> None:
    with pytest.raises(ValueError, match="not COBS"):
        cobs_decode(bad)


@pytest.mark.parametrize("bad", [Frame(64, 0, 0), Frame(1, 256, 0), Frame(1, 0, 65536), Frame(1, 0, 0, bytes(65536))])
def test_a_field_out_of_range_is_refused(bad: Frame) -> None:
    with pytest.raises(ValueError, match="no frame has"):
        bad.encode()


@given(payloads)
def test_cobs_round_trip_and_cost(data: bytes) -> None:
    encoded = cobs_encode(data)
    assert 0 not in encoded
    assert len(encoded) <= len(data) + 1 + len(data) // 254
    assert cobs_decode(encoded) == data


@given(frames)
def test_frame_round_trip_and_cost(frame: Frame) -> None:
    wire = frame.encode()
    assert wire[0] == wire[-1] == 0
    assert 0 not in wire[1:-1]
    assert decode(wire[1:-1]) == frame
    assert len(wire) <= len(frame.payload) + 16 + 0.005 * len(frame.payload)


@given(st.lists(frames, max_size=5), st.data())
def test_any_division_of_the_stream_gives_the_same_events(sent: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(frame.encode() for frame in sent)
    parser, events, at = Parser(), [], 0
    while at < len(stream):
        step = data.draw(st.integers(1, len(stream) - at))
        events += parser.feed(stream[at : at + step])
        at += step
    assert [event.frame for event in events if isinstance(event, Received)] == sent
    assert sum(event.wire_bytes for event in events if isinstance(event, Received)) == len(stream)


@given(frames, st.data())
def test_any_damage_is_detected_or_harmless(frame: Frame, data: st.DataObject) -> None:
    wire = bytearray(frame.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    following = Frame(1, 0x10, 77, b"after")
    events = Parser().feed(bytes(wire) + following.encode())
    received = [event.frame for event in events if isinstance(event, Received)]
    assert received[-1] == following
    assert all(other == frame for other in received[:-1])


@given(st.binary(max_size=4000), frames)
def test_resynchronises_after_garbage(garbage: bytes, frame: Frame) -> None:
    parser = Parser(2000)
    parser.feed(garbage)
    event = parser.feed(frame.encode())[-1]
    assert isinstance(event, Received)
    assert event.frame == frame


@given(st.binary(max_size=3000), st.integers(0, 300))
def test_every_byte_is_counted_once(stream: bytes, longest: int) -> None:
    ended = stream + b"\0\xfe\0"  # the last event takes all delimiters before it
    counted = sum(
        event.text_bytes if isinstance(event, Text) else event.wire_bytes for event in Parser(longest).feed(ended)
    )
    assert counted == len(ended)


def test_memory_is_bounded() -> None:
    parser = Parser(max_payload=100)
    for _ in range(50):
        parser.feed(b"\x80" * 1000)
        assert len(parser._segment) < 200
    assert parser.feed(b"\0") == [Corrupt(50_001)]


def test_text_is_given_out_when_the_line_is_quiet_but_a_beginning_frame_is_not() -> None:
    parser = Parser()
    parser.feed(b"booting\r\n")
    assert parser.take_text() == Text("booting\r\n", 9)
    assert parser.take_text() is None
    frame = Frame(2, 0x20, 0x2020, b" " * 0x2020)  # printable, but for its end
    wire = frame.encode()
    parser.feed(wire[:9])
    assert parser.take_text() is None
    assert parser.feed(wire[9:]) == [Received(frame, len(wire))]


@settings(max_examples=20)
@given(st.integers(4096, 40_000), st.sampled_from([1024]), st.binary(min_size=1, max_size=1))
def test_framing_costs_less_than_3_percent_of_an_update(size: int, chunk: int, fill: bytes) -> None:
    """Worst case for COBS included (no zeros); down with offsets and the round's BEGIN, up with READ's replies."""
    data = fill * size
    crc = zlib.crc32(data).to_bytes(4, "little")
    step = chunk - 4
    down = [at.to_bytes(4, "little") + data[at : at + step] for at in range(0, size, step)] + [b"\1\0\0\0" + crc]
    up = [data[at : at + chunk] for at in range(0, size, chunk)]
    for kind, flags, messages in ((3, 0x10, down), (4, 0x11, up)):
        wire = sum(len(Frame(kind, flags, 9, message).encode()) for message in messages)
        assert wire - size < 0.03 * size
