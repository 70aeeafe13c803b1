"""Metrics of tests: recorded with unit and origin, held against limits, carried by pytest's reports."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import pytest

from bench.errors import ConfigError
from bench.pytest_plugin.units import converted, quantity

KINDS = ("measured", "counted", "modelled")
"""As in the table of measurements; a metric of the test's own making has none."""


@dataclass(frozen=True)
class Metric:
    """A figure. `low` and `high` are the limits that it was held against, in its own unit."""

    name: str
    value: float
    unit: str
    kind: str = ""
    board: str = ""
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        kind = f" ({self.kind})" if self.kind else ""
        return f"{self.name}{f' of {self.board}' if self.board else ''} {number(self.value)} {self.unit}{kind}"


def number(value: float) -> str:
    """As tables show it."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.6g}"


METRICS: pytest.StashKey[dict[str, Metric]] = pytest.StashKey()
BOARD: pytest.StashKey[str] = pytest.StashKey()
"""The name of the board that a test runs on."""


class MetricRecorder:
    """The value of the fixture `record_metric`."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item

    @property
    def recorded(self) -> dict[str, Metric]:
        """What this test has recorded, by name and board."""
        return self._item.stash.setdefault(METRICS, {})

    def __call__(
        self, name: str | Metric, value: float | None = None, unit: str | None = None, *, kind: str = ""
    ) -> Metric:
        """Records a metric by name, value and unit, or one that a board gave; the last of a name counts.

        Raises ConfigError for a value that is not finite, and for a name without value and unit.
        """
        if isinstance(name, Metric):
            metric = name
        elif value is None or unit is None:
            raise ConfigError(f"metric {name}: record_metric(name, value, unit) needs all three")
        else:
            metric = Metric(_word(name, "name"), _figure(name, value), _word(unit, "unit"), kind)
        if not math.isfinite(metric.value):
            raise ConfigError(f"metric {metric.name}: {metric.value} is not a number")
        if metric.kind and metric.kind not in KINDS:
            raise ConfigError(f"metric {metric.name}: kind {metric.kind!r} is none of {', '.join(KINDS)}")
        metric = replace(metric, board=metric.board or self._item.stash.get(BOARD, ""))
        self.recorded[f"{metric.name} {metric.board}"] = metric
        return metric

    def find(self, name: str) -> Metric:
        """The metric of that name that was recorded last. Raises ConfigError when there is none."""
        for metric in reversed(self.recorded.values()):
            if metric.name == name:
                return metric
        known = ", ".join(dict.fromkeys(metric.name for metric in self.recorded.values())) or "none yet"
        raise ConfigError(f"no metric {name!r} was recorded by this test; there are: {known}")


def _word(text: Any, what: str) -> str:
    if not isinstance(text, str) or not text.strip() or not text.isprintable():
        raise ConfigError(f"record_metric: {text!r} is no {what}, which is text on one line")
    return text


def _figure(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"metric {name}: {value!r} is not a number") from error


@dataclass(frozen=True)
class Within:
    """The value of the fixture `assert_within`."""

    record: MetricRecorder

    def __call__(
        self,
        metric: Metric | str,
        *,
        max: float | str | None = None,  # noqa: A002  (the field's own words for limits)
        min: float | str | None = None,  # noqa: A002
        unit: str | None = None,
    ) -> None:
        """A limit is a number in `unit`, by default the metric's, or a text, "48 KiB".

        Raises AssertionError when the metric is beyond a limit, ConfigError when the units do not fit.
        """
        __tracebackhide__: Callable[[Any], bool] | bool = True
        if max is None and min is None:
            raise ConfigError("assert_within: give max, min, or both")
        if isinstance(metric, str):
            metric = self.record.find(metric)
        if not isinstance(metric, Metric):
            raise ConfigError(
                f"assert_within({metric!r}): a metric, or the name of one: record_metric(name, value, unit) gives it"
            )
        low, high = (_limit(limit, unit, metric) for limit in (min, max))
        if low is not None and high is not None and low > high:
            raise ConfigError(f"metric {metric.name}: no figure is at least {min} and at most {max}")
        metric = self.record(replace(metric, low=low, high=high))
        for limit, given, beyond, word in (
            (high, max, high is not None and metric.value > high, "above"),
            (low, min, low is not None and metric.value < low, "below"),
        ):
            if beyond:
                assert limit is not None
                assert given is not None
                over = abs(metric.value - limit)
                share = f", {over / abs(limit):.1%}" if limit else ""
                told = given if isinstance(given, str) else f"{number(given)} {unit or metric.unit}"
                raise AssertionError(f"{metric} is {word} its limit of {told} by {number(over)} {metric.unit}{share}")


def _limit(limit: float | str | None, unit: str | None, metric: Metric) -> float | None:
    """In the metric's own unit."""
    if limit is None:
        return None
    try:
        value, given = quantity(limit) if isinstance(limit, str) else (limit, unit or metric.unit)
        if not math.isfinite(value):
            raise ConfigError(f"{value} limits nothing")
        return converted(value, given, metric.unit)
    except ConfigError as error:
        told = repr(limit) if isinstance(limit, str) else f"in {unit or metric.unit}"
        raise ConfigError(f"metric {metric.name} is in {metric.unit}, its limit {told}: {error}") from error


def carried(item: pytest.Item) -> list[dict[str, Any]]:
    """A test's metrics as plain values, which cross from xdist's workers in its report."""
    return [asdict(metric) for metric in item.stash.get(METRICS, {}).values()]


def property_of(metric: Metric) -> tuple[str, str]:
    """The metric as a property in JUnit's file."""
    value = repr(int(metric.value)) if float(metric.value).is_integer() else repr(metric.value)
    return f"{metric.name} [{metric.unit}]", value
