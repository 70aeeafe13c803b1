"""A rack in use: its boards locked, the emulated ones among them running."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from bench.errors import BenchError, ConfigError, DeviceError, InfrastructureError
from bench.meters.counter import PhaseCounter
from bench.rack.board import Board, BoardLog, Ends, PowerCycle
from bench.rack.entry import BoardEntry
from bench.rack.inventory import Inventory
from bench.rack.locks import BoardLock
from bench.rack.power import power_cycle
from bench.virtual.spec import VirtualBoardSpec

if TYPE_CHECKING:
    from bench.virtual.rack import Endpoint, VirtualRack

STATE_DIR = Path(".bench")
_VIRTUAL = "virtual"
_LOCKS_S = 1.0  # how late the loss of a lock may be noticed
_VIRTUAL_OFF_S = 0.2
_VIRTUAL_ON_S = 10.0


class Rack:
    """The boards of an inventory that one command uses."""

    def __init__(self, inventory: Inventory, boards: Sequence[Board], locks: Sequence[BoardLock] = ()) -> None:
        self.inventory = inventory
        self.boards = {board.name: board for board in boards}
        self._locks = locks

    @contextmanager
    def watched(self, lost: Callable[[InfrastructureError], None]) -> Iterator[None]:
        """Within the block, `lost` is called, from another thread and once, when a board's lock is lost."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(_LOCKS_S):
                try:
                    for lock in self._locks:
                        lock.check()
                except InfrastructureError as error:
                    lost(error)
                    return

        thread = threading.Thread(target=watch, name="rack-locks", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

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
            locks = [
                stack.enter_context(BoardLock(lock_key(entry, state_dir), entry.name, purpose))
                for entry in sorted(entries, key=lambda entry: entry.name)  # one order for all: no deadlock
            ]
            virtual = stack.enter_context(_virtual_boards(entries, state_dir))
            boards = []
            for entry in entries:
                log = BoardLog((log_dir or state_dir / "logs") / f"{entry.name}.log")
                stack.callback(log.close)
                board = Board(
                    entry, virtual.ends(entry), log, state_dir / "flash" / entry.name, virtual.power_cycle(entry)
                )
                stack.callback(board.close)
                boards.append(board)
            yield Rack(inventory, boards, locks)


class _Virtual:
    """The emulated boards in use, and how all boards are reached and switched off and on."""

    def __init__(self, held: Mapping[str, Endpoint], own: VirtualRack | None) -> None:
        self._held = held
        self._own = own

    def ends(self, entry: BoardEntry) -> Ends:
        if entry.virtual is None:
            return Ends(entry.probe, entry.serial)
        endpoint = self._held.get(entry.name)
        if endpoint is None:
            assert self._own is not None
            endpoint = self._own.endpoints[entry.name]
        assert endpoint.probe is not None  # only host boards have none, which are not on a rack
        counter = None if endpoint.counter is None else PhaseCounter(endpoint.counter)
        return Ends(endpoint.probe, endpoint.serial, counter)

    def power_cycle(self, entry: BoardEntry) -> PowerCycle | None:
        """By the inventory's switch; an emulated board by starting its process anew, or, if that is another's, by
        asking it."""
        power, own = entry.power, self._own
        if power is not None and power.kind != "none":

            def by_switch(cancelled: threading.Event | None) -> Ends:
                power_cycle(entry, cancelled)
                return self.ends(entry)

            return by_switch
        if entry.virtual is None:
            return None
        if own is None or entry.name in self._held:

            def by_request(_cancelled: threading.Event | None) -> Ends:
                from bench.virtual.faults.control import power_cycle as cut_power

                ends = self.ends(entry)
                cut_power(Path(ends.serial).parent, _VIRTUAL_OFF_S, _VIRTUAL_ON_S)
                return ends

            return by_request

        def by_restart(_cancelled: threading.Event | None) -> Ends:
            own.restart(entry.name)
            return self.ends(entry)

        return by_restart


@contextmanager
def _virtual_boards(entries: Sequence[BoardEntry], state_dir: Path) -> Iterator[_Virtual]:
    """The emulated boards among `entries`: those of a live `bench rack up`, the others started for the time being."""
    wanted = [entry for entry in entries if entry.virtual is not None]
    held = held_endpoints(state_dir) if wanted else {}
    missing = [entry for entry in wanted if entry.name not in held]
    if not missing:
        yield _Virtual(held, None)
        return
    with _virtual_rack(missing, state_dir) as own:
        yield _Virtual(held, own)


@contextmanager
def keep_up(
    inventory: Inventory, names: Sequence[str] | None = None, *, state_dir: Path = STATE_DIR
) -> Iterator[VirtualRack]:
    """Keeps a rack's emulated boards running for other commands to join, as `bench rack up` does.

    Raises:
        ConfigError: there are none among these boards.
        InfrastructureError: another `bench rack up` runs here, or a board is in use.
    """
    entries = [entry for entry in inventory.select(names) if entry.virtual is not None]
    if not entries:
        raise ConfigError(f"{inventory.path}: none of these boards is virtual; there is nothing to keep up")
    path = _up_file(state_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        file = stack.enter_context(path.open("a+"))
        with ExitStack() as locks:  # until others can join: whoever has a board has started it for themselves
            for entry in sorted(entries, key=lambda entry: entry.name):
                locks.enter_context(BoardLock(lock_key(entry, state_dir), entry.name, "bench rack up, starting"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InfrastructureError(f"a `bench rack up` already runs here ({path}); use or end it") from error
            virtual = stack.enter_context(_virtual_rack(entries, state_dir))
            file.truncate(0)
            file.write(
                json.dumps({name: asdict(endpoint) for name, endpoint in virtual.endpoints.items()}, default=str)
            )
            file.flush()
            stack.callback(file.truncate, 0)
        yield virtual


def _virtual_rack(entries: Sequence[BoardEntry], state_dir: Path) -> VirtualRack:
    from bench.virtual.rack import VirtualRack  # what emulation needs is optional

    return VirtualRack([_spec(entry) for entry in entries], state_dir / _VIRTUAL)


def _up_file(state_dir: Path) -> Path:
    return state_dir / _VIRTUAL / "up.json"


def held_endpoints(state_dir: Path) -> Mapping[str, Endpoint]:
    """Endpoints that a live `bench rack up` has written: live as long as it holds the file's lock."""
    from bench.virtual.rack import Endpoint

    try:
        fd = os.open(_up_file(state_dir), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return {}
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(fd, 1 << 20, 0).decode()
    else:
        return {}
    finally:
        os.close(fd)
    return TypeAdapter(dict[str, Endpoint]).validate_json(text or "{}")


def _spec(entry: BoardEntry) -> VirtualBoardSpec:
    assert entry.virtual is not None
    spec = VirtualBoardSpec.for_env(entry.name, entry.env, entry.virtual.machine, probe_port=entry.remote_port or 0)
    return replace(spec, serial_index=entry.virtual.serial_index)


def lock_key(entry: BoardEntry, state_dir: Path) -> str:
    """What two users would fight for: the probe, or the flash file of a virtual board."""
    return f"virtual:{(state_dir / _VIRTUAL / entry.name).resolve()}" if entry.virtual is not None else entry.probe


def at_once(boards: Sequence[Board], work: Callable[[Board], object], cancelled: threading.Event | None = None) -> None:
    """Runs `work(board)` for all boards at the same time.

    Raises what the boards raised once all have ended, as one error. When the wait itself is interrupted, `cancelled` is
    set, which `work` must heed, so that the interrupt goes on at once.
    """
    with ThreadPoolExecutor(max_workers=max(1, len(boards)), thread_name_prefix="rack") as pool:
        futures = [pool.submit(work, board) for board in boards]
        try:
            wait(futures)
        except BaseException:
            if cancelled is not None:
                cancelled.set()
            raise
    errors = []
    for board, future in zip(boards, futures, strict=True):
        error = future.exception()
        if error is not None:
            board.log(f"failed: {error}")
            errors.append(error)
    if not errors:
        return
    first = errors[0]
    if len(errors) == 1 or not isinstance(first, BenchError):
        raise first
    family = next(
        kind for kind in (ConfigError, InfrastructureError, DeviceError, BenchError) if isinstance(first, kind)
    )
    raise family("\n".join(str(error) for error in errors)) from first
