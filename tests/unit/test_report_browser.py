"""The pages in a real browser: on a telephone, on a screen, on paper, in light and dark; nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser import Browser, find_browser
from report_run import energy_current, energy_document, run_document, run_rows

from bench.claims.html import as_html
from bench.report.page import write_report
from bench.report.trends import write_trends
from bench.results.database import Store
from bench.results.store import Run, write_run

TELEPHONE, SCREEN = 360, 1280


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    return find_browser(tmp_path_factory.mktemp("chromium"))


@pytest.fixture(scope="module", params=["report", "trends"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's report with every plot, and the page of a store."""
    reports = tmp_path_factory.mktemp(request.param)
    if request.param == "report":
        document = run_document("demo-1", 4)
        blocks = [
            {"name": "input", "kind": "input", "offset": 0, "size": 196, "lower": 0, "upper": 3},
            {"name": "conv1", "kind": "activation", "offset": 196, "size": 900, "lower": 1, "upper": 9},
            {"name": "d_conv1", "kind": "gradient", "offset": 1096, "size": 900, "lower": 6, "upper": 9},
        ]
        document["variants"]["int8"]["memory"] = {"calls": 9, "lower_bound_bytes": 1996, "blocks": blocks}
        document["energy"] = [energy_document()]
        rows = [*run_rows("demo-1", 4), *elapsed()]
        write_run(reports / "runs" / "demo-1", document, rows, [energy_current()])
        return write_report(reports / "runs" / "demo-1")
    with Store.open(reports / "results.db") as store:
        for day in range(1, 13):
            name = f"demo-{day:02}"
            document = {**run_document(name, 2), "run": name, "started": f"2026-01-{day:02}T03:04:05+00:00"}
            store.add(Run(reports / name, document, tuple(run_rows(name, 2))))
        return write_trends(store, reports)


def elapsed() -> list:
    from bench.results.table import Recorder

    return [Recorder("demo-1", "int8", round=at).row("elapsed", 61.0 * at, "modelled") for at in range(1, 5)]


def test_the_claims_page_is_no_wider_than_a_telephone(browser: Browser, tmp_path: Path) -> None:
    chosen = ",".join(f"layer{number}.weight[:84]" for number in range(20))  # as the page names what trains
    columns = " | ".join(f"a heading of {number}" for number in range(12))
    text = f"# Claims\n\nw*: `list:{chosen}`\n\n| {columns} |\n|{' --- |' * 12}\n| {columns} |\n"
    page = tmp_path / "claims.html"
    page.write_text(as_html(text, tmp_path))
    assert browser.look(page, width=TELEPHONE)["width"] <= TELEPHONE


@pytest.mark.parametrize("width", [TELEPHONE, SCREEN])
def test_a_page_is_no_wider_than_the_window(browser: Browser, page: Path, width: int) -> None:
    seen = browser.look(page, width=width)
    assert seen["width"] <= width
    assert seen["outside"] == []
    assert seen["cut"] == [], "texts that a plot cuts off"


def test_nothing_comes_from_elsewhere(browser: Browser, page: Path) -> None:
    assert browser.look(page, width=SCREEN)["requests"] == []
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img|iframe|object)\b", text)
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!#)", text)


def test_the_text_of_plots_is_readable_on_a_telephone(browser: Browser, page: Path) -> None:
    assert browser.look(page, width=TELEPHONE)["text_px"] >= 9


def test_dark_is_dark_and_light_is_light(browser: Browser, page: Path) -> None:
    light, dark = (browser.look(page, width=SCREEN, dark=which) for which in (False, True))
    assert brightness(light["background"]) > 0.9 > 0.3 > brightness(light["ink"])
    assert brightness(dark["background"]) < 0.2 < 0.7 < brightness(dark["ink"])


def brightness(colour: str) -> float:
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3 / 255


def test_a_page_can_be_printed_on_few_sheets(browser: Browser, page: Path) -> None:
    pdf = browser.print(page)
    assert pdf.startswith(b"%PDF")
    sheets = len(re.findall(rb"/Type\s*/Page\b", pdf))
    assert 1 <= sheets <= 12
