"""The [federation] section: what it says is what runs, and what is wrong is named."""

import tomllib

import numpy as np
import pytest

from bench.errors import ConfigError
from bench.federation.core import Limits, Stop
from bench.federation.events import Started
from bench.federation.participation import Continuous, Rounds
from bench.federation.settings import make_core, parse_federation, resume_core
from bench.federation.strategies.fedasync import FedAsync
from bench.federation.strategies.fedavg import FedAvg
from bench.federation.strategies.fedbuff import FedBuff
from bench.federation.strategies.fedprox import FedProx
from bench.federation.strategies.ftte import Ftte

SYNCHRONOUS = 'clients_per_round = 5\nrounds = 3\nstrategy = "fedavg"\n'
FTTE = 'strategy = "ftte"\nconcurrency = 5\nrounds = 3\n'


def parsed(toml: str):
    return parse_federation(tomllib.loads(toml))


@pytest.mark.parametrize(
    ("toml", "strategy", "participation"),
    [
        (SYNCHRONOUS, FedAvg(), Rounds(5)),
        (
            'strategy = "fedprox"\nrounds = 3\nclients_per_round = 9\nover_selection = 0.3\ndeadline_s = 60\n'
            "min_clients = 4\nserver_rate = 0.5\nmu = 0.1",
            FedProx(0.5, 0.1),
            Rounds(9, 0.3, 60.0, 4),
        ),
        (
            'strategy = "fedasync"\nconcurrency = 7\nupdates = 5\nalpha = 0.9\nstaleness = "hinge"\na = 10.0\nb = 6.0',
            FedAsync(0.9, "hinge", 10.0, 6.0),
            Continuous(7),
        ),
        (
            'strategy = "fedbuff"\nconcurrency = 7\ntime_s = 5.0\nbuffer = 4\nmax_staleness = 20\ndeadline_s = 3.0',
            FedBuff(4),
            Continuous(7, 20, 3.0),
        ),
        (FTTE, Ftte(10, 1.0, 0.5, 0.5, "weights", "power"), Continuous(5)),
        (
            FTTE + 'buffer = 2\nserver_rate = 0.3\na = 0.0\nb = -1.5\nnormalise = "buffer"',
            Ftte(2, 0.3, 0.0, -1.5, "buffer"),
            Continuous(5),
        ),
    ],
)
def test_each_strategy_has_its_own_fields(toml: str, strategy: object, participation: object) -> None:
    settings = parsed(toml)
    assert settings.make() == strategy
    assert settings.participation == participation


def test_ends_and_limits() -> None:
    settings = parsed(FTTE + "updates = 9\ntime_s = 1.5\nmax_samples = 100\nmax_update_norm = 2.0\nmax_failures = 1")
    assert settings.stop == Stop(3, 9, 1.5)
    assert settings.limits == Limits(100, 2.0, 1)
    assert parsed(FTTE).limits == Limits()


@pytest.mark.parametrize(
    ("toml", "named"),
    [
        ("rounds = 3", "federation.strategy"),
        ('strategy = "fedsgd"', "federation.strategy"),
        ('strategy = "ftte"\nrounds = 3', "federation.concurrency"),
        (FTTE + "clients_per_round = 3", "federation.clients_per_round"),
        (SYNCHRONOUS + "buffer = 3", "federation.buffer"),
        (FTTE + "buffer = 0", "federation.buffer"),
        (FTTE + 'buffer = "3"', "federation.buffer"),
        (FTTE + "a = -0.1", "federation.a"),
        (FTTE + "b = -9.0", "federation.b"),
        (FTTE + "b = nan", "federation.b"),
        (FTTE + 'formula = "unheard-of"', "federation.formula"),
        (FTTE + "server_rate = inf", "federation.server_rate"),
        (FTTE + "time_s = 0", "federation.time_s"),
        (SYNCHRONOUS + "min_clients = 6", "min_clients"),
        ('strategy = "fedavg"\nclients_per_round = 5', "rounds, updates and time_s"),
    ],
)
def test_what_is_wrong_is_named(toml: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named.replace(".", r"\.")):
        parsed(toml)


def test_a_core_is_made_and_goes_on_by_the_same_settings_alone() -> None:
    settings = parsed(FTTE)
    core = make_core(settings, np.zeros(3), ["a", "b"], seed=4)
    core.handle(Started(0.0))
    assert resume_core(settings, core.to_state()).to_state() == core.to_state()
    with pytest.raises(ConfigError, match="cannot go on"):
        resume_core(parsed(FTTE + "a = 1.0"), core.to_state())
