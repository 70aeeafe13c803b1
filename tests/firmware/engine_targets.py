"""Where the tests run kernels: on the host through ctypes, and on Cortex-M cores executed by Unicorn.

Every target calls the functions of a probe (`*_probe.cpp`: kernels under plain C names) with the same arguments:
integers, and numpy arrays that the function may write (`None` is a null pointer). The image for a core is compiled with
the flags of that core's board.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bench.benchmarks.cortex import FIRMWARE, Argument, CoreTarget
from bench.fleet.engine import compile_shared, for_host

__all__ = ["BOARD_OF_CORE", "FIRMWARE", "Argument", "CoreTarget", "HostTarget", "Target"]

BOARD_OF_CORE = {"cortex-m0": "microbit", "cortex-m3": "netduino2", "cortex-m4f": "netduinoplus2"}


class Target(Protocol):
    """Something that runs kernels."""

    def call(self, name: str, *arguments: Argument) -> int:
        """Calls a function of the probe; arrays are updated. Returns what it returns, as signed 32 bits."""


class HostTarget:
    """`files` compiled for the host, as the fleet compiles the engine; `made`: with the kernels made for the host."""

    def __init__(self, name: str, files: Sequence[Path], *, made: bool = False) -> None:
        files = for_host(files) if made else files
        self._library = ctypes.CDLL(str(compile_shared(files, FIRMWARE, f"probe-{name}{'-host' if made else ''}")))

    def call(self, name: str, *arguments: Argument) -> int:
        function = getattr(self._library, name)
        function.restype = ctypes.c_int32
        return int(function(*(_host_argument(argument) for argument in arguments)))


def _host_argument(argument: Argument) -> ctypes.c_int32 | ctypes.c_void_p:
    if argument is None:
        return ctypes.c_void_p(None)
    if isinstance(argument, int):
        return ctypes.c_int32(argument)
    assert argument.flags.c_contiguous
    return ctypes.c_void_p(argument.ctypes.data)
