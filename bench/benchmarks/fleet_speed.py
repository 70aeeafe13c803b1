"""Clients' updates per second: the host-compiled engine beside Flower with PyTorch, a PyTorch loop, and numpy.

    python -m bench.benchmarks.fleet_speed [--quick] [--models mlp ...] [--only ours numpy ...] [--fresh] [--json FILE]

An update is one pass of a client over its own samples of Fashion-MNIST by plain SGD in float32, from weights that all
clients share: the same network, weights, samples in the same order, batch and rate on all sides. Before a side's time
is taken, the weights of its first clients must lie where our float32 engine's do (peers/case.py has the tolerance).
All samples are in memory, converted to what the side trains on; starting processes does not count. Each side has the
number of threads that is best for it. Processor seconds are given beside wall time because the machine may have other
work. PyTorch and Flower live in an environment of their own, made on first use. What was measured is kept in the cache
for as long as the sources that it measured stay the same, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.benchmarks import fleet_cases, peers_environment
from bench.benchmarks.files import cache_folder, write_document
from bench.benchmarks.fleet_cases import BATCHES, MODELS, RATE
from bench.benchmarks.peers.measure import measure
from bench.compiler.differentiate import Dtype
from bench.errors import BenchError

SIDES = ("ours", "numpy", "torch", "flower")
TARGETS = {("flower", 1): 50.0, ("torch", 1): 20.0, ("flower", 10): 20.0, ("torch", 10): 10.0, ("numpy", 1): 1.0,
           ("numpy", 10): 1.0}  # fmt: skip
"""Least ratio of our float32 engine's updates per second to a side's, by side and batch; DS-CNN has none."""
REPORT_ONLY = "ds-cnn"
_SOURCES = {
    "ours": ("../fleet/engine",),
    "numpy": ("peers/numpy_stacked",),
    "torch": ("peers/torch_loop",),
    "flower": ("peers/torch_loop", "peers/flower_client", "peers/flower_simulation"),
}
"""What a side consists of, beside what all have."""
_PROTOCOL = 1
"""To be raised when what is measured changes otherwise than by the sources that the cache's keys hash."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Effort:
    """Rounds of a measurement, and about how many seconds they take."""

    repeats: int = 7
    seconds: float = 8.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what the cache lacks, prints, and writes the document."""
    parser = argparse.ArgumentParser(prog="python -m bench.benchmarks.fleet_speed", description="clients per second")
    parser.add_argument("--quick", action="store_true", help="the MLP on our engine, a few rounds")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), help="default: all")
    parser.add_argument("--only", nargs="+", choices=SIDES, metavar="SIDE", help=f"default: all of {', '.join(SIDES)}")
    parser.add_argument("--fresh", action="store_true", help="measure everything again, in this run")
    parser.add_argument("--json", type=Path, help="default: reports/bench/fleet_speed.json")
    options = parser.parse_args(arguments)
    models = options.models or (["mlp"] if options.quick else list(MODELS))
    sides = options.only or (["ours"] if options.quick else list(SIDES))
    effort = Effort(2, 0.5) if options.quick else Effort()
    try:
        found = run(models, sides, effort, fresh=options.fresh)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(table(found)))
    print(write_document(options.json, "fleet_speed", found))
    return 0


def run(
    models: Sequence[str],
    sides: Sequence[str],
    effort: Effort,
    *,
    batches: Sequence[int] = BATCHES,
    fresh: bool = False,
) -> dict[str, Any]:
    """The document's content; rows are in the order of models, batches and sides."""
    rows: list[Row] = []
    for model in models:
        for batch in batches:
            for side in (side for side in SIDES if side in sides):
                if side == "numpy" and model != "mlp":
                    continue
                rows += _kept(model, batch, side, effort, fresh)
    return {
        "machine": {"processor": _processor(), "cores": fleet_cases.cores(), "platform": platform.platform()},
        "protocol": {
            "clients": fleet_cases.CLIENTS,
            "samples": {model: MODELS[model].samples for model in models},
            "learning_rate": RATE,
            "repeats": effort.repeats,
            "seconds": effort.seconds,
        },
        "rows": rows,
        "comparisons": (comparisons := compare(rows)),
        "claims": claims(comparisons),
    }


def _kept(model: str, batch: int, side: str, effort: Effort, fresh: bool) -> list[Row]:
    """A side's rows, from the cache if they are there."""
    path = cache_folder() / f"fleet-speed-{model}-{batch}-{side}-{_key(model, batch, side, effort)}.json"
    if path.is_file() and not fresh:
        return list(json.loads(path.read_text(encoding="utf-8")))
    print(f"{model}, batch {batch}: {side}", file=sys.stderr, flush=True)
    rows = [
        {"model": model, "batch": batch, "side": side, **row, "made": datetime.now(UTC).isoformat(timespec="seconds")}
        for row in _MEASURES[side](model, batch, effort)
    ]
    path.write_text(json.dumps(rows), encoding="utf-8")
    return rows


