"""Experiments on the simulated fleet: their files, their studies, and a small one from beginning to page."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bench.benchmarks.files import write_document
from bench.claims import __main__ as command
from bench.claims.__main__ import main
from bench.claims.pages import Pages, alone_in
from bench.claims.protocol import DEFAULT, Experiment, load_experiment
from bench.claims.runs import Run, run_arm
from bench.claims.studies import BASELINE, OURS, STUDIES
from bench.claims.verdicts import claims
from bench.errors import ConfigError, InfrastructureError
from bench.fleet.simulate import Point
from bench.progress import Reporter
from bench.selection.pick import BudgetError

SMALL = """
[protocol]
dataset = "fashion-mnist"
model = "demo-cnn"
input_shape = [14, 14, 1]
pretrain_samples = 5000
pretrain_steps = 500
pretrain_rate = 0.02
clients = 12
samples = 20
alpha = 0.5
straggler_share = 0.5
slowdown = 10.0
fraction = 0.5
local_steps = 20
board = "b_l475e_iot01a"
judge_samples = 200
seeds = [1, 2]
target = 0.30
share_of_parameters = 0.25
[arms.fedavg]
dtype = "float32"
learning_rate = 0.02
federation = { strategy = "fedavg", rounds = 4 }
[arms.ftte]
dtype = "int8"
scheme = "list:conv1.bias,fc2.bias,fc2.weight[:3]"
learning_rate = 0.02
bits = 4
federation = { strategy = "ftte", buffer = 3, updates = 24 }
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def test_the_experiment_that_ships_is_the_papers_set_up() -> None:
    experiment = load_experiment()
    protocol = experiment.protocol
    assert (protocol.clients, protocol.straggler_share, protocol.input_shape) == (500, 0.9, (28, 28, 1))
    assert {BASELINE, OURS} <= set(experiment.arms)
    assert protocol.share_of_parameters <= 0.25


def test_each_study_varies_what_it_says_and_keeps_all_else() -> None:
    experiment = load_experiment()
    for name, study in STUDIES.items():
        cases = list(study.cases(experiment))
        assert len({(case.label, case.name) for case in cases}) == len(cases), name
        assert study.seeds(experiment)
    alphas = {case.protocol.alpha for case in STUDIES["comparison"].cases(experiment)}
    assert alphas == {0.1, 0.5, math.inf}
    assert {case.arm.bits for case in STUDIES["bits"].cases(experiment)} == {None, 8, 4, 2, 1}
    signs = {case.arm.federation["b"] for case in STUDIES["weighting"].cases(experiment)}
    assert min(signs) < 0 < max(signs)
    assert {case.protocol.clients for case in STUDIES["scaling"].cases(experiment)} == {10, 100, 1000, 10_000}
    grown = {case.label: case for case in STUDIES["scaling"].cases(experiment) if ", K " in case.label}
    assert list(grown) == ["1,000 clients, K 20", "10,000 clients, K 200"], "as 10 to 500 clients"
    assert [case.arm.federation["buffer"] for case in grown.values()] == [20, 200]
    unvaried = [case for case in STUDIES["bits"].cases(experiment) if case.arm == experiment.arms[OURS]]
    assert [case.label for case in unvaried] == ["4 bits, error feedback"]


def test_a_round_may_wait_for_as_many_clients_as_work_at_a_time(small: Path) -> None:
    small.write_text(SMALL.replace("rounds = 4", "rounds = 4, min_clients = 6"))
    assert load_experiment(small).arms["fedavg"].federation["min_clients"] == 6


