"""A run's rows, arranged for reading: a line for each variant, each board of a variant, and each of its rounds.

What is shown of several rows is their sum over a board's clients and then the mean over its rounds; of SRAM it is the
highest. A figure keeps how its rows came about, so that nothing modelled can be shown without that word.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.results.store import Run
from bench.results.table import Kind, Measurement

_LEAST_SURE: tuple[Kind, ...] = ("modelled", "measured", "counted")
ENERGY_PHASES = ("compute", "link", "idle")
CENTRAL = "_central"
"""Behind a variant's name: the same training in one place, on the host."""


@dataclass(frozen=True)
class Figure:
    """A number and how it came about; of several kinds, the least sure one."""

    value: float
    kind: Kind

    @property
    def note(self) -> str:
        """What must stand beside the number."""
        return "modelled" if self.kind == "modelled" else ""


def count(figure: Figure | float | None) -> str:
    """A whole number with separators; a dash for none."""
    if figure is None:
        return "–"
    return f"{figure.value if isinstance(figure, Figure) else figure:,.0f}"


def short(figure: Figure | float | None, scale: float = 1.0) -> str:
    """Three significant digits, after multiplying by `scale`; a dash for none."""
    if figure is None:
        return "–"
    value = (figure.value if isinstance(figure, Figure) else figure) * scale
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def least_sure(kinds: Iterable[Kind]) -> Kind:
    """`modelled` if any of them is."""
    present = set(kinds)
    return next(kind for kind in _LEAST_SURE if kind in present)


@dataclass(frozen=True)
class Curve:
    """A figure of the shared model by round; round 0 is before any training."""

    variant: str
    rounds: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def last(self) -> float:
        """After the last round."""
        return self.values[-1]


@dataclass(frozen=True)
class BoardRound:
    """What a board did in one round, over all clients that it hosts."""

    round: int
    figures: Mapping[str, Figure]
    """By metric; `energy` by `energy/phase`, and `energy` for their sum."""


@dataclass(frozen=True)
class BoardLine:
    """A board in one variant. `figures` as in BoardRound, of all its rounds; None of them when it has none."""

    variant: str
    board: str
    env: str
    ram_bytes: int | None
    rounds: tuple[BoardRound, ...]
    figures: Mapping[str, Figure]

    def get(self, metric: str) -> Figure | None:
        """A figure, None where the board has none."""
        return self.figures.get(metric)

    @property
    def work(self) -> tuple[str, Figure] | None:
        """Instructions a training step, or cycles where the board counted those; with the unit's name."""
        steps = self.figures.get("samples")
        for metric in ("instructions", "cycles"):
            figure = self.figures.get(metric)
            if figure is not None and steps is not None and steps.value:
                return metric, Figure(figure.value / steps.value, figure.kind)
        return None

    def framing(self, direction: str) -> Figure | None:
        """Wire bytes beyond the payload in a round, `up` or `down`."""
        wire, payload = self.get(f"wire_{direction}"), self.get(f"payload_{direction}")
        if wire is None or payload is None:
            return None
        return Figure(wire.value - payload.value, least_sure([wire.kind, payload.kind]))


@dataclass(frozen=True)
class Failure:
    """A client's attempt at a round that came to nothing; `answered` when a second one in that round did not."""

    variant: str
    round: int
    client: str
    reason: str
    answered: bool


@dataclass(frozen=True)
class Result:
    """A variant's side of the headline. Gaps are in points of accuracy (percent of the test set)."""

    variant: str
    accuracy: float
    central: float | None

    @property
    def behind_central(self) -> float | None:
        """Points; negative when it is ahead."""
        return None if self.central is None else 100 * (self.central - self.accuracy)


@dataclass(frozen=True)
class Job:
    """A board's part in a server step, in seconds since the start: from being given until the server took it."""

    board: str
    step: int
    begin: float
    end: float
    busy: float


_HIGHEST = ("sram_static", "sram_arena", "sram_federation", "sram_stack_high_water", "sram_total")
_LATEST = ("local_accuracy", "local_loss")
_TOTAL = ("retransmitted_up", "retransmitted_down")


