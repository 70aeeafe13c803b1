"""What `make kernels` counts: exact instructions, the manuals' cycles, the bytes of what ran; and how it compares."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.benchmarks import kernels
from bench.benchmarks.cortex import CPU_MODELS, CoreTarget
from bench.benchmarks.cycles import modelled_cycles
from bench.benchmarks.kernel_cases import CASES, source

# Ten turns of a load, a load in its shadow, a store, an addition, a comparison and a branch; then a pair of registers.
LOOP = """
extern "C" __attribute__((naked)) void loop(int*) {
  asm volatile(
      ".syntax unified\\n\\tmovs r1, #10\\n"
      "1:\\n\\tldr r2, [r0]\\n\\tldr r3, [r0, #4]\\n\\tstr r2, [r0, #8]\\n\\tsubs r1, #1\\n\\t"
      "cmp r1, #0\\n\\tbne 1b\\n\\t"
      "push {r4, r5}\\n\\tpop {r4, r5}\\n\\tbx lr");
}
"""
INSTRUCTIONS = 1 + 10 * 6 + 3
# movs; each turn's loads, store, subs, cmp and bne; nine refills; push and pop; bx and its refill
CYCLES = {"cortex-m0": 1 + 10 * (2 + 2 + 2 + 3) + 9 * 2 + 2 * 3 + 3}
CYCLES |= dict.fromkeys([core for core in CPU_MODELS if core != "cortex-m0"], 1 + 10 * (2 + 1 + 1 + 3) + 9 * 2 + 6 + 3)


@pytest.mark.parametrize("core", CPU_MODELS)
def test_a_loop_is_counted_to_the_instruction(core: str, tmp_path: Path) -> None:
    (tmp_path / "loop.cpp").write_text(LOOP)
    target = CoreTarget(core, "loop", tmp_path, [tmp_path / "loop.cpp"])
    for _ in range(2):
        target.call("loop", np.arange(4, dtype=np.int32))
        assert target.instructions == INSTRUCTIONS
        assert modelled_cycles(target) == CYCLES[core]
    assert target.code_bytes(without="") == 2 * INSTRUCTIONS - 2 * 9 * 6
    assert target.code_bytes(without="loop") == 0


def test_every_case_is_in_the_baseline() -> None:
    rows = json.loads(kernels.BASELINE.read_text())["rows"]
    assert [(row["kernel"], row["core"]) for row in rows] == [(c.name, core) for c in CASES for core in c.cores]


def test_a_core_has_the_functions_of_its_cases() -> None:
    for core in CPU_MODELS:
        text = source(core)
        for index, case in enumerate(CASES):
            assert (f" case_{index}(" in text) == (core in case.cores)


def test_a_kernel_that_became_dearer_is_named() -> None:
    before = [{"kernel": name, "core": "cortex-m3", "instructions": 1000} for name in ("a", "b", "c")]
    after = [{"kernel": name, "core": "cortex-m3", "instructions": n} for name, n in (("a", 1010), ("b", 1011))]
    assert kernels.dearer(before, after) == [
        "b on cortex-m3: 1,011 instructions, 1.1 % more than 1,000",
        "c on cortex-m3: in the baseline, but not counted any more",
    ]


def test_the_check_fails_and_says_how_to_renew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"kernel": "a", "core": "cortex-m0", "instructions": 1000}
    monkeypatch.setattr(kernels, "BASELINE", tmp_path / "kernels.json")
    monkeypatch.setattr(kernels, "counts", lambda: {"compiler": "gcc 1", "rows": [row]})
    assert kernels.main(["--renew"]) == 0
    assert kernels.main(["--check"]) == 0
    capsys.readouterr()
    monkeypatch.setattr(kernels, "counts", lambda: {"compiler": "gcc 1", "rows": [{**row, "instructions": 1100}]})
    assert kernels.main(["--check"]) == 1
    said = capsys.readouterr().err
    assert "a on cortex-m0: 1,100 instructions" in said
    assert kernels.RENEW in said
    monkeypatch.setattr(kernels, "counts", lambda: {"compiler": "gcc 2", "rows": [{**row, "instructions": 1100}]})
    assert kernels.main(["--check"]) == 0, "another compiler's counts are not comparable"
    assert "gcc 1" in capsys.readouterr().out


def test_an_output_that_cannot_be_written_is_refused_before_counting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "counts", lambda: pytest.fail("counted"))
    assert kernels.main(["--json", str(tmp_path / "no folder" / "kernels.json")]) == 2
    assert "kernels.json: cannot be written: No such file or directory" in capsys.readouterr().err


def test_outside_a_checkout_one_line_says_so(tmp_path: Path, project_root: Path) -> None:
    shutil.copytree(project_root / "bench", tmp_path / "bench", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "bench.benchmarks.kernels"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"kernels: {tmp_path / 'bench'}: neither a checkout of the bench nor a whole package")
