"""The virtual environment of the peers that need PyTorch or Flower, made on first use; and how a peer is run."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import process
from bench.benchmarks.peers.case import Case, save
from bench.errors import BenchError, InfrastructureError
from bench.project import project_root

REQUIREMENTS = (("torch==2.13.0",), ("flwr[simulation]==1.41.0", "numpy"))
"""One installation after the other. Versions are fixed, as figures are of versions."""
_INSTALL_S = 1800.0
_PEER_S = 900.0
_QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}


def environment_folder() -> Path:
    """Of the virtual environment."""
    return project_root() / ".cache" / "peers-venv"


def peers_python() -> Path:
    """The environment's Python; installs what is missing.

    Raises:
        InfrastructureError: pip cannot install, with the end of what it says and what to do.
    """
    folder = environment_folder()
    python, mark = folder / "bin" / "python", folder / "installed.json"
    wanted = json.dumps(REQUIREMENTS)
    if python.exists() and mark.is_file() and mark.read_text(encoding="utf-8") == wanted:
        return python
    print(f"installing {', '.join(sum(REQUIREMENTS, ()))} into {folder}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    _install([sys.executable, "-m", "venv", folder], folder)
    for requirements in REQUIREMENTS:
        _install([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements], folder)
    mark.write_text(wanted, encoding="utf-8")
    return python


def _install(command: list[str | Path], folder: Path) -> None:
    """PIP_* settings of the user (index, proxy, cache) hold."""
    shown = " ".join(map(str, command))
    try:
        ended = process.run(command, timeout_s=_INSTALL_S, environment=_without_python_path())
    except process.OutOfTimeError as error:
        raise InfrastructureError(f"{shown}: not done after {_INSTALL_S:.0f} s: {_tail(error.output)}") from error
    if ended.code != 0:
        raise InfrastructureError(
            f"{shown} failed:\n{_tail(ended.output)}\nPyTorch and Flower are needed for this benchmark only. Check the "
            f"network or the package index (PIP_INDEX_URL), and that {folder} has 3 GB of room; then run it again. "
            "--only ours numpy measures what needs neither."
        )


def run_peer(python: Path, name: str, case: Case, settings: Mapping[str, str]) -> dict[str, Any]:
    """Runs bench.benchmarks.peers.NAME on a case and returns its document.

    Args:
        python: interpreter; of the peers' environment for PyTorch and Flower.
        name: of the module.
        case: what to do.
        settings: environment variables.

    Raises:
        BenchError: it fails, or its clients do not end with our weights.
    """
    # Ray's sockets lie in its temporary folder, and a socket's path has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="peer-", dir="/tmp") as scratch:
        folder = Path(scratch)
        save(case, folder)
        output = folder / "output.json"
        quiet = {**_QUIET, "FLWR_HOME": str(folder / "flwr"), "RAY_TMPDIR": str(folder)}
        environment = {**_without_python_path(), **quiet, "PYTHONPATH": str(project_root()), **settings}
        command: list[str | Path] = [python, "-m", f"bench.benchmarks.peers.{name}", folder, output]
        try:
            ended = process.run(command, timeout_s=_PEER_S, environment=environment)
        except process.OutOfTimeError as error:
            raise BenchError(f"peer {name}: not done after {_PEER_S:.0f} s:\n{_tail(error.output)}") from error
        if ended.code != 0 or not output.is_file():
            raise BenchError(f"peer {name} failed (exit code {ended.code}):\n{_tail(ended.output)}")
        return dict(json.loads(output.read_text(encoding="utf-8")))


def _without_python_path() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-15:])
