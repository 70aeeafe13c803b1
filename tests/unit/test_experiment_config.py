"""An experiment file is validated whole, and every mistake is named."""

from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.experiment.config import load_experiment
from bench.experiment.setting import boards_of, prepare
from bench.federation.participation import Continuous, Rounds
from bench.federation.update_codec import CodecSettings
from bench.rack.inventory import load_inventory

GOOD = """
name = "small"
[model]
source = "demo-cnn"
[[model.variants]]
name = "int8"
scheme = "last-1"
learning_rate = 0.01
learning_rate_decay = 0.5
[data]
dataset = "fashion-mnist"
train_samples = 600
alpha = 0.5
[train]
local_samples = 10
[federation]
rounds = 2
deadline_s = 10.0
"""


def write(folder: Path, text: str) -> str:
    path = folder / "experiment.toml"
    path.write_text(text)
    return str(path)


def test_reads_an_experiment(tmp_path: Path) -> None:
    experiment = load_experiment(write(tmp_path, GOOD))
    assert experiment.name == "small"
    assert experiment.model.source == "demo-cnn"
    assert [(v.scheme, v.dtype, v.batch, v.rule) for v in experiment.model.variants] == [("last-1", "int8", 1, None)]
    assert experiment.model.variants[0].rate(1) == 0.01
    assert experiment.model.variants[0].rate(3) == pytest.approx(0.0025)
    plan = experiment.federation_of(experiment.model.variants[0], clients=5)
    assert plan.settings.strategy == "fedavg"
    assert plan.settings.participation == Rounds(clients=5), "all clients; what is late by the wall is no deadline"
    assert (plan.clock, plan.deadline_s, plan.settings.stop.steps) == ("modelled", 10.0, 2)
    assert experiment.update_of(experiment.model.variants[0]) is None


def test_the_shipped_demo_is_valid() -> None:
    demo = load_experiment("demo")
    assert demo.federation["rounds"] >= 10
    assert demo.data.train_samples >= 5000


def test_the_digest_changes_with_whatever_decides_the_result(tmp_path: Path) -> None:
    one = load_experiment(write(tmp_path, GOOD)).digest()
    assert load_experiment(write(tmp_path, GOOD)).digest() == one
    assert load_experiment(write(tmp_path, GOOD.replace("rounds = 2", "rounds = 3"))).digest() != one


