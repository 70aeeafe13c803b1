"""The journal: whatever ends a run, at most the round under way is lost, and nothing is counted twice."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from linear_cohort import cohort, federated, fingerprint, initial, schedule

from bench.errors import ConfigError, InfrastructureError
from bench.federation.journal import Journal
from bench.results.table import Measurement, Recorder

HERE = Path(__file__).parent


def rows(round_: int) -> list[Measurement]:
    return [Recorder("run", "int8", round=round_).row("accuracy", 0.1 * round_, "counted")]


def state(round_: int) -> dict[str, object]:
    return {"third": 1 / 3, "round": round_, "padding": "x" * 40}


def written(folder: Path, rounds: int = 3) -> Journal:
    journal = Journal(folder, "digest")
    for round_ in range(rounds):
        journal.finish_round("int8", round_, state(round_), rows(round_))
    return journal


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    journal = written(tmp_path)
    journal.record("dropped", client="a", reason="no answer")
    again = Journal(tmp_path, "digest")
    finished = again.last_round("int8")
    assert finished is not None
    assert finished.round == 2
    assert finished.state == state(2)
    assert again.rows() == [*rows(0), *rows(1), *rows(2)]
    assert again.events("dropped") == [{"event": "dropped", "client": "a", "reason": "no answer"}]
    assert again.last_round("float32") is None


def test_only_the_newest_model_of_each_variant_is_kept(tmp_path: Path) -> None:
    journal = written(tmp_path)
    journal.finish_round("float32", 0, state(0), [])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "float32-00000.json",
        "int8-00002.json",
        "journal.jsonl",
    ]


def test_a_line_torn_at_any_byte_costs_that_line_only(tmp_path: Path) -> None:
    written(tmp_path / "whole")
    data = (tmp_path / "whole" / "journal.jsonl").read_bytes()
    lines = data.splitlines(keepends=True)
    for cut in (*range(1, 20), *range(20, len(lines[-1]), 29), len(lines[-1])):
        folder = tmp_path / "torn"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", folder)
        (folder / "journal.jsonl").write_bytes(data[: len(data) - cut])
        journal = Journal(folder, "digest")
        assert journal.rows() == [*rows(0), *rows(1)]
        journal.finish_round("int8", 2, state(2), rows(2))
        assert (folder / "journal.jsonl").read_bytes() == data


@pytest.mark.parametrize("line", [0, 1, 2])
def test_a_damaged_line_is_named_and_refused(tmp_path: Path, line: int) -> None:
    written(tmp_path)
    path = tmp_path / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b'"event"', b'"evemt"')
    path.write_bytes(b"".join(lines))
    with pytest.raises(ConfigError, match=rf"journal\.jsonl: line {line + 1} is damaged"):
        Journal(tmp_path, "digest")


def test_the_journal_of_another_experiment_is_refused_and_left_alone(tmp_path: Path) -> None:
    written(tmp_path)
    before = (tmp_path / "journal.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="another experiment"):
        Journal(tmp_path, "another digest")
    assert (tmp_path / "journal.jsonl").read_bytes() == before


def test_a_damaged_or_missing_model_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    path = tmp_path / "int8-00002.json"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"int8-00002\.json: damaged"):
        Journal(tmp_path, "digest").last_round("int8")
    path.unlink()
    with pytest.raises(ConfigError, match=r"int8-00002\.json"):
        Journal(tmp_path, "digest").last_round("int8")


@pytest.fixture
def small_files() -> Iterator[None]:
    """Until the test's end no file of this process may grow beyond 600 bytes: a disk that fills up in mid-write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_reported_and_loses_nothing(tmp_path: Path, small_files: None) -> None:
    journal = Journal(tmp_path, "digest")
    kept = []

    def fill_up() -> None:
        for number in range(100):
            journal.record("note", number=number, text="x" * 30)
            kept.append(number)

    with pytest.raises(InfrastructureError, match=r"journal\.jsonl: cannot be written: File too large") as caught:
        fill_up()
    assert caught.value.exit_code == 3
    assert len(kept) > 3
    assert (tmp_path / "journal.jsonl").stat().st_size <= 600
    assert (tmp_path / "journal.jsonl").read_bytes().endswith(b"\n")  # the half line was taken back
    assert [entry["number"] for entry in Journal(tmp_path, "digest").events("note")] == kept
    with pytest.raises(InfrastructureError, match=r"int8-00000\.json: cannot be written"):
        journal.finish_round("int8", 0, {"w": "0" * 8000}, [])
    assert [path.name for path in tmp_path.iterdir()] == ["journal.jsonl"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent.parent), str(HERE)])}


def test_a_run_killed_anywhere_is_resumed_to_the_same_end(tmp_path: Path) -> None:
    """Before each disk operation, in the middle of each journal line, and at each event: SIGKILL, then resume."""
    done = subprocess.run(
        [sys.executable, str(HERE / "kill_sweep.py"), str(tmp_path)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    reference = found[-1]
    assert reference["killed"] is None
    assert len(reference["rows"]) == len({tuple(row[:3]) for row in reference["rows"]}) == 2 + 3 * (3 * 3 + 1 + 2)
    by_kind = {kind: [one for one in found if one["kind"] == kind] for kind in ("disk", "line", "event")}
    # A line for the beginning and for each of the four rounds; for each round a file, its renaming, the line and more.
    assert len(by_kind["line"]) == 5 + 1
    assert len(by_kind["disk"]) > 20
    assert len(by_kind["event"]) > 3 * 3
    for kind, results in by_kind.items():
        assert [one["killed"] for one in results] == [signal.SIGKILL] * (len(results) - 1) + [None], kind
        for one in results:
            where = f"{kind} {one['number']}"
            assert one["weights"] == reference["weights"], where
            assert one["rows"] == reference["rows"], where
            assert one["left_over"] == [], where


def test_a_process_killed_from_outside_in_mid_round_is_resumed(tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "linear_cohort.py"), str(tmp_path / "killed")]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("round 1 finished"):  # clients are at work on round 2
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL
    resumed = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=True)
    whole = federated(tmp_path / "whole", cohort(), schedule()).run(initial())
    assert resumed.stdout.splitlines()[-1] == fingerprint(whole)
    assert "round 1 finished" not in resumed.stdout


def test_one_state_is_kept_whatever_the_number_of_digits(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "digest")
    for round_ in (99_998, 99_999, 100_000, 100_001):
        journal.finish_round("int8", round_, {}, [])
    assert [path.name for path in tmp_path.glob("int8-*.json")] == ["int8-100001.json"]
