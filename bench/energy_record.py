"""An energy measurement as a finished run: its document, its rows, excerpts of the current, and a report."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.experiment.summary import SCHEMA, environment
from bench.metering import EnergyRun
from bench.planning import Planned
from bench.rack.board import Board
from bench.rack.probe_identity import ProbeIdentity
from bench.report import write_report
from bench.results.store import write_run


def keep(
    run: EnergyRun, name: str, reports: Path, *, planned: Planned, board: Board, probe: ProbeIdentity, rack: Path,
    command: str, seed: int, started: datetime,
) -> Path:  # fmt: skip
    """Writes the run `name` into a folder of `reports`/runs, and returns the folder.

    Raises InfrastructureError: the disk is full or the folder cannot be written.
    """
    folder = reports / "runs" / name
    plan = planned.compiled.plan
    document = {
        "schema": SCHEMA,
        "run": name,
        "experiment": {"name": f"energy-{plan.name}"},
        "seed": seed,
        "command": command,
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(),
        "rack": str(rack),
        "boards": [_board(run, board, probe)],
        "variants": {plan.name: plan.identity()},
        "energy": [run.document()],
        "checks": [],
    }
    write_run(folder, document, run.measurements(name), run.currents())
    write_report(folder)
    return folder


def _board(run: EnergyRun, board: Board, probe: ProbeIdentity) -> dict[str, Any]:
    manifest, by = board.manifest, run.instrumented
    return {
        "name": board.name,
        "env": board.entry.env,
        "core": manifest.core,
        "has_fpu": manifest.has_fpu,
        "ram_bytes": manifest.ram.size,
        "core_hz": manifest.core_hz,
        "baud": board.entry.baud,
        "physical": board.physical,
        "probe": board.entry.probe,
        "probe_product": probe.product,
        "probe_firmware": probe.firmware,
        "supply": f"{by.meter}, {by.supply}, {by.voltage_mv} mV",
        "energy_source": manifest.energy.source,
    }
