"""Exact instruction counts of an image on Unicorn, and runs that end between two blocks: unicorn_hooks/block_counter.c
behind Python."""

from __future__ import annotations

import ctypes
from pathlib import Path

from bench.errors import ConfigError
from bench.rack.image import ImageDescriptor
from bench.virtual.cpu import HOOK_BLOCK, HOOK_CODE, Engine
from bench.virtual.emulator import Counting

_FOREVER = (1 << 64) - 1


class _State(ctypes.Structure):
    """The first members of struct block_counter."""

    _fields_ = (
        ("executed", ctypes.c_uint64),
        ("limit", ctypes.c_uint64),
        ("active", ctypes.c_uint32),
        ("stop", ctypes.c_uint32),
        ("ended", ctypes.c_uint32),
        ("masked", ctypes.c_uint32),
        ("block", ctypes.c_uint32),
        ("block_size", ctypes.c_uint32),
    )


class BlockCounter:
    """One for each core. What a debugger runs from RAM is not the image, and is not counted."""

    def __init__(self, engine: Engine, library: Path) -> None:
        self._engine = engine
        self._library = ctypes.CDLL(str(library))
        self._library.block_counter_new.restype = ctypes.POINTER(_State)
        self._library.block_counter_new.argtypes = (ctypes.c_void_p,) * 4 + (ctypes.c_int, ctypes.c_void_p)
        self._library.block_counter_watch.restype = ctypes.c_bool
        self._library.block_counter_watch.argtypes = (
            ctypes.c_void_p,
            ctypes.c_char_p,
            ctypes.c_char_p,
            ctypes.c_uint32,
            ctypes.c_uint32,
        )
        self._library.block_counter_uncount.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
        self._library.block_counter_marker.argtypes = (ctypes.c_void_p, ctypes.c_bool)
        self._library.block_counter_forget.argtypes = (ctypes.c_void_p,)
        self._library.block_counter_free.argtypes = (ctypes.c_void_p,)
        self._registers = (ctypes.c_int * len(engine.registers))(*engine.registers)
        self._pointer = self._library.block_counter_new(
            engine.handle,
            engine.address_of("uc_emu_stop"),
            engine.address_of("uc_reg_read"),
            engine.address_of("uc_mem_read"),
            engine.primask,
            self._registers,
        )
        self._state: _State = self._pointer.contents
        engine.hook(HOOK_BLOCK, self._callback("block_counter_on_block"), self._pointer, 1, 0)
        self._phase_hook: int | None = None

    def _callback(self, name: str) -> int | None:
        return ctypes.cast(getattr(self._library, name), ctypes.c_void_p).value

    @property
    def executed(self) -> int:
        """Instructions so far."""
        return int(self._state.executed)

    def begin(self, limit: int) -> None:
        """Before a run of the image, which ends when `limit` instructions were executed in all."""
        self._state.limit = min(limit, _FOREVER)
        self._state.stop = self._state.ended = 0
        self._state.active = 1

    def end(self, pc: int) -> bool:
        """After it; `pc` is where it ended. True when this counter ended it, between two blocks."""
        self._state.active = 0
        ended = bool(self._state.ended)
        if not ended:
            self._library.block_counter_uncount(self._pointer, pc)
        return ended

    def stop(self) -> None:
        """Ends the run before its next block."""
        self._state.stop = 1

    def await_unmasking(self, masked: bool) -> None:
        """Whether a run ends as soon as PRIMASK is clear."""
        self._state.masked = int(masked)

    def marker(self, high: bool) -> None:
        """The board's marker pin is driven: the log of phases tells its level from now on."""
        self._library.block_counter_marker(self._pointer, high)

    def watch(self, image: ImageDescriptor | None, entry: int, counting: Counting | None) -> None:
        """Counts the phases of the image that is in flash now; None: of no image."""
        self._library.block_counter_forget(self._pointer)
        if self._phase_hook is not None:
            self._engine.unhook(self._phase_hook)
            self._phase_hook = None
        if image is not None and counting is not None:
            log = str(counting.log).encode() if counting.log is not None else None
            word, totals = image.phase_word, str(counting.totals).encode()
            if not self._library.block_counter_watch(self._pointer, totals, log, entry, word):
                raise ConfigError(f"{counting.totals}: cannot count there; see the board's log")
            self._phase_hook = self._engine.hook(
                HOOK_CODE,
                self._callback("block_counter_on_phase_code"),
                self._pointer,
                image.phase_function,
                image.phase_function_end - 1,
            )
        self._engine.flush()

    def close(self) -> None:
        """Unmaps the totals. The core must not run any more."""
        self._library.block_counter_free(self._pointer)
