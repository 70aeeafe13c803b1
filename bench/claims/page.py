"""The page of the claims: tables of all studies, where a claim holds and where it fails, and two plots."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from bench.benchmarks.markdown import table
from bench.claims.runs import Run
from bench.claims.studies import BASELINE, OURS, STUDIES
from bench.fleet.simulate import Point
from bench.results.files import write_atomically

_COMPARABLE = 1.0
"""Points behind that still count as comparable; ours."""
CLAIMS = {"memory": 80.0, "payload": 69.0, "time": 81.0}
"""Percent less than synchronous FedAvg: FTTE's abstract (arXiv 2510.03165), on CIFAR-10."""

Row = Mapping[str, Any]


def write_page(content: Mapping[str, Any], folder: Path) -> None:
    """Writes claims.md and its plots from the document of `python -m bench.claims`."""
    studies: Mapping[str, list[Row]] = content["studies"]
    protocol = content["experiment"]["protocol"]
    parts = ["# FTTE's claims on a simulated fleet", _preamble(protocol)]
    if "comparison" in studies:
        parts += _verdicts(studies["comparison"], protocol["dataset"])
        _plots(studies["comparison"], folder)
        parts.append("![Accuracy over virtual time and over bytes](claims.png)")
    for name, study in STUDIES.items():
        parts += [f"## {study.title}", study.question]
        parts += _study(studies[name]) if name in studies else [f"*Not run yet: `make claims STUDIES={name}`*"]
    write_atomically(folder / "claims.md", ("\n\n".join(parts) + "\n").encode())


def _preamble(p: Mapping[str, Any]) -> str:
    return (
        f"All figures are from {p['dataset']}, {p['model']} at {'x'.join(map(str, p['input_shape']))}; the paper's are "
        f"from CIFAR-10. {p['clients']} clients of {p['samples']} samples, each with a sensor of its own, "
        f"{100 * p['straggler_share']:g} % of them {p['slowdown']:g} times slower, {100 * p['fraction']:g} % at work; "
        f"all start from a network pretrained for {p['pretrain_steps']:,} steps on {p['pretrain_samples']:,} samples "
        "that no client holds. Trained bit by bit by the boards' own program, compiled for the host. Seconds are "
        f"*modelled*: instructions counted on an emulated core at the clock of `{p['board']}`, and bytes at its line's "
        f"rate; bytes are *counted*, SRAM is *planned*. Target: accuracy {p['target']:g} at two points in a row. Means "
        "over the seeds that reached it; `final` is the mean over the last fifth of a run. `own` is clients' accuracy "
        "on test samples like their own before, after, and after a last pass over their own samples; `kept` is that on "
        "the samples of the pretraining, before and after: what was forgotten."
    )


# Verdicts


def _verdicts(rows: Sequence[Row], dataset: str) -> Iterator[str]:
    yield "## The claims, one by one"
    yield (
        "Percent less than synchronous float32 FedAvg of all parameters, by the FTTE-style arm. Payload is a client's "
        "turn, both ways; bytes to the target are all of the wire's, framing included."
    )
    found = []
    for label in dict.fromkeys(row["label"] for row in rows):
        base, ours = (_find(rows, label, name) for name in (BASELINE, OURS))
        if base is None or ours is None or not (base["runs"] and ours["runs"]):
            continue
        found += [[label, dataset, *line] for line in _against(base, ours)]
    yield table(("clients' labels", "data set", "claim", "FedAvg", "FTTE-style", "less", "claimed", ""), found)