class View:
    """Everything that page and terminal show of a run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.document: Mapping[str, Any] = run.document
        self.boards: Mapping[str, Mapping[str, Any]] = {
            board["name"]: board for board in self.document.get("boards", [])
        }
        curves = {row.variant for row in run.rows if row.metric == "accuracy" and not row.board}
        named = list(self.document.get("variants", {}))
        self.variants = [name for name in named if name in curves]
        self.variants += sorted(name for name in curves - set(named) if not name.endswith(CENTRAL))
        self.accuracy = {name: self._curve(name, "accuracy") for name in self._ordered(curves)}
        updates = [row for row in run.rows if row.board and row.round > 0 and row.metric == "samples"]
        self._updates = {(row.variant, row.client, row.round) for row in updates}
        self._clients = self._seated(updates)
        losses = {row.variant for row in run.rows if row.metric == "loss" and not row.board}
        self.loss = {name: self._curve(name, "loss") for name in self._ordered(losses)}
        self.lines = [line for name in self.variants for line in self._lines(name)]

    @property
    def targets(self) -> Mapping[str, float]:
        """What the experiment is checked against."""
        targets = self.document.get("experiment", {}).get("targets", {})
        return targets if isinstance(targets, dict) else {}

    @property
    def checks(self) -> Sequence[Mapping[str, Any]]:
        """Each with `name`, `passed` and `detail`."""
        return list(self.document.get("checks", []))

    @property
    def energies(self) -> Sequence[Mapping[str, Any]]:
        """What `bench energy` measured, as it says it itself."""
        return list(self.document.get("energy", []))

    @property
    def results(self) -> list[Result]:
        """The headline, a line for each variant."""
        central = {name: self.accuracy.get(f"{name}{CENTRAL}") for name in self.variants}
        return [
            Result(name, self.accuracy[name].last, None if (curve := central[name]) is None else curve.last)
            for name in self.variants
        ]

    @property
    def failures(self) -> list[Failure]:
        """Attempts at a round that came to nothing."""
        events = self.document.get("dropped", [])
        return [
            Failure(event["variant"], event["round"], event["client"], event["reason"], self._answered(event))
            for event in events
        ]

    @property
    def left_out(self) -> int:
        """Updates that are missing, over all variants, boards and rounds."""
        return sum(self.missing(line) for line in self.lines)

    def missing(self, line: BoardLine) -> int:
        """Updates that a board owes: a client's rounds in which it did not take part, over all its clients. None where
        the server does not wait for everyone: then a step has the updates that came first."""
        strategy = self.document.get("variants", {}).get(line.variant, {}).get("strategy", "fedavg")
        if strategy not in ("fedavg", "fedprox"):
            return 0
        rounds = [round_ for round_ in self.accuracy[line.variant].rounds if round_ > 0]
        clients = self._clients[line.variant].get(line.board, set())
        return sum((line.variant, client, round_) not in self._updates for client in clients for round_ in rounds)

    def lines_of(self, variant: str) -> list[BoardLine]:
        """A variant's boards."""
        return [line for line in self.lines if line.variant == variant]

    def cohort(self, metric: str, variant: str) -> Figure | None:
        """Mean over the rounds of a figure of the whole cohort, such as `round_time`."""
        rows = [row for row in self.run.rows if (row.metric, row.variant, row.board) == (metric, variant, "")]
        rows = [row for row in rows if row.round > 0]
        return Figure(_mean([row.value for row in rows]), least_sure(row.kind for row in rows)) if rows else None

    def last_of_cohort(self, metric: str, variant: str) -> Figure | None:
        """A figure of the whole cohort after its last round, such as `elapsed`."""
        rows = [row for row in self.run.rows if (row.metric, row.variant, row.board) == (metric, variant, "")]
        last = max(rows, key=lambda row: row.round, default=None)
        return None if last is None else Figure(last.value, last.kind)

    def spent(self, variant: str, what: str) -> tuple[dict[int, float], Kind]:
        """What the cohort had spent after each round: `bytes` on the wire, µJ of `energy`, or seconds of `time`."""
        if what == "time":
            rows = [row for row in self.run.rows if (row.metric, row.variant, row.board) == ("elapsed", variant, "")]
            found = {row.round: row.value for row in rows}
        else:
            metrics = ("wire_down", "wire_up") if what == "bytes" else ("energy",)
            rows = [row for row in self.run.rows if row.variant == variant and row.metric in metrics and row.round > 0]
            by_round: dict[int, float] = defaultdict(float)
            for row in rows:
                by_round[row.round] += row.value
            total, found = 0.0, {}
            for round_ in sorted(by_round):
                total += by_round[round_]
                found[round_] = total
        return found, least_sure(row.kind for row in rows) if rows else "counted"

    def total(self, variant: str, metric: str) -> float:
        """Of the whole run, all boards together."""
        return sum(row.value for row in self.run.rows if row.variant == variant and row.metric == metric and row.board)

    def jobs(self, variant: str, steps: int) -> list[Job]:
        """What boards did until the server's first so many steps, on the modelled clock; none where it has no times."""
        ends, _ = self.spent(variant, "time")
        ends[0] = 0.0
        staleness: dict[tuple[str, int], float] = defaultdict(float)
        for row in self.run.rows:
            if row.variant == variant and row.metric == "staleness":
                key = row.board, row.round
                staleness[key] = max(staleness[key], row.value)
        found = []
        for row in self.run.rows:
            if row.variant == variant and row.board and row.metric == "round_time" and 0 < row.round <= steps:
                begun = ends.get(row.round - 1 - int(staleness[row.board, row.round]))
                end = ends.get(row.round)
                if row.kind == "modelled" and begun is not None and end is not None:
                    found.append(Job(row.board, row.round, begun, end, row.value))
        return found

    def _answered(self, event: Mapping[str, Any]) -> bool:
        return (event["variant"], event["client"], event["round"]) in self._updates

    def _seated(self, updates: Iterable[Measurement]) -> dict[str, dict[str, set[str]]]:
        """Clients by variant and by the board they train on: as the document says, or where they were seen."""
        boards: dict[str, dict[str, str]] = {name: {} for name in self.variants}
        for row in updates:
            boards.setdefault(row.variant, {})[row.client] = row.board
        for name, variant in self.document.get("variants", {}).items():
            seats = variant.get("clients", {})
            boards.setdefault(name, {}).update({client: seat["board"] for client, seat in seats.items()})
        clients: dict[str, dict[str, set[str]]] = {name: defaultdict(set) for name in boards}
        for name, seats in boards.items():
            for client, board in seats.items():
                clients[name][board].add(client)
        return clients

    def _ordered(self, curves: Iterable[str]) -> list[str]:
        central = [f"{name}{CENTRAL}" for name in self.variants]
        known = [name for name in (*self.variants, *central) if name in curves]
        return known + sorted(set(curves) - set(known))

    def _curve(self, variant: str, metric: str) -> Curve:
        points = sorted(
            (row.round, row.value)
            for row in self.run.rows
            if (row.variant, row.metric, row.board) == (variant, metric, "")
        )
        return Curve(variant, tuple(point[0] for point in points), tuple(point[1] for point in points))

    def _lines(self, variant: str) -> list[BoardLine]:
        by_board: dict[str, list[Measurement]] = defaultdict(list)
        for row in self.run.rows:
            if row.variant == variant and row.board:
                by_board[row.board].append(row)
        present = by_board.keys() | self._clients[variant].keys()  # a board that never answered has no rows
        order = [name for name in self.boards if name in present] + sorted(present - set(self.boards))
        return [self._line(variant, board, by_board[board]) for board in order]

    def _line(self, variant: str, board: str, rows: Sequence[Measurement]) -> BoardLine:
        by_round: dict[int, list[Measurement]] = defaultdict(list)
        for row in rows:
            by_round[row.round].append(row)
        rounds = tuple(BoardRound(number, _figures(by_round[number])) for number in sorted(by_round))
        about = self.boards.get(board, {})
        return BoardLine(variant, board, about.get("env", ""), about.get("ram_bytes"), rounds, _over_rounds(rounds))


