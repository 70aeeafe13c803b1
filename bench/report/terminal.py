"""A run's summary for the terminal: what was reached, and a line for each board."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.meters.trace import PHASES
from bench.report.currents import WHATS
from bench.report.page import how
from bench.report.view import View, count, short
from bench.results.store import load_run


def terminal_summary(folder: Path) -> RenderableType:
    """Accuracy of each variant, each board's memory, traffic, energy and work, and the checks. Raises ConfigError.

    Figures of a round are means over the run's rounds; what is modelled says so in its column's head.
    """
    return summary(View(load_run(folder)))


def summary(view: View) -> RenderableType:
    """The same of a run that is read already."""
    parts: list[RenderableType] = [_accuracy(view)] if view.results or not view.energies else []
    if view.energies:
        parts.append(_energies(view))
    if view.lines:
        parts += [_memory(view), _rounds(view)]
    if view.left_out or view.failures:
        parts.append(
            Text(f"updates missing: {view.left_out}, attempts that failed: {len(view.failures)}; see the report")
        )
    parts += [_check(bool(check["passed"]), f"{check['name']}: {check['detail']}") for check in view.checks]
    return Group(*parts)


def _table(title: str, *columns: str, texts: int) -> Table:
    """`texts` columns of names, then columns of numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < texts else "right", overflow="fold")
    return table


def _accuracy(view: View) -> RenderableType:
    table = _table(
        "Shared model on the test set",
        "variant",
        "accuracy",
        "central",
        "points behind central",
        "loss",
        f"after s{_elapsed_kind(view)}",
        texts=1,
    )
    for result in view.results:
        central = "–" if result.central is None else f"{result.central:.4f}"
        behind = "–" if result.behind_central is None else f"{result.behind_central:+.2f}"
        loss = view.loss[result.variant].values if result.variant in view.loss else ()
        last = f"{loss[-1]:.3f}" if loss else "–"
        elapsed = view.last_of_cohort("elapsed", result.variant)
        table.add_row(result.variant, f"{result.accuracy:.4f}", central, behind, last, short(elapsed))
    return table


def _energies(view: View) -> RenderableType:
    """What `bench energy` kept, µJ of one step, inference or round."""
    table = _table("Energy of one, µJ", "board", "program", "of", *PHASES, "in all", "came about", texts=3)
    for found in view.energies:
        for what in (what for what in WHATS if what in found):
            by_phase = found[what]["by_phase_uj"]
            cells = [f"{by_phase[phase]:,.2f}" if phase in by_phase else "–" for phase in PHASES]
            energy = f"{found[what]['energy_uj']:,.2f}"
            table.add_row(found["board"], found["program"], WHATS[what], *cells, energy, found["kind"])
    return table


def _elapsed_kind(view: View) -> str:
    found = (view.last_of_cohort("elapsed", name) for name in view.variants)
    kinds = sorted({figure.kind for figure in found if figure is not None})
    return f" ({' or '.join(kinds)})" if kinds else ""


def _memory(view: View) -> RenderableType:
    table = _table(
        "SRAM in bytes", "board", "variant", "static", "arena", "stack", "total", "of RAM", "federation", texts=2
    )
    for line in view.lines:
        total = line.get("sram_total")
        share = f"{total.value / line.ram_bytes:.0%}" if total and line.ram_bytes else "–"
        parts = [line.get(f"sram_{part}") for part in ("static", "arena", "stack_high_water")]
        cells = [*map(count, parts), count(total), share, count(line.get("sram_federation"))]
        table.add_row(line.board, line.variant, *cells)
    return table


def _rounds(view: View) -> RenderableType:
    table = _table(
        "A round, mean",
        "board",
        "variant",
        "bytes down",
        "bytes up",
        f"energy mJ{how(view.lines, 'energy')}",
        f"{_work_unit(view)} a step{_work_kind(view)}",
        "own accuracy",
        texts=2,
    )
    for line in view.lines:
        work = line.work
        unit = f" {work[0]}" if work and _work_unit(view) == "work" else ""
        own = line.get("local_accuracy")
        table.add_row(
            line.board,
            line.variant,
            count(line.get("wire_down")),
            count(line.get("wire_up")),
            short(line.get("energy"), 1e-3),
            count(work[1]) + unit if work else "–",
            f"{own.value:.3f}" if own else "–",
        )
    return table


def _work_unit(view: View) -> str:
    units = {work[0] for line in view.lines if (work := line.work)}
    return units.pop() if len(units) == 1 else "work"


def _work_kind(view: View) -> str:
    """Whether the work was counted by an emulator or measured by the boards; of a mixed rack, both words."""
    kinds = sorted({work[1].kind for line in view.lines if (work := line.work)})
    return f" ({' or '.join(kinds)})" if kinds else ""


def _check(passed: bool, text: str) -> RenderableType:
    return Text.assemble(("passed  ", "green") if passed else ("FAILED  ", "bold red"), text)
