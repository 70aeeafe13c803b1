"""The benchmarks' documents as one page: `python -m bench.benchmarks.report` writes reports/bench/report.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.benchmarks.files import output_folder
from bench.benchmarks.kernels import BASELINE
from bench.benchmarks.markdown import table
from bench.benchmarks.memory import MCUNET, SAVING_ENV, exact
from bench.errors import ConfigError
from bench.results.files import write_atomically

MIT = {
    "instructions": 125_650_000,
    "sram_total_bytes": 252_600,
    "flash_bytes": 670_000,
    "arena_bytes": 180_224,
    "macs": 32_690_000,
}
"""TinyEngine's own training graph of MCUNet-5fps, -Ofast, emulated M4F; its stack and trainables counted.

Not measured here, as PEERS are not.
"""


PEERS = {
    ("int8 conv2d 1x1 64→32", "cortex-m4f"): (1.99, "TinyEngine"),
    ("int8 conv2d 3x3 16→16", "cortex-m4f"): (2.33, "CMSIS-NN"),
    ("int8 dense 256→64", "cortex-m4f"): (2.07, "CMSIS-NN"),
    ("int8 depthwise2d 3x3 32", "cortex-m4f"): (5.7, "TinyEngine"),
    ("int8 conv2d_input_gradient 1x1 64→32", "cortex-m4f"): (5.20, "TinyEngine, float32 gradient"),
    ("int8 conv2d_input_gradient 1x1 32→64", "cortex-m4f"): (5.20, "TinyEngine, float32 gradient"),
    ("float32 conv2d_update 1x1 64→32", "cortex-m4f"): (6.10, "rank-1 weight gradient and SGD"),
    ("float32 conv2d 1x1 64→32", "cortex-m4f"): (1.74, "PULP-TrainLib"),
    ("int8 conv2d 1x1 64→32", "cortex-m0"): (7.59, "CMSIS-NN"),
    ("int8 dense 256→64", "cortex-m0"): (6.42, "CMSIS-NN"),
}
"""Instructions per MAC of the best peer, counted once outside this project, of the peer's own code at its best compiler
level on an emulated core; of a GEMM of 64x32x64 or as named."""


def main() -> int:
    """Writes the page from what benchmarks have left, naming what is missing. Raises ConfigError: nothing is there."""
    documents = {name: _load(name) for name in ("memory", "training", "gradients")}
    if not any(documents.values()):
        raise ConfigError(f"{output_folder()}: no benchmark has run: `make bench`")
    parts = ["# Benchmarks", _provenance(documents)]
    for name, write in (("memory", _memory), ("training", _training), ("gradients", _gradients)):
        document = documents[name]
        parts += (
            [f"*{name}: not run (`python -m bench.benchmarks.{name}`)*"] if document is None else list(write(document))
        )
    parts += _kernels()
    path = output_folder() / "report.md"
    write_atomically(path, ("\n\n".join(parts) + "\n").encode())
    print(path)
    return 0


def _load(name: str) -> dict[str, Any] | None:
    path = output_folder() / f"{name}.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def _provenance(documents: Mapping[str, dict[str, Any] | None]) -> str:
    told = [f"{name}: revision {d['revision']}, {d['made']}" for name, d in documents.items() if d is not None]
    return (
        "All figures are counted: on boards that QEMU emulates, or by the engine compiled for the host, which computes "
        "the same bits. Bytes are bytes.\n\n" + "; ".join(told) + "."
    )


# --- memory ---


def _memory(document: dict[str, Any]) -> Iterable[str]:
    rows = document["rows"]
    fitting = [row for row in rows if row["fits"]]
    good = sum(exact(row) for row in fitting)
    deepest = min((row["differences"]["sram_stack_bytes"] for row in fitting), default=0)
    yield "## SRAM: predicted and measured"
    yield (
        f"{len(rows)} programs (model x scheme x number format x board), of which {len(fitting)} fit their board and "
        f"took a training step. In {good} of them static data and arena are exactly as predicted, the stack is not "
        "above its figure, and paint and emulator agree on it to the byte. The bound of the stack is at most "
        f"{-deepest} bytes above what was reached: it has an interrupt at the worst moment."
    )
    yield table(
        ("model", "scheme", "format", "board", "static", "arena", "stack planned", "by paint", "by emulator",
         "instructions"),
        (_memory_row(row) for row in fitting),
    )  # fmt: skip
    yield from _savings(document["savings"])
    yield from _mcunet(rows)


def _memory_row(row: dict[str, Any]) -> list[object]:
    found, measured = row["differences"], row["measured"]
    figures = [
        measured[f"sram_{part}_bytes"]
        if found[f"sram_{part}_bytes"] == 0
        else f"{measured[f'sram_{part}_bytes']:,} ({found[f'sram_{part}_bytes']:+})"
        for part in ("static", "arena")
    ]
    return [row["model"], row["scheme"], row["dtype"], row["env"], *figures, row["predicted"]["sram_stack_bytes"],
            measured["sram_stack_bytes"], row["witness"]["stack"], measured["instructions"]]  # fmt: skip


def _savings(savings: Mapping[str, list[dict[str, Any]]]) -> Iterable[str]:
    yield "## SRAM saved, step by step"
    yield (
        f"On {SAVING_ENV}, batch 1, same compiler, order, placement and kernels on both sides. `total` is static + "
        "arena + stack as measured. The last three columns are the arena alone: every value in memory of its own; "
        "placed, in the order of the program; placed, in the compiler's order."
    )
    lines = []
    for model, rows in savings.items():
        first = _total(rows[0])
        for row in rows:
            total, steps = _total(row), row["arena_steps"]
            saved = "" if total is None or first is None else f"{100 * (1 - total / first):.1f} %"
            share = f"{100 * row['trained'] / row['parameters']:.1f} %"
            lines.append([model, row["dtype"], row["scheme"], share, total or "does not fit", saved, *steps.values()])
    yield table(
        ("model", "format", "scheme", "trains", "total", "saved", "own memory each", "placed", "ordered, placed"), lines
    )


def _total(row: dict[str, Any]) -> int | None:
    return int(row["measured"]["sram_total_bytes"]) if row["fits"] else None


def _mcunet(rows: Sequence[dict[str, Any]]) -> Iterable[str]:
    wanted = ("tte-49kb", "int8", "mps2_an386")
    found = [r for r in rows if r["model"] == MCUNET and (r["scheme"], r["dtype"], r["env"]) == wanted and r["fits"]]
    if not found:
        return
    row, measured = found[0], found[0]["measured"]
    yield "## MCUNet-5fps, 49 KB scheme, one training step on the emulated Cortex-M4F"
    yield table(
        ("", "this bench", "TinyEngine"),
        [
            ("instructions", measured["instructions"], MIT["instructions"]),
            ("SRAM: static + arena + stack", measured["sram_total_bytes"], MIT["sram_total_bytes"]),
            ("of it the arena", measured["sram_arena_bytes"], MIT["arena_bytes"]),
            ("lower bound of the arena", row["lower_bound_bytes"], 163_840),
            ("flash", row["predicted"]["flash_bytes"], MIT["flash_bytes"]),
            ("MACs, forward + backward", measured["macs_forward"] + measured["macs_backward"], MIT["macs"]),
            ("gradients", "int8, stochastic rounding", "float32"),
        ],
    )


# --- kernels ---


def _kernels() -> Iterable[str]:
    """Those with a goal or a peer, from the stored counts, which `make check` keeps true."""
    rows = json.loads(BASELINE.read_text(encoding="utf-8"))["rows"]
    yield "## Kernels: instructions per multiply-accumulate"
    yield (
        "Counted on emulated cores, the result stored and requantised; `make kernels` has every kernel on every core. "
        "Cycles are modelled from the reference manuals' tables, without wait states."
    )
    lines = []
    for row in rows:
        peer = PEERS.get((row["kernel"], row["core"]))
        if peer is None and (row["goal"] is None or row["core"] != "cortex-m4f"):
            continue
        each = row["instructions"] / row["work"]
        goal = "" if row["goal"] is None else f"{row['goal']:.2f}, {'met' if each <= row['goal'] else 'missed'}"
        best = "" if peer is None else f"{peer[0]:.2f} ({peer[1]})"
        cycles = f"{row['modelled_cycles'] / row['work']:.2f}"
        lines.append([row["kernel"], row["core"], f"{each:.2f}", best, goal, cycles])
    yield table(("kernel", "core", "instructions", "best peer", "goal", "modelled cycles"), lines)


# --- training and gradients ---


def _training(document: dict[str, Any]) -> Iterable[str]:
    yield "## Accuracy: int8 training beside float32"
    yield (
        "Fashion-MNIST, 28x28, batch 1; means over the seeds. `full` trains from random weights, the other schemes "
        "adapt a float32 network to a sensor of half the gain and a brighter black (`before`). The last columns, of "
        "the first seed only: int8 that keeps what lies below a weight's unit in 8 bits, in 4, or loses it."
    )
    rows = []
    for entry in document["comparison"]:
        reached = [_share(entry.get(key)) for key in ("before", "float32", "int8")]
        behind = f"{entry['int8_behind_points']:+.2f}"
        rules = [_share(entry["rules"].get(rule)) for rule in ("compensated", "compensated4", "truncated")]
        rows.append([entry["model"], entry["scheme"], entry["seeds"], *reached, behind, *rules])
    head = ("model", "scheme", "seeds", "before", "float32", "int8", "points behind", "8 bits", "4 bits", "none")
    yield table(head, rows)
    yield table(
        ("model", "scheme", "seed", "format", "update", "steps", "accuracy", "loss"),
        ([r["model"], r["scheme"], r["seed"], r["dtype"], r["rule"], r["steps"], _share(r["accuracy"]),
          f"{r['loss']:.3f}"] for r in document["rows"]),
    )  # fmt: skip


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _gradients(document: dict[str, Any]) -> Iterable[str]:
    yield "## Gradients: int8 beside float32, through the whole network"
    yield (
        "Cosine of what a batch-1 step moves: median over single images, and of the mean gradient over 64 images with "
        "four seeds of the stochastic rounding each; the ratio of the mean gradients' lengths."
    )
    for model, rows in document["models"].items():
        yield f"### {model}"
        yield table(
            ("tensor", "single", "mean", "ratio"),
            ([r["tensor"], *(f"{r[k]:.3f}" for k in ("single_cosine", "mean_cosine", "mean_ratio"))] for r in rows),
        )


if __name__ == "__main__":
    raise SystemExit(main())
