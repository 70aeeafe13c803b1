"""The image descriptor: what a firmware image says of itself, 0x200 bytes behind the flash base.

The one implementation of `firmware/src/image.hpp` on the host side. The PlatformIO builder patches every image with it
after linking; the rack and the emulators read raw flash with it.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from typing import Self

from bench.errors import ConfigError

DESCRIPTOR_OFFSET = 0x200
MAGIC = b"FTTEIMG1"

_STRUCT = struct.Struct("<8sIII16s24s8s16I")
DESCRIPTOR_SIZE = _STRUCT.size
_SIZE_AT = DESCRIPTOR_OFFSET + 12
_CRC_AT = DESCRIPTOR_OFFSET + 16
_BUILD_ID_AT = DESCRIPTOR_OFFSET + 20
_BUILD_ID_BYTES = 16
_PLAN_ID_AT = DESCRIPTOR_OFFSET + 60
_PLAN_ID_BYTES = 8


@dataclass(frozen=True)
class ImageDescriptor:
    """The fields of `image::Descriptor` in the order in which they lie in flash; sizes in bytes."""

    descriptor_size: int
    image_size: int
    image_crc32: int
    build_id: bytes
    env: str
    plan_id: bytes
    flash_base: int
    flash_size: int
    data_base: int
    data_size: int
    ram_base: int
    ram_size: int
    static_bytes: int
    arena_base: int
    arena_size: int
    federation_base: int
    federation_size: int
    stack_limit: int
    stack_top: int
    phase_function: int
    phase_function_end: int
    phase_word: int

    @classmethod
    def parse(cls, blob: bytes) -> Self:
        """Reads the descriptor of a raw image, or of flash read from its base.

        Raises ConfigError when there is none: too short, no magic, another layout, or an env that is not text.
        """
        if len(blob) < DESCRIPTOR_OFFSET + DESCRIPTOR_SIZE:
            raise ConfigError(f"not a firmware image: {len(blob)} bytes, too short for a descriptor at 0x200")
        magic, size, image_size, crc, build_id, env, plan_id, *words = _STRUCT.unpack_from(blob, DESCRIPTOR_OFFSET)
        if magic != MAGIC:
            raise ConfigError(f"not a firmware image: no {MAGIC.decode()} at offset 0x200, but {magic.hex(' ')}")
        if size != DESCRIPTOR_SIZE:
            raise ConfigError(
                f"firmware image has a descriptor of {size} bytes, this bench knows {DESCRIPTOR_SIZE}: "
                "build image and bench from one source"
            )
        try:
            name = env.rstrip(b"\0").decode("ascii")
        except UnicodeDecodeError as error:
            raise ConfigError(f"firmware image names no environment, but {env.hex(' ')}") from error
        return cls(size, image_size, crc, build_id, name, plan_id, *words)


def _contents_id(blob: bytes) -> bytes:
    return hashlib.sha256(blob).digest()[:_BUILD_ID_BYTES]


def patch(blob: bytes) -> bytes:
    """Fills in image_size, build_id and image_crc32 of a linked image; whatever they held does not matter.

    build_id is the SHA-256 of the image with build_id and image_crc32 zero, so an unchanged image keeps its id; then
    image_crc32 is the CRC-32 of the image with image_crc32 zero. Raises ConfigError as ImageDescriptor.parse does.
    """
    ImageDescriptor.parse(blob)
    image = bytearray(blob)
    struct.pack_into("<II", image, _SIZE_AT, len(image), 0)
    image[_BUILD_ID_AT : _BUILD_ID_AT + _BUILD_ID_BYTES] = bytes(_BUILD_ID_BYTES)
    image[_BUILD_ID_AT : _BUILD_ID_AT + _BUILD_ID_BYTES] = _contents_id(bytes(image))
    struct.pack_into("<I", image, _CRC_AT, zlib.crc32(image))
    return bytes(image)


def renamed(blob: bytes, plan_id: bytes) -> bytes:
    """The image as another build: of a program with this id, and so with another build id. For tests of the rack."""
    image = bytearray(blob)
    image[_PLAN_ID_AT : _PLAN_ID_AT + _PLAN_ID_BYTES] = plan_id.ljust(_PLAN_ID_BYTES, b"\0")[:_PLAN_ID_BYTES]
    return patch(bytes(image))


def verify(blob: bytes) -> ImageDescriptor:
    """Checks size, CRC-32 and build id of an image, which may be followed by other flash; returns its descriptor.

    Raises ConfigError that names the field which does not fit, and as ImageDescriptor.parse does.
    """
    descriptor = ImageDescriptor.parse(blob)
    size = descriptor.image_size
    if not DESCRIPTOR_OFFSET + DESCRIPTOR_SIZE <= size <= len(blob):
        raise ConfigError(f"firmware image for {descriptor.env}: image_size is {size}, but there are {len(blob)} bytes")
    image = bytearray(blob[:size])
    struct.pack_into("<I", image, _CRC_AT, 0)
    crc = zlib.crc32(image)
    if crc != descriptor.image_crc32:
        raise ConfigError(
            f"firmware image for {descriptor.env}: CRC-32 is 0x{crc:08x}, descriptor says "
            f"0x{descriptor.image_crc32:08x}: not patched or corrupted, build it again"
        )
    image[_BUILD_ID_AT : _BUILD_ID_AT + _BUILD_ID_BYTES] = bytes(_BUILD_ID_BYTES)
    if _contents_id(bytes(image)) != descriptor.build_id:
        raise ConfigError(
            f"firmware image for {descriptor.env}: the build id is not that of its contents: build it again"
        )
    return descriptor
