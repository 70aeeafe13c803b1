"""The page of the claims: tables of all studies, where a claim holds and where it fails, and plots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from bench.benchmarks.fleet_speed import table as speed_table
from bench.benchmarks.markdown import table
from bench.claims.html import as_html
from bench.claims.studies import BASELINE, OURS, STUDIES
from bench.claims.verdicts import COMPARABLE_POINTS, QUANTITIES, Row, accuracy_gap, find, reduction, stored_run
from bench.results.files import write_atomically


def write_page(content: Mapping[str, Any], folder: Path) -> None:
    """Writes claims.md, its plots, and claims.html with both in it.

    Args:
        content: `experiment`, `studies` by name, and `speeds`, the document of bench/benchmarks/fleet_speed.py or None.
        folder: to write into.
    """
    text = _markdown(content, folder)
    write_atomically(folder / "claims.md", text.encode())
    write_atomically(folder / "claims.html", as_html(text, folder).encode())


def _markdown(content: Mapping[str, Any], folder: Path) -> str:
    studies: Mapping[str, list[Row]] = content["studies"]
    protocol = content["experiment"]["protocol"]
    parts = ["# FTTE's claims on a simulated fleet", _preamble(protocol)]
    compared = studies.get("comparison") or studies.get("headline")
    if compared:
        parts += _verdicts(compared, protocol["dataset"])
        _plots(compared, folder)
        parts.append("![Accuracy over virtual time and over bytes](claims.png)")
    for name, study in STUDIES.items():
        parts += [f"## {study.title}", study.question]
        parts += _study(studies[name]) if name in studies else [f"*Not run yet: `make claims STUDIES={name}`*"]
    parts += ["## Speed of the fleet", *_speed(content.get("speeds"))]
    return "\n\n".join(parts) + "\n"


def _speed(document: Mapping[str, Any] | None) -> Iterator[str]:
    yield (
        "Client updates a second on this machine, our host-compiled engine beside Flower's simulation with PyTorch, a "
        "PyTorch loop without data loader, and numpy with 50 clients in one matrix product: the same samples, weights, "
        "batch and rate, each side at its best number of threads."
    )
    yield "\n".join(speed_table(dict(document))) if document else "*Not run yet: `make claims`*"


def _preamble(p: Mapping[str, Any]) -> str:
    return (
        f"All figures are from {p['dataset']}, {p['model']} at {'x'.join(map(str, p['input_shape']))}; the paper's are "
        f"from CIFAR-10. {p['clients']} clients of {p['samples']} samples, each with a sensor of its own, "
        f"{100 * p['straggler_share']:g} % of them {p['slowdown']:g} times slower, {100 * p['fraction']:g} % at work; "
        f"all start from a network pretrained for {p['pretrain_steps']:,} steps on {p['pretrain_samples']:,} samples "
        "that no client holds. Trained bit by bit by the boards' own program, compiled for the host. Seconds are "
        f"*modelled*: instructions counted on an emulated core at the clock of `{p['board']}`, and bytes at its line's "
        "rate; bytes are *counted*. SRAM is *planned* for that board; on the emulated core each program ran a step, "
        "and its memory was counted beside its plan there: static data and arena are equal, of the stack the plan has "
        f"a bound. Target: accuracy {p['target']:g} at two points in a row. Means over the seeds that reached it; "
        "`final` is the mean over the last fifth of a run. `own` is clients' accuracy on test samples like their own "
        "before, after, and after a last pass over their own samples; `kept` is that on the samples of the "
        "pretraining, before and after: what was forgotten."
    )


# Verdicts


def _verdicts(rows: Sequence[Row], dataset: str) -> Iterator[str]:
    yield "## The claims, one by one"
    yield (
        "Percent less than synchronous float32 FedAvg of all parameters, by the FTTE-style arm. Payload is a client's "
        "turn, both ways; bytes to the target are all of the wire's, framing included."
    )
    found: list[list[str]] = []
    for label in dict.fromkeys(row["label"] for row in rows):
        base, ours = find(rows, label, BASELINE), find(rows, label, OURS)
        if ours is None:
            continue
        if base is None:  # one more way of ours, beside the first label's baseline
            base = find(rows, rows[0]["label"], BASELINE)
        if base is not None:
            found += [[label, dataset, *line] for line in _against(base, ours)]
    yield table(("clients' labels", "data set", "claim", "FedAvg", "FTTE-style", "less", "claimed", ""), found)


def _against(base: Row, ours: Row) -> Iterator[list[str]]:
    for quantity in QUANTITIES:
        one = reduction(quantity, base, ours)
        less = "" if one.less is None else f"{one.less:.1f} %"
        if one.spread:
            less += f" ± {one.spread / 2:.1f}"
        claimed = "" if quantity.published is None else f"{quantity.published:g} %"
        numbers = [_number(value, quantity.unit) for value in (one.before, one.after)]
        yield [f"{quantity.name}, {quantity.kind}", *numbers, less, claimed, one.verdict]
    gap = accuracy_gap(base, ours)
    points = f"{-gap.points:+.2f} points" + (f" ± {gap.spread / 2:.2f}" if gap.spread else "")
    claimed = f"comparable ({COMPARABLE_POINTS:g} point)"
    yield ["final accuracy", f"{gap.before:.4f}", f"{gap.after:.4f}", points, claimed, gap.verdict]


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _number(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:,.0f} {unit}"


# Tables

_HEAD = ("case", "arm", "seeds", "SRAM, planned", "on a core: planned, counted", "trains", "up, down a turn",
         "to target, s", "bytes to target", "updates to target", "final", "own: before, after, adapted",
         "kept: before, after")  # fmt: skip


def _study(rows: Sequence[Row]) -> Iterator[str]:
    yield table(_HEAD, (_line(row) for row in rows))
    if schemes := dict.fromkeys(run["scheme"] for row in rows for run in row["runs"] if run["scheme"] != "full"):
        yield "w*: " + "; ".join(f"`{scheme}`" for scheme in schemes)


def _line(row: Row) -> list[object]:
    if not row["runs"]:
        return [row["label"], row["arm"], row["problem"] or "not run", *[""] * (len(_HEAD) - 3)]
    runs = [stored_run(run) for run in row["runs"]]
    firsts = [run.first(row["target"]) for run in runs]
    reached = [point for point in firsts if point is not None]
    few = "" if len(reached) == len(runs) else f" ({len(reached)} of {len(runs)})"

    def first(values: Iterable[float]) -> str:
        return f"{_mean(values):,.0f}{few}" if reached else "never"

    return [
        row["label"], row["arm"], len(runs), row["sram_total_bytes"] + row["sram_federation_bytes"],
        f"{row['sram_on_core_planned']:,}, {row['sram_on_core_counted']:,}",
        f"{100 * runs[0].trained / row['parameters']:.1f} %",
        f"{_mean(r.payload_up for r in runs):,.0f}, {_mean(r.payload_down for r in runs):,.0f}",
        first(p.at for p in reached), first(p.down + p.up for p in reached), first(p.updates for p in reached),
        f"{_mean(r.final for r in runs):.4f}",
        ", ".join(f"{_mean(getattr(r, f'local_{k}') for r in runs):.3f}" for k in ("before", "after", "adapted")),
        ", ".join(f"{_mean(getattr(r, f'kept_{k}') for r in runs):.3f}" for k in ("before", "after")),
    ]  # fmt: skip


# Plots


def _plots(rows: Sequence[Row], folder: Path) -> None:
    """Accuracy over virtual time and over bytes, of the first seed: a column for each division of the labels."""
    labels = list(dict.fromkeys(row["label"] for row in rows if row["runs"]))
    with mpl.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(3.2 * max(1, len(labels)), 5.2), layout="constrained")
        axes = figure.subplots(2, max(1, len(labels)), squeeze=False, sharey=True)
        for column, label in enumerate(labels):
            for row in (row for row in rows if row["label"] == label and row["runs"]):
                points = stored_run(row["runs"][0]).points[1:]
                accuracy = [point.accuracy for point in points]
                axes[0, column].plot([point.at for point in points], accuracy, label=row["arm"], linewidth=1)
                axes[1, column].plot([(p.down + p.up) / 1e6 for p in points], accuracy, linewidth=1)
            axes[0, column].set(title=label, xlabel="virtual seconds (modelled)", xscale="log")
            axes[1, column].set(xlabel="MB on all wires", xscale="log")
            for axis in axes[:, column]:
                axis.axhline(rows[0]["target"], color="grey", linewidth=0.6, linestyle="--")
                axis.grid(alpha=0.3)
        for axis in axes[:, 0]:
            axis.set_ylabel("accuracy")
        if labels:
            figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
        drawn = BytesIO()
        figure.savefig(drawn, format="png", dpi=160)
    write_atomically(folder / "claims.png", drawn.getvalue())
