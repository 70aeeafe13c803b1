"""FTTE's claims put to the test on the simulated fleet.

    python -m bench.claims [--studies comparison ...] [--experiment FILE.toml] [--seeds N] [--output FOLDER]

Runs what the cache does not hold yet, writes claims.json, claims.md and plots, and again after each study, so that what
was stopped shows what there is and goes on where it was. All studies take hours on two cores.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.benchmarks.files import output_folder, write_document
from bench.claims.page import write_page
from bench.claims.protocol import DEFAULT, Experiment, load_experiment
from bench.claims.runs import Run, run_arm
from bench.claims.scene import Scene
from bench.claims.studies import STUDIES, Case
from bench.errors import BenchError, ConfigError
from bench.fleet.simulate import Point
from bench.progress import Reporter


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the studies and writes the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.claims", description="FTTE's claims on a simulated fleet")
    parser.add_argument("--studies", nargs="+", choices=list(STUDIES), default=list(STUDIES), help="default: all")
    parser.add_argument("--experiment", type=Path, default=DEFAULT, help="default: the one that ships")
    parser.add_argument("--seeds", type=int, help="so many of the experiment's seeds; default: as each study takes")
    parser.add_argument("--output", type=Path, help="default: reports/bench")
    options = parser.parse_args(arguments)
    try:
        run(options.experiment, options.studies, options.seeds, options.output or output_folder())
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def run(path: Path, studies: Sequence[str], seeds: int | None, folder: Path) -> None:
    """Carries out studies, in their order, and adds what they found to the folder's page.

    Raises:
        ConfigError: the experiment is not well-formed, or an arm cannot be compiled.
    """
    experiment = load_experiment(path)
    folder.mkdir(parents=True, exist_ok=True)
    document = folder / "claims.json"
    found: dict[str, Any] = {}
    if document.is_file():
        stored = json.loads(document.read_text(encoding="utf-8"))
        if stored.get("experiment") == experiment.model_dump(mode="json"):
            found = stored["studies"]
    reporter = Reporter()
    scene = Scene(experiment.protocol, reporter.say)
    with reporter:
        for name in (name for name in STUDIES if name in studies):
            found[name] = _study(name, experiment, scene, seeds, reporter)
            ordered = {key: found[key] for key in STUDIES if key in found}
            content = {"experiment": experiment.model_dump(mode="json"), "studies": ordered}
            write_document(document, "claims", content)
            write_page(content, folder)
            reporter.say(f"{folder / 'claims.md'}: {name} is in it")


def _study(
    name: str, experiment: Experiment, scene: Scene, seeds: int | None, reporter: Reporter
) -> list[dict[str, Any]]:
    """Rows, one for each case."""
    study = STUDIES[name]
    cases = list(study.cases(experiment))
    runs: list[list[Run]] = [[] for _ in cases]
    skipped: dict[int, str] = {}
    wanted = study.seeds(experiment)[:seeds]
    done = 0
    for seed in wanted:
        for index, case in enumerate(cases):
            try:
                runs[index].append(_one(scene, case, seed, f"{case.label}, {case.name}, seed {seed}", reporter))
            except ConfigError as error:  # not even the smallest group fits a budget: an answer, too
                skipped[index] = str(error)
            done += 1
            reporter.count(f"{name}: runs", done, len(cases) * len(wanted))
    return [_row(scene, case, runs[i], skipped.get(i)) for i, case in enumerate(cases)]


def _one(scene: Scene, case: Case, seed: int, what: str, reporter: Reporter) -> Run:
    def progress(point: Point) -> None:
        if point.version % 50 == 0:
            reporter.say(f"  {what}: {point.updates} updates, {point.at:.0f} virtual s, accuracy {point.accuracy:.3f}")

    return run_arm(scene.varied(case.protocol), case.name, case.arm, seed, progress)


def _row(scene: Scene, case: Case, runs: Sequence[Run], problem: str | None) -> dict[str, Any]:
    """A case's figures: each run's, and what its program takes on the board (planned)."""
    row: dict[str, Any] = {"label": case.label, "arm": case.name, "problem": problem, "runs": [asdict(r) for r in runs]}
    row |= {"target": case.protocol.target, "learning_rate": case.arm.learning_rate}
    if not runs:
        return row
    planned = scene.varied(case.protocol).planned(case.arm, case.protocol.board)
    footprint = planned.footprint
    row["sram_total_bytes"] = footprint.total_bytes
    row["sram_federation_bytes"] = footprint.federation_bytes
    row["parameters"] = planned.compiled.graph.parameters
    return row


if __name__ == "__main__":
    raise SystemExit(main())
