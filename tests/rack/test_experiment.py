"""Federated rounds over boards, some run as a user would: repeatable, resumable, and stopped cleanly."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from bench_command import Bench

from bench.federation.snapshot import unpack
from bench.pytest_plugin.cohort import Cohort, Trained
from bench.pytest_plugin.rack import Rack
from bench.rack.locks import lock_folder
from bench.results.store import load_run
from bench.results.table import compare_counted
from bench.virtual.faults.control import ArmedFault
from bench.virtual.faults.spec import Fault

CORES = ("cortex-m0", "cortex-m3", "cortex-m4f")
"""The slowest first."""
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
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("experiment") / "small.toml"
    path.write_text(EXPERIMENT)
    return path


@pytest.fixture(scope="module")
def trio(rack: Rack) -> Cohort:
    """Three boards."""
    return rack.cohort(boards=3, most=3)


@pytest.fixture
def bench(trio: Cohort, tmp_path: Path, project_root: Path) -> Iterator[Bench]:
    """The command on these boards, for runs that are killed and resumed."""
    with trio.lent() as lent:
        command = Bench(tmp_path, project_root, lent)
        yield command
        command.close()


def run(bench: Bench, experiment: Path, reports: str, *more: str) -> Path:
    """One whole run; returns its folder."""
    done = bench.run("run", str(experiment), "--reports", str(bench.folder / reports), "--json", *more)
    assert done.returncode == 0, done.stderr
    return Path(json.loads(done.stdout)["folder"])


@pytest.fixture(scope="module")
def reference(trio: Cohort, experiment: Path) -> Trained:
    """An undisturbed run."""
    return trio.train(str(experiment))


def final_weights(folder: Path, variant: str = "int8") -> np.ndarray:
    newest = max((folder / "journal").glob(f"{variant}-*.json"))
    return unpack(json.loads(newest.read_text())["simulation"]["core"]["weights"])


def assert_same(one: Trained, other: Path) -> None:
    assert compare_counted(one.rows, load_run(other).rows) == []
    for variant in one.document["variants"]:
        assert np.array_equal(final_weights(one.folder, variant), final_weights(other, variant)), variant


def test_the_table_has_what_a_reader_needs(reference: Trained, trio: Cohort) -> None:
    rows = [row for row in reference.rows if row.variant == "int8" and row.round == 3]
    for board in trio.boards:
        here = {row.metric: row for row in rows if row.board == board.name}
        for metric in ("sram_static", "sram_arena", "payload_up", "wire_up", "wire_down"):
            assert here[metric].value > 0, (board, metric)
            assert here[metric].kind == "counted"
        work = here["cycles" if board.physical else "instructions"]
        assert work.value > 0
        assert work.kind == ("measured" if board.physical else "counted")
        assert here["energy"].kind == "modelled"
        assert here["samples"].value == 150
        assert reference.metric("sram_total", board=board.name, phase="train").value <= board.manifest.ram.size
    assert (reference.folder / "report.html").stat().st_size > 10_000


def test_training_helps_and_central_training_stands_beside_it(reference: Trained) -> None:
    for variant in ("int8", "int8_central"):
        rows = [row for row in reference.rows if row.variant == variant and row.metric == "accuracy"]
        accuracy = {row.round: row.value for row in rows}
        assert accuracy[3] > accuracy[0] + 0.2


def test_two_runs_with_one_seed_are_equal(trio: Cohort, experiment: Path, reference: Trained) -> None:
    assert_same(reference, trio.train(str(experiment)).folder)


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
    bench: Bench, experiment: Path, reference: Trained, kind: signal.Signals
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
    assert bench.leftovers() == []


def test_a_run_tells_what_healed_a_board_and_stops_when_a_lock_is_lost(
    trio: Cohort, bench: Bench, experiment: Path, reference: Trained
) -> None:
    """It is resumed to the same result; the reset of a board is in journal and results, with the rung that helped."""
    board = trio.boards[1]
    if board.physical:
        pytest.skip("faults are injected into emulated boards")
    reports = bench.folder / "lost"
    process = bench.start("run", str(experiment), "--reports", str(reports))
    wait_for(lambda: finished_rounds(reports) >= 1, 120)
    armed = ArmedFault(bench.state / "virtual" / board.name / "run", Fault("reset"))
    assert armed.wait("struck", 60)
    armed.close()
    wait_for(lambda: '"event":"recovery"' in next(reports.glob("runs/*/journal/journal.jsonl")).read_text(), 60)
    for lock in lock_folder().glob(f"*{board.name}*.lock"):
        if f'"pid": {process.pid},' in lock.read_text():
            lock.unlink()
    _, err = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.fail("the run had ended before its lock was lost")
    assert process.returncode == 3, err
    assert f"board {board.name}: its lock is lost" in err
    wait_for(lambda: not bench.leftovers(), 20)

    folder = run(bench, experiment, reports.name, "--resume")
    assert_same(reference, folder)
    (found,) = load_run(folder).document["recoveries"]
    assert (found["board"], found["rung"], found["tried"]) == (board.name, "resync", [])
    assert "has reset" in found["reason"]


ASYNCHRONOUS = EXPERIMENT.replace('name = "small"', 'name = "small-async"\ncentral = false').replace(
    'name = "int8"',
    'name = "int8"\nscheme = "list:conv1.bias,fc2.weight[:2],fc2.bias"\nupdate = {bits = 4}\n'
    'federation = {strategy = "ftte", rounds = 8, buffer = 2}',
)


@pytest.fixture(scope="module")
def asynchronous_file(experiment: Path) -> Path:
    path = experiment.with_name("async.toml")
    path.write_text(ASYNCHRONOUS)
    return path


@pytest.fixture(scope="module")
def asynchronous(trio: Cohort, asynchronous_file: Path) -> Trained:
    """Semi-asynchronous steps with coded updates, undisturbed."""
    return trio.train(str(asynchronous_file))


def test_the_slowest_core_is_the_straggler_and_the_others_do_not_wait(asynchronous: Trained, trio: Cohort) -> None:
    boards = sorted(trio.boards, key=lambda board: CORES.index(board.manifest.core))
    cores = [board.manifest.core for board in boards]
    if len(set(cores[:2])) < 2:
        pytest.skip(f"the slowest of these cores is not alone: {', '.join(cores)}")
    rows = [row for row in asynchronous.rows if row.round > 0]
    steps = [sum(r.value for r in rows if r.board == board.name and r.metric == "samples") for board in boards]
    assert steps[0] < steps[1]
    assert steps == sorted(steps)
    assert sum(steps) == 8 * 2 * 150
    assert {row.metric for row in rows} >= {"staleness", "weight", "clipped", "checkpoint", "elapsed"}
    weights = [sum(row.value for row in rows if row.metric == "weight" and row.round == step) for step in range(1, 9)]
    assert weights == pytest.approx([1.0] * 8)
    elapsed = [row.value for row in rows if row.metric == "elapsed"]
    assert elapsed == sorted(elapsed)
    sent = [row.value for row in rows if row.metric == "payload_up" and row.phase == "upload"]
    assert max(sent) < 900, "half a byte a value where one and a residual would travel whole"
    assert {row.value for row in rows if row.metric == "feedback_lost"} == {0.0}


def test_two_asynchronous_runs_with_one_seed_are_equal(
    trio: Cohort, asynchronous_file: Path, asynchronous: Trained
) -> None:
    assert_same(asynchronous, trio.train(str(asynchronous_file)).folder)


def test_an_asynchronous_run_that_is_killed_is_resumed_with_the_boards_error_feedback(
    bench: Bench, asynchronous_file: Path, asynchronous: Trained
) -> None:
    reports = bench.folder / "async-killed"
    process = bench.start("run", str(asynchronous_file), "--reports", str(reports))
    wait_for(lambda: finished_rounds(reports) >= 4, 120)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    wait_for(lambda: not bench.leftovers(), 20)
    assert finished_rounds(reports) < 9, "killed before its end"
    assert_same(asynchronous, run(bench, asynchronous_file, reports.name, "--resume"))
    assert bench.leftovers() == []


def test_a_users_own_export_trains_on_boards(trio: Cohort, experiment: Path, project_root: Path) -> None:
    """What PyTorch exported, with a scheme of the user's choice."""
    model = project_root / "tests" / "golden" / "onnx" / "torch_image_script.onnx"
    rows = [row for row in trio.train(str(experiment), model=str(model), scheme="last-1").rows if row.variant == "int8"]
    accuracy = {row.round: row.value for row in rows if row.metric == "accuracy"}
    assert accuracy[3] > accuracy[0] + 0.2
    down = {row.value for row in rows if row.metric == "payload_down" and row.phase == "download"}
    assert down, "the classifier alone travels"
    assert max(down) < 3300


def test_what_cannot_be_run_is_refused(bench: Bench, experiment: Path, reference: Trained) -> None:
    done = bench.run("run", str(experiment), "--model", "nowhere.onnx", "--json")
    assert done.returncode == 2
    assert "nowhere.onnx" in json.loads(done.stdout)["error"]["message"]


def test_resume_without_anything_to_resume(bench: Bench, experiment: Path, reference: Trained) -> None:
    """What is unfinished of an experiment whose name begins with this one's is not this one's."""
    other = reference.folder.parent / "small-too-20990102-030405" / "journal"
    other.mkdir(parents=True)
    (other / "journal.jsonl").touch()
    done = bench.run("run", str(experiment), "--reports", str(reference.folder.parent.parent), "--resume")
    assert done.returncode == 2
    assert "no unfinished run of small" in done.stderr
