"""FTTE's claims put to the test on the simulated fleet.

    python -m bench.claims [--sweeps | --studies NAME ...] [--experiment FILE.toml] [--seeds N] [--output FOLDER]

Writes claims.json, a list with an object for each claim; claims.html, a page to look at; the same page as claims.md
with claims.png; and bench/claims_studies.json with every run. By default it runs what
claims.json is made from, in under an hour on two cores; --sweeps runs every study, in some hours. What the cache holds
is not run again, and all files are written after each study, so that what was stopped shows what there is and goes on
where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.benchmarks import fleet_speed
from bench.benchmarks.files import output_folder, write_document
from bench.claims.page import write_page
from bench.claims.protocol import DEFAULT, Experiment, load_experiment
from bench.claims.runs import Run, run_arm
from bench.claims.scene import Scene
from bench.claims.studies import STUDIES, Case
from bench.claims.verdicts import claims
from bench.errors import BenchError, ConfigError
from bench.fleet.simulate import Point
from bench.progress import Reporter
from bench.results.files import write_atomically

SPEED = "speed"
"""Of the fleet beside Flower, PyTorch and numpy: no study, for it has no arms."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the studies and writes the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.claims", description="FTTE's claims on a simulated fleet")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--sweeps", action="store_true", help="every study")
    which.add_argument("--studies", nargs="+", choices=[*STUDIES, SPEED], default=["headline", SPEED], metavar="NAME",
                       help=f"of {', '.join([*STUDIES, SPEED])}; default: headline {SPEED}")  # fmt: skip
    parser.add_argument("--experiment", type=Path, default=DEFAULT, help="default: the one that ships")
    parser.add_argument("--seeds", type=int, help="so many of the experiment's seeds; default: as each study takes")
    parser.add_argument("--output", type=Path, help="default: reports")
    options = parser.parse_args(arguments)
    studies = [*STUDIES, SPEED] if options.sweeps else options.studies
    try:
        run(options.experiment, studies, options.seeds, options.output or output_folder().parent)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped: what is done is kept, the same command goes on", file=sys.stderr)
        return 130
    return 0


def run(path: Path, studies: Sequence[str], seeds: int | None, folder: Path) -> None:
    """Carries out studies, in their order, and adds what they found to the folder's page.

    Raises:
        ConfigError: the experiment is not well-formed, or an arm cannot be compiled.
        InfrastructureError: PyTorch or Flower cannot be installed.
    """
    experiment = load_experiment(path)
    (folder / "bench").mkdir(parents=True, exist_ok=True)
    pages = _Pages(folder, experiment)
    reporter = Reporter()
    scene = Scene(experiment.protocol, reporter.say)
    with reporter:
        for name in (name for name in STUDIES if name in studies):
            pages.studies[name] = _study(name, experiment, scene, seeds, reporter)
            pages.write()
            reporter.say(f"{folder / 'claims.html'}: {name} is in it")
    if SPEED in studies:
        pages.speeds = fleet_speed.run(("mlp", "lenet-5"), fleet_speed.SIDES, fleet_speed.Effort(), batches=(1,))
    pages.write()
    print(f"{folder / 'claims.json'}, {folder / 'claims.html'}")


class _Pages:
    """What was found so far, this time and before, of the same experiment."""

    def __init__(self, folder: Path, experiment: Experiment) -> None:
        self._folder = folder
        self._experiment = experiment.model_dump(mode="json")
        self._document = folder / "bench" / "claims_studies.json"
        stored: dict[str, Any] = {}
        if self._document.is_file():
            stored = json.loads(self._document.read_text(encoding="utf-8"))
        same = stored.get("experiment") == self._experiment
        self.studies: dict[str, Any] = stored["studies"] if same else {}
        self.speeds: dict[str, Any] | None = stored.get("speeds")

    def write(self) -> None:
        ordered = {name: self.studies[name] for name in STUDIES if name in self.studies}
        content = {"experiment": self._experiment, "studies": ordered, "speeds": self.speeds}
        write_document(self._document, "claims", content)
        write_page(content, self._folder)
        found = claims(ordered, self.speeds, self._experiment["protocol"]["dataset"])
        write_atomically(self._folder / "claims.json", (json.dumps(found, indent=1) + "\n").encode())


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
    row["sram_on_core_planned"], row["sram_on_core_counted"] = scene.varied(case.protocol).verified(case.arm)
    row["parameters"] = planned.compiled.graph.parameters
    return row


if __name__ == "__main__":
    raise SystemExit(main())
