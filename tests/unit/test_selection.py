"""Choosing w*: groups, gains measured on the engine, and a subset that is as good as can be within its budget."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import cli
from bench.compiler.compile import Settings, compile_graph, random_calibration
from bench.compiler.scheme import choose
from bench.data.shift import Shift
from bench.errors import ConfigError
from bench.model.graph import Graph
from bench.model.zoo import load_zoo
from bench.rack.manifest import load_manifest
from bench.selection.contribution import Task, contributions
from bench.selection.groups import Group, groups_of, parameters, scheme_of
from bench.selection.pick import BudgetError, pick
from bench.selection.search import MemoryModel, search


@pytest.fixture(scope="module")
def demo() -> Graph:
    return load_zoo("demo-cnn")


def test_groups_are_biases_and_shares_of_input_channels(demo: Graph) -> None:
    groups = groups_of(demo)
    assert [g.text for g in groups[:2]] == ["conv1.bias", "conv1.weight[:1]"]
    for group in groups:
        trained = choose(demo, scheme_of([group]))[group.layer]
        assert (trained.bias, trained.in_channels) == (group.channels == 0, group.channels)
    compiled = compile_graph(demo, Settings(scheme_of(groups[2:4])), random_calibration(demo))
    assert sum(t.size for t in compiled.plan.trained) == sum(parameters(demo, g) for g in groups[2:4])


def test_the_plan_of_what_is_chosen_is_what_the_model_of_memory_said(demo: Graph) -> None:
    memory = MemoryModel(demo, "int8", 0, federated=False)
    for subset in ([Group("fc2", 0)], [Group("conv1", 0), Group("fc2", 3)], groups_of(demo)[:2]):
        plan = compile_graph(demo, Settings(scheme_of(subset)), random_calibration(demo)).plan
        assert abs(memory.bytes(subset) - plan.arena_bytes - plan.params_bytes) <= 3, "but for alignment"


class _Additive(MemoryModel):
    """Bytes without a planner: a parameter takes its own, and any subset an arena of 100."""

    def bytes(self, subset: object) -> int:
        return 100 + self.own_bytes(subset)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(12))
def test_the_search_is_close_to_the_best_of_all_subsets_and_below_its_bound(demo: Graph, seed: int) -> None:
    generator = np.random.default_rng(seed)
    groups = groups_of(demo)
    gains = {group: float(generator.random() * parameters(demo, group) ** 0.5) for group in groups}
    memory = _Additive(demo, "int8", 0)
    budget = int(generator.integers(300, 6000))
    found = search(gains, memory, demo, budget)
    best = 0.0
    layers = {g.layer for g in groups}
    weights = [[None, *(g for g in groups if g.layer == layer and g.channels)] for layer in layers]
    for biases in itertools.product([False, True], repeat=len(layers)):
        for chosen in itertools.product(*weights):
            subset = [Group(layer, 0) for layer, kept in zip(layers, biases, strict=True) if kept]
            subset += [group for group in chosen if group is not None]
            if memory.bytes(subset) <= budget:
                best = max(best, sum(gains[g] for g in subset))
    assert found.bytes <= budget
    assert 0.9 * best <= found.gain
    assert max(best, found.gain) <= found.bound + 1e-9


def test_room_that_no_whole_step_fits_is_used_by_a_part_of_one() -> None:
    lenet = load_zoo("lenet-5")
    memory = _Additive(lenet, "int8", 0)
    half, whole = Group("fc4", 60), Group("fc4", 120)
    assert {half, whole} <= set(groups_of(lenet))
    gains = {half: 1.0, whole: 1.6}
    between = Group("fc4", 88)
    found = search(gains, memory, lenet, memory.bytes([between]))
    assert found.groups == (between,)
    assert found.gain == pytest.approx(1.28), "on the line between what was measured"
    assert search(gains, memory, lenet, memory.bytes([between]) - 1).groups == (Group("fc4", 84),), "in whole words"
    assert search(gains, memory, lenet, memory.bytes([whole])).groups == (whole,)
    worse = {half: 1.0, whole: 0.9}
    assert search(worse, memory, lenet, 1 << 20).groups == (half,), "none where more channels are worth less"
    dip = {Group("fc4", 30): 1.0, half: 0.5, whole: 1.6}
    assert search(dip, memory, lenet, memory.bytes([Group("fc4", 100)])).gain == 1.0, "none over a size that is worse"
    late = {half: -0.3, whole: 1.6}
    assert search(late, memory, lenet, memory.bytes([whole]) - 1).groups == (), "nor from one that does harm"
    assert search({half: 1.0}, memory, lenet, memory.bytes([half]) - 1).groups == (), "nor below what was measured"


def test_whole_steps_are_exchanged_with_what_parts_would_add_in_mind(demo: Graph) -> None:
    """Gains as measured: three channels of the classifier alone are worth .69, one and a convolution's .69 as well, but
    leave room for another."""
    measured = {"conv1": (0.136, {1: 0.312}), "fc2": (0.094, {1: 0.147, 3: 0.462, 6: 0.663, 12: 0.821})}
    gains = {Group(layer, 0): bias for layer, (bias, _) in measured.items()}
    gains |= {Group(layer, n): gain for layer, (_, sizes) in measured.items() for n, gain in sizes.items()}
    found = search(gains, _Additive(demo, "int8", 0), demo, 1 << 20, most=demo.parameters // 4)
    assert found.scheme == "list:conv1.bias,conv1.weight[:1],fc2.bias,fc2.weight[:2]"
    assert found.gain == pytest.approx(0.136 + 0.312 + 0.094 + (0.147 + 0.462) / 2)


@pytest.mark.parametrize("channels", [2, 3, 4, 5])
def test_a_part_of_a_step_is_below_the_bound_too(channels: int) -> None:
    lenet = load_zoo("lenet-5")
    memory = MemoryModel(lenet, "int8", 0)
    part = Group("conv2", channels)
    found = search({Group("conv2", 1): 0.1, Group("conv2", 6): 1.0}, memory, lenet, memory.bytes([part]))
    assert found.groups == (part,)
    assert found.gain <= found.bound


def test_a_budget_of_parameters_is_kept_and_nothing_fits_in_nothing(demo: Graph) -> None:
    gains = dict.fromkeys(groups_of(demo), 1.0)
    memory = MemoryModel(demo, "int8", 1000)
    found = search(gains, memory, demo, 1 << 20, most=200)
    assert 0 < found.parameters <= 200
    assert search(gains, memory, demo, 1001).groups == ()


def test_gains_are_measured_on_the_engine_and_remembered(demo: Graph, tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    prototypes = generator.integers(-60, 60, (10, *demo.input_shape))

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = generator.integers(0, 10, count).astype(np.uint8)
        noise = generator.normal(0, 20, (count, *demo.input_shape))
        return np.clip(prototypes[labels] + noise, -128, 127).astype(np.int8), labels

    task = Task(*draw(400), *draw(200), steps=400, learning_rate=0.02)
    groups = [Group("conv1", 0), Group("fc2", max(g.channels for g in groups_of(demo) if g.layer == "fc2"))]
    told: list[tuple[int, int]] = []
    found = contributions(demo, groups, task, tmp_path, progress=lambda done, total: told.append((done, total)))
    assert [c.group for c in found] == groups
    assert found[1].gain > found[0].gain > 0, "a classifier learns more than six biases"
    assert found[1].accuracy_after > found[1].accuracy_before + 0.3
    assert sorted(told) == [(1, 2), (2, 2)]
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    assert contributions(demo, groups, task, tmp_path) == found
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")} == kept


def test_a_client_s_sensor_is_its_own_and_does_not_depend_on_how_many_there_are() -> None:
    images = np.random.default_rng(0).integers(-52, 128, (3, 14, 14, 1)).astype(np.int8)
    assert Shift.draw(1, 5) == Shift.draw(1, 5) != Shift.draw(1, 6)
    assert Shift.draw(2, 5) != Shift.draw(1, 5)
    np.testing.assert_array_equal(Shift().apply(images), images)
    seen = Shift(0.5, 10, 1, -2).apply(images)
    np.testing.assert_array_equal(seen[:, 1:, :-2], np.rint(images[:, :-1, 2:] * 0.5 + 10).astype(np.int8))
    assert (seen[:, 0] == np.int8(np.rint(images.min() * 0.5 + 10))).all()
    assert (seen[:, :, -2:] == seen[0, 0, 0, 0]).all()


def run_choose(*arguments: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "bench", "choose", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout)


def samples(path: Path, count: int = 300) -> Path:
    generator = np.random.default_rng(2)
    y = generator.integers(0, 10, count)
    x = generator.normal(0, 0.4, (count, 14, 14, 1)) + generator.normal(0, 1, (10, 14, 14, 1))[y]
    np.savez(path, x=x.astype(np.float32), y=y)
    return path


def test_the_command_writes_a_scheme_that_fits(tmp_path: Path) -> None:
    data, written = samples(tmp_path / "public.npz"), tmp_path / "mine.toml"
    shape = ["--data", str(data), "--env", "microbit", "--budget", "9000", "--steps", "200", "--pretrain", "200"]
    code, document = run_choose("demo-cnn", *shape, "--output", str(written))
    assert code == 0
    assert document["sram_total_bytes"] + document["sram_federation_bytes"] <= 9000
    assert 0 < document["gain"] <= document["gain_bound"]
    demo = load_zoo("demo-cnn")
    assert choose(demo, f"sparse:{written}") == choose(demo, document["scheme"])
    chosen = [g for g in document["groups"] if g["chosen"]]
    assert {g["group"] for g in chosen} == set(document["scheme"][5:].split(","))
    assert all(g["gain"] is not None for g in document["groups"] if not g["chosen"]), "what was measured has its gain"
    assert sum(g["parameters"] for g in chosen) == document["parameters"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["demo-cnn", "--data", "nothing.npz"], "nothing.npz: not a .npz file"),
        (["ds-cnn"], "Fashion-MNIST has one channel and ten classes"),
        (["demo-cnn", "--steps", "0"], "--steps 0"),
    ],
)
def test_what_cannot_be_chosen_from_is_refused(arguments: list[str], said: str) -> None:
    code, document = run_choose(*arguments)
    assert code == 2
    assert said in document["error"]["message"]


def test_a_budget_that_is_too_small_is_told_apart_from_gains_that_are_none(demo: Graph) -> None:
    board, groups = load_manifest("b_l475e_iot01a"), groups_of(demo)
    with pytest.raises(ConfigError, match="no parameter group lowers the loss") as caught:
        pick(demo, dict.fromkeys(groups, 0.0), board, 100_000)
    assert not isinstance(caught.value, BudgetError)
    with pytest.raises(ConfigError, match="has at most 1 parameters; the smallest has 10") as caught:
        pick(demo, dict.fromkeys(groups, 1.0), board, 100_000, most=1)
    assert not isinstance(caught.value, BudgetError)
    with pytest.raises(BudgetError, match="fits 100 bytes of b_l475e_iot01a's RAM; the smallest takes about"):
        pick(demo, dict.fromkeys(groups, 1.0), board, 100)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (["--env", "nonesuch"], "nonesuch"),
        (["--budget", "0"], "--budget 0"),
        (["--most", "101"], "--most 101"),
        (["--most", "nan"], "--most nan"),
        (["--steps", "0"], "--steps 0"),
        (["--output", "/nonesuch/w.toml"], "/nonesuch/w.toml"),
    ],
)
def test_what_choose_cannot_do_is_refused_before_the_long_work(
    wrong: list[str], named: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def long_work(*_: object, **__: object) -> None:
        raise AssertionError("began")

    monkeypatch.setattr("bench.verbs.choose.load_model", long_work)
    assert cli.main(["choose", "demo-cnn", *wrong]) == 2
    assert named in capsys.readouterr().err
