"""Payloads in Python against layouts written by hand from the table in docs/architecture.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.errors import ConfigError, DeviceError
from bench.link import messages
from bench.link.device import learning_rate_q16
from bench.link.messages import DataInfo, ErrorReply, Hello, HelloRequest, Stats, TrainResult

LAYOUTS = json.loads((Path(__file__).resolve().parents[1] / "golden" / "link" / "layouts.json").read_text())
BY_NAME = {layout["name"]: layout for layout in LAYOUTS}
CLASSES: dict[str, Any] = {
    "HelloRequest": HelloRequest,
    "HelloReply": Hello,
    "StatsReply": Stats,
    "ResultReply": TrainResult,
    "DataReply": DataInfo,
    "ErrorReply": ErrorReply,
}
STRUCTS = {
    "StatsRequest": messages.STATS,
    "WriteRequest": messages.WRITE,
    "ReadRequest": messages.READ,
    "BeginRequest": messages.BEGIN,
    "TrainRequest": messages.TRAIN,
    "EvaluateRequest": messages.EVALUATE,
    "StreamRequest": messages.STREAM,
}


def raw(layout: dict[str, Any], field: dict[str, Any]) -> bytes:
    payload = bytes.fromhex(layout["payload"])
    return payload[field["offset"] : field["offset"] + field["size"]]


def test_every_layout_is_tried() -> None:
    assert {*CLASSES, *STRUCTS} == {*BY_NAME}


@pytest.mark.parametrize("name", CLASSES)
def test_fields_lie_where_the_table_says(name: str) -> None:
    layout = BY_NAME[name]
    payload = bytes.fromhex(layout["payload"])
    assert len(payload) == layout["size"]
    message = CLASSES[name].unpack(payload)
    for field in layout["fields"]:
        if field["field"] == "reserved":
            continue
        value, expected = getattr(message, field["field"]), raw(layout, field)
        if isinstance(value, str):
            assert value.encode().ljust(field["size"], b"\0") == expected
        elif isinstance(value, bytes):
            assert value == expected
        else:
            assert value == int.from_bytes(expected, "little")
    assert message.pack() == payload


@pytest.mark.parametrize("name", STRUCTS)
def test_request_fields_lie_where_the_table_says(name: str) -> None:
    layout = BY_NAME[name]
    values = STRUCTS[name].unpack(bytes.fromhex(layout["payload"]))
    assert list(values) == [int.from_bytes(raw(layout, field), "little") for field in layout["fields"]]


@pytest.mark.parametrize("name", CLASSES)
def test_another_length_is_refused(name: str) -> None:
    payload = bytes.fromhex(BY_NAME[name]["payload"])
    for bad in (payload[:-1], payload + b"\0", b""):
        with pytest.raises(DeviceError, match="firmware and bench differ"):
            CLASSES[name].unpack(bad)


def test_hello_names_every_reason_against_a_board() -> None:
    hello = Hello.unpack(bytes.fromhex(BY_NAME["HelloReply"]["payload"]))
    found = hello.problems(env="microbit", plan_id=bytes(8), build_id=bytes(16), params_bytes=1)
    assert len(found) == 5 + (hello.protocol != messages.PROTOCOL)
    text = " ".join(found)
    for part in ("corrupt", "'b_l475e_iot01a'", "'microbit'", hello.plan_id.hex(), hello.build_id.hex()):
        assert part in text


def test_results_add_up() -> None:
    both = TrainResult(10, 5, 65536 * 20, 1, 100) + TrainResult(30, 25, 65536 * 20, 2, 300)
    assert (both.samples, both.accuracy, both.loss, both.saturated, both.cycles) == (40, 0.75, 1.0, 3, 400)
    assert TrainResult(0, 0, 0, 0, 0).loss != TrainResult(0, 0, 0, 0, 0).loss  # nan


def test_learning_rate_is_fixed_point() -> None:
    assert learning_rate_q16(0.0625) == 4096
    assert learning_rate_q16(65535.5) == 0xFFFF8000
    for bad in (0.0, -1.0, 65536.0, float("nan"), 1e-9):
        with pytest.raises(ConfigError, match="learning rate"):
            learning_rate_q16(bad)
