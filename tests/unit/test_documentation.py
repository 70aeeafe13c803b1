"""The user documentation: it builds without a warning, loads nothing from elsewhere, and names what exists."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bench.experiment.config import load_experiment
from bench.nightly.matrix import cells, load_night
from bench.rack.inventory import load_inventory
from tests.unit.documentation import ROOT, Block, blocks, pages

_NAMED = re.compile(r"`((?:bench|docs|firmware|hosts|tests)/[\w./-]+)`")
_ELSEWHERE = r"[\"']?(?:https?:)?//"
_LOADED = re.compile(
    rf"<(?:script|img|iframe)\b[^>]*\bsrc={_ELSEWHERE}"
    rf"|<link\b[^>]*\brel=[\"']?(?:stylesheet|preload|preconnect|icon)\b[^>]*\bhref={_ELSEWHERE}"
    rf"|<link\b[^>]*\bhref={_ELSEWHERE}[^>]*\brel=[\"']?(?:stylesheet|preload|preconnect|icon)\b"
    rf"|@import[^;]*//|url\({_ELSEWHERE}"
)


def _files(ending: str) -> list[tuple[Path, Block]]:
    found = [(page, block) for page in pages() for block in blocks(page) if block.title.endswith(ending)]
    assert found, f"no page has a {ending} file"
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return folder


def test_the_site_has_every_page_and_no_broken_link(site: Path) -> None:
    for page in pages():
        assert (site / page.with_suffix(".html").name).is_file()


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loading = [
        f"{path.relative_to(site)}: {match[0]}"
        for path in sorted(site.rglob("*"))
        if path.suffix in (".html", ".css")
        for match in _LOADED.finditer(path.read_text(encoding="utf-8"))
    ]
    assert loading == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_files_that_a_page_names_exist(page: Path) -> None:
    missing = [name for name in _NAMED.findall(page.read_text(encoding="utf-8")) if not (ROOT / name).exists()]
    assert missing == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_python_of_a_page_is_python_that_a_reader_can_save(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            ast.parse(block.text)
            assert block.title or block.skipped, "neither a file nor a reason why it is not run"


def test_inventories_pass_the_benchs_own_check(tmp_path: Path) -> None:
    for _, block in _files(".yaml"):
        path = tmp_path / block.title
        path.write_text(block.text)
        assert load_inventory(path).boards


def test_experiments_and_nights_pass_the_benchs_own_check(tmp_path: Path) -> None:
    for _, block in _files(".toml"):
        path = tmp_path / block.title
        path.write_text(block.text)
        if "matrix" in tomllib.loads(block.text):
            assert cells(path, load_night(path), ["bit-1", "plus2-1"])
        else:
            assert load_experiment(str(path)).name == path.stem
