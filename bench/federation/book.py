"""Figures of updates, from their arrival until the server step that they are part of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from bench.federation.client import Figure, Trained
from bench.federation.events import Stepped
from bench.results.table import Measurement, Recorder

_MEANS = ("local_loss", "local_accuracy", "staleness")  # by samples; of SRAM the highest, all else is added up


@dataclass(frozen=True)
class _Page:
    client: str
    board: str
    samples: int
    figures: tuple[Figure, ...]


class Book:
    """By job. A client with several updates in one step has one row for each figure, over all of them."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._pages: dict[int, _Page] = {}

    def enter(self, job: int, trained: Trained, board: str) -> None:
        """An update has come, and waits in the buffer."""
        self._pages[job] = _Page(trained.client, board, trained.samples, trained.figures)

    def rows(self, step: Stepped) -> list[Measurement]:
        """Those of a step, by client: what clients counted, and the updates' staleness and weight."""
        by_client: dict[str, list[tuple[int, Figure]]] = defaultdict(list)
        boards: dict[str, str] = {}
        for entry in step.entries:
            page = self._pages.pop(entry.job)
            boards[page.client] = page.board
            own = (Figure("staleness", entry.staleness, "counted"), Figure("weight", entry.factor, "counted"))
            by_client[page.client] += [(page.samples, figure) for figure in (*page.figures, *own)]
        found = []
        for client in sorted(by_client):
            recorder = Recorder(self._recorder.run, self._recorder.variant, boards[client], client, step.version)
            found += [recorder.row(f.metric, f.value, f.kind, f.phase) for f in _together(by_client[client])]
        return found

    def to_state(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            str(job): [page.client, page.board, page.samples, [list(astuple(figure)) for figure in page.figures]]
            for job, page in self._pages.items()
        }

    @classmethod
    def from_state(cls, recorder: Recorder, state: Mapping[str, Any]) -> Book:
        """What `to_state` was asked of."""
        book = cls(recorder)
        for job, (client, board, samples, figures) in state.items():
            book._pages[int(job)] = _Page(client, board, samples, tuple(Figure(*figure) for figure in figures))
        return book


def _together(figures: Sequence[tuple[int, Figure]]) -> list[Figure]:
    groups: dict[tuple[str, str], list[tuple[int, Figure]]] = defaultdict(list)
    for samples, figure in figures:
        groups[figure.metric, figure.phase].append((samples, figure))
    return [_one(group) for group in groups.values()]


def _one(group: Sequence[tuple[int, Figure]]) -> Figure:
    first = group[0][1]
    if len(group) == 1:
        return first
    values = [figure.value for _, figure in group]
    if first.metric in _MEANS:
        value = sum(samples * figure.value for samples, figure in group) / sum(samples for samples, _ in group)
    else:
        value = max(values) if first.metric.startswith("sram_") else sum(values)
    return Figure(first.metric, value, first.kind, first.phase)
