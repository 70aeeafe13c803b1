"""Nights on an emulated board, run as a user would: equal in all that is counted; one that is stopped goes on."""

import json
import signal
import time
from pathlib import Path

import pytest
from bench_command import Bench

from bench.results import queries
from bench.results.database import Store

MATRIX = """
name = "small"
[matrix]
models = ["demo-cnn"]
schemes = ["bias"]
strategies = ["fedavg"]
cohorts = ["all"]
[strategies.fedavg]
rounds = 1
deadline_s = 60.0
min_clients = 1
[training]
train_samples = 100
local_samples = 50
learning_rate = 0.02
rehearsal_steps = 200
"""
CELL = "small-demo-cnn-bias-int8-fedavg-all"


@pytest.fixture(scope="module")
def matrix(bench: Bench) -> Path:
    bench.use("plus2")
    path = bench.folder / "night.toml"
    path.write_text(MATRIX)
    return path


def night(bench: Bench, matrix: Path, *more: str) -> dict:
    done = bench.run("nightly", str(matrix), "--reports", str(bench.folder / "reports"), "--json", *more, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(1200)
def test_two_nights_are_equal_and_one_that_is_stopped_goes_on(bench: Bench, matrix: Path) -> None:
    reports = bench.folder / "reports"
    first = night(bench, matrix)
    assert first["cells"][CELL]["status"] == "done"

    stopped = bench.start("nightly", str(matrix), "--reports", str(reports))
    deadline = time.monotonic() + 400
    while len(list(reports.glob(f"runs/{CELL}-*/journal"))) < 2 and time.monotonic() < deadline:
        assert stopped.poll() is None
        time.sleep(0.05)
    stopped.send_signal(signal.SIGINT)
    assert stopped.wait(30) == 130
    # Of a cell whose name begins with this one's, and of this one in a night long ago: neither is tonight's.
    for unfinished in (f"{CELL}-too-20990102-030405", f"{CELL}-20200102-030405"):
        journal = reports / "runs" / unfinished / "journal"
        journal.mkdir(parents=True)
        (journal / "journal.jsonl").touch()
    second = night(bench, matrix, "--resume")
    assert second["cells"][CELL]["status"] == "done"
    assert second["night"] != first["night"]
    assert len(list(reports.glob("runs/*/results.json"))) == 2  # the stopped run was gone on with
    assert len(list(reports.glob("runs/*"))) == 4
    assert second["regressions"] == second["unconfirmed"] == []

    with Store.open(reports / "results.db") as store:
        trends = queries.trends(store, experiment=CELL)
    counted = trends[(trends["kind"] == "counted") & (trends["phase"] != "link")]
    assert set(counted.groupby(["variant", "env", "phase", "metric"])["value"].nunique()) == {1}
    assert {"instructions", "sram_total", "accuracy"} <= set(counted["metric"])


def test_a_night_without_time_says_what_it_left_out(bench: Bench, matrix: Path) -> None:
    told = night(bench, matrix, "--minutes", "0.001")
    assert {cell["status"] for cell in told["cells"].values()} == {"no time"}
