"""The part of GDB's remote protocol that moves the program counter of a QEMU that runs (GDB manual, appendix E)."""

from __future__ import annotations

import socket
import struct

from bench.errors import InfrastructureError

_PC = 0xF
_TIMEOUT_S = 2.0
_LONGEST = 1 << 16


class GdbStub:
    """A connection to QEMU's stub; the machine stands still while it is open."""

    def __init__(self, path: str) -> None:
        """Raises OSError."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_TIMEOUT_S)
        self._socket.connect(path)

    def jump(self, address: int) -> None:
        """Sets the program counter. Raises InfrastructureError."""
        self._command(b"?")
        self._command(b"P%x=%b" % (_PC, struct.pack("<I", address).hex().encode()))

    def close(self) -> None:
        """Lets the machine go on."""
        try:
            self._command(b"D")
        finally:
            self._socket.close()

    def _command(self, text: bytes) -> bytes:
        try:
            self._socket.sendall(b"$%b#%02x" % (text, sum(text) & 0xFF))
            reply = b""
            while b"#" not in reply or len(reply) < reply.index(b"#") + 3:
                part = self._socket.recv(4096)
                if not part or len(reply) > _LONGEST:
                    raise InfrastructureError(f"QEMU's debug stub does not answer {text!r}")
                reply += part
            self._socket.sendall(b"+")
        except OSError as error:
            raise InfrastructureError(f"QEMU's debug stub does not answer {text!r}: {error}") from error
        body = reply[reply.index(b"$") + 1 : reply.index(b"#")]
        if body.startswith(b"E"):
            raise InfrastructureError(f"QEMU's debug stub refuses {text!r}: {body!r}")
        return body
