"""The image descriptor: one layout in C++ and Python, and a patch that changes nothing else."""

from __future__ import annotations

import hashlib
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import ConfigError
from bench.rack import image
from bench.rack.image import DESCRIPTOR_OFFSET, DESCRIPTOR_SIZE, ImageDescriptor, patch, verify

# Prints a descriptor whose every byte differs from its neighbours, and its offset in the image.
PROBE = r"""
#include "src/image.hpp"
#include <cstddef>
#include <cstdio>
#include <cstring>
int main() {
  image::Descriptor d{{'F','T','T','E','I','M','G','1'}, sizeof(image::Descriptor), 11, 12, {}, "some_board", {}};
  for (int i = 0; i < 16; ++i) d.build_id[i] = static_cast<uint8_t>(0x40 + i);
  for (int i = 0; i < 8; ++i) d.plan_id[i] = static_cast<uint8_t>(0x80 + i);
  uint32_t words[16];
  for (uint32_t i = 0; i < 16; ++i) words[i] = 0xA0000000U + i;
  std::memcpy(&d.flash_base, words, sizeof words);
  d.phase_word = 0xDEADBEEF;
  std::printf("%u %zu %zu\n", image::kDescriptorOffset, offsetof(image::Descriptor, image_crc32),
              offsetof(image::Descriptor, build_id));
  std::fflush(stdout);
  std::fwrite(&d, sizeof d, 1, stdout);
}
"""


def linked(body: bytes = b"code", vectors: bytes = b"\x00\x20") -> bytes:
    """A raw binary as the linker leaves it: patched fields zero."""
    words = [0x08000000, 0x100000, 0x08020000, 0xE0000, 0x20000000, 0x20000, *range(16, 26)]
    descriptor = struct.pack(
        "<8sIII16s24s8s16I", b"FTTEIMG1", DESCRIPTOR_SIZE, 0, 0, b"", b"netduino2", b"planplan", *words
    )
    return vectors.ljust(DESCRIPTOR_OFFSET, b"\xff") + descriptor + body


def test_the_header_and_the_bench_agree_on_every_offset(tmp_path: Path, project_root: Path) -> None:
    source = tmp_path / "probe.cpp"
    source.write_text(PROBE)
    program = tmp_path / "probe"
    subprocess.run(
        ["g++", "-std=c++17", "-I", str(project_root / "firmware"), str(source), "-o", str(program)], check=True
    )
    first, raw = subprocess.run([str(program)], check=True, capture_output=True).stdout.split(b"\n", 1)
    offset, crc_at, build_id_at = (int(word) for word in first.split())
    assert offset == DESCRIPTOR_OFFSET
    assert len(raw) == DESCRIPTOR_SIZE
    assert (offset + crc_at, offset + build_id_at) == (image._CRC_AT, image._BUILD_ID_AT)
    parsed = ImageDescriptor.parse(b"\0" * offset + raw)
    assert (parsed.descriptor_size, parsed.image_size, parsed.image_crc32) == (DESCRIPTOR_SIZE, 11, 12)
    assert parsed.build_id == bytes(range(0x40, 0x50))
    assert parsed.env == "some_board"
    assert parsed.plan_id == bytes(range(0x80, 0x88))
    assert (parsed.flash_base, parsed.flash_size, parsed.data_base) == (0xA0000000, 0xA0000001, 0xA0000002)
    assert (parsed.arena_base, parsed.federation_base, parsed.stack_limit) == (0xA0000007, 0xA0000009, 0xA000000B)
    assert (parsed.phase_function_end, parsed.phase_word) == (0xA000000E, 0xDEADBEEF)


def test_patch_follows_the_header_s_recipe() -> None:
    # The recipe of image.hpp once more, on offsets counted by hand: size at 0x20c, CRC at 0x210, build id at 0x214.
    blank = bytearray(linked())
    blank[0x20C:0x210] = len(blank).to_bytes(4, "little")
    build_id = hashlib.sha256(blank).digest()[:16]
    blank[0x214:0x224] = build_id
    crc = zlib.crc32(blank)
    blank[0x210:0x214] = crc.to_bytes(4, "little")
    assert patch(linked()) == bytes(blank)
    descriptor = verify(patch(linked()))
    assert (descriptor.build_id, descriptor.image_crc32, descriptor.image_size) == (build_id, crc, len(blank))


@given(body=st.binary(max_size=300))
def test_patch_is_idempotent_and_touches_only_its_fields(body: bytes) -> None:
    blob = linked(body)
    patched = patch(blob)
    assert patch(patched) == patched
    assert patched[:0x20C] == blob[:0x20C]
    assert patched[0x224:] == blob[0x224:]


@given(st.data())
def test_any_flipped_bit_is_found(data: st.DataObject) -> None:
    patched = bytearray(patch(linked(b"some code and constants")))
    bit = data.draw(st.integers(0, len(patched) * 8 - 1))
    patched[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ConfigError):
        verify(bytes(patched))


def test_a_different_image_has_a_different_id_and_flash_behind_it_does_not_matter() -> None:
    one, other = verify(patch(linked(b"one!"))), verify(patch(linked(b"two!")))
    assert one.build_id != other.build_id
    assert verify(patch(linked(b"one!")) + b"\xff" * 100) == one


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", "too short"),
        (b"\xff" * 4096, "no FTTEIMG1"),
        (linked().replace(DESCRIPTOR_SIZE.to_bytes(4, "little"), b"\x10\0\0\0", 1), "descriptor of 16 bytes"),
        (linked().replace(b"netduino2", b"netd\xffino2"), "names no environment"),
    ],
)
def test_what_is_no_image_is_refused_with_the_reason(blob: bytes, message: str) -> None:
    for reader in (ImageDescriptor.parse, patch, verify):
        with pytest.raises(ConfigError, match=message):
            reader(blob)


def test_verify_refuses_an_unpatched_and_a_truncated_image() -> None:
    with pytest.raises(ConfigError, match="image_size is 0"):
        verify(linked())
    with pytest.raises(ConfigError, match=r"image_size is \d+, but there are"):
        verify(patch(linked())[:-1])
