"""The real C++ session as a board for tests: compiled for the host, driven by ctypes, over lines that misbehave."""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
import threading
import tty
from collections import deque
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "link"
SOURCES = sorted((ROOT / "firmware" / "link").glob("*.cpp"))
WARNINGS = ("-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror")
NONE = ctypes.c_size_t(-1).value
_CAPACITY = 1 << 17


def compile_host(compiler: str, flags: list[str], source: Path, output: Path) -> None:
    """Compiles one source with the firmware's link for this machine."""
    command = [compiler, "-std=c++17", "-O1", "-g", "-fno-exceptions", "-fno-rtti", *WARNINGS, *flags]
    command += [f"-I{ROOT / 'firmware'}", str(source), *map(str, SOURCES), "-o", str(output)]
    subprocess.run(command, check=True)


def build_library(folder: Path) -> ctypes.CDLL:
    """Compiles the harness with undefined behaviour trapping, and declares its functions."""
    path = folder / "link_harness.so"
    flags = ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error", "-fPIC", "-shared"]
    compile_host("g++", flags, ROOT / "tests/firmware/link_harness.cpp", path)
    library = ctypes.CDLL(str(path))
    size, buffer, pointer = ctypes.c_size_t, ctypes.c_char_p, ctypes.c_void_p
    signatures = {
        "link_crc32": (ctypes.c_uint32, [buffer, size, size]),
        "link_cobs_encode": (size, [buffer, size, size, size, pointer, size]),
        "link_cobs_decode": (size, [buffer, size, pointer, size]),
        "link_encode": (size, [buffer, buffer, size, size, pointer, size]),
        "link_parse": (size, [buffer, size, pointer, size]),
        "link_layouts": (buffer, []),
        "link_session_bytes": (ctypes.c_uint32, []),
        "link_chunk_bytes": (ctypes.c_uint32, []),
        "board_new": (pointer, []),
        "board_delete": (None, [pointer]),
        "board_reboot": (None, [pointer, ctypes.c_int]),
        "board_set_chatty": (None, [pointer, ctypes.c_int]),
        "board_log": (None, [pointer, buffer]),
        "board_feed": (None, [pointer, buffer, size]),
        "board_take": (size, [pointer, pointer, size]),
        "board_executed": (ctypes.c_uint32, [pointer]),
        "board_hellos": (ctypes.c_uint32, [pointer]),
        "board_params": (pointer, [pointer]),
        "board_trained": (size, [pointer, pointer, size]),
        "board_counters": (None, [pointer, pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def call_for_bytes(function: ctypes._NamedFuncPointer, *arguments: object, capacity: int = _CAPACITY) -> bytes | None:
    """Calls a function that fills (out, capacity); None when it says that it could not."""
    out = ctypes.create_string_buffer(capacity + 1)
    size = function(*arguments, out, capacity)
    return None if size == NONE else out.raw[:size]


class CppBoard:
    """A board without a wire: bytes in, bytes out. See link_harness.cpp for what its requests do."""

    PARAMS_BYTES = 8192

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._board = library.board_new()

    def feed(self, data: bytes) -> bytes:
        """Gives it bytes; returns all that it has sent since the last call."""
        self._library.board_feed(self._board, data, len(data))
        return self.take()

    def take(self) -> bytes:
        sent = call_for_bytes(self._library.board_take, self._board)
        assert sent is not None
        return sent

    def reboot(self, *, announce: bool = False) -> None:
        self._library.board_reboot(self._board, announce)

    def log(self, text: str) -> None:
        self._library.board_log(self._board, text.encode())

    def set_chatty(self, chatty: bool) -> None:
        self._library.board_set_chatty(self._board, chatty)

    @property
    def executed(self) -> int:
        return int(self._library.board_executed(self._board))

    @property
    def hellos(self) -> int:
        return int(self._library.board_hellos(self._board))

    @property
    def params(self) -> bytes:
        return ctypes.string_at(self._library.board_params(self._board), self.PARAMS_BYTES)

    @property
    def trained(self) -> list[int]:
        """Seeds of what it trained on, in order."""
        out = (ctypes.c_uint32 * 100_000)()
        return list(out[: self._library.board_trained(self._board, out, len(out))])

    @property
    def counters(self) -> dict[str, int]:
        out = (ctypes.c_uint32 * 8)()
        self._library.board_counters(self._board, out)
        names = ("wire_rx", "wire_tx", "frames_rx", "frames_tx", "rx_repeated", "tx_repeated", "rx_corrupt", "log_tx")
        return dict(zip(names, out, strict=True))

    def close(self) -> None:
        self._library.board_delete(self._board)


@dataclass(frozen=True)
class Faults:
    """Probability of each fault, per transmission."""

    drop: float = 0.0  # all of it
    duplicate: float = 0.0
    delay: float = 0.0  # until one to three more transmissions, of either direction, are through: reorders, too
    corrupt: float = 0.0  # one bit
    lose_byte: float = 0.0
    insert_byte: float = 0.0
    truncate: float = 0.0
    text: float = 0.0  # in front, as a board that logs; upwards only

    @classmethod
    def all_at(cls, probability: float, **others: float) -> Faults:
        return cls(**{f.name: others.get(f.name, probability) for f in fields(cls)})


class Line:
    """One direction: gives out what really arrives for each transmission."""

    def __init__(self, chance: random.Random, *, logs: bool) -> None:
        self._chance = chance
        self._logs = logs
        self._held: list[tuple[int, bytes]] = []
        self.text_bytes = 0

    def carry(self, data: bytes, faults: Faults) -> list[bytes]:
        arriving: list[bytes] = []
        if not self._hits(faults.drop):
            for _ in range(2 if self._hits(faults.duplicate) else 1):
                mangled = self._mangle(data, faults)
                if self._hits(faults.delay):
                    self._held.append((self._chance.randint(1, 3), mangled))
                else:
                    arriving.append(mangled)
        return arriving + self.pass_time()

    def pass_time(self) -> list[bytes]:
        due = [data for left, data in self._held if left == 0]
        self._held = [(left - 1, data) for left, data in self._held if left > 0]
        return due

    def _hits(self, probability: float) -> bool:
        return self._chance.random() < probability

    def _mangle(self, data: bytes, faults: Faults) -> bytes:
        out = bytearray(data)
        at = self._chance.randrange(len(out)) if out else 0
        if self._hits(faults.corrupt):
            out[at] ^= 1 << self._chance.randrange(8)
        if self._hits(faults.lose_byte):
            del out[at]
        if self._hits(faults.insert_byte):
            out.insert(at, self._chance.randrange(256))
        if self._hits(faults.truncate):
            del out[at:]
        if self._logs and self._hits(faults.text):
            out[0:0] = b"a line of log\r\n"
        return bytes(out)


class MemoryPort:
    """A BytePort to a CppBoard in memory. Nothing takes time but waiting for what does not come."""

    name = "memory"
    baud = 1_000_000_000

    def __init__(self, board: CppBoard, *, seed: int = 0, faults: Faults | None = None) -> None:
        self.board = board
        self.faults = faults or Faults()
        self.reads_until_arrival = 0  # a slow board: so many reads time out before each reply comes
        self.to_board = bytearray()  # all that arrived at either end
        self.to_host = bytearray()
        self.writes: list[bytes] = []  # all that the host wrote, before faults
        chance = random.Random(seed)
        self._down = Line(chance, logs=False)
        self._up = Line(chance, logs=True)
        self._arrived: deque[bytes] = deque()
        self._empty_reads = 0
        self._closed = threading.Event()

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        for part in self._down.carry(data, self.faults):
            self._reach_board(part)

    def read(self, timeout_s: float) -> bytes:
        if not self._arrived:
            for part in self._down.pass_time():
                self._reach_board(part)
            self._arrived.extend(self._up.pass_time())
        if not self._arrived or self._empty_reads < self.reads_until_arrival:
            self._empty_reads += 1
            self._closed.wait(timeout_s)
            return b""
        self._empty_reads = 0
        data = b"".join(self._arrived)
        self._arrived.clear()
        self.to_host += data
        return data

    def send_up(self, data: bytes) -> None:
        """The board says something by itself."""
        self._arrived.append(data)

    def forget_arrived(self) -> None:
        self._arrived.clear()

    def close(self) -> None:
        self._closed.set()

    def _reach_board(self, data: bytes) -> None:
        self.to_board += data
        reply = self.board.feed(data)
        if reply:
            self._arrived.extend(self._up.carry(reply, self.faults))


class PtyBoard:
    """A CppBoard behind a pseudo-terminal, served by a thread. `path` is for pyserial."""

    def __init__(self, board: CppBoard) -> None:
        self.board = board
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        self._slave = slave  # held open, so that the line outlives the host's closing it
        self.deaf = threading.Event()  # bytes are read and thrown away
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                data = os.read(self._master, 4096)
            except OSError:
                return
            if self._stopping.is_set():
                return
            reply = b"" if self.deaf.is_set() else self.board.feed(data)
            while reply:
                reply = reply[os.write(self._master, reply) :]

    def vanish(self) -> None:
        """The process behind the terminal ends: its descriptors go."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        os.write(self._slave, b"x")  # wakes the thread
        self._thread.join(10)
        assert not self._thread.is_alive()
        os.close(self._slave)
        os.close(self._master)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.vanish()
