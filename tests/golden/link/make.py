"""Writes the link's golden vectors, `*.json` beside this file: `python tests/golden/link/make.py`.

An independent reference: COBS by the PyPI package `cobs` (1.2), CRC-32 by zlib, fields laid out by hand from the table
in docs/architecture.md. It imports nothing of the project. The vectors are committed; run it only to add some.
"""

from __future__ import annotations

import json
import random
import zlib
from pathlib import Path

from cobs import cobs

HERE = Path(__file__).parent


def le(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def frame_parts(version: int, kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    body = le(version << 6 | kind, 1) + le(flags, 1) + le(sequence, 2) + le(len(payload), 2) + payload
    return body + le(zlib.crc32(body), 4)


def wire(body: bytes) -> bytes:
    return b"\0" + cobs.encode(body) + b"\0"


def frame(version: int, kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    return wire(frame_parts(version, kind, flags, sequence, payload))


def messages_of_bytes() -> dict[str, bytes]:
    noise = random.Random(2)
    ramp = bytes(range(1, 255))
    return {
        "empty": b"",
        "one zero": b"\0",
        "two zeros": b"\0\0",
        "one byte": b"A",
        "zero at both ends": b"\0abc\0",
        "253 without zero": ramp[:253],
        "254 without zero": ramp,
        "255 without zero": ramp + b"\xff",
        "254, then zero": ramp + b"\0",
        "254, zero, one byte": ramp + b"\0\x07",
        "zero, then 254": b"\0" + ramp,
        "508 without zero": ramp * 2,
        "509 without zero": ramp * 2 + b"x",
        "all byte values": bytes(range(256)),
        "300 zeros": bytes(300),
        "noise": noise.randbytes(700),
        "sparse": bytes(noise.choice((0, 0, 0, 5)) for _ in range(300)),
    }


def crc_vectors() -> list[dict[str, object]]:
    inputs = {"check value": b"123456789", **messages_of_bytes()}
    return [{"name": name, "data": data.hex(), "crc32": zlib.crc32(data)} for name, data in inputs.items()]


def cobs_vectors() -> list[dict[str, object]]:
    by_hand = [  # from the paper's rules, to check the reference itself
        ("00", "0101"),
        ("0000", "010101"),
        ("11220033", "0311220233"),
        ("11000000", "0211010101"),
        ("1122330044", "041122330244"),
    ]
    found = [{"name": f"by hand {data}", "data": data, "encoded": code} for data, code in by_hand]
    for data, code in by_hand:
        assert cobs.encode(bytes.fromhex(data)).hex() == code
    for name, data in messages_of_bytes().items():
        found.append({"name": name, "data": data.hex(), "encoded": cobs.encode(data).hex()})
    return found


def frame_vectors() -> list[dict[str, object]]:
    noise = random.Random(3)
    cases = [
        ("HELLO", 1, 1, 0x50, 0, bytes([1, 5, 0, 0]) + le(0xDEADBEEF, 4)),
        ("STATS", 1, 2, 0x10, 1, b"\1"),
        ("empty reply", 1, 3, 0x11, 2, b""),
        ("error reply", 1, 6, 0x23, 0x0102, bytes([9, 0, 0, 0]) + le(0, 4)),
        ("last sequence number", 1, 9, 0xF0, 0xFFFF, b""),
        ("WRITE of a chunk of zeros", 1, 3, 0x10, 7, le(1020, 4) + bytes(1020)),
        ("READ reply without zeros", 1, 4, 0x11, 8, bytes(noise.randrange(1, 256) for _ in range(1024))),
        ("READ reply of noise", 1, 4, 0x11, 9, noise.randbytes(1024)),
        ("longest payload", 1, 8, 0x10, 10, noise.randbytes(1040)),
        ("another version", 2, 1, 0x10, 0, b"later"),
        ("unknown type", 1, 63, 0x10, 0, b""),
    ]
    return [
        {
            "name": name,
            "version": version,
            "type": kind,
            "flags": flags,
            "sequence": sequence,
            "payload": payload.hex(),
            "wire": frame(version, kind, flags, sequence, payload).hex(),
        }
        for name, version, kind, flags, sequence, payload in cases
    ]


def stream_vectors() -> list[dict[str, object]]:
    """Streams of bytes and the events they give: frame (by type and sequence), corrupt, text."""
    a = frame(1, 2, 0x10, 100, b"\0")
    b = frame(1, 4, 0x10, 101, le(0, 4) + le(1024, 2))
    ok_a, ok_b = ["frame", 2, 100], ["frame", 4, 101]
    flipped = bytes([*a[:5], a[5] ^ 0x04, *a[6:]])
    bad_crc = frame_parts(1, 2, 0x10, 100, b"\0")[:-1] + b"\0"
    wrong_length = bytearray(frame_parts(1, 2, 0x10, 100, b"\0")[:-4])
    wrong_length[4] = 200
    wrong_length += le(zlib.crc32(bytes(wrong_length)), 4)
    cases: list[tuple[str, bytes, list[object]]] = [
        ("two frames", a + b, [ok_a, ok_b]),
        ("one delimiter between two frames", a + b[1:], [ok_a, ok_b]),
        ("many delimiters", bytes(5) + a + bytes(5) + b, [ok_a, ok_b]),
        (
            "text before, between and behind",
            b"boot\r\n" + a + b"some\ttext\n" + b + b"tail\n\0",
            [["text"], ok_a, ["text"], ok_b, ["text"]],
        ),
        ("text without a line end", b"A" + a, [["text"], ok_a]),
        ("a bit flipped", flipped + b, [["corrupt"], ok_b]),
        ("the CRC does not match", wire(bad_crc) + b, [["corrupt"], ok_b]),
        ("the header's length is wrong under a valid CRC", wire(bytes(wrong_length)) + b, [["corrupt"], ok_b]),
        ("a byte lost", a[:6] + a[7:] + b, [["corrupt"], ok_b]),
        ("a delimiter lost between two frames", a[:-1] + b[1:] + a, [["corrupt"], ok_a]),
        ("the end lost", a[:8] + b, [["corrupt"], ok_b]),
        ("the beginning lost", a[7:] + b, [["corrupt"], ok_b]),
        ("text in the middle of a frame", a[:7] + b"oops" + a[7:] + b, [["corrupt"], ok_b]),
        ("too short for a frame", wire(b"\x42\x10\x01") + a, [["corrupt"], ok_a]),
        ("garbage", b"\xff\xfe\x80\x81\0" + a, [["corrupt"], ok_a]),
        ("a frame longer than any", frame(1, 3, 0x10, 1, b"\x80" * 1041) + a, [["corrupt"], ok_a]),
        ("a very long frame", frame(1, 3, 0x10, 1, b"\x80" * 3000) + a, [["corrupt"], ok_a]),
        ("a very long text", b"chatter\n" * 400 + a, [["text"], ok_a]),
        ("an unfinished frame", a[:-1], []),
    ]
    return [{"name": name, "stream": data.hex(), "events": events} for name, data, events in cases]


U8, U16, U32, U64 = 1, 2, 4, 8
LAYOUTS: dict[str, list[tuple[str, int]]] = {  # by hand, from the table; the size of each field in bytes
    "HelloRequest": [("protocol", U8), ("tag", U8), ("reserved", U16), ("nonce", U32)],
    "HelloReply": [
        ("protocol", U8),
        ("dtype", U8),
        ("capabilities", U16),
        ("nonce", U32),
        ("build_id", 16),
        ("image_crc32", U32),
        ("image_crc32_expected", U32),
        ("plan_id", 8),
        ("env", 24),
        ("chunk_bytes", U16),
        ("reset_cause", U8),
        ("clock_source", U8),
        ("core_hz", U32),
        ("params_bytes", U32),
        ("down_bytes", U32),
        ("sample_bytes", U32),
        ("device_uid", 12),
        ("fault_pc", U32),
        ("fault_lr", U32),
        ("fault_cfsr", U32),
        ("fault_valid", U32),
    ],
    "StatsRequest": [("repaint", U8)],
    "StatsReply": [
        ("wire_rx", U32),
        ("wire_tx", U32),
        ("frames_rx", U32),
        ("frames_tx", U32),
        ("rx_repeated", U32),
        ("tx_repeated", U32),
        ("rx_corrupt", U32),
        ("overruns", U32),
        ("log_tx", U32),
        ("sram_static", U32),
        ("sram_arena", U32),
        ("sram_federation", U32),
        ("stack_reserved", U32),
        ("stack_high_water", U32),
        ("uptime_cycles", U64),
    ],
    "WriteRequest": [("offset", U32)],
    "ReadRequest": [("offset", U32), ("length", U16)],
    "BeginRequest": [("round", U32), ("crc32", U32)],
    "TrainRequest": [("first", U32), ("count", U32), ("learning_rate_q16", U32), ("seed", U32)],
    "EvaluateRequest": [("first", U32), ("count", U32)],
    "StreamRequest": [("learning_rate_q16", U32), ("seed", U32), ("count", U16), ("reserved", U16)],
    "ResultReply": [
        ("samples", U32),
        ("correct", U32),
        ("loss_q16", U64),
        ("saturated", U32),
        ("reserved", U32),
        ("cycles", U64),
    ],
    "DataReply": [
        ("present", U8),
        ("crc_ok", U8),
        ("reserved", U16),
        ("count", U32),
        ("sample_bytes", U32),
        ("classes", U32),
        ("crc32", U32),
        ("capacity", U32),
        ("shard_id", 16),
    ],
    "ErrorReply": [("code", U8), ("reserved", 3), ("detail", U32)],
}


def layout_vectors() -> list[dict[str, object]]:
    """Each field's offset and size, and one payload in which every byte of every field differs from its neighbours."""
    found: list[dict[str, object]] = []
    for name, fields in LAYOUTS.items():
        offset, placed, payload = 0, [], bytearray()
        for index, (field, size) in enumerate(fields):
            placed.append({"field": field, "offset": offset, "size": size})
            if field == "reserved":
                payload += bytes(size)
            elif field == "env":
                payload += b"b_l475e_iot01a".ljust(size, b"\0")
            elif field in ("present", "crc_ok"):
                payload += b"\1"
            else:
                payload += bytes((7 * index + 31 * at + 1) % 256 for at in range(size))
            offset += size
        found.append({"name": name, "size": offset, "fields": placed, "payload": payload.hex()})
    return found


def main() -> None:
    for name, vectors in (
        ("crc32", crc_vectors()),
        ("cobs", cobs_vectors()),
        ("frames", frame_vectors()),
        ("streams", stream_vectors()),
        ("layouts", layout_vectors()),
    ):
        lines = ",\n".join(json.dumps(vector) for vector in vectors)
        (HERE / f"{name}.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
