"""Metrics of all tests: a table at the end of the session, and the file of --metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.pytest_plugin.metrics import Metric, carried, number, property_of

ATTRIBUTE = "ftte_metrics"
"""Of a test's last report; xdist carries attributes of plain values."""


class MetricsTable:
    """A plug-in that works with and without a rack."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._rows: list[tuple[str, str, Metric]] = []  # test, how it ended, metric
        self._failed: set[str] = set()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """JUnit's file takes a test's properties from its last report, that of the teardown."""
        outcome = yield
        report = outcome.get_result()
        if call.when == "teardown":
            metrics = carried(item)
            setattr(report, ATTRIBUTE, metrics)
            report.user_properties = [
                *report.user_properties,
                *(property_of(Metric(**metric)) for metric in metrics),
            ]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Where the session is, which under xdist is not where the tests are."""
        if report.failed:
            self._failed.add(report.nodeid)
        for metric in getattr(report, ATTRIBUTE, ()):
            ended = "failed" if report.nodeid in self._failed else "passed"
            self._rows.append((report.nodeid, ended, Metric(**metric)))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Nothing where nothing was recorded."""
        if not self._rows:
            return
        terminalreporter.section("metrics")
        lines = [
            (test.rpartition("::")[2], m.name, number(m.value), m.unit, m.kind, _limits(m)) for test, _, m in self._rows
        ]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = [
                cell.rjust(width) if index == 2 else cell.ljust(width)
                for index, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            terminalreporter.line("  ".join(cells).rstrip())

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Not by a worker, which has only some of the tests."""
        if self._file is None or hasattr(session.config, "workerinput"):
            return
        document = [{"test": test, "outcome": ended, **vars(metric)} for test, ended, metric in self._rows]
        self._file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _limits(metric: Metric) -> str:
    parts = [
        f"{word} {number(limit)}" for word, limit in (("min", metric.low), ("max", metric.high)) if limit is not None
    ]
    return ", ".join(parts)
