"""Starts virtual boards, watches over them, and ends them with everything that is theirs."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import bench
from bench.errors import BenchError, ConfigError, DeviceError, InfrastructureError
from bench.virtual.lifetime import DirectoryLock
from bench.virtual.plugin import build_plugin
from bench.virtual.spec import VirtualBoardSpec

DEFAULT_STATE_DIR = Path(".bench/virtual")
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
_LOG_LIMIT = 1 << 20
_KINDS: dict[str, type[BenchError]] = {kind.__name__: kind for kind in (ConfigError, DeviceError, InfrastructureError)}


@dataclass(frozen=True)
class Endpoint:
    """Where a virtual board is reached.

    `probe` is pyOCD's unique id, None for a host board; `serial` a pyserial URL; `counter` the file that PhaseCounter
    reads, None where nothing counts.
    """

    probe: str | None
    serial: str
    counter: Path | None
    pid: int
    log: Path
    state: Path


@dataclass
class _Running:
    spec: VirtualBoardSpec
    process: subprocess.Popen[str]
    state: Path
    log: Path
    lock: DirectoryLock | None  # a host board's; the others' process holds its own
    line: str = field(default="")


class VirtualRack:
    """Context manager over a set of virtual boards, each with a directory of its own under `state_dir`.

    Flash contents and logs stay there; processes, terminals and other transient files go with the rack, also when the
    process that holds it is killed.
    """

    def __init__(
        self, specs: Iterable[VirtualBoardSpec], state_dir: Path = DEFAULT_STATE_DIR, *, counting: bool = True
    ) -> None:
        """Raises ConfigError for a spec that cannot be started, or two of one name."""
        specs = tuple(specs)
        self._specs = {spec.name: spec for spec in specs}
        if len(self._specs) != len(specs):
            raise ConfigError("two virtual boards have the same name")
        for spec in specs:
            spec.check()
        self._state_dir = state_dir.resolve()
        self._counting = counting
        self._running: dict[str, _Running] = {}
        self._guard = threading.RLock()
        self.endpoints: dict[str, Endpoint] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts all boards at once and waits until they are reachable.

        Raises ConfigError or InfrastructureError (a port or directory in use, a board that does not start) after it has
        ended those that did.
        """
        with self._guard:
            self._start([spec for name, spec in self._specs.items() if name not in self._running])

    def stop(self) -> None:
        """Ends all boards. Harmless when there is none."""
        with self._guard:
            self._end(list(self._running.values()))

    def restart(self, name: str) -> Endpoint:
        """Power-cycles a board: ends its process, if it still lives, and starts it with what is in its flash."""
        with self._guard:
            self._end([board for board in (self._running.get(name),) if board is not None])
            self._start([self._specs[name]])
            return self.endpoints[name]

    def alive(self, name: str) -> bool:
        """Whether the board's process lives."""
        board = self._running.get(name)
        return board is not None and board.process.poll() is None

    def check(self) -> None:
        """Raises InfrastructureError naming each board whose process has ended by itself, and its log."""
        with self._guard:
            dead = [board for board in self._running.values() if board.process.poll() is not None]
            for board in dead:
                _clear(board)
        if dead:
            what = "; ".join(f"{b.spec.name} ({_ending(b.process.returncode)}), see {b.log}" for b in dead)
            raise InfrastructureError(f"virtual board ended by itself: {what}")

    # --- starting ---

    def _start(self, specs: list[VirtualBoardSpec]) -> None:
        emulated = any(not spec.is_host for spec in specs)
        library = build_plugin(self._state_dir / ".plugin") if self._counting and emulated else None
        try:
            for spec in specs:
                self._running[spec.name] = self._spawn(spec, library)
            self._wait_until_ready([self._running[spec.name] for spec in specs])
            for spec in specs:
                self.endpoints[spec.name] = self._endpoint(self._running[spec.name])
        except BaseException:
            self._end([self._running[spec.name] for spec in specs if spec.name in self._running])
            raise

    def _spawn(self, spec: VirtualBoardSpec, library: Path | None) -> _Running:
        state = self._state_dir / spec.name
        state.mkdir(parents=True, exist_ok=True)
        log = state / "board.log"
        lock = None
        environment = dict(os.environ)
        if spec.is_host:
            lock = DirectoryLock(state, f"virtual board {spec.name}")
            shutil.rmtree(state / "run", ignore_errors=True)
            (state / "run").mkdir()
            command = [str(spec.host_program), "--serial", str(state / "run" / "serial")]
            command += ["--data", spec.data_file] if spec.data_file is not None else []
        else:
            command = [sys.executable, "-m", "bench.virtual.board", "--child"]
            command += ["--spec", spec.to_json(), "--state", str(state)]
            command += ["--plugin", str(library)] if library is not None else []
            root = str(Path(bench.__file__).resolve().parents[1])
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
        try:
            with _open_log(log) as output:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    text=True,
                    env=environment,
                    start_new_session=True,  # Ctrl-C is for the orchestrator, which then ends the boards
                )
        except OSError as error:
            if lock is not None:
                lock.release()
            raise ConfigError(f"board {spec.name}: cannot start {command[0]}: {error.strerror}") from error
        return _Running(spec, process, state, log, lock)

    def _wait_until_ready(self, boards: list[_Running]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        with selectors.DefaultSelector() as selector:
            for board in boards:
                assert board.process.stdout is not None
                selector.register(board.process.stdout, selectors.EVENT_READ, board)
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    silent = ", ".join(key.data.spec.name for key in selector.get_map().values())
                    raise InfrastructureError(
                        f"virtual board {silent} not ready in {START_TIMEOUT_S:g} s: see its log in {self._state_dir}"
                    )
                for key, _ in ready:
                    board = key.data
                    board.line = board.process.stdout.readline()
                    selector.unregister(key.fileobj)
                    _raise_for(board)

    def _endpoint(self, board: _Running) -> Endpoint:
        state, pid = board.state, board.process.pid
        if board.spec.is_host:
            return Endpoint(None, str(state / "run" / "serial"), None, pid, board.log, state)
        ready = json.loads(board.line)
        counter = Path(ready["counter"]) if ready["counter"] is not None else None
        return Endpoint(f"remote:127.0.0.1:{ready['probe_port']}", ready["serial"], counter, pid, board.log, state)

    # --- ending ---

    def _end(self, boards: list[_Running]) -> None:
        for board in boards:
            _ask_to_end(board)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for board in boards:
            self._reap(board, deadline)

    def _reap(self, board: _Running, deadline: float) -> None:
        try:
            board.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            board.process.kill()
            board.process.wait()
        assert board.process.stdout is not None
        board.process.stdout.close()
        _clear(board)
        if board.lock is not None:
            board.lock.release()
        del self._running[board.spec.name]
        self.endpoints.pop(board.spec.name, None)


def _clear(board: _Running) -> None:
    """Removes what a killed board could not remove itself; not what another rack's board of this name has there."""
    with contextlib.suppress(InfrastructureError):
        lock = board.lock or DirectoryLock(board.state, f"virtual board {board.spec.name}")
        shutil.rmtree(board.state / "run", ignore_errors=True)
        if lock is not board.lock:
            lock.release()


def _open_log(path: Path) -> IO[bytes]:
    """Logs of a board's runs follow each other, until they are long."""
    long = path.exists() and path.stat().st_size > _LOG_LIMIT
    return path.open("wb" if long else "ab")


def _ask_to_end(board: _Running) -> None:
    """The end of its input is what a board ends on; a host board knows signals only."""
    assert board.process.stdin is not None
    with contextlib.suppress(OSError):
        board.process.stdin.close()
    if board.spec.is_host and board.process.poll() is None:
        board.process.terminate()


def _raise_for(board: _Running) -> None:
    """Turns what a board said instead of being ready into the error that it means."""
    name, line = board.spec.name, board.line.strip()
    if board.spec.is_host and line.startswith("serial:"):
        return
    if line.startswith("{"):
        answer = json.loads(line)
        if "error" not in answer:
            return
        raise _KINDS.get(answer.get("kind", ""), InfrastructureError)(answer["error"])
    code = None
    with contextlib.suppress(subprocess.TimeoutExpired):
        code = board.process.wait(STOP_TIMEOUT_S)
    raise InfrastructureError(f"virtual board {name} did not start ({_ending(code)}): see {board.log}")


def _ending(code: int | None) -> str:
    if code is None:
        return "still running"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
