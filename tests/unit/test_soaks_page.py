"""Several soaks become one page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.benchmarks.soak import main
from bench.soak.record import Injected, Leg, passed, totals

Soak = Callable[..., Path]


@pytest.fixture
def soak(tmp_path: Path) -> Soak:
    """Makes the folder of a soak with faults of these kinds, each of which took a second."""

    def make(seed: int, kinds: str, *, lost: int = 0, leaked: int = 0) -> Path:
        folder = tmp_path / f"soak-{seed}"
        (folder / "legs").mkdir(parents=True)
        faults = [
            Injected(number, kind, "bit", "2026-11-30T10:00:00+00:00", {}, "link", 1.0)
            for number, kind in enumerate(kinds.split())
        ]
        leg = Leg(1, faults, 8, lost, 0, 0, 0, (), True, 2.0, 1.0, 0.5, 0.5)
        (folder / "legs" / "0001.json").write_text(json.dumps(leg.document()))
        found = totals([leg], leaked)
        document = {**found, "seed": seed, "seconds": 2.0, "boards": ["bit"], "passed": passed(found)}
        (folder / "soak.json").write_text(json.dumps(document))
        return folder

    return make


def test_faults_of_all_soaks_are_in_one_table(soak: Soak, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "soak.md"
    first = str(soak(1, "drop drop stall"))
    assert main([first, str(soak(2, "drop")), first, "--markdown", str(page)]) == 0, "one given twice counts once"
    text = page.read_text(encoding="utf-8")
    assert text == capsys.readouterr().out
    assert "# A soak of 4 faults" in text
    assert "| drop | 3 | 3 | link 3 |" in text
    assert "| stall | 1 | 1 | link 1 |" in text
    assert "| in all | 4 | 4 | 16 | 0 | 0 | 0 | 0 | 0 | 0 | True |" in text


def test_what_one_lost_all_have_lost(soak: Soak, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(soak(1, "drop")), str(soak(2, "drop", lost=2, leaked=3))]) == 1
    assert "| in all | 2 | 2 | 16 | 0 | 2 | 0 | 0 | 3 | 0 | True |" in capsys.readouterr().out


def test_what_is_no_ended_soak_is_named(soak: Soak, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "nowhere/soak.json: No such file" in capsys.readouterr().err
    folder = soak(1, "drop")
    document = json.loads((folder / "soak.json").read_text())
    (folder / "soak.json").write_text(json.dumps({k: v for k, v in document.items() if k not in ("seed", "hangs")}))
    assert main([str(folder)]) == 2
    assert "soak.json: without hangs, seed: not of a soak that has come to its end" in capsys.readouterr().err
    (folder / "soak.json").write_text(json.dumps(document))
    (folder / "legs" / "0001.json").unlink()
    assert main([str(folder)]) == 2
    assert "legs with 0 faults, but soak.json says 1" in capsys.readouterr().err
