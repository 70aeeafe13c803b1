"""A run in few numbers: for each variant, kind of board and metric the one that is compared from run to run.

* SRAM: the highest of all boards, clients and rounds, by phase (how deep the stack gets on the link is the line's
  doing).
* `instructions`, `cycles`: of a training step, over all steps.
* `accuracy`, `loss`, `elapsed`, `local_*`: after the last round.
* Bytes, energy, times: a board's mean round, its clients and phases together, and the mean of the kind's boards.
* What was lost or left out (`dropped`, `retransmitted_*`, ...): the sum.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

_HIGHEST = ("sram_static", "sram_arena", "sram_federation", "sram_stack_high_water", "sram_total")
_A_STEP = ("instructions", "cycles")
_LAST = ("accuracy", "loss", "elapsed", "local_accuracy", "local_loss")
_SUM = ("dropped", "retransmitted_up", "retransmitted_down", "wire_difference", "feedback_lost", "clipped", "saturated")
_MEAN = ("step_time", "step_energy", "inference_energy", "checkpoint", "weight", "staleness")
_PHASED = ("energy",)
"""Kept by phase, beside their sum."""
TREND_KEY = ("variant", "env", "phase", "metric", "kind")


_BOARD_ROUND = "a round"
_MERGES: Mapping[str, str] = {
    **dict.fromkeys(_HIGHEST, "highest"),
    **dict.fromkeys(_A_STEP, "a step"),
    **dict.fromkeys(_LAST, "last"),
    **dict.fromkeys(_SUM, "sum"),
    **dict.fromkeys(_MEAN, "mean"),
}
_Key = tuple[str, str, str, str, str]
_Row = tuple[str, int, float]
"""Board, round and value."""


def summarise(table: pd.DataFrame, envs: Mapping[str, str]) -> pd.DataFrame:
    """One row for each of TREND_KEY, with its `value`.

    Args:
        table: a run's measurements.
        envs: the kind of each board; a board that is not in it is a kind of its own.
    """
    groups: dict[_Key, list[_Row]] = {}
    steps: dict[tuple[str, str], float] = {}
    columns = ("variant", "board", "phase", "metric", "kind", "round", "value")
    # A loop over lists takes a third of what a dozen groupings of a frame do.
    for variant, board, phase, metric, kind, round_, value in zip(*(table[c].tolist() for c in columns), strict=True):
        env = (envs.get(board) or board) if board else ""
        if metric == "samples":
            steps[variant, env] = steps.get((variant, env), 0.0) + value
        for own in (phase,) if metric in _HIGHEST else ("", phase) if metric in _PHASED and phase else ("",):
            groups.setdefault((variant, env, own, metric, kind), []).append((board, round_, value))
    found = []
    for key, rows in groups.items():
        merged = _merged(key, rows, steps)
        if merged is not None:
            found.append((*key, merged))
    return pd.DataFrame(found, columns=[*TREND_KEY, "value"])


def _merged(key: _Key, rows: list[_Row], steps: Mapping[tuple[str, str], float]) -> float | None:
    """None for what has no value: figures of rounds in a run that had none."""
    variant, env, _, metric, _ = key
    values = [value for _, _, value in rows]
    how = _MERGES.get(metric, _BOARD_ROUND)
    if how == "highest":
        return max(values)
    if how == "sum":
        return math.fsum(values)
    if how == "mean":
        return math.fsum(values) / len(values)
    if how == "a step":  # rows without a number of steps are a step's already
        done = steps.get((variant, env), 0.0)
        return math.fsum(values) / (done or len(values))
    if how == "last":
        latest = max(round_ for _, round_, _ in rows)
        last = [value for _, round_, value in rows if round_ == latest]
        return math.fsum(last) / len(last)
    rounds: dict[tuple[str, int], list[float]] = {}
    for board, round_, value in rows:
        if round_ > 0:
            rounds.setdefault((board, round_), []).append(value)
    sums = [math.fsum(round_) for round_ in rounds.values()]
    return math.fsum(sums) / len(sums) if sums else None
