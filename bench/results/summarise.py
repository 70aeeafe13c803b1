"""A run in few numbers: for each variant, kind of board and metric the one that is compared from run to run.

* SRAM: the highest of all boards, clients and rounds, by phase (how deep the stack gets on the link is the line's
  doing).
* `instructions`, `cycles`: of a training step, over all steps.
* `accuracy`, `loss`, `elapsed`, `local_*`: after the last round.
* Bytes, energy, times: a board's mean round, its clients and phases together, and the mean of the kind's boards.
* What was lost or left out (`dropped`, `retransmitted_*`, ...): the sum.
"""

from __future__ import annotations

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


def summarise(table: pd.DataFrame, envs: Mapping[str, str]) -> pd.DataFrame:
    """One row for each of TREND_KEY, with its `value`.

    Args:
        table: a run's measurements.
        envs: the kind of each board; a board that is not in it is a kind of its own.
    """
    if table.empty:
        return pd.DataFrame(columns=[*TREND_KEY, "value"])
    boards = {board: envs.get(board) or board for board in table["board"].unique() if board}
    rows = table.assign(env=table["board"].map({"": "", **boards}), own_phase="")
    rows.loc[rows["metric"].isin(_HIGHEST), "own_phase"] = rows["phase"]
    phased = rows[rows["metric"].isin(_PHASED) & (rows["phase"] != "")]
    rows = pd.concat([rows, phased.assign(own_phase=phased["phase"])], ignore_index=True)
    steps = _steps(rows)
    parts = [
        _highest(rows[rows["metric"].isin(_HIGHEST)]),
        _a_step(rows[rows["metric"].isin(_A_STEP)], steps),
        _last(rows[rows["metric"].isin(_LAST)]),
        _grouped(rows[rows["metric"].isin(_SUM)], "sum"),
        _grouped(rows[rows["metric"].isin(_MEAN)], "mean"),
        _a_round(rows[~rows["metric"].isin((*_HIGHEST, *_A_STEP, *_LAST, *_SUM, *_MEAN))]),
    ]
    whole = pd.concat([part for part in parts if not part.empty], ignore_index=True)
    return whole.rename(columns={"own_phase": "phase"})[[*TREND_KEY, "value"]]


_GROUP = ["variant", "env", "own_phase", "metric", "kind"]


def _grouped(rows: pd.DataFrame, how: str) -> pd.DataFrame:
    found: pd.DataFrame = rows.groupby(_GROUP, sort=False)["value"].agg(how).reset_index()
    return found


def _highest(rows: pd.DataFrame) -> pd.DataFrame:
    return _grouped(rows, "max")


def _steps(rows: pd.DataFrame) -> pd.Series:
    samples = rows[rows["metric"] == "samples"]
    steps: pd.Series = samples.groupby(["variant", "env"], sort=False)["value"].sum()
    return steps


def _a_step(rows: pd.DataFrame, steps: pd.Series) -> pd.DataFrame:
    """Of rows without a number of steps (`bench step` makes one) the mean."""
    totals = _grouped(rows, "sum")
    means = _grouped(rows, "mean")["value"]
    if totals.empty:
        return totals
    done = pd.Series([steps.get(key, 0.0) for key in zip(totals["variant"], totals["env"], strict=True)])
    return totals.assign(value=(totals["value"] / done).where(done > 0, means))


def _last(rows: pd.DataFrame) -> pd.DataFrame:
    latest = rows.groupby(_GROUP, sort=False)["round"].transform("max")
    return _grouped(rows[rows["round"] == latest], "mean")


def _a_round(rows: pd.DataFrame) -> pd.DataFrame:
    """A board's clients and phases are added up, then its rounds and the boards of its kind averaged."""
    later = rows[rows["round"] > 0]
    rounds = later.groupby([*_GROUP, "board", "round"], sort=False)["value"].sum().reset_index()
    return _grouped(rounds, "mean")
