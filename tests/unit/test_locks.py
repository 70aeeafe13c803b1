"""One user a board: locks that end with their process, and reservations that stay with their user."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.errors import InfrastructureError
from bench.rack.locks import BoardLock, holder, lock_folder, reservation, reserve, unreserve

HOLD = """
import sys
from bench.rack.locks import BoardLock
with BoardLock(sys.argv[1], "bit", "a long soak"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_LOCK_DIR", str(tmp_path / "locks"))
    monkeypatch.setenv("LOGNAME", "ada")


@pytest.fixture
def other(project_root: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds probe-1."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, "probe-1"],
        cwd=project_root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_board_that_is_in_use_is_refused_with_its_holder(other: subprocess.Popen[str]) -> None:
    with pytest.raises(InfrastructureError) as caught:
        BoardLock("probe-1", "bit", "mine").acquire()
    assert caught.value.exit_code == 3
    assert f"board bit is in use by ada, process {other.pid} on " in str(caught.value)
    assert "(a long soak)" in str(caught.value)
    found = holder("probe-1")
    assert found is not None
    assert (found.pid, found.user, found.purpose) == (other.pid, "ada", "a long soak")


def test_another_board_is_free(other: subprocess.Popen[str]) -> None:
    with BoardLock("probe-2", "plus2", "mine"):
        assert holder("probe-2") is not None
    assert holder("probe-2") is None


def test_a_lock_ends_with_its_process_however_that_ends(other: subprocess.Popen[str]) -> None:
    other.kill()
    other.wait()
    assert holder("probe-1") is None
    with BoardLock("probe-1", "bit", "mine"):
        found = holder("probe-1")
        assert found is not None
        assert found.pid == os.getpid()


def test_a_lock_is_not_inherited_by_children() -> None:
    with BoardLock("probe-1", "bit", "mine"):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        assert holder("probe-1") is None
    finally:
        child.kill()
        child.wait()


def test_two_probes_do_not_share_a_file() -> None:
    with BoardLock("remote:rack:1", "a", ""), BoardLock("remote_rack_1", "b", ""):
        assert len(list(lock_folder().iterdir())) == 2


def test_looking_who_holds_a_lock_does_not_make_taking_it_fail() -> None:
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            holder("probe-1")

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    try:
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            with BoardLock("probe-1", "bit", "mine"):
                pass
    finally:
        stop.set()
        for looker in lookers:
            looker.join()


def test_a_reservation_keeps_other_users_out(monkeypatch: pytest.MonkeyPatch) -> None:
    reserve("probe-1", "bit", "energy figures")
    with BoardLock("probe-1", "bit", "its own user may"):
        pass
    monkeypatch.setenv("LOGNAME", "eve")
    with pytest.raises(
        InfrastructureError, match=r"board bit is reserved by ada on .* \(energy figures\); they free it"
    ):
        BoardLock("probe-1", "bit", "mine").acquire()
    assert holder("probe-1") is None
    with pytest.raises(InfrastructureError, match="is reserved by ada"):
        reserve("probe-1", "bit", "mine")
    with pytest.raises(InfrastructureError, match="not by you; --force takes it"):
        unreserve("probe-1", "bit")
    assert reservation("probe-1") is not None
    assert unreserve("probe-1", "bit", force=True)
    with BoardLock("probe-1", "bit", "mine"):
        pass


def test_a_reservation_is_given_back_once() -> None:
    reserve("probe-1", "bit", "")
    assert unreserve("probe-1", "bit")
    assert not unreserve("probe-1", "bit")


def test_a_board_in_use_cannot_be_reserved(other: subprocess.Popen[str]) -> None:
    with pytest.raises(InfrastructureError, match=f"in use by ada, process {other.pid}"):
        reserve("probe-1", "bit", "")


def test_a_folder_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BENCH_LOCK_DIR", str(tmp_path / "file" / "locks"))
    with pytest.raises(InfrastructureError, match="set BENCH_LOCK_DIR"):
        BoardLock("probe-1", "bit", "").acquire()


def test_the_folder_is_every_users() -> None:
    assert lock_folder().stat().st_mode & 0o7777 == 0o1777
    with BoardLock("probe-1", "bit", ""):
        assert all(path.stat().st_mode & 0o666 == 0o666 for path in lock_folder().iterdir())


def test_a_lock_whose_file_is_gone_or_another_one_is_lost() -> None:
    lock = BoardLock("probe-1", "bit", "a run")
    lock.check()
    with lock:
        lock.check()
        (path,) = lock_folder().glob("*.lock")
        path.rename(path.with_suffix(".old"))
        with pytest.raises(InfrastructureError, match=r"board bit: its lock is lost, for .* was removed or replaced$"):
            lock.check()
        with BoardLock("probe-1", "bit", "someone else's"), pytest.raises(InfrastructureError, match="now held by ada"):
            lock.check()


def test_a_lock_is_lost_to_a_reservation_of_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    reserve("probe-1", "bit", "mine")
    with BoardLock("probe-1", "bit", "a run") as lock:
        lock.check()
        monkeypatch.setenv("LOGNAME", "bob")
        with pytest.raises(InfrastructureError, match="board bit is reserved by ada"):
            lock.check()