def test_a_small_experiment_ends_in_a_page_and_is_not_run_twice(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    arguments = ["--experiment", str(small), "--studies", "headline", "--seeds", "1", "--output", str(out)]
    assert main(arguments) == 0
    first = json.loads((out / "bench" / "claims_studies.json").read_text())["studies"]["headline"]
    assert [(row["label"], row["arm"], len(row["runs"])) for row in first] == [
        ("Dirichlet 0.5", "fedavg", 1), ("Dirichlet 0.5", "ftte", 1), ("8 bits an update", "ftte", 1),
    ]  # fmt: skip
    fedavg, ftte, eight = (row["runs"][0] for row in first)
    assert fedavg["points"][-1]["updates"] == 24
    assert ftte["payload_up"] < eight["payload_up"] < fedavg["payload_up"] / 5
    assert first[1]["sram_federation_bytes"] > 0
    for row in first:  # apart in the stack alone, of which the plan has a bound
        assert 0 <= row["sram_on_core_planned"] - row["sram_on_core_counted"] <= 512
    page = (out / "claims.md").read_text()
    assert "Dirichlet 0.5 | fedavg" in page
    assert "Not run yet: `make claims STUDIES=comparison`" in page
    html = (out / "claims.html").read_text()
    assert "<td>Dirichlet 0.5</td>" in html
    assert 'src="data:image/png;base64,' in html

    claimed = {one["id"]: one for one in json.loads((out / "claims.json").read_text())}
    assert {"memory_reduction", "payload_reduction", "accuracy_gap_points"} <= set(claimed)
    for one in claimed.values():
        assert {"id", "published", "ours", "unit", "spread", "dataset", "command"} <= set(one)
        assert isinstance(one["ours"], float)
        assert one["command"] == f"python -m bench.claims --experiment {small}"
    bytes_of = [row["sram_total_bytes"] + row["sram_federation_bytes"] for row in first]
    assert claimed["memory_reduction"]["ours"] == pytest.approx(100 * (1 - bytes_of[1] / bytes_of[0]), abs=1e-3)
    assert (claimed["memory_reduction"]["published"], claimed["memory_reduction"]["unit"]) == (80, "%")

    def again(*_: object, **__: object) -> None:
        raise AssertionError("was run before")

    monkeypatch.setattr("bench.claims.runs.simulate", again)
    assert main(arguments) == 0
    assert json.loads((out / "bench" / "claims_studies.json").read_text())["studies"]["headline"] == first
    capsys.readouterr()


def run_with(accuracies: list[float], seed: int, seconds: float = 10.0) -> dict[str, Any]:
    """A run with points `seconds` and 1,000 bytes each way apart."""
    points = [Point(seconds * i, i, i, 1000 * i, 1000 * i, a, 0.0) for i, a in enumerate(accuracies)]
    run = Run("arm", seed, "full", "program", 10, points, len(points), 0, 0, 600, 400, 0, 0, 0, 0, 0)
    return asdict(run)


def row_with(label: str, arm: str, runs: list[dict[str, Any]], sram: int) -> dict[str, Any]:
    return {"label": label, "arm": arm, "runs": runs, "target": 0.8, "sram_total_bytes": sram - 100,
            "sram_federation_bytes": 100}  # fmt: skip


def test_claims_are_worked_out_by_seed() -> None:
    slow, quick = [0.5, 0.7, 0.7, 0.8, 0.8], [0.5, 0.8, 0.8, 0.8, 0.79]
    base = row_with("IID", "fedavg", [run_with(slow, 1), run_with(slow, 2, 20.0)], 1000)
    ours = row_with("IID", "ftte", [run_with(quick, 1), run_with(quick, 2, 10.0)], 150)
    found = {one["id"]: one for one in claims({"headline": [base, ours]}, None, "fashion-mnist")}
    assert found["memory_reduction"]["ours"] == 85.0
    assert found["payload_reduction"]["ours"] == 0.0
    assert found["time_reduction"]["ours"] == pytest.approx(100 * (1 - 10 / 45), abs=1e-3)
    assert found["time_reduction"]["spread"] == pytest.approx(100 * (10 / 30 - 10 / 60), abs=1e-3)
    assert found["bytes_to_target_reduction"]["ours"] == pytest.approx(100 * (1 - 2 / 6), abs=1e-3)
    assert found["accuracy_gap_points"]["ours"] == pytest.approx(1.0)
    assert "time_reduction_fedbuff" not in found
    named = {one["id"] for one in claims({"headline": [base, ours]}, None, "cifar10")}
    assert "time_reduction_cifar10" in named


def test_what_was_not_reached_is_no_claim() -> None:
    base = row_with("IID", "fedavg", [run_with([0.8, 0.8], 1)], 1000)
    ours = row_with("IID", "ftte", [run_with([0.5, 0.8, 0.5], 1)], 150)  # once is luck
    found = {one["id"] for one in claims({"headline": [base, ours]}, None, "fashion-mnist")}
    assert found == {"memory_reduction", "payload_reduction", "accuracy_gap_points"}
    assert claims({}, None, "fashion-mnist") == []


def test_speeds_are_claims_of_this_machine() -> None:
    speeds = {"claims": {"fleet_speedup_flower": {"speedup": 77.77, "spread": 3.0}}}
    (one,) = claims({}, speeds, "cifar10")
    assert (one["id"], one["ours"], one["unit"]) == ("fleet_speedup_flower", 77.77, "times")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("clients = 12", "clients = 0", "protocol.clients"),
        ('strategy = "ftte"', 'strategy = "nonesuch"', "arms.ftte.federation.strategy: "),
        ("buffer = 3", "buffer = 0", "arms.ftte.federation.buffer: "),
        ("rounds = 4", "rounds = 4, min_clients = 7", "arms.fedavg, with 6 clients at a time: "),
        ("slowdown = 10.0", "slowdown = inf", "protocol.slowdown: "),
        ("bits = 4", "bits = 3", "bits"),
        ("[protocol]", "[protocol", "small.toml"),
        ("target = 0.30", "", "protocol.target"),
    ],
)
def test_a_wrong_file_is_named_with_every_wrong_field(small: Path, old: str, new: str, named: str) -> None:
    small.write_text(SMALL.replace(old, new))
    with pytest.raises(ConfigError, match=named):
        load_experiment(small)
    assert main(["--experiment", str(small)]) == ConfigError("").exit_code


