"""Nights: what is planted is found on the first, quiet ones are quiet, and a night that was cut off goes on."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from nightly_figures import BOARDS, Rack

from bench.cli import main
from bench.errors import ConfigError, InfrastructureError
from bench.experiment.config import load_experiment
from bench.nightly.detect import Rule
from bench.nightly.matrix import SHIPPED, Cell, cells, load_night
from bench.nightly.night import CellState, Night, NightState, Outcome, OutOfTime
from bench.results.database import Store
from bench.results.nights import accept, findings

RULE = Rule()


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """In memory where possible: nights bring each file to the disk, and hundreds of nights would take minutes."""
    memory = Path("/dev/shm")
    if not (memory.is_dir() and os.access(memory, os.W_OK)):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="bench-nights-") as folder:
        yield Path(folder)


def a_cell(name: str = "demo", clock: str = "modelled") -> Cell:
    [cell, *_] = cells(SHIPPED, load_night(SHIPPED), ["plus2", "h405", "n2", "iot", "bit"])
    federation = {**cell.experiment.federation, "clock": clock}
    return Cell(name, (), cell.experiment.model_copy(update={"name": name, "federation": federation}))


class Simulation:
    """Night after night of some cells on a simulated rack."""

    def __init__(self, reports: Path, rack: Rack, matrix: list[Cell]) -> None:
        self.reports, self.rack, self.cells = reports, rack, matrix
        self.ran: list[str] = []
        self.tonight: list[str] = []
        self.store = Store.open(reports / "results.db")

    def __call__(self, cell: Cell, folder: Path, *, seconds: float | None, resume: bool) -> Path:
        rerun = cell.name in self.tonight
        self.tonight.append(cell.name)
        self.ran.append(cell.name)
        return self.rack.run(self.reports, cell, rerun)

    def night(self, minutes: float | None = None) -> Outcome:
        self.rack.next_night()
        self.tonight = []
        night = Night.new(self.reports, "sim", self.cells, self.rack.night)
        return night.run(self.store, self, RULE, lambda _cell: list(BOARDS.items()), minutes=minutes)

    def nights(self, number: int) -> list[Outcome]:
        return [self.night() for _ in range(number)]

    def found(self) -> pd.DataFrame:
        return findings(self.store)


@pytest.fixture
def virtual(tmp_path: Path) -> Simulation:
    """Counted figures are the same each night, others modelled from them."""
    return Simulation(tmp_path, Rack(seed=1, physical=False), [a_cell()])


@pytest.fixture
def physical(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path, Rack(seed=1), [a_cell(clock="wall")])


def metrics(outcome: Outcome) -> set[str]:
    return set(outcome.regressions["metric"])


# What is planted is found on the first night

PLANTED = [
    ("instructions", {"planted": {"instructions": 1.03}}),
    ("sram_total", {"added": {"sram_total": 64}}),
    ("energy", {"planted": {"energy": 1.05}}),
    ("accuracy", {"added": {"accuracy": -0.01}}),
]


@pytest.fixture(scope="module", params=range(5), ids=lambda seed: f"seed{seed}")
def quiet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Rack]:
    """Thirty nights of a physical rack in which nothing happened."""
    reports = tmp_path_factory.mktemp("quiet")
    simulation = Simulation(reports, Rack(request.param), [a_cell(clock="wall")])
    assert all(outcome.regressions.empty for outcome in simulation.nights(30))
    simulation.store.close()
    return reports, simulation.rack


@pytest.mark.parametrize(("metric", "planted"), PLANTED)
def test_a_planted_regression_is_found_on_the_first_night(
    quiet: tuple[Path, Rack], tmp_path: Path, metric: str, planted: dict[str, dict[str, float]]
) -> None:
    shutil.copytree(quiet[0], tmp_path / "reports")
    simulation = Simulation(tmp_path / "reports", copy.deepcopy(quiet[1]), [a_cell(clock="wall")])
    for key, value in planted.items():
        setattr(simulation.rack, key, value)
    outcome = simulation.night()
    assert metrics(outcome) == {metric}
    assert set(outcome.regressions["env"]) == ({""} if metric == "accuracy" else set(BOARDS.values()))
    assert set(outcome.regressions["night"]) == {outcome.state.night}


@pytest.mark.parametrize(
    ("metric", "planted"),
    [("instructions", {"added": {"instructions": 1}}), ("sram_total", {"added": {"sram_total": 8}}),
     ("accuracy", {"added": {"accuracy": -0.0001}})],
)  # fmt: skip
def test_a_counted_figure_of_an_emulated_board_must_be_equal(
    virtual: Simulation, metric: str, planted: dict[str, dict[str, float]]
) -> None:
    assert virtual.night().regressions.empty
    for key, value in planted.items():
        setattr(virtual.rack, key, value)
    assert metrics(virtual.night()) == {metric}  # on the second night of all


def test_two_hundred_quiet_nights_raise_at_most_one_alarm(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, Rack(seed=7), [a_cell(clock="wall")])
    simulation.nights(200)
    found = simulation.found()
    cried = found[(found["direction"] == "worse") & ~found["state"].isin(["unconfirmed", "suspect"])]
    assert len(cried) <= 1, cried.to_string()
    assert "unconfirmed" in set(found["state"]), "the noise never once looked like a change: it is too quiet"


# What becomes of a regression


def test_a_regression_stays_open_until_it_is_mended(virtual: Simulation) -> None:
    virtual.nights(2)
    virtual.rack.added = {"sram_total": 64}
    first = virtual.night()
    later = virtual.nights(3)
    assert [list(outcome.regressions["finding"]) for outcome in later] == [list(first.regressions["finding"])] * 3
    virtual.rack.added = {}
    assert virtual.night().regressions.empty
    assert set(virtual.found()["state"]) == {"gone"}
    assert virtual.night().regressions.empty


def test_an_accepted_figure_is_the_new_level(virtual: Simulation) -> None:
    virtual.nights(2)
    virtual.rack.added = {"sram_total": 64}
    regressions = virtual.night().regressions
    accept(virtual.store, list(regressions["finding"]), "the stack paint moved", "now")
    assert all(outcome.regressions.empty for outcome in virtual.nights(2))
    virtual.rack.added = {"sram_total": 72}
    [before] = set(virtual.night().regressions["before"])
    assert before == 15_936 + 64
    with pytest.raises(ConfigError, match="no open regression 99"):
        accept(virtual.store, [99], "", "now")


def test_an_improvement_is_the_new_level_and_no_regression(virtual: Simulation) -> None:
    virtual.nights(2)
    virtual.rack.added = {"sram_total": -64}
    assert virtual.night().regressions.empty
    assert set(virtual.found()["direction"]) == {"better"}
    virtual.rack.added = {}
    assert metrics(virtual.night()) == {"sram_total"}


def test_what_the_rerun_does_not_show_is_no_regression(virtual: Simulation) -> None:
    virtual.nights(2)
    virtual.rack.added, virtual.rack.only_first_run = {"instructions": 5000}, True
    outcome = virtual.night()
    assert outcome.regressions.empty
    assert virtual.ran[-2:] == ["demo", "demo"]
    assert set(virtual.found()["state"]) == {"unconfirmed"}
    virtual.rack.added = {}
    assert virtual.night().regressions.empty
    assert len(virtual.found()) == len(BOARDS)  # the odd night was not taken for the level


def test_a_noisy_regression_stays_open_through_its_noise_and_goes_when_it_is_mended(physical: Simulation) -> None:
    physical.nights(20)
    physical.rack.planted = {"energy": 1.05}
    first = physical.night()
    assert all(metrics(outcome) == {"energy"} for outcome in physical.nights(6))
    assert set(physical.night().regressions["finding"]) == set(first.regressions["finding"])
    physical.rack.planted = {}
    assert physical.nights(4)[-1].regressions.empty


def test_the_nights_of_a_regression_that_was_mended_are_not_the_level(physical: Simulation) -> None:
    """Else the same defect, made again, is told late, and as one of the night on which it was made first."""
    physical.nights(20)
    physical.rack.planted = {"energy": 1.05}
    physical.nights(15)
    physical.rack.planted = {}
    assert physical.nights(6)[-1].regressions.empty
    physical.rack.planted = {"energy": 1.05}
    again = physical.night()
    last = max(physical.reports.glob("nights/*")).name
    assert metrics(again) == {"energy"}
    assert set(again.regressions["night"]) == {last}


def test_a_step_that_one_night_does_not_show_is_found_within_two_weeks(physical: Simulation) -> None:
    physical.nights(25)
    physical.rack.planted = {"energy": 1.017}
    outcomes = physical.nights(14)
    assert metrics(outcomes[-1]) == {"energy"}
    steps = outcomes[-1].regressions
    assert set(steps["how"]) <= {"step", "level"}
    begun = sorted(physical.reports.glob("nights/*"))[25].name
    assert begun in set(steps["night"]) | {sorted(physical.reports.glob("nights/*"))[at].name for at in (24, 26, 27)}


def test_a_changed_experiment_is_not_compared_with_the_old_one(virtual: Simulation) -> None:
    virtual.nights(3)
    [cell] = virtual.cells
    virtual.cells = [Cell(cell.name, cell.axes, cell.experiment.model_copy(update={"seed": 2}))]
    virtual.rack.added = {"sram_total": 640}
    assert virtual.night().regressions.empty
    assert virtual.found().empty


def test_an_open_regression_ends_with_the_experiment_that_it_is_of(virtual: Simulation) -> None:
    virtual.nights(2)
    virtual.rack.added = {"sram_total": 64}
    assert metrics(virtual.night()) == {"sram_total"}
    [cell] = virtual.cells
    virtual.cells = [Cell(cell.name, cell.axes, cell.experiment.model_copy(update={"seed": 2}))]
    virtual.rack.added = {"sram_total": 640}
    assert virtual.night().regressions.empty
    assert set(virtual.found()["note"]) == {"the cell is another now"}
    virtual.rack.added = {"sram_total": 704}
    assert set(virtual.night().regressions["before"]) == {15_936 + 640}


# Time, and what is cut off


class Slow(Simulation):
    """Cells take time that is not there, or fail."""

    def __init__(self, reports: Path, rack: Rack, matrix: list[Cell]) -> None:
        super().__init__(reports, rack, matrix)
        self.failing: dict[str, list[BaseException]] = {}
        self.resumed: list[tuple[str, bool]] = []
        self.no_reruns = False

    def __call__(self, cell: Cell, folder: Path, *, seconds: float | None, resume: bool) -> Path:
        self.resumed.append((cell.name, resume))
        if errors := self.failing.get(cell.name):
            raise errors.pop(0)
        if self.no_reruns and cell.name in self.tonight:
            raise OutOfTime("time is up")
        return super().__call__(cell, folder, seconds=seconds, resume=resume)


@pytest.fixture
def slow(tmp_path: Path) -> Slow:
    return Slow(tmp_path, Rack(seed=1, physical=False), [a_cell(name) for name in ("one", "two", "three")])


def statuses(outcome: Outcome) -> dict[str, str]:
    return {name: state.status for name, state in outcome.state.cells.items()}


def test_what_there_is_no_time_for_is_left_out_and_comes_first_the_next_night(slow: Slow) -> None:
    slow.failing["two"] = [OutOfTime("time is up")]
    outcome = slow.night()
    assert statuses(outcome) == {"one": "done", "two": "cut", "three": "done"}
    slow.ran.clear()
    slow.night()
    assert slow.ran == ["two", "one", "three"]
    assert statuses(slow.night(minutes=1e-6)) == dict.fromkeys(("one", "two", "three"), "no time")


def test_a_cell_of_the_rack_s_fault_is_tried_once_more_and_fails_alone(slow: Slow) -> None:
    slow.failing["one"] = [InfrastructureError("no probe")]
    slow.failing["two"] = [InfrastructureError("no probe"), InfrastructureError("no probe at all")]
    slow.failing["three"] = [ConfigError("does not fit")]
    outcome = slow.night()
    assert statuses(outcome) == {"one": "done", "two": "failed", "three": "failed"}
    assert outcome.state.cells["two"].reason == "no probe at all"
    assert slow.resumed == [("one", False), ("one", True), ("two", False), ("two", True), ("three", False)]


def test_a_night_that_was_stopped_goes_on_where_it_was(slow: Slow) -> None:
    slow.failing["two"] = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        slow.night()
    night = Night.unfinished(slow.reports, "sim", slow.cells)
    slow.resumed.clear()
    outcome = night.run(slow.store, slow, RULE, lambda _cell: list(BOARDS.items()))
    assert slow.resumed == [("two", True), ("three", False)]
    assert set(statuses(outcome).values()) == {"done"}
    assert NightState.read(outcome.folder).finished
    with pytest.raises(ConfigError, match="no unfinished night"):
        Night.unfinished(slow.reports, "sim", slow.cells)


def test_a_matrix_whose_name_begins_with_another_s_has_nights_of_its_own(slow: Slow) -> None:
    earlier = Night.new(slow.reports, "sim", slow.cells, datetime(2026, 1, 1, tzinfo=UTC))
    later = Night.new(slow.reports, "sim-long", slow.cells, datetime(2026, 1, 2, tzinfo=UTC))
    assert Night.unfinished(slow.reports, "sim", slow.cells).folder == earlier.folder
    assert Night.unfinished(slow.reports, "sim-long", slow.cells).folder == later.folder


def test_what_was_left_out_comes_first_whatever_another_matrix_left_out(slow: Slow) -> None:
    slow.night()
    for day in range(1, 12):  # more nights than are looked back at, of a name that sorts behind
        other = Night.new(slow.reports, "sim-long", slow.cells, datetime(2030, 1, day, tzinfo=UTC))
        other.set("one", CellState("done"))
    slow.ran.clear()
    slow.night()
    assert slow.ran == ["one", "two", "three"]


def test_a_suspect_that_there_was_no_time_to_run_again_is_told_by_the_next_night(slow: Slow) -> None:
    slow.nights(2)
    slow.rack.added = {"sram_total": 64}
    slow.no_reruns = True
    outcome = slow.night()
    assert outcome.regressions.empty
    assert set(outcome.suspects) == {"one", "two", "three"}
    assert metrics(slow.night()) == {"sram_total"}


# The file


def test_the_matrix_that_ships_is_one_of_experiments() -> None:
    matrix = cells(SHIPPED, load_night(SHIPPED), ["plus2", "h405", "n2", "iot", "bit"])
    assert [cell.name for cell in matrix] == [
        "night-demo-cnn-full-int8-fedavg-demo",
        "night-demo-cnn-full-int8-ftte-demo",
        "night-demo-cnn-sparse-25-int8-fedavg-demo",
        "night-demo-cnn-sparse-25-int8-ftte-demo",
    ]


def test_a_cell_s_file_is_the_experiment_itself(tmp_path: Path) -> None:
    for cell in cells(SHIPPED, load_night(SHIPPED), ["plus2", "h405", "n2", "iot", "bit"]):
        file = tmp_path / f"{cell.name}.toml"
        file.write_text(cell.toml())
        assert load_experiment(str(file)).digest() == cell.experiment.digest()


def write_file(folder: Path, **changes: str) -> Path:
    text = SHIPPED.read_text(encoding="utf-8")
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_each_board_alone_and_what_is_excluded(tmp_path: Path) -> None:
    path = write_file(
        tmp_path,
        cohorts=('cohorts = ["demo"]', 'cohorts = ["each"]'),
        exclude=(
            "[training]",
            '[[exclude]]\nscheme = "full"\nstrategy = "ftte"\n[[exclude]]\nscheme = "sparse-25"\n[training]',
        ),
    )
    found = cells(path, load_night(path), ["plus2", "bit"])
    assert [(cell.name, cell.experiment.cohort.boards) for cell in found] == [
        ("night-demo-cnn-full-int8-fedavg-plus2", ("plus2",)),
        ("night-demo-cnn-full-int8-fedavg-bit", ("bit",)),
    ]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('strategies = ["fedavg", "ftte"]', 'strategies = ["fedsgd"]', "no section .strategies.fedsgd"),
        ('cohorts = ["demo"]', 'cohorts = ["lab"]', "lab: neither `all` nor `each`"),
        ("buffer = 3", "bufer = 3", "night-demo-cnn-full-int8-ftte-demo.*bufer"),
        ("learning_rate = 0.05", "learning_rate = 5", "training.learning_rate"),
        ('"iot", "bit"]', '"iot", "bot"]', "no board bot in the rack"),
        ('models = ["demo-cnn"]', 'models = ["demo-cnn", "demo-cnn"]', "a value is there twice"),
        ("seed = 1", "seed = [", "not a readable TOML"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = write_file(tmp_path, change=(old, new))
    with pytest.raises(ConfigError, match=rf"(?s)mine\.toml.*{told}"):
        cells(path, load_night(path), ["plus2", "h405", "n2", "iot", "bit"])


# The command


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('models = ["demo-cnn"]', 'models = ["nosuch"]', "4 cells cannot run\n  cell night-nosuch-.*no model 'nosuch'"),
        ('"sparse-25"]', '"bogus"]', "2 cells cannot run\n  cell night-demo-cnn-bogus-int8-fedavg-demo: .*bogus"),
        ("min_clients = 3", "min_clients = 7", "-fedavg-demo: min_clients is 7, its cohort has 5 boards"),
    ],
)
def test_what_cannot_run_is_told_before_anything_does(
    tmp_path: Path, capsys: pytest.CaptureFixture, old: str, new: str, told: str
) -> None:
    path = write_file(tmp_path, change=(old, new))
    assert main(["nightly", str(path), "--list"]) == 2
    assert re.search(rf"(?s)mine\.toml: .*{told}", capsys.readouterr().err)


def test_regressions_are_listed_and_end_with_1_until_they_are_accepted(
    virtual: Simulation, capsys: pytest.CaptureFixture
) -> None:
    where = ["--reports", str(virtual.reports)]
    virtual.nights(2)
    assert main(["regressions", *where]) == 0
    assert "no regressions" in capsys.readouterr().out
    virtual.rack.planted = {"instructions": 1.03}
    virtual.night()
    assert main(["regressions", *where, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert {row["env"] for row in told} == set(BOARDS.values())
    assert all(row["after"] / row["before"] == pytest.approx(1.03) for row in told)
    assert main(["regressions", *where]) == 1
    assert "+3.00 %" in " ".join(capsys.readouterr().out.split())
    keys = [str(row["finding"]) for row in told]
    assert main(["regressions", *where, "--accept", *keys, "--because", "a safer kernel", "--json"]) == 0
    assert main(["regressions", *where, "--all", "--json"]) == 0
    assert "a safer kernel" in capsys.readouterr().out
