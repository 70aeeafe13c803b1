"""Modelled time and energy of a round: from exact counts and data-sheet figures, for boards without a meter.

For each board, with all its clients in the round together:

    compute [s]  = instructions · CPI / core_hz          (cycles / core_hz where the board counted its own cycles)
    link [s]     = wire bytes · 10 / baud                (a start bit, 8 data bits, a stop bit)
    busy [s]     = compute + link                        (the engine does not train while it sends)
    round [s]    = the longest busy of the cohort        (synchronous rounds: all wait for the slowest)
    idle [s]     = round − busy                          (none where a server step waits for no slowest board)
    energy [µJ]  = seconds · mA · V · 1000               (mA · V = mW; run current while computing and on the link,
                                                          sleep current while idle)

`CPI`, `core_hz`, currents and supply come from the board's manifest, section `ftte`; its `energy.source` names the data
sheet and the tables. CPI is itself a model (flash wait states, cache misses). What lies outside the chip (regulator,
debug probe, LEDs) is not in it, neither are retransmissions, evaluation and flashing. Everything here is `modelled`: it
compares variants and boards, it does not replace a meter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.errors import ConfigError
from bench.results.table import Measurement, Recorder

PHASES = ("compute", "link", "idle")
_BITS_PER_BYTE_ON_LINE = 10


class Currents(Protocol):
    """Data-sheet figures of a board: supply in volt, currents in mA, mean core cycles an instruction."""

    @property
    def supply_v(self) -> float: ...
    @property
    def run_ma(self) -> float: ...
    @property
    def sleep_ma(self) -> float: ...
    @property
    def cycles_per_instruction(self) -> float: ...
    @property
    def source(self) -> str: ...


class Manifest(Protocol):
    """What the model needs of a board's manifest: core clock in Hz, line rate in bit/s, currents."""

    @property
    def core_hz(self) -> int: ...
    @property
    def baud(self) -> int: ...
    @property
    def energy(self) -> Currents: ...


@dataclass(frozen=True)
class BoardRound:
    """What a board did in a round, over all clients that it hosts.

    `cycles` is what the board counted itself, 0 where an emulator counted `instructions` instead; `wire_bytes` of both
    directions; `steps` are training steps of batch 1.
    """

    board: str
    manifest: Manifest
    instructions: float
    cycles: float
    wire_bytes: float
    steps: float

    @property
    def compute_s(self) -> float:
        """Modelled seconds of training."""
        if self.cycles:
            return self.cycles / self.manifest.core_hz
        return self.instructions * self.manifest.energy.cycles_per_instruction / self.manifest.core_hz

    @property
    def link_s(self) -> float:
        """Modelled seconds on the line."""
        return self.wire_bytes * _BITS_PER_BYTE_ON_LINE / self.manifest.baud

    @property
    def busy_s(self) -> float:
        """Modelled seconds from the model's arrival to the update's end."""
        return self.compute_s + self.link_s

    @property
    def known(self) -> bool:
        """Whether there is a count to model from: a process of the host counts neither instructions nor cycles."""
        return self.instructions > 0 or self.cycles > 0


def energy_uj(seconds: float, milliamperes: float, volt: float) -> float:
    """Charge times voltage, in µJ: s · mA · V = mJ."""
    return seconds * milliamperes * volt * 1000.0


def modelled_round(recorder: Recorder, boards: Sequence[BoardRound], took_s: float | None = None) -> list[Measurement]:
    """Rows of a round, all `modelled`: a board's `energy` by phase, `step_time`, `round_time`; the cohort's time.

    A board's own `round_time` is how long it is busy; the cohort's (empty board) is the slowest board's. Boards that
    counted nothing have no rows, nor have boards without a run current (`energy.run_ma` 0) any `energy`.

    Args:
        recorder: names run, variant and round.
        boards: those that took part.
        took_s: of a server step that waits for no slowest board: the seconds since the step before. Boards then have no
            idle time: what they did began at different times.

    Raises:
        ConfigError: a negative count, naming the board.
    """
    for board in boards:
        if min(board.instructions, board.cycles, board.wire_bytes, board.steps) < 0:
            raise ConfigError(f"board {board.board}: a count of round {recorder.round} is negative: {board}")
    known = sorted((board for board in boards if board.known), key=lambda board: board.board)
    if not known:
        return []
    round_s = max(board.busy_s for board in known) if took_s is None else took_s
    cohort = Recorder(recorder.run, recorder.variant, round=recorder.round)
    return [
        *(row for board in known for row in _board_rows(recorder, board, None if took_s is not None else round_s)),
        cohort.row("round_time", round_s, "modelled"),
    ]


def _board_rows(recorder: Recorder, board: BoardRound, round_s: float | None) -> list[Measurement]:
    own = Recorder(recorder.run, recorder.variant, board.board, round=recorder.round)
    rows = [own.row("round_time", board.busy_s, "modelled")]
    if board.steps:
        rows.append(own.row("step_time", board.compute_s / board.steps, "modelled", "train"))
    currents = board.manifest.energy
    if currents.run_ma > 0:
        spent = [("compute", board.compute_s, currents.run_ma), ("link", board.link_s, currents.run_ma)]
        if round_s is not None:
            spent.append(("idle", round_s - board.busy_s, currents.sleep_ma))
        rows += [
            own.row("energy", energy_uj(seconds, current, currents.supply_v), "modelled", phase)
            for phase, seconds, current in spent
        ]
    return rows
