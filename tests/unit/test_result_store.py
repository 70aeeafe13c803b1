"""The result store: what goes in comes out, whole or not at all, whatever happens to the file meanwhile."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from report_run import BOARDS, INSTRUCTIONS, run_document, run_rows, write_example
from sqlalchemy import event

from bench.cli import main
from bench.errors import ConfigError, InfrastructureError
from bench.results import migrations, queries
from bench.results.database import Store
from bench.results.export import FORMATS as EXPORTS
from bench.results.export import export
from bench.results.store import Run, load_run
from bench.results.summarise import summarise
from bench.verbs.store import FORMATS

GOLDEN = Path(__file__).parents[1] / "golden" / "store"


def a_run(name: str = "demo-1", rounds: int = 2) -> Run:
    return Run(Path(name), run_document(name, rounds), tuple(run_rows(name, rounds)))


def sorted_rows(run: Run) -> list[str]:
    return sorted(map(str, run.rows))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.db"


@pytest.fixture
def filled(path: Path) -> Path:
    with Store.open(path) as store:
        store.add(a_run())
    return path


def names(path: Path) -> list[str]:
    with Store.open(path) as store:
        return list(queries.runs(store)["run"])


# What goes in and comes out


def test_a_run_comes_out_as_it_went_in(filled: Path) -> None:
    with Store.open(filled) as store:
        back = queries.load_stored(store, "demo-1")
    assert back.document == a_run().document
    assert sorted_rows(back) == sorted_rows(a_run())


def test_runs_boards_and_builds_are_told(filled: Path) -> None:
    with Store.open(filled) as store:
        runs, boards, builds = queries.runs(store), queries.boards(store), queries.builds(store)
    [run] = runs.to_dict("records")
    assert (run["experiment"], run["sha"], run["dirty"], run["failed_checks"]) == (
        "demo", "0123456789abcdef0123456789abcdef01234567", 1, 0,
    )  # fmt: skip
    assert dict(zip(boards["board"], boards["env"], strict=True)) == BOARDS
    assert set(builds["plan"]) == {"00112233aabbccdd", "ddccbbaa33221100"}


def test_a_board_with_new_probe_firmware_is_another_state_of_it(filled: Path) -> None:
    document = run_document("demo-2", 2)
    document["boards"][0] |= {"probe": "066CFF", "probe_firmware": "V2J43M28", "supply": "ppk2"}
    with Store.open(filled) as store:
        store.add(Run(Path("demo-2"), document, tuple(run_rows("demo-2", 2))))
        boards = queries.boards(store)
    assert list(boards[boards["board"] == "plus2"]["probe_firmware"]) == ["", "V2J43M28"]
    assert set(boards[boards["board"] != "plus2"]["runs"]) == {2}


def test_the_same_run_is_added_once_and_another_of_its_name_is_refused(filled: Path) -> None:
    other = a_run()
    changed = replace(other, rows=(replace(other.rows[0], value=0.5), *other.rows[1:]))
    with Store.open(filled) as store:
        assert store.add(a_run()) is False
        with pytest.raises(ConfigError, match="another run of the name demo-1"):
            store.add(changed)
        assert sorted_rows(queries.load_stored(store, "demo-1")) == sorted_rows(other)


def test_a_run_that_was_removed_can_be_added_again(filled: Path) -> None:
    with Store.open(filled) as store:
        assert store.remove("demo-1")
        assert not store.remove("demo-1")
        with pytest.raises(ConfigError, match="no run of the name demo-1"):
            queries.measurements(store, "demo-1")
        assert queries.trends(store).empty
        assert store.add(a_run())


def test_measurements_are_asked_for_by_metric_and_variant(filled: Path) -> None:
    with Store.open(filled) as store:
        found = queries.measurements(store, "demo-1", metric="accuracy", variant="int8")
    assert list(found["round"]) == [0, 1, 2]
    assert set(found["unit"]) == {"1"}
    wanted = [row.value for row in a_run().rows if (row.metric, row.variant) == ("accuracy", "int8")]
    assert list(found["value"]) == wanted


def test_trends_are_by_kind_of_board_and_oldest_first(path: Path) -> None:
    with Store.open(path) as store:
        for number, started in ((2, "2026-01-03"), (1, "2026-01-02"), (3, "2026-01-04")):
            run = a_run(f"demo-{number}")
            store.add(replace(run, document={**run.document, "started": f"{started}T03:00:00+00:00"}))
        trend = queries.trends(store, metric="instructions", env="microbit")
        newest = queries.trends(store, metric="instructions", env="microbit", last=2)
    assert list(trend["run"]) == ["demo-1", "demo-2", "demo-3"]
    assert set(trend["value"]) == {INSTRUCTIONS["int8"] + 4000}  # a training step of the fifth board
    assert list(newest["run"]) == ["demo-2", "demo-3"]


def test_a_summary_takes_the_highest_sram_the_last_accuracy_and_the_mean_round() -> None:
    run = a_run(rounds=10)
    summary = summarise(run.frame(), BOARDS).set_index(["variant", "env", "phase", "metric"])["value"]
    assert summary["int8", "", "", "accuracy"] == 0.79
    assert summary["int8", "microbit", "train", "sram_total"] == 13_572
    assert summary["int8", "microbit", "link", "sram_total"] == 13_412
    assert summary["int8", "microbit", "", "wire_up"] == 8944 + 400 + 230
    assert summary["int8", "b_l475e_iot01a", "", "retransmitted_down"] == 64
    phases = sum(summary["int8", "netduino2", phase, "energy"] for phase in ("compute", "link", "idle"))
    assert summary["int8", "netduino2", "", "energy"] == pytest.approx(phases)


def test_two_boards_of_a_kind_are_one_figure() -> None:
    rows = [row for row in a_run().rows if row.board in ("plus2", "h405")]
    summary = summarise(Run(Path("x"), {}, tuple(rows)).frame(), dict.fromkeys(BOARDS, "same"))
    [steps] = summary[(summary["metric"] == "instructions") & (summary["variant"] == "int8")]["value"]
    assert steps == INSTRUCTIONS["int8"] + 500


# What can happen to a store


def test_a_locked_store_is_told_and_nothing_is_written(filled: Path) -> None:
    other = sqlite3.connect(filled, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with Store.open(filled, wait_s=0.05) as store:
        with pytest.raises(InfrastructureError, match=r"results\.db is locked by another process.*repeat"):
            store.add(a_run("demo-2"))
        other.execute("ROLLBACK")
        assert store.add(a_run("demo-2"))
    other.close()
    assert names(filled) == ["demo-1", "demo-2"]


def test_a_full_disk_is_told_and_what_was_there_is_whole(filled: Path) -> None:
    with Store.open(filled) as store:
        # SQLite's own limit gives the very error of a full disk.
        @event.listens_for(store.engine, "begin")
        def _limit(connection) -> None:
            connection.exec_driver_sql("PRAGMA max_page_count = 1")  # it is raised to what there is

        with pytest.raises(InfrastructureError, match=r"disk is full.*what was there is whole"):
            store.add(a_run("demo-2", 40))
    with Store.open(filled) as store:
        store.check()
        assert list(queries.runs(store)["run"]) == ["demo-1"]
        assert sorted_rows(queries.load_stored(store, "demo-1")) == sorted_rows(a_run())
        assert store.add(a_run("demo-2", 40))


def test_a_damaged_store_is_told_and_left_as_it_is(filled: Path) -> None:
    page = 4096
    content = bytearray(filled.read_bytes())
    content[page : page * 8] = os.urandom(7 * page)
    filled.write_bytes(content)
    with pytest.raises(InfrastructureError, match=r"damaged.*bench store import"):
        names(filled)
    assert filled.read_bytes() == content


def test_a_damaged_page_that_no_query_reads_is_found_by_a_check(filled: Path, capsys: pytest.CaptureFixture) -> None:
    content = bytearray(filled.read_bytes())
    content[-4096:] = os.urandom(4096)
    filled.write_bytes(content)
    assert main(["store", "check", "--store", str(filled)]) == 3
    assert "is damaged" in capsys.readouterr().err
    assert main(["regressions", "--store", str(filled)]) == 3, "what was found may be lost: not green"
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [["regressions"], ["store", "list"], ["store", "check"], ["report", "--trends"]])
def test_a_store_that_is_not_there_is_not_made_by_who_only_asks(
    verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    file = tmp_path / "typo" / "results.db"
    assert main([*verb, "--store", str(file)]) == 2
    assert f"result store {file}: there is none" in capsys.readouterr().err
    assert not file.parent.exists()


@pytest.mark.parametrize("content", [b"name,value\n" * 100, b"x" * 5000])
def test_a_file_of_something_else_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(InfrastructureError, match="no SQLite database"):
        Store.open(path)
    assert path.read_bytes() == content


def test_a_database_of_something_else_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE run (id INTEGER)")
    other.close()
    with pytest.raises(ConfigError, match="a database of something else"):
        Store.open(path)


def test_a_store_of_a_newer_bench_is_refused(filled: Path) -> None:
    with sqlite3.connect(filled) as other:
        other.execute("UPDATE about SET value = '99' WHERE key = 'schema'")
    other.close()
    with pytest.raises(ConfigError, match=f"schema 99, this one knows {migrations.SCHEMA}"):
        Store.open(filled)


def test_a_store_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="its folder cannot be made"):
        Store.open(tmp_path / "file" / "results.db")
    with pytest.raises(ConfigError, match="is a folder"):
        Store.open(tmp_path)
    with pytest.raises(ConfigError, match="not a URL"):
        Store.open("://")


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from sqlalchemy import event
from test_result_store import a_run
from bench.results.database import Store
with Store.open({path!r}) as store:
    @event.listens_for(store.engine, "before_cursor_execute")
    def _kill(connection, cursor, statement, *rest):
        if statement.startswith("INSERT INTO summary"):
            os.kill(os.getpid(), signal.SIGKILL)
    store.add(a_run("demo-2"))
"""


