"""Federated rounds over emulated boards, run as a user would: repeatable, resumable, and stopped cleanly."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bench_command import Bench

from bench.federation.snapshot import unpack
from bench.results.store import load_run
from bench.results.table import compare_counted
from bench.virtual.faults.control import ArmedFault
from bench.virtual.faults.spec import Fault

BOARDS = ("bit", "plus2", "n2")
EXPERIMENT = """
name = "small"
seed = 7
[targets]
central_gap_points = 100.0
[model]
source = "demo-cnn"
rehearsal_steps = 1000
[[model.variants]]
name = "int8"
learning_rate = 0.01
[data]
dataset = "fashion-mnist"
train_samples = 300
alpha = 0.5
min_samples = 20
[train]
local_samples = 150
[federation]
rounds = 3
deadline_s = 60.0
min_clients = 3
"""


@pytest.fixture(scope="module")
def experiment(bench: Bench) -> Path:
    """The experiment file, on a rack of three boards."""
    bench.use(*BOARDS)
    path = bench.folder / "small.toml"
    path.write_text(EXPERIMENT)
    return path


def run(bench: Bench, experiment: Path, reports: str, *more: str) -> Path:
    """One whole run; returns its folder."""
    done = bench.run("run", str(experiment), "--reports", str(bench.folder / reports), "--json", *more)
    assert done.returncode == 0, done.stderr
    return Path(json.loads(done.stdout)["folder"])


@pytest.fixture(scope="module")
def reference(bench: Bench, experiment: Path) -> Path:
    """An undisturbed run."""
    return run(bench, experiment, "reference")


def final_weights(folder: Path, variant: str = "int8") -> np.ndarray:
    newest = max((folder / "journal").glob(f"{variant}-*.json"))
    return unpack(json.loads(newest.read_text())["simulation"]["core"]["weights"])


def assert_same(one: Path, other: Path) -> None:
    assert compare_counted(load_run(one).rows, load_run(other).rows) == []
    for variant in load_run(one).document["variants"]:
        assert np.array_equal(final_weights(one, variant), final_weights(other, variant)), variant


def test_the_table_has_what_a_reader_needs(reference: Path) -> None:
    run_ = load_run(reference)
    rows = [row for row in run_.rows if row.variant == "int8" and row.round == 3]
    for board in BOARDS:
        here = {row.metric: row for row in rows if row.board == board}
        for metric in ("sram_static", "sram_arena", "instructions", "payload_up", "wire_up", "wire_down"):
            assert here[metric].value > 0, (board, metric)
            assert here[metric].kind == "counted"
        assert here["energy"].kind == "modelled"
        assert here["samples"].value == 150
    totals = {row.board: row.value for row in rows if row.metric == "sram_total" and row.phase == "train"}
    assert totals["bit"] <= 16384
    assert (reference / "report.html").stat().st_size > 10_000


def test_training_helps_and_central_training_stands_beside_it(reference: Path) -> None:
    rows = load_run(reference).rows
    for variant in ("int8", "int8_central"):
        accuracy = {row.round: row.value for row in rows if row.variant == variant and row.metric == "accuracy"}
        assert accuracy[3] > accuracy[0] + 0.2


def test_two_runs_with_one_seed_are_equal(bench: Bench, experiment: Path, reference: Path) -> None:
    assert_same(reference, run(bench, experiment, "again"))


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the awaited moment did not come"
        time.sleep(0.05)  # polls with a deadline: what is awaited is a file of another process


def finished_rounds(reports: Path) -> int:
    journals = list(reports.glob("runs/*/journal/journal.jsonl"))
    return journals[0].read_text().count('"event":"round"') if journals else 0


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_killed_in_mid_round_is_resumed_to_the_same_result(
    bench: Bench, experiment: Path, reference: Path, kind: signal.Signals
) -> None:
    reports = bench.folder / f"killed-{kind.name}"
    process = bench.start("run", str(experiment), "--reports", str(reports))
    wait_for(lambda: finished_rounds(reports) == 2, 120)  # round 0 and 1: now round 2 is under way
    os.kill(process.pid, kind)
    _, err = process.communicate(timeout=30)
    assert process.returncode == (130 if kind == signal.SIGINT else -signal.SIGKILL), err
    wait_for(lambda: not bench.leftovers(), 20)

    folder = run(bench, experiment, reports.name, "--resume")
    assert len(list((reports / "runs").iterdir())) == 1
    assert_same(reference, folder)


def test_a_run_tells_what_healed_a_board_and_stops_when_a_lock_is_lost(
    bench: Bench, experiment: Path, reference: Path
) -> None:
    """It is resumed to the same result; the reset of a board is in journal and results, with the rung that helped."""
    reports = bench.folder / "lost"
    process = bench.start("run", str(experiment), "--reports", str(reports))
    wait_for(lambda: finished_rounds(reports) >= 1, 120)
    armed = ArmedFault(bench.state / "virtual" / "plus2" / "run", Fault("reset"))
    assert armed.wait("struck", 60)
    armed.close()
    wait_for(lambda: '"event":"recovery"' in next(reports.glob("runs/*/journal/journal.jsonl")).read_text(), 60)
    for lock in (bench.folder / "locks").glob("*plus2*.lock"):
        lock.rename(lock.with_suffix(".stolen"))
    _, err = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.fail("the run had ended before its lock was lost")
    assert process.returncode == 3, err
    assert "board plus2: its lock is lost" in err
    wait_for(lambda: not bench.leftovers(), 20)

    folder = run(bench, experiment, reports.name, "--resume")
    assert_same(reference, folder)
    (found,) = load_run(folder).document["recoveries"]
    assert (found["board"], found["rung"], found["tried"]) == ("plus2", "resync", [])
    assert "has reset" in found["reason"]


ASYNCHRONOUS = EXPERIMENT.replace('name = "small"', 'name = "small-async"\ncentral = false').replace(
    'name = "int8"',
    'name = "int8"\nscheme = "list:conv1.bias,fc2.weight[:2],fc2.bias"\nupdate = {bits = 4}\n'
    'federation = {strategy = "ftte", rounds = 8, buffer = 2}',
)


@pytest.fixture(scope="module")
def asynchronous(bench: Bench, experiment: Path) -> Path:
    """Semi-asynchronous steps with coded updates, undisturbed; the experiment file lies beside."""
    path = bench.folder / "async.toml"
    path.write_text(ASYNCHRONOUS)
    return run(bench, path, "async")


def test_the_cortex_m0_is_the_straggler_and_the_others_do_not_wait(asynchronous: Path) -> None:
    rows = [row for row in load_run(asynchronous).rows if row.round > 0]
    steps = {board: sum(r.value for r in rows if r.board == board and r.metric == "samples") for board in BOARDS}
    assert steps["bit"] < steps["n2"] <= steps["plus2"]
    assert sum(steps.values()) == 8 * 2 * 150
    assert {row.metric for row in rows} >= {"staleness", "weight", "clipped", "checkpoint", "elapsed"}
    weights = [sum(row.value for row in rows if row.metric == "weight" and row.round == step) for step in range(1, 9)]
    assert weights == pytest.approx([1.0] * 8)
    elapsed = [row.value for row in rows if row.metric == "elapsed"]
    assert elapsed == sorted(elapsed)
    sent = [row.value for row in rows if row.metric == "payload_up" and row.phase == "upload"]
    assert max(sent) < 900, "half a byte a value where one and a residual would travel whole"
    assert {row.value for row in rows if row.metric == "feedback_lost"} == {0.0}


def test_two_asynchronous_runs_with_one_seed_are_equal(bench: Bench, asynchronous: Path) -> None:
    assert_same(asynchronous, run(bench, bench.folder / "async.toml", "async-again"))


def test_an_asynchronous_run_that_is_killed_is_resumed_with_the_boards_error_feedback(
    bench: Bench, asynchronous: Path
) -> None:
    reports = bench.folder / "async-killed"
    process = bench.start("run", str(bench.folder / "async.toml"), "--reports", str(reports))
    wait_for(lambda: finished_rounds(reports) >= 4, 120)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    wait_for(lambda: not bench.leftovers(), 20)
    assert finished_rounds(reports) < 9, "killed before its end"
    assert_same(asynchronous, run(bench, bench.folder / "async.toml", reports.name, "--resume"))


def test_a_users_own_export_trains_on_boards(bench: Bench, experiment: Path, project_root: Path) -> None:
    """What PyTorch exported, with a scheme of the user's choice, in one command."""
    model = project_root / "tests" / "golden" / "onnx" / "torch_image_script.onnx"
    folder = run(bench, experiment, "own", "--model", str(model), "--scheme", "last-1")
    run_ = load_run(folder)
    accuracy = {r.round: r.value for r in run_.rows if r.variant == "int8" and r.metric == "accuracy"}
    assert accuracy[3] > accuracy[0] + 0.2
    down = {r.value for r in run_.rows if r.metric == "payload_down" and r.variant == "int8" and r.phase == "download"}
    assert down, "the classifier alone travels"
    assert max(down) < 3300
    done = bench.run("run", str(experiment), "--model", "nowhere.onnx", "--json")
    assert done.returncode == 2
    assert "nowhere.onnx" in json.loads(done.stdout)["error"]["message"]


def test_resume_without_anything_to_resume(bench: Bench, experiment: Path, reference: Path) -> None:
    """What is unfinished of an experiment whose name begins with this one's is not this one's."""
    other = reference.parent / "small-too-20990102-030405" / "journal"
    other.mkdir(parents=True)
    (other / "journal.jsonl").touch()
    done = bench.run("run", str(experiment), "--reports", str(reference.parent.parent), "--resume")
    assert done.returncode == 2
    assert "no unfinished run of small" in done.stderr


def test_nothing_is_left_running(bench: Bench, reference: Path) -> None:
    assert bench.leftovers() == []
    assert reference.is_dir()
