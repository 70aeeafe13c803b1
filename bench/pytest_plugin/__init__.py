"""The pytest plug-in: tests on the boards of a rack.

Installed with the bench, so every pytest run on the machine loads this module. It imports nothing but pytest: what
works on boards comes from `bench.pytest_plugin.session`, once a rack is named.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.pytest_plugin.metrics import MetricRecorder, Within

_MARKERS = (
    "board(*, name, env, core, family, features, sram_min, flash_min, fpu, physical, meter, one): the test needs a "
    "board with these capabilities and is skipped on others, with the reason; one=True: the first that does is enough",
    "cohort(*, boards, most): the least number of boards that the test's `cohort` needs, and how many it takes at most",
    "experiment(name): the experiment, a file or one that ships, whose run the fixture `trained` is",
)
_ON = ("1", "true", "yes", "on")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest --help` shows these."""
    group = parser.getgroup("ftte-bench", "boards of a rack (ftte-bench)")
    add = group.addoption
    add(
        "--rack",
        metavar="FILE",
        help="inventory of boards, or `virtual` for the rack of emulated boards that ships; default: environment "
        "variable FTTE_RACK, then `ftte_rack` in pytest's configuration; without any, tests on boards are skipped. "
        "After a space pytest takes FILE for a test's path too, and may look for its configuration there: --rack=FILE",
    )
    add(
        "--board",
        action="append",
        metavar="BOARD",
        help="use only this board of the rack; may be repeated; default: FTTE_BOARD (names with commas), then all",
    )
    add(
        "--skip-flash",
        action="store_true",
        help="flash nothing: a board must run what a test needs already; also FTTE_SKIP_FLASH=1",
    )
    add(
        "--rack-state",
        metavar="DIR",
        help="where emulated boards keep their flash; default: FTTE_RACK_STATE, then a folder of this session's own, "
        "so that sessions and xdist's workers each have boards of their own; `.bench` has those of the command",
    )
    add(
        "--rack-wait",
        type=float,
        metavar="S",
        help="how long to wait for a board that another process uses; default: 0, under xdist 900",
    )
    add("--metrics", metavar="FILE", help="write all recorded metrics to this JSON file")
    parser.addini("ftte_rack", "inventory that is used when none is named; relative to the configuration's folder")
    parser.addini("ftte_rack_wait", "default of --rack-wait, in seconds")


def pytest_configure(config: pytest.Config) -> None:
    """Without a rack this is all that is done."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    named = _rack(config)
    if named is None:
        from bench.pytest_plugin import no_rack

        config.pluginmanager.register(no_rack, "ftte-bench-no-rack")
    else:
        from bench.pytest_plugin.session import configure

        configure(config, named)
    from bench.pytest_plugin.terminal import MetricsTable

    config.pluginmanager.register(MetricsTable(_metrics_file(config)), "ftte-bench-metrics")


def _metrics_file(config: pytest.Config) -> Path | None:
    """Refused before the tests if it cannot be written. Raises pytest.UsageError."""
    named = config.getoption("--metrics")
    if named is None:
        return None
    path = Path(named)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise pytest.UsageError(f"--metrics {named}: cannot be written: {error.strerror}") from error
    return path


def _rack(config: pytest.Config) -> str | None:
    """What was named; a relative path of the configuration file starts at that file's folder."""
    option = config.getoption("--rack")
    if option == "":
        raise pytest.UsageError("--rack= names no rack: give an inventory or `virtual`, or leave the option out")
    named = option or os.environ.get("FTTE_RACK")
    if named:
        return str(named)
    configured = config.getini("ftte_rack")
    if not configured:
        return None
    folder = config.rootpath if config.inipath is None else config.inipath.parent
    return configured if configured == "virtual" else str(folder / Path(configured))


def switched_on(config: pytest.Config, option: str, variable: str) -> bool:
    """Of an option without value, or its environment variable."""
    return bool(config.getoption(option)) or os.environ.get(variable, "").lower() in _ON


@pytest.fixture
def record_metric(request: pytest.FixtureRequest) -> MetricRecorder:
    """`record_metric(name, value, unit)`: into the report, JUnit's properties and --metrics; returns the metric."""
    return MetricRecorder(request.node)


@pytest.fixture
def assert_within(record_metric: MetricRecorder) -> Callable[..., None]:
    """`assert_within(metric, max=16, unit="KiB")`: fails when the metric, or the recorded one of that name, is beyond.

    The metric is recorded with its limit. `min` is the other side; limits may be in another unit of the same quantity.
    """
    return Within(record_metric)