def test_a_writer_that_is_killed_leaves_nothing_of_its_run(filled: Path) -> None:
    code = KILLED.format(tests=str(Path(__file__).parent), path=str(filled))
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    with Store.open(filled) as store:
        store.check()
        assert list(queries.runs(store)["run"]) == ["demo-1"]
        assert sorted_rows(queries.load_stored(store, "demo-1")) == sorted_rows(a_run())
        assert store.add(a_run("demo-2"))


def test_two_open_stores_share_their_dictionaries(path: Path) -> None:
    with Store.open(path) as one, Store.open(path) as two:
        one.add(a_run("demo-1"))
        two.add(a_run("demo-2"))
        one.add(a_run("demo-3", 4))
    with Store.open(path) as store:
        for number, rounds in ((1, 2), (2, 2), (3, 4)):
            stored = queries.load_stored(store, f"demo-{number}")
            assert sorted_rows(stored) == sorted_rows(a_run(f"demo-{number}", rounds))


# The command


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    for name in ("demo-1", "demo-2"):
        write_example(tmp_path / "runs" / name, 2)
    (tmp_path / "latest").symlink_to("runs/demo-2")
    return tmp_path


def test_import_adds_folders_once_and_goes_on_after_a_bad_one(reports: Path, capsys: pytest.CaptureFixture) -> None:
    bad = reports / "runs" / "bad"
    bad.mkdir()
    (bad / "results.json").write_text("{}")
    command = ["store", "import", str(reports), "--reports", str(reports), "--json"]
    assert main(command) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["added"] == ["demo-1", "demo-2"]
    assert list(told["refused"]) == [str(bad)]
    assert main(["store", "list", "--reports", str(reports), "--json"]) == 0
    assert [run["run"] for run in json.loads(capsys.readouterr().out)] == ["demo-1", "demo-2"]
    (bad / "results.json").unlink()
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["present"] == ["demo-1", "demo-2"]


