"""Simulated nights: runs of a cell whose figures have the noise of a physical rack, put into a real result store.

The noise of energy and times is that of a good meter on a bench: 0.4 % from run to run, a drift of 0.3 % from night to
night (an AR(1) process, as of the room's temperature), and in one figure of two hundred a spike of 2 to 8 %, as when a
board was disturbed. Accuracy on the wall's clock differs by 0.15 points from run to run, for clients answer in another
order. What is counted of an image (SRAM, instructions of a kernel) is the same each time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bench.nightly.matrix import Cell
from bench.results.store import write_run
from bench.results.table import Kind, Measurement, Recorder

BOARDS = {"dk-1": "nrf52840_dk", "plus2-1": "netduinoplus2", "bit-1": "microbit"}
LEVELS: dict[str, tuple[str, float, Kind]] = {
    "sram_static": ("", 9_000.0, "counted"),
    "sram_arena": ("", 6_120.0, "counted"),
    "sram_total": ("train", 15_936.0, "counted"),
    "instructions": ("train", 264_038.0, "counted"),
    "cycles": ("train", 351_000.0, "measured"),
    "energy": ("compute", 25_900.0, "measured"),
    "step_time": ("train", 2.4, "measured"),
    "wire_up": ("upload", 9_201.0, "counted"),
}
ACCURACY = 0.8141
_NOISY = ("energy", "step_time", "cycles")


@dataclass
class Rack:
    """Where figures come from; `planted` are factors and `added` summands by metric, from some night on."""

    seed: int
    physical: bool = True
    planted: dict[str, float] = field(default_factory=dict)
    added: dict[str, float] = field(default_factory=dict)
    only_first_run: bool = False
    """What is planted is gone in the rerun."""

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)
        self._drift = {(board, metric): 0.0 for board in BOARDS for metric in _NOISY}
        self._runs = 0
        self.night = datetime(2026, 1, 1, 1, tzinfo=UTC)

    def next_night(self) -> None:
        self.night += timedelta(days=1)
        for key in self._drift:
            self._drift[key] = 0.8 * self._drift[key] + 0.6 * 0.003 * self._random.normal()

    def run(self, reports: Path, cell: Cell, rerun: bool = False) -> Path:
        """A finished run's folder."""
        self._runs += 1
        started = self.night + timedelta(minutes=self._runs)
        name = f"{cell.name}-{started:%Y%m%d-%H%M%S}"
        planted = not (rerun and self.only_first_run)
        rows = [row for board in BOARDS for row in self._board(name, board, planted)]
        accuracy = ACCURACY + (0.0015 * self._random.normal() if self.physical else 0.0)
        accuracy += self.added.get("accuracy", 0.0) if planted else 0.0
        rows.append(Recorder(name, "int8", round=1).row("accuracy", accuracy, "counted"))
        folder = reports / "runs" / name
        write_run(folder, self._document(name, cell, started), rows)
        return folder

    def _board(self, run: str, board: str, planted: bool) -> list[Measurement]:
        record = Recorder(run, "int8", board, f"client-{board}", 1).row
        rows = [record("samples", 1, "counted")]
        for metric, (phase, level, kind) in LEVELS.items():
            value = level
            if metric in _NOISY and self.physical:
                noise = self._drift[board, metric] + 0.004 * self._random.normal()
                if self._random.random() < 0.005:
                    noise += self._random.uniform(0.02, 0.08)
                value *= 1 + noise
            if planted:
                value = value * self.planted.get(metric, 1.0) + self.added.get(metric, 0.0)
            rows.append(record(metric, value, kind if self.physical or kind == "counted" else "modelled", phase))
        return rows

    def _document(self, run: str, cell: Cell, started: datetime) -> dict[str, Any]:
        return {
            "schema": 1,
            "run": run,
            "experiment": {"name": cell.name},
            "started": started.isoformat(),
            "finished": started.isoformat(),
            "environment": {"revision": f"{self._runs:040x}"},
            "boards": [{"name": name, "env": env, "physical": self.physical} for name, env in BOARDS.items()],
        }
