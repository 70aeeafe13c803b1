"""The deepest stack of an image: GCC's frame sizes (-fstack-usage) over the call graph of the linked image.

Frames come from the .su files that lie beside the objects, matched to symbols by source file and line; library
functions, which have none, are read off their disassembly (push, vpush, sub sp). Calls come from the disassembly.
Calls through a pointer are declared in `INDIRECT`, as no tool can see where they go: one that is not declared, and
recursion, are errors. All interrupts of the firmware have one priority, so that at most one handler with its exception
frame lies on top of the thread (ARMv7-M B1.5.6: 32 bytes, 104 where the core has an FPU, and 4 to align to 8 bytes).
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import ConfigError, InfrastructureError
from bench.rack.manifest import BoardManifest

INDIRECT: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"^trainer::(train|train_records|run)\b", (r"^ftte::program::.*::step\(",)),
    (r"^trainer::(evaluate|run)\b", (r"^ftte::program::.*::infer\(",)),
    (r"^commands::", (r"^ftte::program::.*::begin\(",)),
    (r"^link::(cobs_encode|write_frame|Session::log|Encoder)", (r"::transmit\(",)),
    (r"^link::Session::(execute|receive|feed|accept)", (r"^commands::execute\(", r"::transmit\(")),
    (r"^link::Session::", (r"^commands::execute\(", r"::transmit\(")),
    (r"^hal::systick::sleep_until\(", (r"::received\(",)),
    (r"^hal::idle\(", (r"::received\(",)),
    (r"::fast::dense_input_gradient\(", (r"::fast::multiply_dense<",)),
    (
        r"::fast::.*(multiply_tap|multiply_row|pointwise|windowed|blocked_input_gradient|sum_products|update_by_columns)\b",
        (r"::fast::multiply_lifted<",),
    ),
)
"""Which functions call through a pointer, and what.

The program's step, inference and begin; the session's transport and handler; the question that a sleeping board asks;
the inner loops that are made for one layer.
The first match counts."""

_ENTRY = "Reset_Handler"
_HANDLERS = re.compile(r"^(systick_interrupt|usart_interrupt|uarte?_interrupt|tick_interrupt)$")
_NO_FRAME = ("fault_entry", "fault_record", "hal_probe")
"""The fault path takes a stack of its own: nothing of the image needs the old one any more."""
_FUNCTION = re.compile(r"^([0-9a-f]+) <(.+)>:$")
_INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\s+(\S+)\s*(.*)$")
_TARGET = re.compile(r"^[0-9a-f]+ <(.+?)(?:\+0x[0-9a-f]+)?>$")  # templates' names have angle brackets too
_SYMBOL = re.compile(r"^[0-9a-f]+ (?:[0-9a-f]+ )?\w (.+)\t(.+):(\d+)$")


@dataclass(frozen=True)
class StackReport:
    """Bytes: of the thread's deepest call chain, of the deepest handler with its exception frame, and their sum."""

    thread_bytes: int
    interrupt_bytes: int
    chain: tuple[tuple[str, int], ...]
    """Functions from the reset handler down, with their frames."""

    @property
    def total_bytes(self) -> int:
        """The deepest that the stack can be."""
        return self.thread_bytes + self.interrupt_bytes


@dataclass
class _Function:
    name: str
    pushed: int = 0
    calls: set[str] = field(default_factory=set)
    indirect: bool = False
    popped: str = ""  # the register that the last instruction popped, if one


def step_stack(elf: Path, manifest: BoardManifest) -> int:
    """Bytes of the deepest stack of an image; see `worst_stack`."""
    return worst_stack(elf, manifest).total_bytes


def worst_stack(elf: Path, manifest: BoardManifest) -> StackReport:
    """Analyses an image; the .su files lie below its folder.

    Raises:
        ConfigError: recursion, or a call through a pointer that is not declared.
        InfrastructureError: binutils are missing.
    """
    functions = _disassemble(elf)
    frames = _frames(elf, functions)
    depths = _Depths(functions, frames)
    handlers = [name for name in functions if _HANDLERS.match(name)]
    frame = 104 + 4 if manifest.has_fpu else 32 + 4
    interrupt = max((depths.of(name) for name in handlers), default=0) + frame
    return StackReport(depths.of(_ENTRY), interrupt, tuple(depths.chain(_ENTRY)))