def test_import_of_a_folder_without_runs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["store", "import", str(tmp_path), "--reports", str(tmp_path)]) == 2
    assert "no finished run" in capsys.readouterr().err


# Exports


def test_the_command_offers_every_export() -> None:
    assert set(FORMATS) == set(EXPORTS)


def test_csv_is_the_table_itself(reports: Path) -> None:
    folder = reports / "runs" / "demo-1"
    table = pd.read_csv(folder / "measurements.csv", keep_default_na=False)
    run = load_run(folder)
    (reports / "out.csv").write_bytes(export(run, "csv"))
    pd.testing.assert_frame_equal(
        pd.read_csv(reports / "out.csv", keep_default_na=False), table, check_dtype=False, check_exact=True
    )


def test_smaller_is_better_turns_accuracy_round_and_names_every_figure_once() -> None:
    entries = json.loads(export(a_run(rounds=10), "smaller-is-better"))
    assert all(set(entry) == {"name", "unit", "value", "extra"} for entry in entries)
    by_name = {entry["name"]: entry for entry in entries}
    assert len(by_name) == len(entries)
    assert by_name["int8 cohort 1 - accuracy"]["value"] == pytest.approx(0.21)
    assert by_name["int8 microbit sram_total train"]["value"] == 13_572
    assert "modelled" in by_name["int8 microbit energy modelled"]["extra"]


