"""What each kernel costs on each core: `make kernels`, or `python -m bench.benchmarks.kernels`.

Instructions are counted exactly, on cores that Unicorn executes; cycles are modelled (cycles.py). Bytes are those of
the functions that the call executed; what several kernels share counts in each. The counts are compared with
reports/baseline/kernels.json: `make check` fails where a kernel takes over 1 % more instructions than that says.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import BenchError
from bench.project import project_root
from bench.results.files import check_writable
from bench.streams import flush, of_a_full_disk, require_streams

if __name__ == "__main__":
    try:
        require_streams()
        project_root()
    except BenchError as error:  # told before the imports below look for the checkout's files
        print(f"kernels: {error}", file=sys.stderr)
        sys.exit(error.exit_code)

from bench.benchmarks.cortex import CPU_MODELS, FIRMWARE, Argument, CoreTarget, compiler_version
from bench.benchmarks.cycles import modelled_cycles
from bench.benchmarks.files import cache_folder, write_document
from bench.benchmarks.kernel_cases import CASES, SCRATCH_BYTES, KernelCase, function, source

BASELINE = project_root() / "reports" / "baseline" / "kernels.json"
TOLERANCE = 0.01
RENEW = "python -m bench.benchmarks.kernels --renew"
_INT8 = ("add", "add_gradients", "avg_pool", "avg_pool_gradient", "conv2d", "conv2d_input_gradient", "conv2d_update",
         "depthwise2d", "depthwise2d_input_gradient", "depthwise2d_update", "gradient_scale", "pack_gate",
         "update")  # fmt: skip
_FLOAT32 = ("conv2d", "conv2d_input_gradient", "conv2d_update", "depthwise2d")

Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Counts, prints and compares; returns 1 if a kernel has become dearer, else as `bench` does."""
    try:
        code = _run(arguments)
        flush()
    except BenchError as error:
        return _fail(error)
    except BrokenPipeError:
        return 0
    except OSError as error:
        if (full := of_a_full_disk(error)) is None:
            raise
        return _fail(full)
    return code


def _fail(error: BenchError) -> int:
    with suppress(OSError):
        print(f"kernels: {error}", file=sys.stderr)
    return error.exit_code


def _run(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.benchmarks.kernels", description=__doc__)
    parser.add_argument("--check", action="store_true", help="print only what has become dearer than the baseline")
    parser.add_argument("--renew", action="store_true", help="make these counts the baseline")
    parser.add_argument("--json", type=Path, help="write the document here, too")
    options = parser.parse_args(arguments)
    if options.json is not None:
        check_writable(options.json)
    found = counts()
    if options.json is not None:
        write_document(options.json, "kernels", found)
    if options.renew:
        _renew(found)
        print(BASELINE)
        return 0
    if not options.check:
        print("\n".join(table(found["rows"])))
    return _compare(found)


def _renew(document: Mapping[str, Any]) -> None:
    """One row a line, so that a commit shows which kernels became cheaper or dearer."""
    rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in document["rows"])
    BASELINE.parent.mkdir(parents=True, exist_ok=True)
    text = f'{{\n "compiler": {json.dumps(document["compiler"])},\n "rows": [\n{rows}\n ]\n}}\n'
    BASELINE.write_text(text, encoding="utf-8")


def _compare(found: Mapping[str, Any]) -> int:
    if not BASELINE.is_file():
        print(f"no baseline: {RENEW}")
        return 0
    baseline = json.loads(BASELINE.read_text(encoding="utf-8"))
    if baseline["compiler"] != found["compiler"]:
        print(f"kernels: not compared, as the baseline was made with {baseline['compiler']}, not {found['compiler']}")
        return 0
    worse = dearer(baseline["rows"], found["rows"])
    for line in worse:
        print(line, file=sys.stderr)
    if worse:
        print(f"if that is meant: {RENEW}", file=sys.stderr)
    return 1 if worse else 0


