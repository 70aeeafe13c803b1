"""The fixtures of boards where no rack is named: tests that ask for one are skipped."""

from __future__ import annotations

from typing import NoReturn

import pytest

_REASON = "no rack: name one with --rack=FILE, with FTTE_RACK, or as `ftte_rack` in pytest's configuration"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tells how many tests that was: a run that tries nothing is green, too."""
    skipped = [report for report in terminalreporter.stats.get("skipped", ()) if _REASON in str(report.longrepr)]
    if skipped:
        terminalreporter.line(f"{len(skipped)} tests on boards were skipped: {_REASON}")


@pytest.fixture(scope="session")
def rack() -> NoReturn:
    """The boards of the rack."""
    pytest.skip(_REASON)


@pytest.fixture(scope="session")
def board() -> NoReturn:
    """One board: the test runs once on each that matches."""
    pytest.skip(_REASON)


@pytest.fixture
def meter() -> NoReturn:
    """The board's meter."""
    pytest.skip(_REASON)


@pytest.fixture
def cohort() -> NoReturn:
    """All boards that match, at once."""
    pytest.skip(_REASON)


@pytest.fixture
def trained() -> NoReturn:
    """A federated run over the cohort."""
    pytest.skip(_REASON)