def test_openmetrics_is_read_by_prometheus_own_parser() -> None:
    parser = pytest.importorskip("prometheus_client.openmetrics.parser", reason="prometheus-client is not installed")
    families = {
        family.name: family
        for family in parser.text_string_to_metric_families(export(a_run(rounds=10), "openmetrics").decode())
    }
    energy = {tuple(sorted(sample.labels.items())): sample.value for sample in families["bench_energy_joules"].samples}
    labels = {"experiment": "demo", "variant": "int8", "env": "microbit", "phase": "compute", "kind": "modelled"}
    assert energy[tuple(sorted(labels.items()))] == pytest.approx(0.795, rel=1e-2)
    assert families["bench_energy_joules"].unit == "joules"
    assert families["bench_sram_total_bytes"].type == "gauge"


def test_markdown_says_what_is_modelled() -> None:
    text = export(a_run(rounds=10), "markdown").decode()
    assert "| int8 | 0.7900 |" in text
    assert "energy a round, mJ (modelled)" in text
    assert "| microbit | int8 | 13,572 | 1,004,000 |" in text
    assert "* passed: accuracy of int8: 0.79, at least 0.75" in text


def test_parquet_holds_every_row(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow, of the extra `parquet`, is not installed")
    run = a_run()
    (tmp_path / "run.parquet").write_bytes(export(run, "parquet"))
    back = pd.read_parquet(tmp_path / "run.parquet")
    pd.testing.assert_frame_equal(back.astype(run.frame().dtypes.to_dict()), run.frame())


# A server


def test_a_team_s_database_does_the_same() -> None:
    url = os.environ.get("BENCH_TEST_DATABASE")
    if not url:
        pytest.skip("BENCH_TEST_DATABASE names no empty database (an SQLAlchemy URL) to try")
    with Store.open(url) as store:
        store.remove("demo-1")
        assert store.add(a_run())
        assert not store.add(a_run())
        assert sorted_rows(queries.load_stored(store, "demo-1")) == sorted_rows(a_run())
        assert len(queries.trends(store, metric="accuracy", env="")) == 4
        assert set(queries.boards(store)["board"]) == set(BOARDS)
    with Store.open(url) as store:
        assert list(queries.runs(store)["run"]) == ["demo-1"]
        assert store.remove("demo-1")


def test_a_server_that_is_not_there_is_told() -> None:
    pytest.importorskip("psycopg", reason="psycopg, of the extra `postgresql`, is not installed")
    with pytest.raises(InfrastructureError, match="check that its server runs"):
        Store.open("postgresql+psycopg://nobody@127.0.0.1:1/none")


# Older schemas


@pytest.fixture
def older(path: Path) -> Path:
    """A store as the bench's first schema wrote it."""
    with sqlite3.connect(path) as connection:
        connection.executescript((GOLDEN / "schema_1.sql").read_text(encoding="utf-8"))
    connection.close()
    return path


def schema_of(path: Path) -> dict[str, set[tuple[object, ...]]]:
    """Columns of each table, with type, whether they may be NULL, default and place in the primary key."""
    connection = sqlite3.connect(path)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {table: {row[1:] for row in connection.execute(f"PRAGMA table_info({table})")} for table in tables}
    found["indices"] = {row[0:1] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    connection.close()
    return found


def test_an_older_store_is_migrated_with_all_that_is_in_it(older: Path, tmp_path: Path) -> None:
    with Store.open(older) as store:
        wanted = [row for row in a_run(rounds=1).rows if row.variant.startswith("int8")]
        assert sorted_rows(queries.load_stored(store, "demo-1")) == sorted(map(str, wanted))
        assert store.add(a_run("demo-2"))
        store.check()
    with Store.open(tmp_path / "new.db"):
        pass
    assert schema_of(older) == schema_of(tmp_path / "new.db")


def test_a_copy_of_the_older_store_is_kept(older: Path) -> None:
    before = schema_of(older)
    with Store.open(older):
        pass
    copy = Path(f"{older}.schema-1")
    assert schema_of(copy) == before
    connection = sqlite3.connect(copy)
    assert connection.execute("SELECT value FROM about WHERE key = 'schema'").fetchone() == ("1",)
    connection.close()


def test_a_migration_that_fails_leaves_the_older_store(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = schema_of(older)
    whole = dict(migrations._STEPS)

    def breaks_off(connection) -> None:
        whole[1](connection)
        raise InfrastructureError("the power goes")

    monkeypatch.setattr(migrations, "_STEPS", whole | {1: breaks_off})
    with pytest.raises(InfrastructureError, match="the power goes"):
        Store.open(older)
    assert schema_of(older) == before
    monkeypatch.undo()
    assert names(older) == ["demo-1"]