@pytest.mark.parametrize(
    ("find", "replace", "named"),
    [
        ('name = "small"', 'name = "no spaces"', "name"),
        ("learning_rate = 0.01", "learning_rate = -1.0", "model.variants.0.learning_rate"),
        ('scheme = "last-1"', 'dtype = "int4"', "model.variants.0.dtype"),
        ('scheme = "last-1"', "batch = 0", "model.variants.0.batch"),
        ('source = "demo-cnn"', "", "model.source"),
        ('source = "demo-cnn"', 'source = "demo-cnn"\ninput = [28, 28]', "model.input.2"),
        ("alpha = 0.5", "alpha = 0.0", "data.alpha"),
        ("rounds = 2", 'rounds = "2"', "federation.rounds"),
        ("rounds = 2", "rounds = 2\nround = 3", "federation.round"),
        ('dataset = "fashion-mnist"', 'dataset = "mnist"', "data.dataset"),
        ("alpha = 0.5", 'alpha = 0.5\nplacement = "cloud"', "data.placement"),
        ("deadline_s = 10.0", "", "federation.deadline_s"),
        ("rounds = 2", 'rounds = 2\nclock = "sun"', "federation.clock"),
        ("rounds = 2", 'rounds = 2\nstrategy = "fedsgd"', "federation.strategy"),
        ("rounds = 2", 'rounds = 2\nstrategy = "ftte"\nbuffer = 0', "federation.buffer"),
        ("rounds = 2", 'rounds = 2\nstrategy = "fedbuff"\nmin_clients = 2', "federation.min_clients"),
        ("[train]", "[update]\nbits = 3\n[train]", "update.bits"),
        ("[train]", "[update]\nkeep = 0\n[train]", "update.keep"),
        ("learning_rate_decay = 0.5", "learning_rate_decay = 0.5\nupdate = {bit = 4}", "model.variants.0.update.bit"),
        (
            "learning_rate_decay = 0.5",
            "learning_rate_decay = 0.5\nfederation = {buffer = 2}",
            "model.variants.0.federation.buffer",
        ),
        (
            "learning_rate_decay = 0.5",
            'learning_rate_decay = 0.5\nfederation = {strategy = "fedsgd"}',
            "model.variants.0.federation.strategy",
        ),
        ("[train]", "[targets]\naccurracy = 0.8\n[train]", "targets.accurracy"),
        ("[train]", "[targets]\naccuracy = nan\n[train]", "targets.accuracy"),
        ("learning_rate_decay = 0.5", "whole = true\nupdate = {bits = 4}", "model.variants.0"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, find: str, replace: str, named: str) -> None:
    path = write(tmp_path, GOOD.replace(find, replace))
    with pytest.raises(ConfigError) as caught:
        load_experiment(path)
    assert path in str(caught.value)
    assert f"  {named}: " in str(caught.value)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2 problem"):
        load_experiment(write(tmp_path, GOOD.replace("alpha = 0.5", "alpha = 0.0").replace("rounds = 2", "rounds = 0")))
    federation = GOOD.replace("rounds = 2\ndeadline_s = 10.0", "rounds = 0\nbuffer = 3\ndeadline_s = 0.0")
    with pytest.raises(ConfigError, match="3 problem") as caught:
        load_experiment(write(tmp_path, federation))
    for field in ("rounds", "buffer", "deadline_s"):
        assert f"  federation.{field}: " in str(caught.value)


@pytest.mark.parametrize("more", ["", "clients_per_round = 9\n"])
def test_more_clients_than_boards_cannot_be_waited_for(tmp_path: Path, project_root: Path, more: str) -> None:
    path = write(tmp_path, GOOD.replace("rounds = 2", f"rounds = 2\n{more}min_clients = 9"))
    with pytest.raises(ConfigError) as caught:
        prepare(path, project_root / "hosts" / "virtual.yaml")
    assert str(caught.value).startswith(f"{path}: variant int8: federation.min_clients is 9, the rack has ")


def test_what_so_many_clients_cannot_do_is_a_mistake_in_the_file(tmp_path: Path) -> None:
    experiment = load_experiment(write(tmp_path, GOOD.replace("rounds = 2", "rounds = 2\nmin_clients = 9")))
    with pytest.raises(ConfigError, match=r"variant int8: .*\n.*min_clients \(9\) is above clients_per_round \(5\)"):
        experiment.federation_of(experiment.model.variants[0], clients=5)


def test_variants_have_names_of_their_own(tmp_path: Path) -> None:
    start, end = GOOD.index("[[model"), GOOD.index("[data]")  # a second variant of the same name
    with pytest.raises(ConfigError, match="variant names must differ"):
        load_experiment(write(tmp_path, GOOD[:end] + GOOD[start:end] + GOOD[end:]))


def test_malformed_toml_and_absent_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a readable TOML file"):
        load_experiment(write(tmp_path, "rounds = = 2"))
    with pytest.raises(ConfigError, match=r"no such experiment.*demo"):
        load_experiment("demon")


def test_a_variant_may_have_a_federation_and_updates_of_its_own(tmp_path: Path) -> None:
    own = 'learning_rate_decay = 0.5\nfederation = {strategy = "ftte", rounds = 9, buffer = 3}\nupdate = {bits = 2}'
    experiment = load_experiment(write(tmp_path, GOOD.replace("learning_rate_decay = 0.5", own)))
    [variant] = experiment.model.variants
    plan = experiment.federation_of(variant, clients=4)
    assert plan.settings.strategy == "ftte"
    assert plan.settings.participation == Continuous(concurrency=4)
    assert (plan.clock, plan.deadline_s, plan.settings.stop.steps) == ("modelled", 10.0, 9)
    update = experiment.update_of(variant)
    assert update is not None
    assert update.codec == CodecSettings(bits=2)


def test_a_variant_may_send_whole_parameters_where_the_others_do_not(tmp_path: Path) -> None:
    whole = GOOD.replace("learning_rate_decay = 0.5", "learning_rate_decay = 0.5\nwhole = true")
    experiment = load_experiment(write(tmp_path, whole.replace("[train]", "[update]\nbits = 2\n[train]")))
    assert experiment.update is not None
    assert experiment.update_of(experiment.model.variants[0]) is None


def test_on_the_walls_clock_the_deadline_is_the_rounds_own(tmp_path: Path) -> None:
    experiment = load_experiment(write(tmp_path, GOOD.replace("rounds = 2", 'rounds = 2\nclock = "wall"')))
    plan = experiment.federation_of(experiment.model.variants[0], clients=5)
    assert plan.settings.participation == Rounds(clients=5, deadline_s=10.0)


def test_what_no_board_does_is_refused_and_not_ignored(tmp_path: Path) -> None:
    prox = 'rounds = 2\nstrategy = "fedprox"\nmu = 0.1'
    experiment = load_experiment(write(tmp_path, GOOD.replace("rounds = 2", prox)))
    with pytest.raises(ConfigError, match=r"variant int8: federation\.mu: is 0\.1, but no board adds FedProx's"):
        experiment.federation_of(experiment.model.variants[0], clients=5)


@pytest.mark.parametrize(
    ("boards", "given", "chosen"),
    [
        ('["bit", "plus2"]', False, ("bit", "plus2")),
        ('["bit", "plus2"]', True, ("bit", "plus2")),
        ('["desk-1"]', True, None),  # another rack than that of the experiment: all of it
        ('["desk-1"]', False, ("desk-1",)),  # and here a mistake, which the inventory names
        ('["bit", "desk-1"]', True, ("bit", "desk-1")),
    ],
)
def test_a_rack_that_is_given_is_used_whole_when_it_has_none_of_the_boards(
    tmp_path: Path, project_root: Path, boards: str, given: bool, chosen: tuple[str, ...] | None
) -> None:
    experiment = load_experiment(write(tmp_path, f"{GOOD}[cohort]\nboards = {boards}\n"))
    inventory = load_inventory(project_root / "hosts" / "virtual.yaml")
    assert boards_of(experiment, inventory, given=given) == chosen


def test_the_demo_uses_boards_of_the_default_rack(project_root: Path) -> None:
    names = load_experiment("demo").cohort.boards
    assert len(load_inventory(project_root / "hosts" / "virtual.yaml").select(names)) == 5
