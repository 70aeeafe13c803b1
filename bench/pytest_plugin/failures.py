"""What a failed test's report tells: whether the rack or the code is to blame, and the boards' logs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from _pytest._code.code import ExceptionRepr

import bench
from bench.pytest_plugin.boards import RackBoard

INFRASTRUCTURE = "ftte_infrastructure"
"""Attribute of such a report: the first line of what went wrong."""
_MOST_LINES = 200
_BOOT_LINES = 12


def mark_infrastructure(report: pytest.TestReport, message: str) -> None:
    """Reports an error instead of a failure: `E` and ERROR on the terminal, <error> in JUnit's file.

    pytest tells the two apart by the phase: what goes wrong outside the test's own code is an error.
    """
    if report.when == "call":
        report.when = "setup"
    setattr(report, INFRASTRUCTURE, message.splitlines()[0] if message else "infrastructure")
    report.sections.append(("infrastructure error", "not the code under test: probe, line, power or host\n" + message))


def without_our_frames(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Of an error that says itself what to do: the test's own lines, not where in the bench it was noticed."""
    ours = str(Path(bench.__file__).parent)
    shown = excinfo.traceback.filter(lambda entry: not str(entry.path).startswith(ours))
    if shown:
        excinfo.traceback = shown


def offsets(boards: Iterable[RackBoard]) -> dict[str, int]:
    """Where the boards' logs end now."""
    return {board.name: len(_text(board.log)) for board in boards}


def attach_logs(report: pytest.TestReport, boards: Iterable[RackBoard], begun: Mapping[str, int]) -> None:
    """Each board's log since the test began, behind the boot text of what it runs."""
    for board in boards:
        text = _text(board.log)
        start = begun.get(board.name, 0)
        lines = text[start:].splitlines()
        if len(lines) > _MOST_LINES:
            lines = [f"... {len(lines) - _MOST_LINES} lines, in the file", *lines[-_MOST_LINES:]]
        section = [f"all of it: {board.log}", *_boot_text(text[:start], board.env), *lines]
        title, text = f"log of board {board.name}", "\n".join(section)
        if isinstance(report.longrepr, ExceptionRepr):  # of this JUnit's file has the text, too; of sections it has not
            report.longrepr.addsection(title, text)
        else:
            report.sections.append((title, text))


def forget_failures(item: pytest.Item) -> None:
    """Gives the test a new request, as pytest does before its first run, and lets fixtures that failed run again."""
    if not isinstance(item, pytest.Function):
        return
    item._initrequest()
    info = getattr(item, "_fixtureinfo", None)
    for definitions in () if info is None else info.name2fixturedefs.values():
        for definition in definitions:
            cached = definition.cached_result
            if cached is not None and cached[2] is not None:
                definition.finish(item._request)


def _boot_text(text: str, env: str) -> list[str]:
    """What the board printed when it last booted, if that was before."""
    lines = text.splitlines()
    for index in reversed(range(len(lines))):
        if f" board: ftte {env}: " in lines[index]:
            end = index + 1
            while end < min(len(lines), index + _BOOT_LINES) and " board: " in lines[end]:
                end += 1
            return [*lines[index:end], "..."]
    return []


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
