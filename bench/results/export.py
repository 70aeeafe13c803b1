"""A run for other programs: CSV, `customSmallerIsBetter` JSON, OpenMetrics, Markdown, Parquet.

What is exported is what is compared from run to run (see `summarise`), by kind of board; CSV and Parquet hold all rows.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.errors import ConfigError
from bench.results.store import Run
from bench.results.summarise import summarise
from bench.results.table import UNITS

LARGER_IS_BETTER = frozenset({"accuracy", "local_accuracy"})
"""Metrics that one wants high; of all others that have a better direction, low."""


@dataclass(frozen=True)
class _Figure:
    variant: str
    env: str
    phase: str
    metric: str
    kind: str
    value: float

    @property
    def name(self) -> str:
        """In words, and unique in its run."""
        parts = (self.variant, self.env or "cohort", self.metric, self.phase, "modelled" * (self.kind == "modelled"))
        return " ".join(part for part in parts if part)


def export(run: Run, form: str) -> bytes:
    """A run in one of FORMATS. Raises ConfigError: another form, or pyarrow is not installed."""
    if form not in FORMATS:
        raise ConfigError(f"export {form}: known are {', '.join(FORMATS)}")
    return FORMATS[form](run)


def csv(run: Run) -> bytes:
    """Every row, as in measurements.csv."""
    text: str = run.frame().to_csv(index=False, lineterminator="\n")
    return text.encode()


def parquet(run: Run) -> bytes:
    """Every row; texts as dictionaries."""
    table = run.frame()
    texts = [column for column in table.columns if column not in ("round", "value")]
    file = io.BytesIO()
    try:
        table.astype(dict.fromkeys(texts, "category")).to_parquet(file, index=False)
    except ImportError as error:
        raise ConfigError("export parquet: needs pyarrow: pip install 'ftte-bench[parquet]'") from error
    return file.getvalue()


def smaller_is_better(run: Run) -> bytes:
    """For github-action-benchmark's tool `customSmallerIsBetter`: what is better high is told by what lacks to 1."""
    entries = []
    for figure in _figures(run):
        if figure.metric in LARGER_IS_BETTER:
            name, value = figure.name.replace(figure.metric, f"1 - {figure.metric}"), 1 - figure.value
        else:
            name, value = figure.name, figure.value
        extra = f"{figure.kind}; run {run.document['run']}; revision {_revision(run)}"
        entries.append({"name": name, "unit": UNITS[figure.metric], "value": value, "extra": extra})
    return json.dumps(entries, indent=2, ensure_ascii=False).encode() + b"\n"


_OPEN_UNITS = {"bytes": "bytes", "uJ": "joules", "s": "seconds", "1": "ratio", "nats": "nats"}
"""OpenMetrics wants base units, and a name that ends in its unit."""
_SCALES = {"uJ": 1e-6}


def open_metrics(run: Run) -> bytes:
    """OpenMetrics 1.0 text: a gauge for each metric, labelled by variant, kind of board, phase and kind of figure."""
    families: dict[str, list[_Figure]] = {}
    for figure in _figures(run):
        families.setdefault(figure.metric, []).append(figure)
    lines = []
    for metric, figures in sorted(families.items()):
        unit = _OPEN_UNITS.get(UNITS[metric], UNITS[metric])
        name = f"bench_{metric}" if metric.endswith(unit) else f"bench_{metric}_{unit}"
        lines += [f"# TYPE {name} gauge", f"# UNIT {name} {unit}"]
        for figure in figures:
            labels = {
                "experiment": str(run.document.get("experiment", {}).get("name") or ""), "variant": figure.variant,
                "env": figure.env, "phase": figure.phase, "kind": figure.kind,
            }  # fmt: skip
            shown = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
            lines.append(f"{name}{{{shown}}} {figure.value * _SCALES.get(UNITS[metric], 1.0)!r}")
    return "\n".join([*lines, "# EOF", ""]).encode()


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


_SHOWN: Mapping[str, tuple[str, float, str]] = {
    "sram_total": ("SRAM, bytes", 1.0, ",.0f"),
    "instructions": ("instructions a step", 1.0, ",.0f"),
    "cycles": ("cycles a step", 1.0, ",.0f"),
    "wire_down": ("bytes down a round", 1.0, ",.0f"),
    "wire_up": ("bytes up a round", 1.0, ",.0f"),
    "energy": ("energy a round, mJ", 1e-3, ",.3g"),
    "round_time": ("busy a round, s", 1.0, ",.3g"),
}


def markdown(run: Run) -> bytes:
    """A summary for a pull request or a CI job: accuracy of each variant, a line for each kind of board, the checks."""
    figures = list(_figures(run))
    lines = [f"### {run.document['run']}", "", "| variant | accuracy | loss |", "| --- | ---: | ---: |"]
    cohort = {(figure.variant, figure.metric): figure.value for figure in figures if not figure.env}
    for variant, metric in cohort:
        if metric == "accuracy":
            loss = cohort.get((variant, "loss"))
            lines.append(f"| {variant} | {cohort[variant, metric]:.4f} | {'–' if loss is None else f'{loss:.3f}'} |")
    on_boards = [figure for figure in figures if figure.env and (not figure.phase or figure.metric == "sram_total")]
    metrics = [metric for metric in _SHOWN if any(figure.metric == metric for figure in on_boards)]
    if metrics:
        modelled = {figure.metric for figure in on_boards if figure.kind == "modelled"}
        heads = [_SHOWN[metric][0] + (" (modelled)" if metric in modelled else "") for metric in metrics]
        lines += ["", f"| board | variant | {' | '.join(heads)} |", f"| --- | --- |{' ---: |' * len(heads)}"]
        for env, variant in dict.fromkeys((figure.env, figure.variant) for figure in on_boards):
            own = [figure for figure in on_boards if (figure.env, figure.variant) == (env, variant)]
            cells = [_cell(own, metric) for metric in metrics]
            lines.append(f"| {env} | {variant} | {' | '.join(cells)} |")
    checks = run.document.get("checks", [])
    if checks:
        lines.append("")
    lines += [
        f"* {'passed' if check['passed'] else '**failed**'}: {check['name']}: {check['detail']}" for check in checks
    ]
    return "\n".join([*lines, ""]).encode()


def _cell(figures: list[_Figure], metric: str) -> str:
    _, scale, form = _SHOWN[metric]
    values = [figure.value for figure in figures if figure.metric == metric]
    return format(max(values) * scale, form) if values else "–"


def _figures(run: Run) -> Iterator[_Figure]:
    envs = {board["name"]: board.get("env", "") for board in run.document.get("boards", [])}
    summary: pd.DataFrame = summarise(run.frame(), envs)
    for record in summary.to_dict("records"):
        yield _Figure(**{str(key): value for key, value in record.items()})


def _revision(run: Run) -> Any:
    environment = run.document.get("environment", {})
    return f"{environment.get('revision') or 'unknown'}{' with local changes' if environment.get('dirty') else ''}"


FORMATS: Mapping[str, Callable[[Run], bytes]] = {
    "csv": csv,
    "smaller-is-better": smaller_is_better,
    "openmetrics": open_metrics,
    "markdown": markdown,
    "parquet": parquet,
}
