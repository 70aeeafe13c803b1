"""A finished run as `bench run` writes it, with figures of the size that boards have; for tests of its report."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.meters.excerpt import excerpt
from bench.meters.modelled import BoardRound, modelled_round
from bench.meters.trace import PHASES, Gap, Instrument, Trace
from bench.rack.manifest import load_manifest
from bench.results.store import write_run
from bench.results.table import Measurement, Recorder

BOARDS = {
    "plus2": "netduinoplus2",
    "h405": "olimex_stm32_h405",
    "n2": "netduino2",
    "iot": "b_l475e_iot01a",
    "bit": "microbit",
}
INSTRUCTIONS = {"int8": 1_000_000, "float32": 700_000}
PARAMS = {"int8": 8944, "float32": 17840}


def board_rows(run: str, variant: str, board: str, number: int, round_: int) -> list[Measurement]:
    record = Recorder(run, variant, board, f"client-{number + 1}", round_).row
    static, arena, stack = 2000 + PARAMS[variant], 1836, 600 + 8 * number
    figures = {
        "sram_static": static,
        "sram_arena": arena,
        "sram_federation": 0,
        "payload_down": 4700,
        "payload_up": PARAMS[variant] + 400,
        "wire_down": 4700 + 180,
        "wire_up": PARAMS[variant] + 400 + 230,
        "retransmitted_up": 0,
        "retransmitted_down": 64 if (board, round_) == ("iot", 2) else 0,
        "samples": 600,
        "saturated": 0,
        "local_loss": 1.5 / round_,
        "local_accuracy": 1 - 0.5 / round_,
    }
    rows = [record(metric, value, "counted") for metric, value in figures.items()]
    for phase, extra in (("link", 0), ("train", 160)):
        rows.append(record("sram_stack_high_water", stack + extra, "counted", phase))
        rows.append(record("sram_total", static + arena + stack + extra, "counted", phase))
    return [*rows, record("instructions", 600 * (INSTRUCTIONS[variant] + 1000 * number), "counted", "train")]


def run_rows(run: str, rounds: int) -> list[Measurement]:
    rows: list[Measurement] = []
    for variant, best in (("int8", 0.79), ("int8_central", 0.81), ("float32", 0.80), ("float32_central", 0.815)):
        boards = {"int8": list(BOARDS), "float32": ["plus2", "h405", "iot"]}.get(variant, [])
        for round_ in range(rounds + 1):
            recorder = Recorder(run, variant, round=round_)
            accuracy = 0.1 + (best - 0.1) * (1 - math.exp(-0.8 * round_)) / (1 - math.exp(-0.8 * rounds))
            rows.append(recorder.row("accuracy", round(accuracy, 4), "counted"))
            rows.append(recorder.row("loss", 2.3 - 2 * accuracy, "counted"))
            if round_ == 0 or not boards:
                continue
            present = [board for board in boards if (variant, board, round_) != ("int8", "bit", 3)]  # a straggler
            new = [
                row
                for number, board in enumerate(boards)
                if board in present
                for row in board_rows(run, variant, board, number, round_)
            ]
            rows += new + modelled_round(recorder, [_counts(board, new) for board in present])
            rows.append(recorder.row("dropped", 1 if (variant, round_) == ("int8", 3) else 0, "counted"))
    return rows


def _counts(board: str, rows: list[Measurement]) -> BoardRound:
    def total(*metrics: str) -> float:
        return sum(row.value for row in rows if row.board == board and row.metric in metrics)

    return BoardRound(
        board, load_manifest(BOARDS[board]), total("instructions"), 0, total("wire_up", "wire_down"), total("samples")
    )


def run_document(run: str, rounds: int) -> dict[str, Any]:
    return {
        "schema": 1,
        "run": run,
        "experiment": {"name": "demo", "seed": 1, "targets": {"accuracy": 0.75, "central_gap_points": 3.0}},
        "command": "bench run demo",
        "started": "2026-01-02T03:04:05+00:00",
        "finished": "2026-01-02T03:08:47+00:00",
        "seed": 1,
        "environment": {
            "python": "3.11.2",
            "pyocd": "0.46.0",
            "qemu": "QEMU emulator version 10.0.2",
            "compiler": None,
            "revision": "0123456789abcdef0123456789abcdef01234567",
            "dirty": True,
            "argv": ["bench", "run", "demo"],
        },
        "rack": "hosts/virtual.yaml",
        "boards": [
            {
                "name": name,
                "env": env,
                "core": load_manifest(env).core,
                "has_fpu": load_manifest(env).has_fpu,
                "ram_bytes": load_manifest(env).ram.size,
                "core_hz": load_manifest(env).core_hz,
                "baud": 115200,
                "physical": False,
                "energy_source": load_manifest(env).energy.source,
                "clients": [f"client-{number + 1}"],
                "samples": 1200,
            }
            for number, (name, env) in enumerate(BOARDS.items())
        ],
        "variants": {
            "int8": {
                "program": "demo_int8",
                "plan_id": "00112233aabbccdd",
                "dtype": "int8",
                "clients": {f"client-{n + 1}": {"board": name, "samples": 1200} for n, name in enumerate(BOARDS)},
            },
            "float32": {"program": "demo_float32", "plan_id": "ddccbbaa33221100", "dtype": "float32"},
        },
        "summary": {"accuracy": {"int8": 0.79}},
        "dropped": [
            {
                "event": "dropped",
                "variant": "int8",
                "round": 3,
                "client": "client-5",
                "reason": "no answer within 120 s",
            }
        ],
        "checks": [
            {"name": "accuracy of int8", "passed": True, "value": 0.79, "limit": 0.75, "detail": "0.79, at least 0.75"},
            {
                "name": "points of int8 behind central",
                "passed": True,
                "value": 2.0,
                "limit": 3.0,
                "detail": "2, at most 3",
            },
        ],
    }


def write_example(folder: Path, rounds: int = 10) -> Path:
    """Writes it into `folder`; returns that."""
    write_run(folder, run_document(folder.name, rounds), run_rows(folder.name, rounds))
    return folder


def energy_current(board: str = "plus2") -> dict[str, Any]:
    """Of two rounds in half a second: link, compute, link, idle; a gap in the second."""
    codes = np.repeat(np.array([1, 0, 1, 2, 1, 0, 1, 2], dtype=np.uint8), 6000)
    current = np.choose(codes, [40_000.0, 18_000.0, 500.0]) + np.linspace(0, 400, codes.size)
    current[30_000:31_500] = np.nan
    trace = Trace(Instrument("ppk2", "a PPK2", False), 3300, "meter", 96_000.0, current, gaps=(Gap(30_000, 1500),))
    told = asdict(excerpt(trace, codes, "the marker pin"))
    return {"board": board, "program": "demo-cnn", "what": "round", "excerpt": json.loads(json.dumps(told))}


def energy_document(board: str = "plus2", kind: str = "modelled") -> dict[str, Any]:
    """What `bench energy` keeps of them."""
    by_phase = {phase: 1000.0 * (number + 1) for number, phase in enumerate(PHASES)}
    return {
        "board": board, "env": "netduinoplus2", "program": "demo-cnn", "kind": kind, "meter": "ppk2",
        "instrument": "PPK2 at a port", "voltage_mv": 3300, "supply": "meter", "local_samples": 100,
        "rule": {"window_s": 0.5, "iterations": 1, "runs": 1, "most_lost": 0.001, "satisfies_eembc": False},
        "round": {
            "energy_uj": 6000.0, "by_phase_uj": by_phase, "spread": 0.0,
            "seconds": {"compute": 0.0625, "link": 0.125, "idle": 0.0625},
            "runs": [{"energy_uj": 6000.0, "iterations": 2, "lost_share": 0.03, "outlier_samples": 0, "refused": 0}],
        },
    }  # fmt: skip
