"""Writes the update codec's golden vectors, `updates.json` and `downloads.json` beside this file:
`python tests/golden/federation/make.py`.

An independent reference: one value, one bit at a time, with exact fractions, from the description in
firmware/federation/update.hpp and download.hpp. It imports nothing of the project. The vectors are committed; run it
only to add some.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor
from pathlib import Path

HERE = Path(__file__).parent
BLOCK = 64
SCALES = {code: max(1, (8 + code % 8) * 2 ** (code // 8) // 8) for code in range(1, 241)}


def code_above(bound: Fraction) -> int:
    least = min(scale for scale in SCALES.values() if scale >= bound)
    return min(code for code in SCALES if SCALES[code] == least)


def bits_of(value: int, width: int) -> list[int]:
    assert 0 <= value < 2**width
    return [value >> index & 1 for index in range(width)]


def packed(bits: list[int]) -> bytes:
    bits = bits + [0] * (-len(bits) % 8)
    return bytes(sum(bit << index for index, bit in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8))


def zigzag(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


def rice(codes: list[int], k: int) -> list[int]:
    unary = [bit for code in codes for bit in [0] * (code >> k) + [1]]
    return unary + [bit for code in codes for bit in bits_of(code % 2**k, k)]


def quantised(p: list[int], bits: int, keep: int) -> tuple[int, list[int]]:
    """The code of the scale and the levels of a block."""
    stay = sorted(range(len(p)), key=lambda index: (-abs(p[index]), index))[: ceil(Fraction(len(p) * keep, 256))]
    peak = max(abs(value) for value in p)
    if peak == 0:
        return 0, [0] * len(p)
    if bits == 1:
        some = [abs(p[index]) for index in stay if p[index]]
        shift = max(0, peak.bit_length() - 26)
        bound = Fraction(ceil(Fraction(sum(value >> shift for value in some), len(some))) << shift)
    else:
        bound = Fraction(peak, 2 ** (bits - 1) - 1)
    code = code_above(bound)
    levels = []
    few = bits == 1 and keep == 256 and 4 * p.count(0) <= len(p)
    for index, value in enumerate(p):
        nearest = floor(Fraction(abs(value), SCALES[code]) + Fraction(1, 2)) if bits > 1 else min(1, abs(value))
        level = nearest if value > 0 else -nearest
        if few and value == 0:
            level = -1 if index % 2 else 1
        levels.append(level if index in stay else 0)
    return code, levels


def coded(levels: list[int], bits: int, entropy: bool) -> dict[int, list[int]]:
    """Payloads by mode."""
    codes = [zigzag(level) for level in levels]
    width = {8: 8, 4: 4, 2: 1, 1: 1}[bits]
    nonzero = [bit for code in codes if code for bit in bits_of(code - 1, width)]
    bitmap = [int(code > 0) for code in codes] + nonzero
    if bits > 1:
        modes = {0: [bit for code in codes for bit in bits_of(code, bits)]}
    else:
        modes = {0: [0, *nonzero] if all(codes) else [1, *bitmap]}
    if entropy:
        modes |= {1 + k: rice(codes, k) for k in range(bits - 1)}
        if bits > 1:
            modes[8] = bitmap
    if entropy and 2 * sum(code > 0 for code in codes) <= len(codes):
        places = [-1, *(index for index, code in enumerate(codes) if code)]
        runs = [after - before - 1 for before, after in itertools.pairwise(places)]
        modes |= {9 + k: bits_of(len(runs) - 1, 6) + rice(runs, k) + nonzero for k in range(6)}
    return modes


def update(p: list[int], bits: int, keep: int, entropy: bool) -> tuple[bytes, list[int]]:
    """The message of one tensor without error feedback, and what is left of p."""
    flags = {1: 0, 2: 1, 4: 2, 8: 3}[bits] + 4 * entropy
    stream = [bit for byte in (0x11, flags, keep - 1) for bit in bits_of(byte, 8)] + bits_of(len(p), 32)
    left: list[int] = []
    current = 0
    for at in range(0, len(p), BLOCK):
        block = p[at : at + BLOCK]
        code, levels = quantised(block, bits, keep)
        left += [value - level * SCALES.get(code, 0) for value, level in zip(block, levels, strict=True)]
        if code == 0:
            stream += bits_of(0, 8)
            continue
        payloads = coded(levels, bits, entropy)
        change = {mode: 0 if mode in (0, current) else 8 if current else 16 for mode in payloads}
        chosen = min(payloads, key=lambda mode: (len(payloads[mode]) + change[mode], mode))
        if chosen != current:
            stream += bits_of(241 + chosen, 8)
        current = chosen
        stream += bits_of(code, 8) + payloads[chosen]
    return packed(stream), left


def download(new: bytes, old: bytes, words: int) -> bytes:
    """A message for `words` 32-bit words and then bytes."""
    stream = bits_of(0x13, 8) + bits_of(len(new), 32)
    for width, start, end in ((4, 0, 4 * words), (1, 4 * words, len(new))):
        codes = []
        for at in range(start, end, width):
            after, before = (int.from_bytes(blob[at : at + width], "little") for blob in (new, old))
            change = (after - before) % 256**width
            codes.append(zigzag(change - 256**width if change >= 256**width // 2 else change))
        for at in range(0, len(codes), BLOCK):
            block = codes[at : at + BLOCK]
            fixed = max(block).bit_length()
            lengths = {k: sum((code >> k) + 1 + k for code in block) for k in range(8 * width - 1)}
            k = min(lengths, key=lambda k: (lengths[k], k))
            if lengths[k] < fixed * len(block):
                stream += bits_of(33 + k, 6) + rice(block, k)
            else:
                stream += bits_of(fixed, 6) + [bit for code in block for bit in bits_of(code, fixed)]
    difference = packed(stream)
    return difference if len(difference) < 5 + len(new) else b"\x12" + len(new).to_bytes(4, "little") + new


def laplace(source: random.Random, scale: float) -> int:
    return round(scale * (source.expovariate(1) - source.expovariate(1)))


def sources() -> dict[str, Callable[[random.Random], int]]:
    return {
        "small": lambda source: laplace(source, 0.4),
        "weights": lambda source: laplace(source, 300),
        "outliers": lambda source: laplace(source, 20) if source.random() < 0.98 else laplace(source, 30_000),
        "uniform": lambda source: source.randint(-1000, 1000),
        "biases": lambda source: max(-(2**30), min(2**30, laplace(source, 2**28))),
    }


def updates() -> list[dict[str, object]]:
    source = random.Random(1)
    found = []
    for name, draw in sources().items():
        for bits, keep, entropy in (
            (8, 256, True), (4, 256, True), (4, 256, False), (2, 256, True), (2, 32, True), (1, 256, True),
            (1, 9, False), (1, 256, False), (8, 12, True),
        ):  # fmt: skip
            p = [draw(source) for _ in range(100)]
            blob, left = update(p, bits, keep, entropy)
            settings = {"name": name, "bits": bits, "keep": keep, "entropy": entropy}
            found.append({**settings, "p": p, "blob": blob.hex(), "left": left})
    return found


def downloads() -> list[dict[str, object]]:
    source = random.Random(2)
    found = []
    for name, words, size, share, scale in (
        ("nothing changes", 5, 100, 0.0, 1), ("few change", 70, 200, 0.1, 1), ("many change", 10, 130, 1.0, 9),
        ("all is new", 3, 70, 1.0, 10**6), ("words", 66, 0, 0.9, 10**4), ("bytes", 0, 65, 0.3, 2),
    ):  # fmt: skip
        old = source.randbytes(4 * words + size)
        changed = bytearray(old)
        for width, start, end in ((4, 0, 4 * words), (1, 4 * words, len(old))):
            for at in range(start, end, width):
                value = int.from_bytes(old[at : at + width], "little")
                value += laplace(source, scale) if source.random() < share else 0
                changed[at : at + width] = (value % 256**width).to_bytes(width, "little")
        new = bytes(changed)
        blob = download(new, old, words)
        found.append({"name": name, "words": words, "old": old.hex(), "new": new.hex(), "blob": blob.hex()})
    return found


def write(name: str, vectors: list[dict[str, object]]) -> None:
    lines = ",\n".join(json.dumps(vector) for vector in vectors)
    (HERE / f"{name}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    write("updates", updates())
    write("downloads", downloads())
