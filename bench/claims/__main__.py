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
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.benchmarks import fleet_speed
from bench.claims.pages import Pages, alone_in
from bench.claims.protocol import DEFAULT, Experiment, load_experiment
from bench.claims.runs import Run, run_arm
from bench.claims.scene import Scene
from bench.claims.studies import BASELINE, OURS, STUDIES, Case
from bench.claims.verdicts import Row
from bench.errors import BenchError, ConfigError
from bench.fleet.simulate import Point
from bench.progress import Reporter
from bench.project import project_root
from bench.selection.pick import BudgetError

SPEED = "speed"
"""Of the fleet beside Flower, PyTorch and numpy: no study, for it has no arms."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the studies and writes the page."""
    options = _options(arguments)
    folder = options.output or _usual_folder(options.experiment)
    studies = [*STUDIES, SPEED] if options.sweeps else options.studies
    try:
        missing = run(options.experiment, studies, options.seeds, folder, lenient=options.sweeps)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped: what is done is kept, the same command goes on", file=sys.stderr)
        return 130
    if missing:
        print(f"error: the headline lacks {'; '.join(missing)}", file=sys.stderr)
    return 1 if missing else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.claims", description="FTTE's claims on a simulated fleet",
        epilog="Exit codes: 0 ok, 1 the headline lacks an arm, 2 usage or experiment, 3 folder or disk.",
    )  # fmt: skip
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--sweeps", action="store_true", help="every study that the experiment has the arms for")
    which.add_argument("--studies", nargs="+", choices=[*STUDIES, SPEED], default=["headline", SPEED], metavar="NAME",
                       help=f"of {', '.join([*STUDIES, SPEED])}; default: headline {SPEED}")  # fmt: skip
    parser.add_argument("--experiment", type=Path, default=DEFAULT, help="default: the one that ships")
    parser.add_argument("--seeds", type=_count, metavar="N",
                        help="at most so many of the experiment's; most studies take one")  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="FOLDER",
                        help="default: reports, or reports/claims-NAME of another experiment NAME.toml")  # fmt: skip
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not 1 or more")
    return value


def _ships(path: Path) -> bool:
    return path.resolve() == DEFAULT.resolve()


def _usual_folder(path: Path) -> Path:
    """One for each experiment, so that one's page does not take the place of another's."""
    reports = project_root() / "reports"
    return reports if _ships(path) else reports / f"claims-{path.stem}"


def run(path: Path, studies: Sequence[str], seeds: int | None, folder: Path, *, lenient: bool = False) -> list[str]:
    """Carries out studies, in their order, and adds what they found to the folder's page.

    Args:
        path: of the experiment.
        studies: by name, or SPEED.
        seeds: at most so many.
        folder: to write into.
        lenient: leave out studies that the experiment lacks an arm for.

    Returns:
        What the headline lacks, if it was to be run.

    Raises:
        ConfigError: the experiment is not well-formed, lacks a study's arm, or an arm cannot be compiled.
        InfrastructureError: the folder cannot be written or is in use, or PyTorch or Flower cannot be installed.
    """
    experiment = load_experiment(path)
    have = experiment.protocol.seeds
    if seeds is not None and seeds > len(have):
        raise ConfigError(f"--seeds {seeds}: {path} has {len(have)} (protocol.seeds)")
    reporter = Reporter()
    wanted = _with_their_arms(path, experiment, studies, reporter if lenient else None)
    command = "make claims" if _ships(path) else f"python -m bench.claims --experiment {shlex.quote(str(path))}"
    with alone_in(folder):
        pages = Pages(folder, experiment, command)
        scene = Scene(experiment.protocol, reporter.say)
        with reporter:
            for name in wanted:
                _add(name, experiment, scene, seeds, pages, reporter)
                reporter.say(f"{folder / 'claims.html'}: {name} is in it")
        if SPEED in studies:
            pages.speeds = fleet_speed.run(("mlp", "lenet-5"), fleet_speed.SIDES, fleet_speed.Effort(), batches=(1,))
        pages.write()
    print(f"{folder / 'claims.json'}, {folder / 'claims.html'}")
    return _lacking(experiment, pages.studies["headline"]) if "headline" in wanted else []


def _with_their_arms(
    path: Path, experiment: Experiment, studies: Sequence[str], reporter: Reporter | None
) -> list[str]:
    """Studies in their order. Raises ConfigError for one whose arm is absent, unless there is a reporter to tell."""
    wanted = []
    for name in (name for name in STUDIES if name in studies):
        try:
            STUDIES[name].check(experiment)
        except ConfigError as error:
            problem = f"{path}: study {name}: {error}"
            if reporter is None:
                raise ConfigError(problem) from error
            reporter.say(f"{problem}: skipped")
        else:
            wanted.append(name)
    return wanted


def _lacking(experiment: Experiment, rows: Sequence[Row]) -> list[str]:
    """Arms that the claims are about and that have no run."""
    absent = [f"arm {arm}, which the experiment lacks" for arm in (BASELINE, OURS) if arm not in experiment.arms]
    return absent + [f"{row['label']}, arm {row['arm']}: {row['problem']}" for row in rows if not row["runs"]]


def _add(name: str, experiment: Experiment, scene: Scene, seeds: int | None, pages: Pages, reporter: Reporter) -> None:
    """Carries out a study and writes what there is of it, also if a ConfigError then ends it."""
    rows, problem = _study(name, experiment, scene, seeds, reporter)
    if not pages.add(name, rows, finished=problem is None):
        reporter.say(f"{name}: the page has it of more seeds, or of more runs, and keeps that")
    pages.write()
    if problem is not None:
        raise problem


def _study(
    name: str, experiment: Experiment, scene: Scene, seeds: int | None, reporter: Reporter
) -> tuple[list[dict[str, Any]], ConfigError | None]:
    """Rows, one for each case, and what ended the study early."""
    study = STUDIES[name]
    cases = list(study.cases(experiment))
    runs: list[list[Run]] = [[] for _ in cases]
    skipped: dict[int, str] = {}
    wanted = study.seeds(experiment)[:seeds]
    done = 0
    for seed in wanted:
        for index, case in enumerate(cases):
            what = f"{case.label}, {case.name}, seed {seed}"
            try:
                if index not in skipped:
                    runs[index].append(_one(scene, case, seed, what, reporter))
            except BudgetError as error:  # an answer, too
                skipped[index] = str(error)
                reporter.say(f"{name}: {case.label}, {case.name}: skipped: {error}")
            except ConfigError as error:
                problem = ConfigError(f"study {name}: {what}: {error}")
                skipped[index] = str(error)
                return [_row(scene, case, runs[i], skipped.get(i)) for i, case in enumerate(cases)], problem
            done += 1
            reporter.count(f"{name}: runs", done, len(cases) * len(wanted))
    return [_row(scene, case, runs[i], skipped.get(i)) for i, case in enumerate(cases)], None


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
