"""The measurement table and where runs are kept."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import ConfigError, InfrastructureError
from bench.link.frame import Frame
from bench.results.store import compare_runs, find_run, load_rows, load_run, point_latest, write_run
from bench.results.table import COLUMNS, UNITS, Measurement, Recorder, compare_counted, frame, rows_of

ROW = Measurement("run-1", "int8", "bit", "client-1", 3, "train", "instructions", 123456789, "instructions", "counted")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "speed"}, "measurement speed in instructions: known are accuracy"),
        ({"unit": "cycles"}, "measurement instructions in cycles: its unit is instructions"),
        ({"kind": "estimated"}, "kind 'estimated' is none of measured, counted, modelled"),
        ({"value": math.nan}, "measurement instructions of bit: nan is not a number"),
        ({"value": math.inf}, "inf is not a number"),
        ({"board": "bit\n"}, "holds a character that cannot be printed"),
    ],
)
def test_rows_are_validated(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        replace(ROW, **changes)
    assert message in str(caught.value)


def test_every_metric_of_the_contract_has_a_unit() -> None:
    contract = """sram_static sram_arena sram_stack_high_water sram_total sram_federation instructions cycles energy
        payload_up payload_down wire_up wire_down step_time round_time accuracy loss"""
    assert set(contract.split()) <= set(UNITS)
    assert all(UNITS[metric] == "bytes" for metric in UNITS if metric.startswith(("sram", "payload", "wire")))
    assert UNITS["energy"] == "uJ"


def test_numbers_of_numpy_become_python_numbers() -> None:
    row = Recorder("r", "v", round=int(np.int64(2))).row("loss", np.float32(0.5), "counted")  # type: ignore[arg-type]
    assert type(row.value) is float
    assert json.dumps(asdict(row))


def test_a_frame_and_back() -> None:
    rows = [ROW, replace(ROW, board="", client="", value=0.25, metric="accuracy", unit="1")]
    table = frame(rows)
    assert list(table.columns) == list(COLUMNS)
    assert rows_of(table) == rows
    assert list(frame([]).columns) == list(COLUMNS)
    with pytest.raises(ConfigError, match="has the columns"):
        rows_of(table.drop(columns="kind"))


def test_counted_figures_are_compared_and_retransmissions_are_not() -> None:
    lossy = replace(ROW, metric="retransmitted_up", unit="bytes", value=10)
    modelled = replace(ROW, metric="energy", unit="uJ", kind="modelled", value=10)
    one = [ROW, lossy, modelled]
    assert compare_counted(one, [replace(modelled, value=11), replace(lossy, value=99), ROW]) == []
    assert compare_counted(one, [replace(row, run="run-2") for row in one]) == []
    deep = replace(ROW, metric="sram_stack_high_water", unit="bytes", phase="link")
    assert compare_counted([deep], [replace(deep, value=1)]) == []
    assert compare_counted([replace(deep, phase="train")], [replace(deep, phase="train", value=1)]) != []
    assert compare_counted(one, [replace(ROW, value=123456788)]) == [
        "int8 bit client-1 3 train instructions: 123456789.0 and 123456788.0"
    ]
    assert compare_counted(one, []) == ["int8 bit client-1 3 train instructions: 123456789.0 and None"]
    assert len(compare_counted([ROW], [replace(ROW, board="n2")])) == 2
    # A figure that was counted in one run and modelled in the other is a difference as well.
    assert compare_counted([ROW], [replace(ROW, kind="modelled")]) != []


def test_where_requests_have_other_numbers_long_frames_may_take_cobs_a_byte_more() -> None:
    def differs(one: float, other: float, *, metric: str = "wire_down") -> bool:
        rows = [replace(ROW, metric=metric, unit="bytes", value=value) for value in (one, other)]
        return compare_counted([rows[0]], [rows[1]], renumbered=True) != []

    payload = b"\1" * 250 + b"\0" + b"\1" * 150
    early, late = (len(Frame(5, 0x10, sequence, payload).encode()) for sequence in (5, 257))
    assert late == early + 1, "the 257th request's number has no zero byte"
    assert not differs(early, late)
    assert not differs(467, 468)
    assert differs(467, 469)
    assert differs(253, 254), "a frame that is too short for it"
    assert differs(467, 468, metric="payload_down")
    rows = [replace(ROW, metric="wire_up", unit="bytes", value=value) for value in (467, 468)]
    assert compare_counted([rows[0]], [rows[1]]) != [], "where they have the same numbers, so have the bytes"


def document(**changes: Any) -> dict[str, Any]:
    return {"schema": 1, "run": "run-1", "seed": 1, "checks": [], **changes}


def test_a_run_is_written_and_read_back(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, metric="accuracy", unit="1", value=0.1 + 0.2, board="", client="", phase="")]
    folder = tmp_path / "runs" / "run-1"
    write_run(folder, document(note="µ"), rows)
    run = load_run(folder)
    assert run.document == document(note="µ")
    assert list(run.rows) == rows
    assert rows_of(run.frame()) == rows
    assert sorted(path.name for path in folder.iterdir()) == ["measurements.csv", "results.json"]
    with (folder / "measurements.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert ",".join(lines[0]) == "run,variant,board,client,round,phase,metric,value,unit,kind"
    assert ",".join(lines[1]) == "run-1,int8,bit,client-1,3,train,instructions,123456789,instructions,counted"
    assert lines[2][7] == "0.30000000000000004"


@given(
    value=st.floats(allow_nan=False, allow_infinity=False),
    name=st.text(max_size=8).filter(str.isprintable) | st.sampled_from(['a"b', "a,b", "'", " a ", "nan", "1"]),
)
def test_any_value_and_name_survive_the_file(tmp_path_factory: pytest.TempPathFactory, value: float, name: str) -> None:
    row = Measurement("run-1", "int8", name, "nan", 0, "", "loss", value, "nats", "counted")
    folder = tmp_path_factory.mktemp("run")
    write_run(folder, document(), [row])
    assert list(load_run(folder).rows) == [row]


def test_the_same_figure_twice_and_rows_of_another_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`int8 bit client-1 3 train instructions counted` is there 2 times"):
        write_run(tmp_path, document(), [ROW, replace(ROW, value=5)])
    with pytest.raises(ConfigError, match="rows of another run: run-2"):
        write_run(tmp_path, document(), [ROW, replace(ROW, run="run-2", round=4)])
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_run(tmp_path, document(value=math.nan), [ROW])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("instructions,counted", "seconds,counted", "line 2: measurement instructions in seconds"),
        (",123456789,", ",many,", "line 2: could not convert string to float"),
        (",3,train", ",three,train", "line 2: invalid literal for int"),
        ("variant,board", "board,variant", "line 1: the columns must be run,variant,board"),
        (",counted", "", "line 2"),
    ],
)
def test_a_malformed_table_is_named_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    write_run(tmp_path, document(), [ROW])
    path = tmp_path / "measurements.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_rows(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_what_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"results\.json: there is no such file: not a finished run"):
        load_run(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(ConfigError, match=r"results\.json: cannot be read"):
        load_run(tmp_path)
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(ConfigError, match="not a run's document"):
        load_run(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "schema: Input should be 1"),
        ({"schema": None}, "schema: Input should be 1"),
        ({"run": 7}, "run: Input should be a valid string"),
        ({"boards": [{"name": "bit"}, {"env": "microbit"}]}, "boards.1.name: Field required"),
        ({"boards": [{"name": "bit", "ram_bytes": 0}]}, "boards.0.ram_bytes"),
        ({"variants": {"int8": {"clients": {"client-1": {}}}}}, "variants.int8.clients.client-1.board: Field required"),
        ({"checks": [{"name": "gap", "passed": "yes", "detail": ""}]}, "checks.0.passed"),
        ({"experiment": {"targets": {"accuracy": "high"}}}, "experiment.targets.accuracy"),
    ],
)
def test_a_wrong_field_of_the_document_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_run(tmp_path, document(), [ROW])
    path = tmp_path / "results.json"
    path.write_text(json.dumps(document(**changes)))
    with pytest.raises(ConfigError) as caught:
        load_run(tmp_path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    with pytest.raises(ConfigError, match=r"not a run's document"):
        write_run(tmp_path / "other", document(**changes), [])
    assert not (tmp_path / "other").exists()


def test_a_table_of_another_run_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, document(), [ROW])
    (tmp_path / "results.json").write_text(json.dumps(document(run="run-2")))
    with pytest.raises(ConfigError, match="run run-2: rows of another run: run-1"):
        load_run(tmp_path)


def test_latest_points_at_the_newest_run_by_a_relative_link(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_run(tmp_path / "runs" / name, document(run=name), [])
        point_latest(tmp_path, tmp_path / "runs" / name)
        assert (tmp_path / "latest").readlink() == Path(f"runs/{name}")
        assert load_run(tmp_path / "latest").document["run"] == name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "runs"]


def test_something_else_named_latest_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    with pytest.raises(ConfigError, match="latest: not a link"):
        point_latest(tmp_path, tmp_path / "runs" / "one")


def test_runs_are_found_by_name_folder_or_being_the_newest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`bench run demo` makes one"):
        find_run(tmp_path, None)
    folder = tmp_path / "runs" / "one"
    write_run(folder, document(run="one"), [])
    point_latest(tmp_path, folder)
    assert find_run(tmp_path, None) == find_run(tmp_path, "one") == find_run(tmp_path, str(folder)) == folder.resolve()
    with pytest.raises(ConfigError, match=r"two: no finished run of that name in .*finished runs: one"):
        find_run(tmp_path, "two")


def test_a_folder_that_cannot_be_made_is_infrastructure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InfrastructureError, match="cannot be written"):
        write_run(tmp_path / "file" / "run", document(), [])


def test_two_stored_runs_are_compared(tmp_path: Path) -> None:
    write_run(tmp_path / "one", document(), [ROW])
    write_run(tmp_path / "two", document(run="run-2"), [replace(ROW, run="run-2", value=5)])
    assert compare_runs(tmp_path / "one", tmp_path / "one") == []
    assert len(compare_runs(tmp_path / "one", tmp_path / "two")) == 1
