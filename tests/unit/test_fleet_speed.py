"""The benchmark of the fleet's speed, as far as it needs neither PyTorch nor Flower."""

from __future__ import annotations

import ast
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import process
from bench.benchmarks import fleet_cases, fleet_speed, peers_environment
from bench.benchmarks.peers import case as cases
from bench.benchmarks.peers.case import Case, check
from bench.benchmarks.peers.measure import measure, processes_seconds
from bench.benchmarks.peers.numpy_stacked import Stack
from bench.errors import BenchError, InfrastructureError

PEERS = Path(cases.__file__).parent


@pytest.fixture(scope="module", params=fleet_cases.BATCHES)
def mlp(request) -> Case:
    return fleet_cases.peers_case("mlp", request.param, repeats=1, seconds=0.1)


def stacked(case: Case) -> list[dict[str, np.ndarray]]:
    stack = Stack(case)
    stack.train()
    return [stack.weights(client) for client in range(len(case.expected))]


def test_numpy_ends_with_our_weights(mlp: Case) -> None:
    assert check(mlp, stacked(mlp))["most"] < 1e-5
    parameters = sum(value.size for value in mlp.start.values())
    assert parameters == 6634
    assert mlp.steps * mlp.batch == 100


def test_numpy_trains_from_the_start_each_time(mlp: Case) -> None:
    stack = Stack(mlp)
    stack.train()
    first = {name: value.copy() for name, value in stack.weights(0).items()}
    stack.train()
    for name, value in stack.weights(0).items():
        np.testing.assert_array_equal(value, first[name])


def test_a_peer_that_does_something_else_is_refused(mlp: Case) -> None:
    with pytest.raises(SystemExit, match="away from ours"):
        check(mlp, stacked(replace(mlp, rate=mlp.rate * 1.001)))
    with pytest.raises(SystemExit, match="away from ours"):
        check(mlp, [{**mlp.expected[0], "fc2.bias": np.full(10, np.nan, np.float32)}, *mlp.expected[1:]])
    parted = [{**weights, "fc1.weight": weights["fc1.weight"] + 1e-3} for weights in mlp.expected[:1]]
    with pytest.raises(SystemExit, match="away from ours"):
        check(mlp, [*parted, *mlp.expected[1:]])
    with pytest.raises(SystemExit, match="2 clients, expected 5"):
        check(mlp, mlp.expected[:2])


def test_a_case_survives_its_files(mlp: Case, tmp_path: Path) -> None:
    cases.save(mlp, tmp_path)
    read = cases.load(tmp_path)
    np.testing.assert_array_equal(read.x, mlp.x)
    np.testing.assert_array_equal(read.y, mlp.y)
    assert (read.batch, read.rate, read.steps) == (mlp.batch, mlp.rate, mlp.steps)
    assert json.dumps(read.layers) == json.dumps(mlp.layers)
    for wrote, found in zip([mlp.start, *mlp.expected], [read.start, *read.expected], strict=True):
        assert list(wrote) == list(found)
        assert all((wrote[name] == found[name]).all() for name in wrote)


def test_convolutions_are_told_as_they_are() -> None:
    layers = [fleet_cases._layer(fleet_cases.graph("ds-cnn"), node) for node in fleet_cases.graph("ds-cnn").nodes]
    assert [layer["op"] for layer in layers] == ["conv"] * 9 + ["avg_pool", "dense"]
    assert layers[0]["pad"] == [4, 1, 4, 1]
    assert layers[1]["groups"] == 64
    assert layers[-1]["inputs"] == 64
    lenet = [fleet_cases._layer(fleet_cases.graph("lenet-5"), node) for node in fleet_cases.graph("lenet-5").nodes]
    assert [layer["op"] for layer in lenet] == ["conv", "max_pool"] * 2 + ["dense"] * 3
    assert lenet[4]["inputs"] == 400


@pytest.mark.parametrize("path", sorted(PEERS.glob("*.py")), ids=lambda path: path.stem)
def test_peers_import_nothing_of_the_bench_but_each_other(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 1 or not (node.module or "").startswith("bench")
        elif isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "bench" for alias in node.names)


def test_rounds_are_as_long_as_they_should_be() -> None:
    calls: list[int] = []

    def run(count: int) -> None:
        calls.append(count)
        time.sleep(0.01 * count)

    found = measure(run, most=50, updates=2, repeats=3, seconds=0.3)
    assert calls[0] == 1
    assert len(set(calls[1:])) == 1
    assert 2 <= calls[1] <= 10
    assert found["round_updates"] == 2 * calls[1]
    assert len(found["wall_s"]) == len(found["processor_s"]) <= 3
    assert min(found["wall_s"]) >= 0.005
    assert measure(run, most=1, updates=1, repeats=1, seconds=9.0)["round_updates"] == 1


