"""The report: right figures, honest words, and a page that needs nothing beside it."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_run import BOARDS, energy_current, energy_document, run_document, run_rows, write_example
from rich.console import Console

from bench.cli import main
from bench.errors import ConfigError
from bench.report import plots, terminal_summary, timelines, write_report
from bench.report.currents import currents
from bench.report.page import render
from bench.report.terminal import summary
from bench.report.view import View
from bench.results.store import Run, load_run, write_run
from bench.results.table import Measurement, Recorder

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """The page as a reader and a browser see it: balanced elements, ids, references, tables, texts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.tables: list[list[list[str]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], "elements that are not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"th", "td"}:
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        text = " ".join(data.split())
        if "style" in self.open or not text:
            return
        self.texts.append(text)
        if {"th", "td"} & set(self.open):
            self.tables[-1][-1][-1] = f"{self.tables[-1][-1][-1]} {text}".strip()

    def table(self, *columns: str) -> list[dict[str, str]]:
        """The rows of the first table that has these columns, as mappings."""
        for table in self.tables:
            if all(any(head.startswith(column) for head in table[0]) for column in columns):
                return [dict(zip(table[0], row, strict=True)) for row in table[1:]]
        raise AssertionError(f"no table with {columns}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_example(tmp_path_factory.mktemp("runs") / "demo-1")


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def int8_rows(rounds: int = 2) -> list[Measurement]:
    """One variant, as plots take their time."""
    return [row for row in run_rows("demo-1", rounds) if row.variant.startswith("int8")]


def of(rows: list[Measurement], document: dict | None = None) -> str:
    return render(View(Run(Path("demo-1"), document or run_document("demo-1", 10), tuple(rows))))


def row_of(rows: list[dict[str, str]], **where: str) -> dict[str, str]:
    [found] = [row for row in rows if all(row[column] == value for column, value in where.items())]
    return found


def test_the_headline_says_accuracy_target_and_gaps(page: Page) -> None:
    rows = page.table("variant", "accuracy", "target")
    assert row_of(rows, variant="int8") == {
        "variant": "int8",
        "accuracy": "0.7900",
        "target": "≥ 0.75 passed",
        "trained centrally": "0.8100",
        "points behind central": "+2.00 of 3.0 passed",
        "points behind best": "1.00",
    }
    assert row_of(rows, variant="float32")["points behind central"] == "+1.50 of 3.0 passed"
    assert "All 2 checks passed." in page.texts


def test_a_missed_target_is_called_failed() -> None:
    document = run_document("demo-1", 10)
    document["experiment"]["targets"] = {"accuracy": 0.795, "central_gap_points": 1.6, "variant_gap_points": 0.9}
    rows = [row for row in run_rows("demo-1", 2) if row.metric == "accuracy"]
    headline = Page(of(rows, document)).table("variant", "accuracy", "target")
    assert [list(row.values()) for row in headline] == [
        ["int8", "0.7900", "≥ 0.795 failed", "0.8100", "+2.00 of 1.6 failed", "1.00 of 0.9 failed"],
        ["float32", "0.8000", "≥ 0.795 passed", "0.8150", "+1.50 of 1.6 passed", "0.00"],
    ]


def test_the_rack_says_what_is_virtual_and_what_is_not(page: Page) -> None:
    assert row_of(page.table("board", "it is"), board="bit") == {
        "board": "bit",
        "it is": "virtual",
        "environment": "microbit",
        "core": "cortex-m0",
        "FPU": "no",
        "MHz": "16",
        "baud": "115,200",
        "RAM, bytes": "16,384",
        "may host": "client-5",
        "samples held": "1,200",
    }
    assert any("5 virtual boards" in words for words in page.texts)
    document = run_document("demo-1", 10)
    for board in document["boards"]:
        board["physical"] = True
    real = Page(of(int8_rows(), document))
    assert {row["it is"] for row in real.table("board", "it is")} == {"physical"}
    assert any("5 physical boards" in words for words in real.texts)
    assert not any("virtual board" in words for words in real.texts)
    document["boards"][0]["physical"] = False
    assert any("5 boards (4 physical)" in words for words in Page(of(int8_rows(), document)).texts)


def test_memory_is_the_highest_of_all_rounds_and_phases(page: Page) -> None:
    rows = page.table("static", "arena", "stack")
    assert len(rows) == len(BOARDS) + 3
    # 2,000 + 8,944 of parameters, the arena, and 600 + 4 · 8 + 160 of stack, of the micro:bit's 16 KB
    assert row_of(rows, board="bit") == {
        "board": "bit",
        "variant": "int8",
        "static": "10,944",
        "arena": "1,836",
        "stack": "792",
        "total": "13,572",
        "RAM": "16,384",
        "used": "82.8 %",
        "federation": "0",
    }


def test_bytes_are_told_by_direction_with_their_framing(page: Page) -> None:
    row = row_of(page.table("payload down", "wire up"), board="plus2", variant="float32")
    figures = [cell for head, cell in row.items() if head not in {"board", "variant"}]
    assert figures[:2] == ["4,700", "4,880"]
    assert "18,240" in figures
    assert "18,470" in figures
    assert row["framing"] == "1.3 %"  # of 18,240 upwards, the last column of that name: 230 bytes


def test_energy_is_modelled_by_the_formula_and_called_so(page: Page) -> None:
    row = row_of(page.table("time a step"), board="bit", variant="int8")
    # 600 · 1,004,000 instructions · 1.6 cycles at 16 MHz: 60.24 s at 4.4 mA and 3 V
    assert row["compute, mJ (modelled)"] == "795"
    assert row["link, mJ (modelled)"] == "16.6"  # 14,454 bytes · 10 bits at 115,200 baud
    assert row["idle, mJ (modelled)"] == "0"  # it is the slowest
    assert row["energy a round, mJ (modelled)"] == "812"
    assert row["time a step, ms (modelled)"] == "100"
    assert row["work a step"] == "1,004,000 instructions"


MODELLED_WORDS = re.compile(r"\benergy\b|\bmJ\b|\btime a step\b|\bbusy a round\b|round of \w+ takes", re.IGNORECASE)


def test_nothing_modelled_is_shown_without_that_word(page: Page) -> None:
    heads = [head for table in page.tables for head in table[0]]
    for words in [*heads, *(element["aria-label"] for tag, element in page.elements if tag == "svg")]:
        if MODELLED_WORDS.search(words):
            assert "modelled" in words
    drawn = [words for words in page.texts if re.match(r"Energy a round, |mJ", words)]
    assert len(drawn) == 4  # title and axis of a plot for each variant
    assert all("(modelled)" in words for words in drawn)
    at = [number for number, words in enumerate(page.texts) if re.search(r"round of \w+ takes", words)]
    assert len(at) == 2
    assert all(page.texts[number + 1] == "modelled" for number in at)


def test_what_a_meter_measured_is_not_called_modelled() -> None:
    rows = [replace(row, kind="measured") if row.kind == "modelled" else row for row in int8_rows()]
    page = Page(of(rows))
    assert "energy a round, mJ" in [head for table in page.tables for head in table[0]]
    assert not [words for words in page.texts if "(modelled)" in words]


def test_one_modelled_phase_makes_the_sum_modelled() -> None:
    rows = [
        replace(row, kind="measured") if row.kind == "modelled" and row.phase != "idle" else row for row in int8_rows()
    ]
    heads = [head for table in Page(of(rows)).tables for head in table[0]]
    assert "compute, mJ" in heads
    assert "idle, mJ (modelled)" in heads
    assert "energy a round, mJ (modelled)" in heads


def test_trouble_is_told(page: Page) -> None:
    rows = page.table("updates missing")
    assert row_of(rows, board="bit", variant="int8")["updates missing"] == "1"
    assert row_of(rows, board="iot", variant="int8")["bytes sent again, down"] == "64"
    assert "int8 round 3, client-5: no answer within 120 s" in page.texts


def test_an_attempt_that_failed_is_no_missing_update_when_the_second_did_not() -> None:
    document = run_document("demo-1", 2)
    document["dropped"] = [document["dropped"][0] | {"round": 2}]
    view = View(Run(Path("demo-1"), document, tuple(int8_rows())))
    assert [(failure.client, failure.answered) for failure in view.failures] == [("client-5", True)]
    assert view.left_out == 0
    assert "int8 round 2, client-5: no answer within 120 s (answered at the second attempt)" in Page(render(view)).texts


def test_a_board_that_never_answered_is_not_forgotten() -> None:
    page = Page(of([row for row in int8_rows(2) if row.board != "bit"]))
    assert row_of(page.table("updates missing"), board="bit")["updates missing"] == "2"
    assert row_of(page.table("static", "arena"), board="bit")["total"] == "–"
    assert row_of(page.table("time a step"), board="bit")["energy a round, mJ (modelled)"] == "–"


def test_each_board_has_a_table_of_its_rounds(page: Page) -> None:
    tables = [table for table in page.tables if table[0][:2] == ["round", "variant"]]
    assert [len(table) - 1 for table in tables] == [20, 20, 10, 20, 9]  # the last missed a round
    head = ["round", "variant", "own accuracy", "own loss", "SRAM total", "wire down", "wire up", "instructions"]
    assert tables[4][0] == [*head, "energy, mJ (modelled)"]
    assert tables[4][1] == ["1", "int8", "0.5", "1.5", "13,572", "4,880", "9,574", "602,400,000", "812"]
    assert [row[0] for row in tables[4][1:]] == ["1", "2", "4", "5", "6", "7", "8", "9", "10"]


def test_of_many_rounds_a_part_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.report.page._ROUNDS_SHOWN", 0)
    monkeypatch.setattr("bench.report.page._ROUNDS_AT_LEAST", 2)
    page = Page(of(int8_rows(2)))
    assert not any("lines; all are in" in words for words in page.texts)
    page = Page(of([replace(row, round=row.round + 1) for row in int8_rows(2) if row.round] + int8_rows(1)))
    assert {len(table) - 1 for table in page.tables if table[0][:2] == ["round", "variant"]} == {2}
    assert page.texts.count("The first 2 lines; all are in measurements.csv.") == len(BOARDS)


def test_each_boards_memory_is_marked_with_its_own_limit() -> None:
    document = run_document("demo-1", 2)
    for board, ram in zip(document["boards"], (20_000, 24_000, 1 << 20, 1 << 20, 16_384), strict=True):
        board["ram_bytes"] = ram
    drawn = plots.sram(View(Run(Path("demo-1"), document, tuple(int8_rows()))), "int8")
    assert drawn is not None
    assert len(re.findall(r"stroke: var\(--limit\)", drawn.svg)) == 3 + 1  # and one in the legend
    assert "the board's RAM" in drawn.svg
    assert "plus2 13,540 of 20,000" in drawn.alt


def test_where_it_comes_from_is_told(page: Page) -> None:
    said = " | ".join(page.texts)
    for fact in ("bench run demo", "0123456789abcdef0123456789abcdef01234567 with local changes", "3.11.2", "10.0.2",
                 "Seed | 1", "demo_int8, plan 00112233aabbccdd", "nRF51822", "hosts/virtual.yaml"):  # fmt: skip
        assert fact in said


def test_the_page_needs_nothing_beside_it(text: str, page: Page) -> None:
    assert not [tag for tag, _ in page.elements if tag in {"script", "link", "img", "iframe", "object"}]
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "data", "srcset"):
            assert attributes.get(name, "#").startswith("#")
    assert not re.search(r"@import|url\((?!#)", text)


def test_ids_are_unique_and_references_lead_to_them(text: str, page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    assert used
    assert used <= set(ids)


def test_plots_have_alternative_texts_and_take_the_pages_colours(text: str, page: Page) -> None:
    drawings = [attributes for tag, attributes in page.elements if tag == "svg"]
    # Two curves, accuracy by bytes and energy, bytes by strategy; of each variant memory, bytes, work, energy, power.
    assert len(drawings) == 2 + 2 + 1 + 5 * 2
    assert all(drawing["role"] == "img" and len(drawing["aria-label"]) > 40 for drawing in drawings)
    assert "bit 13,572" in " ".join(drawing["aria-label"] for drawing in drawings)
    drawn = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert not re.search(r"#[0-9a-f]{6}\b", drawn), "a colour that dark mode would not change"
    assert "currentColor" in drawn
    defined = set(re.findall(r"(--[\w-]+):", text))
    assert set(re.findall(r"var\((--[\w-]+)\)", text)) <= defined


def test_the_page_fits_telephone_dark_mode_and_paper(text: str, page: Page) -> None:
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    before = [page.elements[at - 1][1].get("class") for at, (tag, _) in enumerate(page.elements) if tag == "table"]
    assert before == ["scroll"] * len(page.tables), "a table that could be wider than a telephone"


def test_the_same_run_gives_the_same_page_from_its_two_files_alone(folder: Path, text: str, tmp_path: Path) -> None:
    for name in ("results.json", "measurements.csv"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert write_report(tmp_path).read_text(encoding="utf-8") == text


def test_a_failed_check_is_said_at_the_top_and_in_the_list() -> None:
    document = run_document("demo-1", 2)
    document["checks"][0] |= {"passed": False, "detail": "0.7, at least 0.75"}
    page = Page(of(int8_rows(), document))
    assert "1 of 2 checks failed." in page.texts
    assert page.texts.count("failed") == 1


def test_names_are_shown_as_they_are() -> None:
    name = 'a <b>&"$x^2$'
    rows = [replace(row, board=name) if row.board == "bit" else row for row in int8_rows()]
    page = Page(of(rows))
    assert name in page.texts
    assert f"{name} ↓" in page.texts
    assert any(name in attributes.get("aria-label", "") for _, attributes in page.elements)


def test_runs_without_boards_or_without_anything_have_a_page() -> None:
    shared = [row for row in int8_rows() if not row.board and row.kind == "counted"]
    assert Page(of(shared)).table("variant", "accuracy")
    assert Page(of([]))
    assert Page(render(View(Run(Path("demo-1"), {"run": "demo-1"}, ()))))


def test_a_large_cohort_is_drawn_in_part_and_listed_whole() -> None:
    rows = int8_rows(1)
    some = [row for row in rows if row.board == "bit" and row.variant == "int8"]
    many = [replace(row, board=f"b{number:03}", client=f"c{number}") for number in range(45) for row in some]
    page = Page(of([*rows, *many]))
    assert len(page.table("static", "arena")) == len(BOARDS) + 45
    drawn = [words for words in page.texts if re.fullmatch(r"b\d{3} ↓", words)]
    assert 10 < len(drawn) < 40


def test_two_clients_on_a_board_are_added_up() -> None:
    rows = run_rows("demo-1", 2)
    guest = [
        replace(row, client="guest") for row in rows if (row.variant, row.board) == ("float32", "iot") and row.client
    ]
    view = View(Run(Path("demo-1"), run_document("demo-1", 2), (*rows, *guest)))
    [line] = [line for line in view.lines_of("float32") if line.board == "iot"]
    assert line.figures["wire_up"].value == 2 * 18_470
    assert line.figures["sram_total"].value == 2000 + 17_840 + 1836 + 600 + 16 + 160
    assert line.work is not None
    assert line.work[1].value == 702_000


def test_cycles_of_a_physical_board_are_shown_as_cycles() -> None:
    rows = [
        replace(row, metric="cycles", unit="cycles", kind="measured") if row.metric == "instructions" else row
        for row in int8_rows()
    ]
    assert row_of(Page(of(rows)).table("time a step"), board="bit")["work a step"] == "1,004,000 cycles"
    assert "cycles a step (measured)" in terminal(rows)
    mixed = [new if new.board == "bit" else old for new, old in zip(rows, int8_rows(), strict=True)]
    assert "work a step (counted or measured)" in terminal(mixed)


def test_the_terminal_tells_the_figures_of_each_board(folder: Path) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(terminal_summary(folder))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 100
    bit = [line.split() for line in lines if line.split()[:2] == ["bit", "int8"]]
    assert bit == [
        ["bit", "int8", "10,944", "1,836", "792", "13,572", "83%", "0"],
        ["bit", "int8", "4,880", "9,574", "812", "1,004,000", "0.950"],
    ]
    said = " ".join(lines)
    assert re.search(r"energy.*\(modelled\)", said)
    assert "passed  accuracy of int8: 0.79, at least 0.75" in said
    assert "updates missing: 1, attempts that failed: 1; see the report" in said
    assert "(counted)" in said


def terminal(rows: list[Measurement]) -> str:
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(summary(View(Run(Path("demo-1"), run_document("demo-1", 10), tuple(rows)))))
    return console.export_text()


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"results\.json: there is no such file"):
        write_report(tmp_path)
    write_run(tmp_path, {"schema": 1, "run": "r"}, [Recorder("r", "int8").row("accuracy", 0.1, "counted")])
    (tmp_path / "measurements.csv").write_text("nonsense\n")
    with pytest.raises(ConfigError, match=r"measurements\.csv: line 1"):
        load_run(tmp_path)


# What has time in it


def of_document(document: dict, rows: list[Measurement]) -> View:
    return View(Run(Path("demo-1"), document, tuple(rows)))


def test_the_arena_shows_where_each_tensor_lies_and_how_long() -> None:
    document = run_document("demo-1", 2)
    blocks = [
        {"name": "input", "kind": "input", "offset": 0, "size": 196, "lower": 0, "upper": 3},
        {"name": "conv1", "kind": "activation", "offset": 196, "size": 1804, "lower": 1, "upper": 9},
    ]
    document["variants"]["int8"]["memory"] = {"calls": 9, "lower_bound_bytes": 2000, "blocks": blocks}
    view = of_document(document, int8_rows())
    drawn = timelines.memory(view, "int8")
    assert drawn is not None
    assert "conv1 1,804 at 196, calls 1 to 9; input 196 at 0, calls 0 to 3" in drawn.alt
    assert ">conv1</text>" in drawn.svg
    assert "lower bound 2,000" in drawn.svg
    assert timelines.memory(of_document(run_document("demo-1", 2), int8_rows()), "int8") is None  # of an older run


def test_accuracy_against_bytes_adds_up_both_ways_of_all_boards() -> None:
    view = of_document(run_document("demo-1", 2), int8_rows())
    spent, kind = view.spent("int8", "bytes")
    a_round = len(BOARDS) * (4880 + 8944 + 400 + 230)
    assert spent == {1: a_round, 2: 2 * a_round}
    assert kind == "counted"
    assert view.spent("int8", "energy")[1] == "modelled"
    drawn = timelines.cost(view, "energy")
    assert drawn is not None
    assert "Accuracy against energy (modelled)" in drawn.svg


def test_power_over_a_round_is_energy_by_time_and_called_modelled() -> None:
    drawn = timelines.power(of_document(run_document("demo-1", 2), int8_rows()), "int8")
    assert drawn is not None
    # 4.4 mA at 3 V, 60.24 s of training, 14,454 bytes at 115,200 baud: a third of them on the way down
    assert "bit link 0.424 s at 13.2 mW, compute 60.2 s at 13.2 mW, link 0.831 s at 13.2 mW" in drawn.alt
    assert "Power over a mean round, int8 (modelled)" in drawn.svg


def stragglers(rows: list[Measurement]) -> list[tuple[str, int, float, float]]:
    jobs = of_document(run_document("demo-1", 2), rows).jobs("int8", 12)
    return [(job.board, job.step, job.begin, job.end) for job in jobs if job.board in ("plus2", "bit")]


def test_where_the_server_waits_for_all_each_round_begins_with_the_step_before() -> None:
    rows = [
        *int8_rows(),
        *(Recorder("demo-1", "int8", round=at).row("elapsed", 61.5 * at, "modelled") for at in (1, 2)),
    ]
    assert sorted(stragglers(rows)) == [
        ("bit", 1, 0.0, 61.5), ("bit", 2, 61.5, 123.0), ("plus2", 1, 0.0, 61.5), ("plus2", 2, 61.5, 123.0),
    ]  # fmt: skip


def test_a_stale_update_was_begun_a_version_earlier() -> None:
    rows = [
        *int8_rows(),
        *(Recorder("demo-1", "int8", round=at).row("elapsed", 61.5 * at, "modelled") for at in (1, 2)),
    ]
    rows.append(Recorder("demo-1", "int8", "bit", "client-5", 2).row("staleness", 1, "counted"))
    assert ("bit", 2, 0.0, 123.0) in stragglers(rows)
    drawn = timelines.stragglers(of_document(run_document("demo-1", 2), rows), "int8")
    assert drawn is not None
    assert "Who waits for whom, int8 (modelled)" in drawn.svg


def test_bytes_of_the_run_are_told_by_strategy() -> None:
    document = run_document("demo-1", 2)
    document["variants"]["int8"]["strategy"] = "fedavg"
    drawn = timelines.traffic_by_strategy(of_document(document, int8_rows()))
    assert drawn is not None
    up, framing = 2 * len(BOARDS) * (8944 + 400), 2 * len(BOARDS) * 230
    assert f"int8 (fedavg) ↑ {up:,} + {framing:,}" in drawn.alt


def measured(energy: dict, current: dict) -> View:
    """Of a run that is nothing but this."""
    boards = [{"name": "plus2", "env": "netduinoplus2", "physical": False}]
    document = {"schema": 1, "run": "energy-1", "boards": boards, "energy": [energy]}
    return View(Run(Path("energy-1"), document, (), (current,)))


def test_the_current_is_drawn_over_time_with_phases_and_gaps() -> None:
    [drawn] = currents(measured(energy_document(), energy_current()))
    assert "Current of plus2, rounds (modelled)" in drawn.svg
    for word in ("compute", "link", "idle", "samples lost", "seconds of the recording", "mA"):
        assert f">{word}<" in drawn.svg, word
    # Rest begins at 18,000 of 48,000 samples, with a drift of 0.15 of 0.4 mA; computation ends at 36,000.
    assert "over 0.5 s of rounds of demo-cnn (modelled), by ppk2: 0.65 to 40.3 mA" in drawn.alt
    assert "1,500 of 48,000 samples lost; phases by the marker pin: compute 25%, link 50%, idle 25%" in drawn.alt


def test_a_current_of_an_instrument_on_a_real_board_is_not_called_modelled() -> None:
    view = measured(energy_document(kind="measured"), energy_current())
    [drawn] = currents(view)
    assert "modelled" not in drawn.svg + drawn.alt
    [row] = Page(render(view)).table("board", "came about", "spread")
    assert row["came about"] == "measured"


def test_an_energy_measurement_has_a_page_of_its_own() -> None:
    text = render(measured(energy_document(), energy_current()))
    [row] = Page(text).table("board", "came about", "spread")
    assert (row["board"], row["of one"], row["came about"]) == ("plus2", "round of 100 steps", "modelled")
    assert row["in all, µJ"] == "6,000"
    assert "What was reached" not in text
    assert "Energy by a meter (modelled)" in text
    assert "3,300 mV from meter" in text
    assert text.count("does not satisfy the rule of EEMBC") == 1


def test_an_excerpt_that_is_none_is_told_with_its_place() -> None:
    current = energy_current()
    current["excerpt"]["lost"] = "many"
    with pytest.raises(ConfigError, match=r"energy-1/currents\.json: 0\.excerpt\.lost: "):
        currents(measured(energy_document(), current))


def test_an_energy_measurement_has_a_summary_and_its_report_can_be_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs" / "energy-plus2-1"
    document = {"schema": 1, "run": folder.name, "boards": [], "energy": [energy_document()]}
    write_run(folder, document, [], [energy_current()])
    assert main(["report", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "Energy of one, µJ" in shown
    assert "6,000.00" in shown
    assert "Shared model on the test set" not in shown
    assert (folder / "report.html").is_file()


def test_currents_are_kept_beside_the_figures(tmp_path: Path) -> None:
    document = {"schema": 1, "run": "energy-1", "energy": [energy_document()]}
    write_run(tmp_path, document, [], [energy_current()])
    run = load_run(tmp_path)
    assert run.currents == (energy_current(),)
    assert len(currents(View(run))) == 1
    (tmp_path / "currents.json").write_text('[{"board": "plus2"}]')
    with pytest.raises(ConfigError, match=r"currents\.json: cannot be read: "):
        load_run(tmp_path)


def test_a_plot_is_a_picture_too_in_the_colours_of_a_light_page() -> None:
    drawn = plots.accuracy(View(Run(Path("demo-1"), run_document("demo-1", 2), tuple(int8_rows()))))
    assert drawn is not None
    image = np.asarray(Image.open(io.BytesIO(drawn.png())).convert("RGB"))
    assert image.shape[1] == 1440
    assert tuple(image[0, 0]) == (255, 255, 255)
    colours = {tuple(colour) for colour in np.unique(image.reshape(-1, 3), axis=0)}
    assert (0x1F, 0x5F, 0xA8) in colours  # series 0 of report.css
    assert (1, 2, 3) not in colours
    assert (1, 3, 0) not in colours