def _against(base: Row, ours: Row) -> Iterator[list[str]]:
    def line(what: str, claim: str | None, of: Callable[[Row], float | None], unit: str) -> list[str]:
        before, after = of(base), of(ours)
        texts = [what, _number(before, unit), _number(after, unit)]
        claimed = "" if claim is None else f"{CLAIMS[claim]:g} %"
        if before is None or after is None:
            return [*texts, "", claimed, "target not reached"]
        less = 100 * (1 - after / before)
        verdict = "" if claim is None else "holds" if less >= CLAIMS[claim] else "**fails**"
        return [*texts, f"{less:.1f} %", claimed, verdict]

    yield line("SRAM", "memory", lambda row: row["sram_total_bytes"] + row["sram_federation_bytes"], "B")
    yield line("payload", "payload", lambda row: _mean(r["payload_up"] + r["payload_down"] for r in row["runs"]), "B")
    yield line("time to target", "time", lambda row: _to_target(row, lambda p: p.at), "s")
    yield line("bytes to target", None, lambda row: _to_target(row, lambda p: p.down + p.up), "B")
    finals = [_mean(_run(run).final for run in row["runs"]) for row in (base, ours)]
    points = 100 * (finals[1] - finals[0])
    verdict = "holds" if points >= -_COMPARABLE else "**fails**"
    texts = [f"{final:.4f}" for final in finals]
    yield ["final accuracy", *texts, f"{points:+.2f} points", f"comparable ({_COMPARABLE:g} point)", verdict]


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _number(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:,.0f} {unit}"


def _find(rows: Iterable[Row], label: str, arm: str) -> Row | None:
    return next((row for row in rows if (row["label"], row["arm"]) == (label, arm)), None)


def _to_target(row: Row, of: Callable[[Point], float]) -> float | None:
    """Mean over the runs, if all reached it."""
    firsts = [_run(run).first(row["target"]) for run in row["runs"]]
    if not firsts or any(point is None for point in firsts):
        return None
    return _mean(of(point) for point in firsts if point is not None)


# Tables

_HEAD = ("case", "arm", "seeds", "SRAM", "trains", "up, down a turn", "to target, s", "bytes to target",
         "updates to target", "final", "own: before, after, adapted", "kept: before, after")  # fmt: skip


def _study(rows: Sequence[Row]) -> Iterator[str]:
    yield table(_HEAD, (_line(row) for row in rows))
    if schemes := dict.fromkeys(run["scheme"] for row in rows for run in row["runs"] if run["scheme"] != "full"):
        yield "w*: " + "; ".join(f"`{scheme}`" for scheme in schemes)


def _line(row: Row) -> list[object]:
    if not row["runs"]:
        return [row["label"], row["arm"], row["problem"] or "not run", *[""] * (len(_HEAD) - 3)]
    runs = [_run(run) for run in row["runs"]]
    firsts = [run.first(row["target"]) for run in runs]
    reached = [point for point in firsts if point is not None]
    few = "" if len(reached) == len(runs) else f" ({len(reached)} of {len(runs)})"

    def first(values: Iterable[float]) -> str:
        return f"{_mean(values):,.0f}{few}" if reached else "never"

    return [
        row["label"], row["arm"], len(runs), row["sram_total_bytes"] + row["sram_federation_bytes"],
        f"{100 * runs[0].trained / row['parameters']:.1f} %",
        f"{_mean(r.payload_up for r in runs):,.0f}, {_mean(r.payload_down for r in runs):,.0f}",
        first(p.at for p in reached), first(p.down + p.up for p in reached), first(p.updates for p in reached),
        f"{_mean(r.final for r in runs):.4f}",
        ", ".join(f"{_mean(getattr(r, f'local_{k}') for r in runs):.3f}" for k in ("before", "after", "adapted")),
        ", ".join(f"{_mean(getattr(r, f'kept_{k}') for r in runs):.3f}" for k in ("before", "after")),
    ]  # fmt: skip


def _run(stored: Mapping[str, Any]) -> Run:
    return Run(**{**stored, "points": [Point(**point) for point in stored["points"]]})


# Plots


def _plots(rows: Sequence[Row], folder: Path) -> None:
    """Accuracy over virtual time and over bytes, of the first seed: a column for each division of the labels."""
    labels = list(dict.fromkeys(row["label"] for row in rows if row["runs"]))
    with mpl.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(3.2 * max(1, len(labels)), 5.2), layout="constrained")
        axes = figure.subplots(2, max(1, len(labels)), squeeze=False, sharey=True)
        for column, label in enumerate(labels):
            for row in (row for row in rows if row["label"] == label and row["runs"]):
                points = _run(row["runs"][0]).points[1:]
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
        figure.savefig(folder / "claims.png", dpi=160)