def test_too_few_samples_say_so(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small.write_text(SMALL.replace("pretrain_samples = 5000", "pretrain_samples = 60000"))
    assert main(["--experiment", str(small), "--output", str(tmp_path)]) == 2
    assert "too few" in capsys.readouterr().err


def test_another_protocol_is_another_experiment() -> None:
    experiment = load_experiment()
    varied = experiment.varied(clients=10)
    assert isinstance(varied, Experiment)
    assert (varied.protocol.clients, varied.arms) == (10, experiment.arms)


def headline(small: Path, out: Path) -> list[str]:
    return ["--experiment", str(small), "--studies", "headline", "--seeds", "1", "--output", str(out)]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BudgetError("nothing fits 8 bytes"), 1, "Dirichlet 0.5, ftte: skipped: nothing fits 8 bytes"),
        (ConfigError("no such layer"), 2, "error: study headline: Dirichlet 0.5, ftte, seed 1: no such layer"),
    ],
)
def test_what_does_not_fit_is_skipped_aloud_and_all_else_ends_the_run(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    error: ConfigError, code: int, said: str,
) -> None:  # fmt: skip
    def failing(scene: Any, name: str, *others: Any) -> Run:
        if name == OURS:
            raise error
        return run_arm(scene, name, *others)

    monkeypatch.setattr(command, "run_arm", failing)
    assert main(headline(small, tmp_path / "out")) == code
    told = capsys.readouterr()
    assert said in " ".join((told.out + told.err).split())
    rows = json.loads((tmp_path / "out" / "bench" / "claims_studies.json").read_text())["studies"]["headline"]
    assert (rows[0]["arm"], len(rows[0]["runs"])) == ("fedavg", 1), "what there is was written"
    assert str(error) in (tmp_path / "out" / "claims.md").read_text()