def test_processor_time_of_children_counts() -> None:
    before = processes_seconds()
    ended = process.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"], timeout_s=60)
    assert ended.code == 0
    assert processes_seconds() - before >= 0.25


def test_quick_measures_ours_and_goes_on_from_the_cache(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(fleet_speed, "cache_folder", lambda: tmp_path)
    output = tmp_path / "found.json"
    assert fleet_speed.main(["--quick", "--json", str(output)]) == 0
    document = json.loads(output.read_text(encoding="utf-8"))
    assert document["benchmark"] == "fleet_speed"
    assert {(row["batch"], row["dtype"]) for row in document["rows"]} == {
        (batch, dtype) for batch in (1, 10) for dtype in ("float32", "int8")
    }
    for row in document["rows"]:
        assert row["model"] == "mlp"
        assert row["side"] == "ours"
        assert row["wall_s"]["least"] <= row["wall_s"]["median"] <= row["wall_s"]["most"]
        assert row["updates_per_s"] == pytest.approx(1 / row["wall_s"]["median"])
        assert row["processor_s"]["median"] > 0
    assert document["comparisons"] == []
    assert "ours float32" in capsys.readouterr().out

    def nothing(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setitem(fleet_speed._MEASURES, "ours", nothing)
    assert fleet_speed.main(["--quick", "--json", str(output)]) == 0
    assert json.loads(output.read_text(encoding="utf-8"))["rows"] == document["rows"]


def row(side: str, seconds: float, dtype: str = "float32", threads: int = 1) -> dict:
    spread = {"median": seconds, "least": seconds, "most": seconds}
    return {"model": "mlp", "batch": 1, "side": side, "dtype": dtype, "threads": threads, "updates_per_s": 1 / seconds,
            "wall_s": spread, "processor_s": {**spread, "median": seconds * threads},
            "gmacs_per_processor_s": 1.0}  # fmt: skip


def test_the_best_of_each_side_is_compared() -> None:
    rows = [row("ours", 0.001), row("ours", 0.0008, threads=2), row("ours", 0.002, "int8"), row("torch", 0.02),
            row("torch", 0.03, threads=2), row("numpy", 0.0004)]  # fmt: skip
    rows[0]["processor_s"]["median"] = 0.0009
    found = {(one["dtype"], one["against"]): one for one in fleet_speed.compare(rows)}
    assert set(found) == {(dtype, side) for dtype in ("float32", "int8") for side in ("torch", "numpy")}
    assert found["float32", "torch"]["speedup"] == pytest.approx(25)
    assert found["float32", "torch"]["processor_speedup"] == pytest.approx(0.02 / 0.0009)
    assert found["float32", "torch"]["met"] is True
    assert found["float32", "numpy"]["met"] is False
    assert found["int8", "torch"]["target"] is None
    told = "\n".join(fleet_speed.table({"rows": rows, "comparisons": list(found.values())}))
    assert "mlp, batch 1, against numpy: 0.50 of 1" in told
    assert "against torch" not in told


def test_a_claim_is_the_smaller_of_both_models() -> None:
    rows = [row("ours", 0.001), row("torch", 0.02)]
    rows += [{**one, "model": "lenet-5"} for one in (row("ours", 0.001), row("torch", 0.01), row("flower", 0.01))]
    found = fleet_speed.claims(fleet_speed.compare(rows))
    assert {name: one["speedup"] for name, one in found.items()} == {"fleet_speedup_torch_loop": pytest.approx(10)}


def test_what_to_do_when_pip_cannot_install_is_said(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(peers_environment, "environment_folder", lambda: tmp_path / "venv")
    monkeypatch.setattr(process, "run", lambda command, **_: process.Ended(int("pip" in command), "no such index"))
    with pytest.raises(InfrastructureError, match=r"(?s)torch==.*no such index.*PIP_INDEX_URL.*--only ours numpy"):
        peers_environment.peers_python()
    assert not (tmp_path / "venv" / "installed.json").exists(), "the next run installs again"


def test_a_peer_that_fails_says_why(mlp: Case) -> None:
    with pytest.raises(BenchError, match=r"(?s)numpy_stacked failed.*away from ours"):
        peers_environment.run_peer(Path(sys.executable), "numpy_stacked", replace(mlp, rate=2 * mlp.rate), {})