def _figures(rows: Sequence[Measurement]) -> dict[str, Figure]:
    """Of a board and round: sums over clients and phases; of SRAM the highest, of local figures the mean by samples."""
    groups: dict[str, list[Measurement]] = defaultdict(list)
    for row in rows:
        groups[row.metric].append(row)
        if row.metric == "energy":
            groups[f"energy/{row.phase}"].append(row)
    samples = {row.client: row.value for row in groups.get("samples", [])}
    figures = {}
    for metric, group in groups.items():
        values = [row.value for row in group]
        if metric in _HIGHEST:
            value = max(values)
        elif metric in _LATEST:
            weights = [samples.get(row.client, 1.0) for row in group]
            value = sum(w * v for w, v in zip(weights, values, strict=True)) / (sum(weights) or 1.0)
        elif metric == "step_time":
            value = _mean(values)
        else:
            value = sum(values)
        figures[metric] = Figure(value, least_sure(row.kind for row in group))
    return figures


def _over_rounds(rounds: Sequence[BoardRound]) -> dict[str, Figure]:
    found: dict[str, list[Figure]] = defaultdict(list)
    for one in rounds:
        for metric, figure in one.figures.items():
            found[metric].append(figure)
    combined = {}
    for metric, figures in found.items():
        values = [figure.value for figure in figures]
        if metric in _HIGHEST:
            value = max(values)
        elif metric in _LATEST:
            value = values[-1]
        elif metric in _TOTAL:
            value = sum(values)
        else:
            value = _mean(values)
        combined[metric] = Figure(value, least_sure(figure.kind for figure in figures))
    return combined


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
