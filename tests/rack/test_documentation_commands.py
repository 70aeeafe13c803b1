"""Each tutorial's commands, in order, in an empty folder with the files that the page has a reader save."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.documentation import blocks, pages

_OWN = ("FTTE_", "BENCH_", "PYTEST_")


def _environment(folder: Path) -> dict[str, str]:
    """A reader's, with the bench's environment active and locks of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "BENCH_LOCK_DIR": str(folder / "locks")}


def _with_commands() -> list[Path]:
    return [page for page in pages() if any(block.language == "sh" and not block.skipped for block in blocks(page))]


@pytest.mark.timeout(900)  # seconds on a machine that has time, minutes on one that is shared
@pytest.mark.parametrize("page", _with_commands(), ids=lambda page: page.stem)
def test_a_pages_commands_do_what_it_says(page: Path, tmp_path: Path) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    for block in blocks(page):
        if block.title:
            (folder / block.title).write_text(block.text)
        elif block.language == "sh" and not block.skipped:
            ended = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.text],
                cwd=folder, env=_environment(tmp_path), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            assert ended.returncode == 0, f"{page.name}:\n{block.text}\n{ended.stdout}\n{ended.stderr}"
