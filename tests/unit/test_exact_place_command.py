"""`bench place`: files in MiniMalloc's format, one document with --json, exit codes that say what was proved."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.compiler.exact.library import Row
from tests.unit.placement_instances import clash, guillotine

EXAMPLE = "id,lower,upper,size\nb1,0,3,4\nb2,3,9,4\nb3,0,9,4\nb4,9,21,4\nb5,0,21,4\n"


def file_of(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "blocks.csv"
    path.write_text(text, encoding="utf-8")
    return path


def place(path: Path, *options: str | Path) -> int:
    return cli.main(["place", str(path), *map(str, options), "--state", str(path.parent / "state")])


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_blocks_that_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "placed.csv"
    assert place(file_of(tmp_path, EXAMPLE), "--capacity", "12", "--output", output, "--json") == 0
    found = document(capsys)
    assert (found["feasible"], found["peak_bytes"], found["lower_bound_bytes"]) == (True, 12, 12)
    assert (found["proved_optimal"], found["status"]) == (True, "placed")
    assert found["seconds"] >= 0
    with output.open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["id"] for line in lines] == ["b1", "b2", "b3", "b4", "b5"]
    rows = [(int(line["lower"]), int(line["upper"]), int(line["size"]), 1) for line in lines]
    assert clash(rows, [int(line["offset"]) for line in lines], 12) == ""


def test_without_a_capacity_the_least_is_found_and_proved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file_of(tmp_path, "size,id,upper,lower,alignment\n1,a,1,0,4\n1,b,1,0,4\n1,c,1,0,1\n0,none,1,0,1\n")
    output = tmp_path / "placed.csv"
    assert place(path, "--json", "--output", output) == 0
    found = document(capsys)
    assert (found["peak_bytes"], found["lower_bound_bytes"], found["proved_optimal"]) == (5, 5, True)
    assert output.read_text().splitlines()[0] == "size,id,upper,lower,alignment,offset"


def test_what_cannot_fit_is_proved_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the bound, and by search: three bytes, two of them at multiples of 4, take five."""
    output = tmp_path / "placed.csv"
    assert place(file_of(tmp_path, EXAMPLE), "--capacity", "11", "--json", "--output", output) == 1
    found = document(capsys)
    assert (found["status"], found["feasible"], found["lower_bound_bytes"]) == ("proved infeasible", False, 12)
    assert not output.exists()
    searched = file_of(tmp_path, "id,lower,upper,size,alignment\na,0,1,1,4\nb,0,1,1,4\nc,0,1,1,1\n")
    assert place(searched, "--capacity", "4") == 1
    assert "no placement does with the capacity" in capsys.readouterr().out


def test_giving_up_is_not_a_proof(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: Sequence[Row] = guillotine(random.Random(0), 300, 1 << 20, left_out=0.03)
    lines = [f"{index},{lower},{upper},{size}" for index, (lower, upper, size, _) in enumerate(rows)]
    path = file_of(tmp_path, "id,lower,upper,size\n" + "\n".join(lines) + "\n")
    assert place(path, "--capacity", str(1 << 20), "--time-limit", "0.1", "--json") == 1
    found = document(capsys)
    assert (found["status"], found["feasible"], found["proved_optimal"]) == ("gave up", None, False)
    assert found["peak_bytes"] > 1 << 20
    assert place(path, "--time-limit", "0.1", "--json") == 0, "something is always found without a capacity"
    assert document(capsys)["proved_optimal"] is False


def test_people_get_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert place(file_of(tmp_path, EXAMPLE)) == 0
    text = capsys.readouterr().out
    assert "peak         12" in text
    assert "optimal      proved" in text


def test_other_names_of_columns_and_blank_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file_of(tmp_path, "\ufeffbuffer, start ,upper,size,hint,gaps\n\n0,0,3,4,-1,\n1,3,5,4,0,\n\n")
    assert place(path, "--json") == 0
    assert document(capsys)["peak_bytes"] == 4


def test_a_file_without_blocks_takes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("id,lower,upper,size\n", "id,lower,upper,size\na,0,1,0\n"):
        assert place(file_of(tmp_path, text), "--capacity", "0", "--json") == 0
        assert document(capsys)["peak_bytes"] == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("id,lower,size\n", "line 1: no column upper"),
        ("id,lower,end,size\n", "line 1: column end: some versions"),
        ("id,lower,upper,size,size\n", "column size stands there twice"),
        (
            "id,lower,upper,size,colour\n",
            "'colour' is not known; there are id, lower, upper, size, alignment, hint, off",
        ),
        ("id,lower,upper,size\na,0,1\n", "line 2: 3 fields; the header has 4 columns"),
        ("id,lower,upper,size\na,0,1,4\nb,0,x,4\n", "line 3, column upper: 'x' is not a whole number"),
        ("id,lower,upper,size\na,0,1,4.5\n", "line 2, column size: '4.5' is not a whole number"),
        ("id,lower,upper,size\na,3,3,4\n", "line 2, column upper: the block lives from 3 up to 3"),
        ("id,lower,upper,size\na,0,3,-4\n", "line 2, column size: -4"),
        ("id,lower,upper,size,alignment\na,0,3,4,0\n", "line 2, column alignment: 0"),
        ("id,lower,upper,size\na,0,3,4\na,3,4,4\n", "line 3, column id: a is the id of line 2"),
        ("id,lower,upper,size,gaps\na,0,9,4,3-5\n", "line 2, column gaps: 3-5"),
        ("id,lower,upper,size\n,0,9,4\n", "line 2, column id: '': give each block an id"),
        ("id,lower,upper,size\na\0,0,9,4\n", "line 2, column id: 'a\\x00': give each block an id"),
        ("id,lower,upper,size\na,0,9,\u0664\n", "line 2, column size: '\u0664' is not a whole number in digits 0 to 9"),
        ("id,lower,upper,size\na,0,9,1_0\n", "line 2, column size: '1_0' is not a whole number"),
        ('id,lower,upper,size\na,0,9,4\n"b,0,9,4\nc,0,9,4\n', "line 3: a quotation mark is not closed"),
    ],
)
def test_malformed_files_are_refused_by_line_and_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    path = file_of(tmp_path, text)
    assert place(path, "--json") == 2
    error = document(capsys)["error"]
    assert error["kind"] == "ConfigError"
    assert str(path) in error["message"]
    assert said in error["message"]


