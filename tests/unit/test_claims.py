"""Experiments on the simulated fleet: their files, their studies, and a small one from beginning to page."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from bench.claims.__main__ import main
from bench.claims.protocol import Experiment, load_experiment
from bench.claims.studies import BASELINE, OURS, STUDIES
from bench.errors import ConfigError

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
    unvaried = [case for case in STUDIES["bits"].cases(experiment) if case.arm == experiment.arms[OURS]]
    assert [case.label for case in unvaried] == ["4 bits, error feedback"]


def test_a_small_experiment_ends_in_a_page_and_is_not_run_twice(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--experiment", str(small), "--studies", "scratch", "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    first = json.loads((tmp_path / "out" / "claims.json").read_text())["studies"]["scratch"]
    assert [(row["arm"], len(row["runs"])) for row in first] == [("fedavg", 1), ("ftte", 1)]
    fedavg, ftte = (row["runs"][0] for row in first)
    assert fedavg["points"][-1]["updates"] == 24
    assert ftte["payload_up"] < fedavg["payload_up"] / 10
    assert first[1]["sram_federation_bytes"] > 0
    page = (tmp_path / "out" / "claims.md").read_text()
    assert "from scratch | fedavg" in page
    assert "Not run yet: `make claims STUDIES=comparison`" in page

    def again(*_: object, **__: object) -> None:
        raise AssertionError("was run before")

    monkeypatch.setattr("bench.claims.runs.simulate", again)
    assert main(arguments) == 0
    assert json.loads((tmp_path / "out" / "claims.json").read_text())["studies"]["scratch"] == first
    capsys.readouterr()


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("clients = 12", "clients = 0", "protocol.clients"),
        ('strategy = "ftte"', 'strategy = "nonesuch"', "ftte"),
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
