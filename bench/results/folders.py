"""Folders that are named by what ran in them and when it began: `NAME-20260102-030405`."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

_STAMP = re.compile(r"-(\d{8}-\d{6})")


def folder_name(name: str, begun: datetime) -> str:
    """Of what begins now."""
    return f"{name}-{begun:%Y%m%d-%H%M%S}"


def begun_at(folder: Path) -> str:
    """The time in a folder's name; these texts sort by time."""
    return folder.name[-len("20260102-030405") :]


def folders_of(parent: Path, name: str) -> list[Path]:
    """Those of one name, oldest first. The name of another may begin with this one, as `demo` and `demo-long`."""
    return sorted(
        path for path in parent.glob(f"{name}-*") if _STAMP.fullmatch(path.name.removeprefix(name)) is not None
    )


def unfinished_runs(runs: Path, experiment: str) -> list[Path]:
    """Runs of an experiment that were begun and have no results, oldest first: what `--resume` goes on with."""
    return [
        path
        for path in folders_of(runs, experiment)
        if (path / "journal" / "journal.jsonl").is_file() and not (path / "results.json").is_file()
    ]
