"""What a board's probe says of itself, asked through pyOCD, and where it is kept."""

from __future__ import annotations

import socket
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from bench.pytest_plugin.boards import RackBoard
from bench.pytest_plugin.cohort import Trained
from bench.rack.board import Board, BoardLog
from bench.rack.probe_identity import ProbeIdentity, identities
from bench.results import queries
from bench.results.database import Store
from bench.results.store import load_run

OURS = f"ftte-bench {version('ftte-bench')}"


@pytest.mark.board(one=True)
def test_a_probe_tells_its_product_and_firmware(board: RackBoard) -> None:
    board.flash("demo-cnn", "bias")
    board.device.write_params(b"\x5a" * 64)
    found = identities([board.opened])[board.name]
    assert found.product
    if not board.physical:
        assert found == ProbeIdentity(f"virtual board {board.name} ({found.product.partition('(')[2]}", OURS)
    assert board.device.read_params(length=64) == b"\x5a" * 64, "the board went on as it was"


@pytest.mark.board(one=True)
def test_a_probe_that_is_not_there_stays_unknown_and_is_logged(board: RackBoard, tmp_path: Path) -> None:
    opened = board.opened
    absent = Board(
        opened.entry, replace(opened.ends, probe="remote:127.0.0.1:1"), BoardLog(tmp_path / "board.log"), tmp_path
    )
    assert identities([absent]) == {board.name: ProbeIdentity()}
    assert "the probe's firmware is not known: " in (tmp_path / "board.log").read_text()
    assert "Connection refused" in (tmp_path / "board.log").read_text()


@pytest.mark.board(one=True)
def test_a_probe_that_hangs_costs_no_other_board_its_identity(board: RackBoard, tmp_path: Path) -> None:
    """Two boards of one probe, as on a carrier with two chips; and a probe that takes a call and says nothing."""
    opened = board.opened
    twin = Board(
        opened.entry.model_copy(update={"name": "twin"}), opened.ends, BoardLog(tmp_path / "twin.log"), tmp_path
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ends = replace(opened.ends, probe=f"remote:127.0.0.1:{silent.getsockname()[1]}")
        mute = Board(opened.entry.model_copy(update={"name": "mute"}), ends, BoardLog(tmp_path / "mute.log"), tmp_path)
        found = identities([opened, twin, mute])
    assert found["mute"] == ProbeIdentity()
    assert found[board.name] == found["twin"] != ProbeIdentity()
    assert "the probe's firmware is not known: " in (tmp_path / "mute.log").read_text()


@pytest.mark.cohort(boards=1, most=1)
def test_a_run_has_them_in_its_results_and_in_the_store(trained: Trained, tmp_path: Path) -> None:
    (board,) = trained.document["boards"]
    assert board["probe_product"]
    if not board["physical"]:
        assert board["probe_firmware"] == OURS
    with Store.open(tmp_path / "results.db") as store:
        assert store.add(load_run(trained.folder))
        (row,) = queries.boards(store).to_dict("records")
    assert (row["board"], row["probe_firmware"]) == (board["name"], board["probe_firmware"])
    assert row["supply"] == board["supply"]
