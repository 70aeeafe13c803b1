"""A small rack of emulated boards, on free ports and with its state in a temporary folder, for one module of tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from bench_command import Bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> Iterator[Bench]:
    """The command on a rack of its own; a module's tests share the boards' flash."""
    command = Bench(tmp_path_factory.mktemp("bench"), project_root)
    yield command
    command.close()
