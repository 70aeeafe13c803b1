"""The debug probe: pyOCD's remote-probe protocol, one JSON object a line over TCP (pyOCD, class TCPClientProbe).

`{"id", "request", "arguments"}` is answered by `{"id", "status", "result" or "error"}`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
import struct
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bench.virtual.bus import Bus
from bench.virtual.debug_port import DebugPort
from bench.virtual.flash_controller import BusError
from bench.virtual.loop import Loop

LOG = logging.getLogger(__name__)

PROTOCOL_VERSION = 1
GENERAL_ERROR, PROBE_ERROR, TRANSFER_FAULT = 1, 3, 12
_MAX_LINE = 64 << 20
_SEND_TIMEOUT_S = 10.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_PROTOCOLS = ("DEFAULT", "SWD", "JTAG")
_BLOCK_LIMIT = 64 << 20
_CHUNK = 65536
# Two thirds of what pyOCD sends, and nothing to do: one client at a time needs no lock, and nothing is queued.
_IDLE_REQUEST = re.compile(rb'\{"id": (\d+), "request": "(?:lock|unlock|flush)"\}')


def _version() -> str:
    try:
        return version("ftte-bench")
    except PackageNotFoundError:
        return "unknown"


class RefusalError(Exception):
    """A request that the probe cannot carry out."""

    def __init__(self, message: str, status: int = GENERAL_ERROR) -> None:
        super().__init__(message)
        self.status = status


class Probe:
    """What each request does; one for the life of the board, since the wire protocol's state is the target's."""

    def __init__(
        self, name: str, port: DebugPort, bus: Bus, assert_reset: Callable[[bool], None], product: str
    ) -> None:
        self._port = port
        self._bus = bus
        self._assert_reset = assert_reset
        self._in_reset = False
        self._properties: dict[str, Any] = {
            "vendor_name": "ftte-bench",
            "product_name": f"virtual board {name} ({product})",
            "firmware_version": f"ftte-bench {_version()}",  # ours; pyOCD's server has no such property
            "unique_id": name,
            "supported_wire_protocols": list(_PROTOCOLS),
            "wire_protocol": None,
            "capabilities": ["MANAGED_AP_SELECTION", "MANAGED_DPBANKSEL", "BANKED_DP_REGISTERS", "SWJ_SEQUENCE"],
        }
        nothing: Callable[..., None] = lambda *_: None  # noqa: E731
        self._requests: dict[str, tuple[Callable[..., Any], int]] = {
            "hello": (self._hello, 1),
            "readprop": (self._read_property, 1),
            "open": (nothing, 0),
            "close": (nothing, 0),
            "lock": (nothing, 0),
            "unlock": (nothing, 0),
            "connect": (self._connect, 1),
            "disconnect": (self._disconnect, 0),
            "swj_sequence": (nothing, 2),
            "set_clock": (nothing, 1),
            "reset": (self._reset, 0),
            "assert_reset": (self._drive_reset, 1),
            "is_reset_asserted": (lambda: self._in_reset, 0),
            "flush": (nothing, 0),
            "read_dp": (port.read_dp, 1),
            "write_dp": (lambda address, value: port.write_dp(address, value & 0xFFFFFFFF), 2),
            "read_ap": (port.read_ap, 1),
            "write_ap": (lambda address, value: port.write_ap(address, value & 0xFFFFFFFF), 2),
            "read_ap_multiple": (lambda address, count: [port.read_ap(address) for _ in range(count)], 2),
            "write_ap_multiple": (self._write_ap_multiple, 2),
            "get_memory_interface_for_ap": (lambda _version, address: 0 if address == 0 else None, 2),
            "read_mem": (self._read_memory, 3),
            "write_mem": (self._write_memory, 4),
            "read_block32": (self._read_words, 3),
            "write_block32": (self._write_words, 3),
            "read_block8": (lambda _handle, address, size: list(self._read(address, size)), 3),
            "write_block8": (self._write_bytes, 3),
            "has_swo": (lambda: False, 0),
        }

    def handle(self, line: bytes) -> bytes:
        """One request; returns its reply, newline included."""
        if quick := _IDLE_REQUEST.fullmatch(line):
            return b'{"id": %b, "status": 0}\n' % quick[1]
        identifier: Any = -1
        try:
            request = json.loads(line)
            identifier = request["id"]
            call, count = self._requests[request["request"]]
            arguments = request.get("arguments", [])
            if len(arguments) != count:
                raise RefusalError(f"{request['request']} takes {count} arguments, not {len(arguments)}")
            result = call(*arguments)
        except BusError as fault:
            return _error(identifier, TRANSFER_FAULT, str(fault))
        except RefusalError as refusal:
            return _error(identifier, refusal.status, str(refusal))
        except (KeyError, TypeError, ValueError, AttributeError, struct.error, OverflowError) as error:
            return _error(identifier, GENERAL_ERROR, f"malformed or unknown request {line[:100]!r}: {error!r}")
        if result is None:
            return b'{"id": %d, "status": 0}\n' % identifier
        if type(result) is int:
            return b'{"id": %d, "status": 0, "result": %d}\n' % (identifier, result)
        return json.dumps({"id": identifier, "status": 0, "result": result}).encode() + b"\n"

    def disconnected(self) -> None:
        """The client is gone, perhaps without a word: the reset line is not driven any more."""
        self._properties["wire_protocol"] = None
        if self._in_reset:
            self._drive_reset(False)

    # --- requests ---

    def _hello(self, version: int) -> None:
        if version != PROTOCOL_VERSION:
            raise RefusalError(f"remote probe protocol {version} asked for, this is {PROTOCOL_VERSION}")

    def _read_property(self, name: str) -> Any:
        if name not in self._properties:
            raise RefusalError(f"unknown property {name!r}")
        return self._properties[name]

    def _connect(self, protocol: str) -> None:
        if protocol not in _PROTOCOLS:
            raise RefusalError(f"unknown wire protocol {protocol!r}", PROBE_ERROR)
        self._properties["wire_protocol"] = "SWD" if protocol == "DEFAULT" else protocol

    def _disconnect(self) -> None:
        self._properties["wire_protocol"] = None

    def _reset(self) -> None:
        self._drive_reset(True)
        self._drive_reset(False)

    def _drive_reset(self, asserted: bool) -> None:
        if asserted != self._in_reset:
            self._in_reset = asserted
            self._assert_reset(asserted)

    def _write_ap_multiple(self, address: int, values: list[int]) -> None:
        for value in values:
            self._port.write_ap(address, value & 0xFFFFFFFF)

    def _read(self, address: int, size: int) -> bytes:
        if not 0 <= size <= _BLOCK_LIMIT:
            raise RefusalError(f"a block of {size} bytes")
        self._port.check_unlocked()
        return self._bus.read(address & 0xFFFFFFFF, size)

    def _read_memory(self, _handle: int, address: int, bits: int) -> int:
        return int.from_bytes(self._read(address, bits // 8), "little")

    def _write_memory(self, _handle: int, address: int, value: int, bits: int) -> None:
        data = (value & (1 << bits) - 1).to_bytes(bits // 8, "little")
        self._write(address & 0xFFFFFFFF, data, bits // 8)

    def _read_words(self, _handle: int, address: int, count: int) -> list[int]:
        return list(struct.unpack(f"<{count}I", self._read(address, 4 * count)))

    def _write_words(self, _handle: int, address: int, words: list[int]) -> None:
        data = struct.pack(f"<{len(words)}I", *(word & 0xFFFFFFFF for word in words))
        self._write(address & 0xFFFFFFFF, data, 4)

    def _write_bytes(self, _handle: int, address: int, values: list[int]) -> None:
        """Aligned words where possible, as an access port does it: flash takes no bytes."""
        data = bytes(values)
        head = min(-address % 4, len(data))
        body = (len(data) - head) // 4 * 4
        for start, size, unit in ((0, head, 1), (head, body, 4), (head + body, len(data) - head - body, 1)):
            if size:
                self._write(address + start & 0xFFFFFFFF, data[start : start + size], unit)

    def _write(self, address: int, data: bytes, unit: int) -> None:
        self._port.check_unlocked()
        self._bus.write(address, data, unit)


def _error(identifier: Any, status: int, message: str) -> bytes:
    return json.dumps({"id": identifier, "status": status, "error": message}).encode() + b"\n"


class ProbeServer:
    """One client at a time; a second is told who is there, and turned away."""

    def __init__(self, loop: Loop, probe: Probe, port: int, name: str) -> None:
        """Listens on 127.0.0.1; `port` 0 takes a free one. Raises OSError when the port is taken."""
        self._loop = loop
        self._probe = probe
        self._name = name
        self._client: socket.socket | None = None
        self._peer = ""
        self._buffer = bytearray()
        self._turned_away: dict[int, socket.socket] = {}
        self._listener: socket.socket | None = None
        self.port = port
        """The TCP port."""
        self.plug_in()

    def plug_in(self) -> None:
        """Listens. Raises OSError when the port is taken."""
        if self._listener is not None:
            return
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=8)
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self._loop.on_readable(self._listener.fileno(), self._accept)

    def unplug(self) -> None:
        """The probe is gone: whoever talks to it is cut off, and nobody finds it."""
        if self._client is not None:
            # With an error, as on USB: pyOCD waits for ever at the end of a connection that was closed in good order.
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._drop()
        for turned_away in list(self._turned_away.values()):
            self._close_turned_away(turned_away)
        if self._listener is not None:
            self._loop.forget(self._listener.fileno())
            self._listener.close()
            self._listener = None

    def close(self) -> None:
        """Closes everything."""
        self.unplug()

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            client, address = self._listener.accept()
        except BlockingIOError:
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setblocking(False)
        if self._client is not None and self._is_gone(self._client):
            self._drop()
        if self._client is not None:
            LOG.warning("turned away %s:%d: %s has the probe", *address, self._peer)
            self._turned_away[client.fileno()] = client
            self._loop.on_readable(client.fileno(), lambda: self._turn_away(client))
            return
        self._client, self._peer = client, f"{address[0]}:{address[1]}"
        self._buffer.clear()
        self._loop.on_readable(client.fileno(), self._receive)

    @staticmethod
    def _is_gone(client: socket.socket) -> bool:
        """Whether the other end has closed, which the loop may not have come to yet."""
        try:
            return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _turn_away(self, client: socket.socket) -> None:
        """Answers its first request, so that pyOCD shows the reason."""
        identifier: Any = 0
        with contextlib.suppress(OSError):
            line = client.recv(65536)
            if line:
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    identifier = json.loads(line)["id"]
                message = f"the probe of virtual board {self._name} is in use by {self._peer}: one client at a time"
                client.sendall(_error(identifier, PROBE_ERROR, message))
        self._close_turned_away(client)

    def _close_turned_away(self, client: socket.socket) -> None:
        self._turned_away.pop(client.fileno(), None)
        self._loop.forget(client.fileno())
        client.close()

    def _receive(self) -> None:
        client = self._client
        assert client is not None
        try:
            data = client.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop()
            return
        self._buffer += data
        if b"\n" not in data:
            if len(self._buffer) > _MAX_LINE:
                self._drop()
            return
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer[:] = rest
        replies = b"".join([self._probe.handle(line) for line in lines])
        try:
            sent = client.send(replies)
            if sent < len(replies):  # a large block; the client waits for it, and so may we
                client.settimeout(_SEND_TIMEOUT_S)
                client.sendall(replies[sent:])
                client.setblocking(False)
        except OSError as error:
            LOG.warning("%s does not take its reply: %s", self._peer, error)
            self._drop()

    def _drop(self) -> None:
        if self._client is None:
            return
        self._loop.forget(self._client.fileno())
        self._client.close()
        self._client = None
        self._probe.disconnected()
