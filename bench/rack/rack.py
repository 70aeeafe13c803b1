"""A rack in use: its boards locked, the emulated ones among them running."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.errors import BenchError, ConfigError
from bench.meters.counter import PhaseCounter
from bench.rack.board import Board, BoardLog
from bench.rack.inventory import BoardEntry, Inventory
from bench.rack.locks import BoardLock
from bench.rack.manifest import load_manifest

STATE_DIR = Path(".bench")
_VIRTUAL = "virtual"


class Rack:
    """The boards of an inventory that one command uses."""

    def __init__(self, inventory: Inventory, boards: Sequence[Board]) -> None:
        self.inventory = inventory
        self.boards = {board.name: board for board in boards}

    @staticmethod
    @contextmanager
    def open(
        inventory: Inventory,
        names: Sequence[str] | None = None,
        *,
        purpose: str,
        state_dir: Path = STATE_DIR,
        log_dir: Path | None = None,
    ) -> Iterator[Rack]:
        """Locks the boards, starts or joins those that are emulated, and lets go of everything at the end.

        Args:
            inventory: the rack.
            names: which of its boards; None for all.
            purpose: what for, shown to whoever wants them meanwhile.
            state_dir: where virtual boards keep their flash.
            log_dir: where the boards' logs go; `state_dir`/logs by default.

        Raises:
            ConfigError: an unknown board.
            InfrastructureError: a board is in use, or an emulated one does not start.
        """
        entries = inventory.select(names)
        with ExitStack() as stack:
            for entry in sorted(entries, key=lambda entry: entry.name):  # one order for all: no deadlock, no livelock
                stack.enter_context(BoardLock(lock_key(entry, state_dir), entry.name, purpose))
            running = stack.enter_context(virtual_boards(entries, state_dir))
            boards = []
            for entry in entries:
                log = BoardLog((log_dir or state_dir / "logs") / f"{entry.name}.log")
                stack.callback(log.close)
                board = Board(*_ends(entry, running), log=log, counter=_counter(entry, running))
                stack.callback(board.close)
                boards.append(board)
            yield Rack(inventory, boards)


@contextmanager
def virtual_boards(entries: Sequence[BoardEntry], state_dir: Path) -> Iterator[Mapping[str, Any]]:
    """The running emulated boards among `entries`: those of a `bench rack up`, or started for the time being."""
    wanted = [entry for entry in entries if entry.virtual is not None]
    held = _held_endpoints(state_dir)
    missing = [entry for entry in wanted if entry.name not in held]
    with ExitStack() as stack:
        started: Mapping[str, Any] = {}
        if missing:
            from bench.virtual.rack import VirtualRack  # what emulation needs is optional

            virtual = VirtualRack([_spec(entry) for entry in missing], state_dir / _VIRTUAL)
            started = stack.enter_context(virtual).endpoints
        yield {**held, **started}


@contextmanager
def keep_up(inventory: Inventory, state_dir: Path = STATE_DIR) -> Iterator[Mapping[str, Any]]:
    """Keeps a rack's emulated boards running for other commands to join, as `bench rack up` does.

    Raises:
        ConfigError: the rack has none, or another `bench rack up` runs here.
    """
    entries = [entry for entry in inventory.boards if entry.virtual is not None]
    if not entries:
        raise ConfigError(f"{inventory.path}: none of these boards is virtual; there is nothing to keep up")
    path = _up_file(state_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"a `bench rack up` already runs here ({path})") from error
        from bench.virtual.rack import VirtualRack

        with VirtualRack([_spec(entry) for entry in entries], state_dir / _VIRTUAL) as virtual:
            file.truncate(0)
            file.write(json.dumps({name: _plain(endpoint) for name, endpoint in virtual.endpoints.items()}))
            file.flush()
            try:
                yield virtual.endpoints
            finally:
                file.truncate(0)


def _up_file(state_dir: Path) -> Path:
    return state_dir / _VIRTUAL / "up.json"


def _plain(endpoint: Any) -> dict[str, str | None]:
    return {
        "probe": endpoint.probe,
        "serial": str(endpoint.serial),
        "counter": None if endpoint.counter is None else str(endpoint.counter),
    }


def _held_endpoints(state_dir: Path) -> Mapping[str, Any]:
    """Endpoints that a live `bench rack up` has written: live as long as it holds the file's lock."""
    from bench.virtual.rack import Endpoint

    try:
        fd = os.open(_up_file(state_dir), os.O_RDONLY)
    except OSError:
        return {}
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(fd, 1 << 20, 0).decode()
        return {
            name: Endpoint(ends["probe"], ends["serial"], Path(ends["counter"]) if ends["counter"] else None)
            for name, ends in json.loads(text or "{}").items()
        }
    finally:
        os.close(fd)
    return {}


def _spec(entry: BoardEntry) -> Any:
    from bench.virtual.rack import VirtualBoardSpec

    manifest = load_manifest(entry.env)
    assert entry.virtual is not None
    return VirtualBoardSpec(
        name=entry.name,
        env=entry.env,
        machine=entry.virtual.machine,
        probe_port=entry.remote_port or 0,
        flash_base=manifest.flash.base,
        flash_size=manifest.flash.size,
        ram_base=manifest.ram.base,
        ram_size=manifest.ram.size,
    )


def lock_key(entry: BoardEntry, state_dir: Path) -> str:
    """What two users would fight for: the probe, or the flash file of a virtual board."""
    return f"virtual:{(state_dir / _VIRTUAL / entry.name).resolve()}" if entry.virtual is not None else entry.probe


def _ends(entry: BoardEntry, running: Mapping[str, Any]) -> tuple[BoardEntry, str]:
    if entry.virtual is None:
        return entry, entry.serial
    endpoint = running[entry.name]
    return entry.model_copy(update={"probe": endpoint.probe}), str(endpoint.serial)


def _counter(entry: BoardEntry, running: Mapping[str, Any]) -> PhaseCounter | None:
    if entry.virtual is None or running[entry.name].counter is None:
        return None
    return PhaseCounter(running[entry.name].counter)


def at_once(boards: Sequence[Board], work: Any) -> None:
    """Runs `work(board)` for all boards at the same time; raises the first board's error once all have ended."""
    with ThreadPoolExecutor(max_workers=max(1, len(boards)), thread_name_prefix="rack") as pool:
        futures = [(board, pool.submit(work, board)) for board in boards]
    errors = [(board, future.exception()) for board, future in futures]
    failed = [(board, error) for board, error in errors if error is not None]
    if not failed:
        return
    for board, error in failed:
        board.log(f"failed: {error}")
    _, first = failed[0]
    if isinstance(first, BenchError) and len(failed) > 1:
        raise type(first)("\n".join(str(error) for _, error in failed)) from first
    assert first is not None
    raise first