def dearer(baseline: Iterable[Row], found: Iterable[Row]) -> list[str]:
    """A line for each kernel that takes over 1 % more instructions than before, or is not counted any more."""
    now = {(row["kernel"], row["core"]): row["instructions"] for row in found}
    lines = []
    for row in baseline:
        key, before = (row["kernel"], row["core"]), row["instructions"]
        if key not in now:
            lines.append(f"{key[0]} on {key[1]}: in the baseline, but not counted any more")
        elif now[key] > before * (1 + TOLERANCE):
            more = 100 * (now[key] / before - 1)
            lines.append(f"{key[0]} on {key[1]}: {now[key]:,} instructions, {more:.1f} % more than {before:,}")
    return lines


def table(rows: Iterable[Row]) -> list[str]:
    """As Markdown."""
    head = ("kernel", "core", "instructions", "per", "instructions each", "modelled cycles each", "code bytes", "floor",
            "goal", "")  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "| --- | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | --- |"]
    for row in rows:
        each, goal = row["instructions"] / row["work"], row["goal"]
        verdict = "" if goal is None else "met" if each <= goal else "missed"
        cells = (row["kernel"], row["core"], f"{row['instructions']:,}", row["unit"], f"{each:.2f}",
                 f"{row['modelled_cycles'] / row['work']:.2f}", f"{row['code_bytes']:,}", _figure(row["floor"]),
                 _figure(goal), verdict)  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def counts() -> dict[str, Any]:
    """The document: counted anew only where sources, cases, compiler or emulator have changed since."""
    compiler = compiler_version()
    digest = hashlib.sha256(f"{compiler}\0{version('unicorn')}".encode())
    ours = [Path(__file__).with_name(f"{name}.py") for name in ("cortex", "cycles", "kernel_cases", "kernels")]
    flags = FIRMWARE / "platform" / "builder" / "build_settings.py"
    for path in [*ours, flags, *sorted((FIRMWARE / "engine").rglob("*.[ch]pp"))]:
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    cached = cache_folder() / f"kernels-{digest.hexdigest()[:20]}.json"
    if cached.is_file():
        return dict(json.loads(cached.read_text(encoding="utf-8")))
    rows = [row for core in CPU_MODELS for row in _count(core)]
    order = {case.name: index for index, case in enumerate(CASES)}
    document = {"compiler": compiler, "rows": sorted(rows, key=lambda row: order[row["kernel"]])}
    cached.write_text(json.dumps(document), encoding="utf-8")
    return document


def _count(core: str) -> Iterable[Row]:
    int8, float32 = FIRMWARE / "engine" / "int8", FIRMWARE / "engine" / "float32"
    files = [int8 / f"{name}.cpp" for name in _INT8] + sorted((int8 / "fast").glob("*.cpp"))
    files += [float32 / f"{name}.cpp" for name in _FLOAT32] + sorted((float32 / "fast").glob("*.cpp"))
    print(f"kernels: {core}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="kernels-") as folder:
        probe = Path(folder) / "kernels.cpp"
        probe.write_text(source(core), encoding="utf-8")
        target = CoreTarget(core, "kernels", Path(folder), [*files, probe])
        for index, case in enumerate(CASES):
            if core in case.cores:
                yield _row(target, index, case)


def _row(target: CoreTarget, index: int, case: KernelCase) -> Row:
    generator = np.random.default_rng(index)
    maps: list[Argument] = [generator.integers(-127, 128, 1 << 14).astype(np.int8) for _ in range(4)]
    if case.name.startswith("float32"):
        sizes = (1 << 12, 1 << 14, 1 << 12)
        maps = [*(generator.standard_normal(size).astype(np.float32) for size in sizes), np.zeros(1, np.int8)]
    gate = generator.integers(0, 256, 1 << 11).astype(np.uint8)
    bias = np.zeros(256, np.int32)
    target.call(function(index), *maps, np.zeros(SCRATCH_BYTES, np.uint8), bias, gate)
    return {
        "kernel": case.name,
        "core": target.core,
        "work": case.work,
        "unit": case.unit,
        "instructions": target.instructions,
        "modelled_cycles": modelled_cycles(target),
        "code_bytes": target.code_bytes(without=function(index)),
        "floor": case.floors.get(target.core),
        "goal": case.goals.get(target.core),
    }


if __name__ == "__main__":
    sys.exit(main())