def test_a_study_names_the_arm_that_it_lacks(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--experiment", str(small), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--studies", "averaging"]) == 2
    assert "study averaging: needs arms.fedbuff, which the experiment lacks" in capsys.readouterr().err
    wanted = command._with_their_arms(small, load_experiment(small), list(STUDIES), Reporter())
    assert wanted == [name for name in STUDIES if name != "averaging"]
    assert "needs arms.fedbuff, which the experiment lacks: skipped" in " ".join(capsys.readouterr().err.split())
    small.write_text(SMALL.replace('"ftte", buffer = 3', '"fedbuff", buffer = 3'))
    assert main([*arguments, "--studies", "weighting"]) == 2
    assert "study weighting: cannot vary the arm\n  federation.a: " in capsys.readouterr().err


def test_a_headline_lacks_arms_that_are_absent_or_have_no_run(small: Path) -> None:
    small.write_text(SMALL[: SMALL.index("[arms.ftte]")])
    rows = [row_with("IID", "fedavg", [], 1000) | {"problem": "too large"}]
    assert command._lacking(load_experiment(small), rows) == [
        "arm ftte, which the experiment lacks", "IID, arm fedavg: too large",
    ]  # fmt: skip


def test_seeds_are_at_least_one_and_no_more_than_there_are(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--experiment", str(small), "--output", str(tmp_path / "out"), "--seeds"]
    assert main([*arguments, "3"]) == 2
    assert f"--seeds 3: {small} has 2" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([*arguments, "0"])


def test_fewer_seeds_do_not_replace_a_fuller_study(small: Path, tmp_path: Path) -> None:
    pages = Pages(tmp_path, load_experiment(small))
    one = [row_with("IID", "fedavg", [run_with([0.5], 1)], 1000)]
    both = [row_with("IID", "fedavg", [run_with([0.5], 1), run_with([0.5], 2)], 1000)]
    wide = [*both, row_with("IID", "ftte", [run_with([0.5], 1)], 150)]
    assert pages.add("headline", both, finished=True)
    assert not pages.add("headline", one, finished=True)
    assert pages.studies["headline"] == both
    assert pages.add("headline", wide, finished=True)
    assert not pages.add("headline", both, finished=False), "a run that was ended early"
    assert pages.add("headline", both, finished=True), "an arm that fits no more"


def test_one_run_at_a_time_writes_into_a_folder(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with alone_in(tmp_path / "out"):
        assert main(headline(small, tmp_path / "out")) == 3
    assert f"process {os.getpid()} writes its claims here" in capsys.readouterr().err
    with alone_in(tmp_path / "out"):
        pass


def test_a_folder_that_cannot_be_made_is_named(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(headline(small, small / "out")) == 3
    assert f"error: {small / 'out'}: cannot be written" in capsys.readouterr().err


def test_a_document_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "claims.json"
    write_document(path, "claims", {"a": 1})
    old = path.read_text()
    (tmp_path / f".claims.json.{os.getpid()}").mkdir()  # in the way of the new one
    with pytest.raises(InfrastructureError, match=r"claims\.json: cannot be written"):
        write_document(path, "claims", {"a": 2})
    assert path.read_text() == old


@pytest.mark.parametrize("damaged", ['{"studies": {"headl', "[]", "{}", '{"studies": {"headline": [{"runs": [{}]}]}}'])
def test_damaged_studies_are_named_and_may_be_deleted(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damaged: str
) -> None:
    document = tmp_path / "bench" / "claims_studies.json"
    document.parent.mkdir()
    document.write_text(damaged)
    assert main(headline(small, tmp_path)) == 2
    assert f"{document}: damaged" in capsys.readouterr().err
    assert document.read_text() == damaged


def test_another_experiment_has_a_folder_of_its_own(small: Path, project_root: Path) -> None:
    assert command._usual_folder(DEFAULT) == project_root / "reports"
    assert command._usual_folder(small) == project_root / "reports" / "claims-small"