def _key(model: str, batch: int, side: str, effort: Effort) -> str:
    """Of everything that a side's figures depend on."""
    folder = Path(__file__).parent
    digest = hashlib.sha256(repr((_PROTOCOL, effort, _processor(), fleet_cases.cores(), MODELS[model])).encode())
    for name in ("fleet_cases", "peers/case", "peers/measure", *_SOURCES[side]):
        digest.update((folder / f"{name}.py").read_bytes())
    if side == "ours":
        dtypes: tuple[Dtype, ...] = ("float32", "int8")
        digest.update(repr([fleet_cases.ours(model, dtype, batch).state for dtype in dtypes]).encode())
    elif side == "numpy":
        digest.update(version("numpy").encode())
    else:
        digest.update(repr(peers_environment.REQUIREMENTS).encode())
    return digest.hexdigest()[:16]


def _ours(model: str, batch: int, effort: Effort) -> Iterable[Row]:
    dtypes: tuple[Dtype, ...] = ("float32", "int8")
    for dtype in dtypes:
        for threads in sorted({1, fleet_cases.cores()}):
            yield {"dtype": dtype, **_our_row(fleet_cases.ours(model, dtype, batch), threads, effort)}


def _our_row(program: fleet_cases.Ours, threads: int, effort: Effort) -> Row:
    clients = program.trainings

    def train(count: int) -> None:
        """A unit is a client for each thread; more than there are clients are several rounds."""
        left = count * threads
        while left > 0:
            program.engine.train_many(clients[:left], learning_rate=RATE, threads=threads)
            left -= len(clients)

    times = measure(train, most=2000, updates=threads, repeats=effort.repeats, seconds=effort.seconds)
    plan, samples = program.engine.plan, len(clients[0].samples)
    macs = (plan.macs_forward + plan.macs_backward) * samples
    return {**_summary(threads, times), "gmacs_per_processor_s": macs / _median(times["processor_s"]) / 1e9}


def _numpy(model: str, batch: int, effort: Effort) -> Iterable[Row]:
    for threads in sorted({1, fleet_cases.cores()}):
        yield from _peer("numpy_stacked", Path(sys.executable), model, batch, effort, OPENBLAS_NUM_THREADS=str(threads))


def _torch(model: str, batch: int, effort: Effort) -> Iterable[Row]:
    return _peer("torch_loop", peers_environment.peers_python(), model, batch, effort)


def _flower(model: str, batch: int, effort: Effort) -> Iterable[Row]:
    return _peer("flower_simulation", peers_environment.peers_python(), model, batch, effort)


def _peer(name: str, python: Path, model: str, batch: int, effort: Effort, **settings: str) -> list[Row]:
    case = fleet_cases.peers_case(model, batch, repeats=effort.repeats, seconds=effort.seconds)
    document = peers_environment.run_peer(python, name, case, settings)
    return [
        {
            "dtype": "float32",
            **_summary(run["threads"], run),
            "versions": document["versions"],
            "distance": run["distance"],
            "way": run.get("way"),
        }
        for run in document["runs"]
    ]


_MEASURES: dict[str, Callable[[str, int, Effort], Iterable[Row]]] = {
    "ours": _ours,
    "numpy": _numpy,
    "torch": _torch,
    "flower": _flower,
}


