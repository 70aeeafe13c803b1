"""What the command line, the environment and pytest's configuration say of the rack."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.project import project_root
from bench.rack.entry import BoardEntry
from bench.rack.inventory import DEFAULT_RACK, Inventory, load_inventory

_XDIST_WAIT_S = 900.0


@dataclass(frozen=True)
class Options:
    """`state` is None where emulated boards are to be this session's own."""

    inventory: Inventory
    boards: tuple[BoardEntry, ...]
    skip_flash: bool
    state: Path | None
    wait_s: float


def read(config: pytest.Config, rack: str) -> Options:
    """Raises ConfigError: inventory, name of a board, number; InfrastructureError: no place for builds."""
    from bench.pytest_plugin import switched_on

    path = project_root() / DEFAULT_RACK if rack == "virtual" else Path(rack)
    inventory = load_inventory(path)
    named = config.getoption("--board") or _names(os.environ.get("FTTE_BOARD"))
    state = config.getoption("--rack-state") or os.environ.get("FTTE_RACK_STATE")
    if state is not None:
        try:
            Path(state).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--rack-state {state}: no folder can be made there: {error.strerror}") from error
    else:
        # Two sessions cannot both listen where the inventory says; nobody else has to find these boards.
        own = tuple(_on_a_free_port(entry) for entry in inventory.boards)
        inventory = replace(inventory, boards=own)
    return Options(
        inventory,
        inventory.select(named),
        switched_on(config, "--skip-flash", "FTTE_SKIP_FLASH"),
        None if state is None else Path(state).resolve(),
        _wait_s(config),
    )


def configured_elsewhere(config: pytest.Config) -> str | None:
    """What to tell where `--rack FILE` without the sign of equality changed which project pytest believes to be in.

    pytest looks for its configuration before it loads plug-ins, and so takes FILE for the path of a test.
    """
    given, asked = list(config.invocation_params.args), config.known_args_namespace
    apart = [value for option, value in pairwise(given) if option == "--rack" and Path(value).exists()]
    if not apart or asked.inifilename or asked.rootdir:
        return None
    try:
        from _pytest.config.findpaths import determine_setup

        meant = determine_setup(
            inifile=None,
            override_ini=None,
            args=asked.file_or_dir,
            rootdir_cmd_arg=None,
            invocation_dir=config.invocation_params.dir,
        )
    except (ImportError, TypeError):  # no part of pytest's interface, and only a hint depends on it
        return None
    if (config.rootpath, config.inipath) == meant[:2]:
        return None
    took, missed = config.inipath or config.rootpath, meant[1] or meant[0]
    return (
        f"rack: write --rack={apart[-1]}: pytest took it for a test's path, and so its project for {took}, not {missed}"
    )


def session_folder(config: pytest.Config) -> Path:
    """A folder of this session's own, of this worker's under xdist; of the last sessions pytest keeps three."""
    factory = getattr(config, "_tmp_path_factory", None)
    if isinstance(factory, pytest.TempPathFactory):
        return factory.mktemp("rack", numbered=True)
    return Path(tempfile.mkdtemp(prefix="ftte-rack-"))


def _names(text: str | None) -> list[str] | None:
    return [name.strip() for name in text.split(",") if name.strip()] if text else None


def _on_a_free_port(entry: BoardEntry) -> BoardEntry:
    return entry if entry.virtual is None else entry.model_copy(update={"probe": "remote:127.0.0.1:0"})


def _wait_s(config: pytest.Config) -> float:
    asked = config.getoption("--rack-wait")
    if asked is not None:
        return float(asked)
    configured = str(config.getini("ftte_rack_wait") or "")
    try:
        if configured:
            return float(configured)
    except ValueError as error:
        raise ConfigError(f"ftte_rack_wait = {configured!r}: a number of seconds") from error
    return _XDIST_WAIT_S if hasattr(config, "workerinput") else 0.0