class _Depths:
    """Depth of each function: its frame and the deepest of what it calls."""

    def __init__(self, functions: Mapping[str, _Function], frames: Mapping[str, int]) -> None:
        self._functions = functions
        self._frames = frames
        self._known: dict[str, int] = {}
        self._open: list[str] = []

    def of(self, name: str) -> int:
        if name in self._known:
            return self._known[name]
        if name in self._open:
            circle = " -> ".join([*self._open[self._open.index(name) :], name])
            raise ConfigError(f"the stack of a recursion has no bound: {circle}")
        self._open.append(name)
        depth = self._frames[name] + max((self.of(callee) for callee in self.callees(name)), default=0)
        self._open.pop()
        self._known[name] = depth
        return depth

    def callees(self, name: str) -> list[str]:
        function = self._functions[name]
        direct = [callee for callee in function.calls if callee in self._functions and callee not in _NO_FRAME]
        return [*direct, *(self._pointed(name) if function.indirect else ())]

    def chain(self, name: str) -> Iterable[tuple[str, int]]:
        while True:
            yield name, self._frames[name]
            callees = self.callees(name)
            if not callees:
                return
            name = max(callees, key=self.of)

    def _pointed(self, name: str) -> list[str]:
        for caller, wanted in INDIRECT:
            if re.search(caller, name):
                return [other for other in self._functions if any(re.search(pattern, other) for pattern in wanted)]
        raise ConfigError(f"{name} calls through a pointer: declare in bench/compiler/stack.py where to")


def _disassemble(elf: Path) -> dict[str, _Function]:
    functions: dict[str, _Function] = {}
    current: _Function | None = None
    for line in _run("arm-none-eabi-objdump", "-d", "-C", "--no-show-raw-insn", str(elf)).splitlines():
        if header := _FUNCTION.match(line):
            current = functions.setdefault(header.group(2), _Function(header.group(2)))
        elif current is not None and (found := _INSTRUCTION.match(line)):
            _read(current, found.group(1), re.split("[;@]", found.group(2))[0].strip())
    return functions


def _read(function: _Function, mnemonic: str, operands: str) -> None:
    """One instruction: what it pushes, whom it calls."""
    if mnemonic in ("push", "push.w", "vpush") or (mnemonic.startswith("stmdb") and operands.startswith("sp!")):
        function.pushed += _registers(operands) * (8 if mnemonic == "vpush" and "d" in operands else 4)
    elif mnemonic in ("sub", "subw", "sub.w") and operands.startswith("sp,") and "#" in operands:
        function.pushed += int(operands.split("#")[1], 0)
    elif mnemonic.startswith("str") and "[sp, #-" in operands and operands.endswith("!"):
        function.pushed += int(operands.split("#-")[1].split("]")[0], 0)
    elif mnemonic == "blx" and not _TARGET.match(operands):
        function.indirect = True
    elif mnemonic.startswith("b") and (target := _TARGET.match(operands)):
        # A bl into its own middle is a far jump of Thumb-1; to its own beginning, a recursion.
        if target.group(1) != function.name or (mnemonic == "bl" and "+" not in operands.split("<")[-1]):
            function.calls.add(target.group(1))
    elif mnemonic == "bx" and operands != "lr":
        # A function of Thumb-1 that has used lr for something else pops its return address into a low register.
        function.indirect = function.indirect or operands not in ("ip", "pc", function.popped)
    if mnemonic == "pop":
        function.popped = operands.strip("{}")
    elif not (mnemonic == "add" and operands.startswith("sp,")):
        function.popped = ""


def _registers(operands: str) -> int:
    """How many registers a list names: r4-r7 are four."""
    count = 0
    for part in operands[operands.index("{") + 1 : operands.index("}")].split(","):
        ends = [int(number) for number in re.findall(r"\d+", part)]
        count += ends[1] - ends[0] + 1 if len(ends) == 2 else 1
    return count


def _frames(elf: Path, functions: Mapping[str, _Function]) -> dict[str, int]:
    """Bytes of each function's frame: GCC's figure where there is one."""
    reported = _stack_usage(elf.parent)
    places: dict[str, tuple[str, int]] = {}
    for symbol in _run("arm-none-eabi-nm", "-C", "-l", "--defined-only", str(elf)).splitlines():
        if found := _SYMBOL.match(symbol):
            places[found.group(1)] = (Path(found.group(2)).name, int(found.group(3)))
    frames = {}
    for name, function in functions.items():
        file, start = places.get(name, ("", 0))
        sizes = [reported.get((file, start + offset), 0) for offset in (0, 1)]
        frames[name] = max(function.pushed, *sizes)
    return frames


def _stack_usage(folder: Path) -> dict[tuple[str, int], int]:
    """From source file's name and line to the largest frame of what begins there."""
    found: dict[tuple[str, int], int] = {}
    for path in folder.rglob("*.su"):
        for line in path.read_text(encoding="utf-8").splitlines():
            place, size, kind = line.split("\t")
            if "dynamic" in kind and "bounded" not in kind:
                raise ConfigError(f"{place}: a frame without a fixed size: no variable-length arrays")
            file, number = place.split(":")[:2]
            key = (Path(file).name, int(number))
            found[key] = max(found.get(key, 0), int(size))
    return found


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise InfrastructureError(f"{command[0]} is not installed: run `make setup`") from error
    if done.returncode != 0:
        raise ConfigError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