def _summary(threads: int, times: dict[str, Any]) -> Row:
    wall, processor = times["wall_s"], times["processor_s"]
    return {
        "threads": threads,
        "updates_per_s": 1 / _median(wall),
        "wall_s": _spread(wall),
        "processor_s": _spread(processor),
        "rounds": len(wall),
        "round_updates": times["round_updates"],
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Median and extremes of an update's seconds."""
    return {"median": _median(values), "least": min(values), "most": max(values)}


def _median(values: Sequence[float]) -> float:
    return float(statistics.median(values))


def _with(rows: Iterable[Row], wanted: Row) -> list[Row]:
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def best(rows: Iterable[Row], **wanted: Any) -> Row | None:
    """The fastest of the rows that have these values, by wall time."""
    return max(_with(rows, wanted), key=lambda row: row["updates_per_s"], default=None)


def _least_processor(rows: Iterable[Row], **wanted: Any) -> float:
    """Processor seconds of an update in the row that takes fewest. It need not be the fastest: threads that wait for
    each other take processor time."""
    return min(float(row["processor_s"]["median"]) for row in _with(rows, wanted))


def compare(rows: Sequence[Row]) -> list[Row]:
    """Our engine's best row beside each side's best, for each number format of ours: ratios of updates per second, of
    least processor seconds, and of float32 the target."""
    found = []
    for ours in (row for row in rows if row["side"] == "ours"):
        model, batch, dtype = ours["model"], ours["batch"], ours["dtype"]
        if ours is not best(rows, side="ours", model=model, batch=batch, dtype=dtype):
            continue
        for side in SIDES[1:]:
            theirs = best(rows, side=side, model=model, batch=batch)
            if theirs is None:
                continue
            ratio = ours["updates_per_s"] / theirs["updates_per_s"]
            target = TARGETS[side, batch] if dtype == "float32" and model != REPORT_ONLY else None
            found.append({
                "model": model, "batch": batch, "dtype": dtype, "against": side, "speedup": ratio,
                "processor_speedup": (
                    _least_processor(rows, side=side, model=model, batch=batch)
                    / _least_processor(rows, side="ours", model=model, batch=batch, dtype=dtype)
                ),
                "spread": _widest(ours, theirs),
                "target": target, "met": None if target is None else ratio >= target,
            })  # fmt: skip
    return found


def _widest(ours: Row, theirs: Row) -> float:
    """How far the ratio goes from the least favourable pair of rounds to the most."""
    fastest, slowest = (
        theirs["wall_s"][one] / ours["wall_s"][other] for one, other in (("most", "least"), ("least", "most"))
    )
    return float(fastest - slowest)


def claims(comparisons: Sequence[Row]) -> dict[str, dict[str, float]]:
    """The smaller of the MLP's and LeNet-5's speed-up at batch 1, float32 against float32, and its spread; without
    both, none."""
    found = {}
    for side, name in (("flower", "fleet_speedup_flower"), ("torch", "fleet_speedup_torch_loop")):
        ratios = [
            one
            for one in comparisons
            if (one["against"], one["batch"], one["dtype"]) == (side, 1, "float32") and one["model"] != REPORT_ONLY
        ]
        if len(ratios) == 2:
            least = min(ratios, key=lambda one: float(one["speedup"]))
            found[name] = {"speedup": least["speedup"], "spread": least["spread"]}
    return found


def table(document: dict[str, Any]) -> list[str]:
    """As Markdown: what was measured, how it compares, and what limits us where a target is missed."""
    rows, comparisons = document["rows"], document["comparisons"]
    lines = ["| model | batch | side | threads | updates/s | wall ms (least–most) | processor ms | GMAC/processor s |",
             "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for row in rows:
        wall, used = ({name: 1000 * value for name, value in row[key].items()} for key in ("wall_s", "processor_s"))
        rate = row.get("gmacs_per_processor_s")
        side = " ".join(filter(None, (row["side"], row["dtype"], row.get("way"))))
        lines.append(
            f"| {row['model']} | {row['batch']} | {side} | {row['threads']} | {row['updates_per_s']:,.1f} | "
            f"{wall['median']:.3f} ({wall['least']:.3f}–{wall['most']:.3f}) | {used['median']:.3f} | "
            f"{'' if rate is None else f'{rate:.2f}'} |"
        )
    if comparisons:
        lines += ["", "| model | batch | ours | against | times as fast | by processor seconds | target | |",
                  "| --- | ---: | --- | --- | ---: | ---: | ---: | --- |"]  # fmt: skip
    for found in comparisons:
        target, met = ("", "") if found["target"] is None else (f"{found['target']:g}", found["met"])
        verdict = {True: "met", False: "missed", "": ""}[met]
        lines.append(
            f"| {found['model']} | {found['batch']} | {found['dtype']} | {found['against']} | {found['speedup']:.2f} | "
            f"{found['processor_speedup']:.2f} | {target} | {verdict} |"
        )
    return [*lines, "", *limits(rows, comparisons)]


def limits(rows: Sequence[Row], comparisons: Iterable[Row]) -> list[str]:
    """What would have to be faster where a target is missed: arithmetic, as our engine does nothing else."""
    lines = []
    for found in (found for found in comparisons if found["met"] is False):
        model, batch = found["model"], found["batch"]
        ours = best(rows, side="ours", model=model, batch=batch, dtype="float32")
        theirs = best(rows, side=found["against"], model=model, batch=batch)
        if ours is None or theirs is None:
            continue
        reached = ours["gmacs_per_processor_s"]
        theirs_rate = reached * ours["processor_s"]["median"] / theirs["processor_s"]["median"]
        lines.append(
            f"{model}, batch {batch}, against {found['against']}: {found['speedup']:.2f} of {found['target']:g}. Our "
            f"engine does {reached:.2f} GMAC a processor second, {found['against']} {theirs_rate:.2f}; the target "
            f"takes {reached * found['target'] / found['speedup']:.2f} on as many threads."
        )
    return lines


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    raise SystemExit(main())
