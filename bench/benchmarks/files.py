"""Where benchmarks keep what they found."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import project
from bench.results.files import write_atomically


def cache_folder() -> Path:
    """Finished runs, so that a benchmark that was stopped goes on where it was."""
    folder = project.cache_folder("benchmarks")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def output_folder() -> Path:
    """Of the documents that `make bench` makes its report from."""
    folder = project.project_root() / "reports" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_document(path: Path | None, name: str, content: dict[str, Any]) -> Path:
    """Writes a benchmark's figures with the source's revision and the date.

    Raises:
        InfrastructureError: the disk is full or the folder cannot be written; the old file is still there.
    """
    target = path or output_folder() / f"{name}.json"
    described = subprocess.run(
        ["git", "-C", str(project.project_root()), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    document = {
        "benchmark": name,
        "revision": described.stdout.strip() or None,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        **content,
    }
    write_atomically(target, (json.dumps(document, indent=1) + "\n").encode())
    return target