def test_what_cannot_be_read_written_or_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file_of(tmp_path, EXAMPLE)
    assert place(tmp_path / "none.csv") == 2
    assert place(path, "--output", tmp_path / "no folder" / "placed.csv") == 2
    assert place(path, "--capacity", "-1") == 2
    assert place(path, "--time-limit", "0") == 2
    path.write_bytes(b"id,lower\xff")
    assert place(path) == 2
    said = capsys.readouterr().err
    for part in ("none.csv: cannot be read", "cannot be written", "--capacity -1", "--time-limit 0", "not UTF-8"):
        assert part in said


def test_what_was_written_can_be_read_and_is_placed_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    assert place(file_of(tmp_path, EXAMPLE), "--output", first) == 0
    assert place(first, "--output", second) == 0
    assert second.read_text() == first.read_text()
    assert "column offset is not looked at" in capsys.readouterr().err


def test_an_output_is_refused_before_the_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file_of(tmp_path, EXAMPLE)
    assert place(path, "--output", path) == 2
    assert place(path, "--output", tmp_path) == 2
    assert place(path, "--output", tmp_path / "no folder" / "placed.csv") == 2
    assert place(path, "--output", "/dev/stdout", "--json") == 2
    captured = capsys.readouterr()
    assert "is the file that is read" in captured.err
    assert "--json has standard output for itself" in captured.err
    assert "placing" not in captured.err
    assert path.read_text() == EXAMPLE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_no_mistake_of_the_user_s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert place(file_of(tmp_path, EXAMPLE), "--output", "/dev/full") == 3
    assert "/dev/full: cannot be written: No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "capacity"), [("12", 12), ("1K", 1024), ("2m", 2 << 20)])
def test_capacities_in_k_and_m(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, capacity: int) -> None:
    assert place(file_of(tmp_path, EXAMPLE), "--capacity", text, "--json") == 0
    assert document(capsys)["capacity_bytes"] == capacity


@pytest.mark.parametrize(("begins", "status", "exact"), [(0, "gave up", False), (1, "proved infeasible", True)])
def test_more_blocks_than_the_exact_search_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], begins: int, status: str, exact: bool
) -> None:
    """Three bytes that take five, as above, and a chain of 3,998 blocks: connected with them, and a part of its own."""
    chain_ = [f"chain {i},{begins + i},{begins + i + 2},1,1" for i in range(3998)]
    rows = ["id,lower,upper,size,alignment", "a,0,1,1,4", "b,0,1,1,4", "c,0,1,1,1", *chain_]
    path = file_of(tmp_path, "\n".join(rows))
    assert place(path, "--capacity", "4", "--json") == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["status"], found["exact_search"]) == (status, exact)
    said = f"{path}: 4001 blocks are connected"
    assert (said in captured.err) is not exact
    assert place(path, "--json") == 0, "heuristics always find something"
    assert document(capsys)["proved_optimal"] is exact


def test_no_optimum_of_what_is_proved_infeasible(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    searched = file_of(tmp_path, "id,lower,upper,size,alignment\na,0,1,1,4\nb,0,1,1,4\nc,0,1,1,1\n")
    assert place(searched, "--capacity", "4") == 1
    captured = capsys.readouterr()
    assert "optimal" not in captured.out, "of what is not placed"
    assert "best peak    5" in captured.out


def test_one_block_is_no_blocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert place(file_of(tmp_path, "id,lower,upper,size\na,0,1,4\n")) == 0
    assert "placing 1 block\n" in capsys.readouterr().err


def test_help_teaches_the_format(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["place", "--help"])
    text = capsys.readouterr().out
    assert "id,lower,upper,size" in text
    assert "--capacity 1048576" in text
