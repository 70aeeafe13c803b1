"""Metrics, limits and capabilities of the pytest plug-in, which need no board, and what it costs without a rack."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.errors import ConfigError
from bench.pytest_plugin.capabilities import check, unmet
from bench.pytest_plugin.metrics import Metric, MetricRecorder, Within, property_of
from bench.pytest_plugin.units import converted
from bench.rack.entry import BoardEntry


@pytest.mark.parametrize(
    ("value", "unit", "to", "expected"),
    [
        (16, "KiB", "bytes", 16384),
        (16, "kB", "bytes", 16000),
        (2.5, "mJ", "uJ", 2500),
        (2.5, "µJ", "uJ", 2.5),
        (1500, "ms", "s", 1.5),
        (80, "%", "1", 0.8),
        (3, "frobs", "frobs", 3),
    ],
)
def test_units_of_one_quantity(value: float, unit: str, to: str, expected: float) -> None:
    assert converted(value, unit, to) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("unit", "to", "said"),
    [
        ("bytes", "uJ", r"what is in bytes cannot be told in uJ: give it in J, mJ, uJ"),
        ("KB", "bytes", "kB for 1,000 bytes or KiB for 1,024"),
        ("bytes", "frobs", "give it in frobs"),
    ],
)
def test_units_of_two_quantities(unit: str, to: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        converted(1, unit, to)


@pytest.fixture
def record() -> MetricRecorder:
    return MetricRecorder(SimpleNamespace(stash=pytest.Stash()))


def test_a_recorded_metric_is_held_against_its_limit(record: MetricRecorder) -> None:
    within = Within(record)
    record("peak", 16000, "bytes")
    within("peak", max=16, unit="KiB")
    assert record.find("peak").high == 16384
    with pytest.raises(AssertionError, match=r"^peak 16,000 bytes is above its limit of 15 KiB by 640 bytes, 4.2%$"):
        within("peak", max=15, unit="KiB")
    with pytest.raises(AssertionError, match=r"is below its limit of 20,000 bytes by 4,000 bytes, 20.0%"):
        within("peak", min=20000)
    within(Metric("accuracy", 0.81, "1", "counted"), min=80, unit="%")
    assert [metric.name for metric in record.recorded.values()] == ["peak", "accuracy"]


def test_a_limit_of_another_quantity_says_which_is_which(record: MetricRecorder) -> None:
    record("peak", 16000, "bytes")
    with pytest.raises(ConfigError, match=r"^metric peak is in bytes, its limit in mJ: .* give it in bytes, B, .*KiB"):
        Within(record)("peak", max=15, unit="mJ")


def test_a_limit_may_be_a_text_with_its_unit(record: MetricRecorder) -> None:
    record("peak", 16000, "bytes")
    within = Within(record)
    within("peak", max="16 KiB", min="1.5 kB")
    with pytest.raises(AssertionError, match=r"is above its limit of 15 KiB by 640 bytes, 4.2%$"):
        within("peak", max="15 KiB")
    with pytest.raises(ConfigError, match=r"^metric peak is in bytes, its limit '15': a number and a unit, such as"):
        within("peak", max="15")
    with pytest.raises(ConfigError, match=r"its limit in bytes: nan limits nothing$"):
        within("peak", max=float("nan"))
    with pytest.raises(ConfigError, match=r"^assert_within\(5000\): a metric, or the name of one"):
        within(5000, max=48)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^metric peak: no figure is at least 17 KiB and at most 3$"):
        within("peak", min="17 KiB", max=3)


def test_limits_hold_at_the_limit(record: MetricRecorder) -> None:
    Within(record)(Metric("loss", 0.5, "nats"), min=0.5, max=0.5)


def test_what_is_no_metric_is_refused(record: MetricRecorder) -> None:
    with pytest.raises(ConfigError, match="needs all three"):
        record("peak", 3)
    with pytest.raises(ConfigError, match="is not a number"):
        record("peak", float("nan"), "bytes")
    with pytest.raises(ConfigError, match="metric peak: 'much' is not a number"):
        record("peak", "much", "bytes")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="is not a number"):
        record("peak", 10**400, "bytes")
    with pytest.raises(ConfigError, match="record_metric: 4 is no unit"):
        record("peak", 3, 4)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="is no name, which is text on one line"):
        record("pe\x01ak", 3, "bytes")
    with pytest.raises(ConfigError, match="'guessed' is none of measured, counted, modelled"):
        record("peak", 3, "bytes", kind="guessed")
    record("peak", 3, "bytes")
    with pytest.raises(ConfigError, match="no metric 'heap' was recorded by this test; there are: peak"):
        Within(record)("heap", max=1)
    with pytest.raises(ConfigError, match="give max, min, or both"):
        Within(record)("peak")


def test_a_metric_is_a_property_with_its_unit() -> None:
    assert property_of(Metric("sram_total", 14328.0, "bytes")) == ("sram_total [bytes]", "14328")
    assert property_of(Metric("energy", 0.1, "uJ")) == ("energy [uJ]", "0.1")


def board(env: str, **more: object) -> BoardEntry:
    return BoardEntry.model_validate({"name": "x", "env": env, "probe": "p", "serial": "s", "target": "t", **more})


@pytest.mark.parametrize(
    ("entry", "asked", "reason"),
    [
        (board("microbit"), {"family": "nrf51"}, None),
        (board("netduino2"), {"family": "stm32", "sram_min": 131072, "fpu": False, "core": "cortex-m3"}, None),
        (board("microbit"), {"family": ["stm32", "nrf52"]}, "family stm32 or nrf52 is asked for, it is a nrf51"),
        (board("microbit"), {"sram_min": 65536}, "65,536 bytes of SRAM are asked for, it has 16,384"),
        (board("microbit"), {"sram_min": "16 KiB"}, None),
        (board("microbit"), {"sram_min": "17kB"}, "17,000 bytes of SRAM are asked for, it has 16,384"),
        (board("microbit"), {"fpu": True, "flash_min": 1 << 20}, "it has no FPU; 1,048,576 bytes of flash are asked"),
        (board("microbit", features=["display"]), {"features": ["display"]}, None),
        (board("microbit", features=["display"]), {"features": ["radio", "display"]}, "without radio among its feat"),
        (board("microbit"), {"physical": True}, None),
        (board("microbit", virtual={"machine": "microbit"}), {"physical": True}, "it is emulated"),
        (board("microbit"), {"meter": True}, "it has no meter"),
        (board("microbit", meter={"kind": "modelled"}), {"meter": True}, "it has no meter"),
        (board("microbit"), {"name": ["x", "y"], "env": "microbit"}, None),
        (board("microbit"), {"name": "y"}, "board y is asked for, it has x"),
    ],
)
def test_why_a_board_does_not_do(entry: BoardEntry, asked: dict[str, object], reason: str | None) -> None:
    found = unmet(entry, asked)
    assert (found is None) == (reason is None)
    assert reason is None or (found is not None and found.startswith("board x: ") and reason in found)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"sram_min": 1, "sram": 1}, "^sram=...: no such capability; known are name, "),
        ({"sram_min": True}, "^sram_min=True: a number of bytes"),
        ({"sram_min": -1}, "^sram_min=-1: a number of bytes"),
        ({"flash_min": "1 mJ"}, "^flash_min='1 mJ': .* give it in bytes"),
        ({"family": 4}, "^family=4: a text, or a list of texts"),
        ({"core": ["cortex-m0", 3]}, "^core=.*: a text, or a list of texts"),
        ({"meter": "yes"}, "^meter='yes': True or False"),
        ({"env": ""}, "^env='': nothing is named"),
    ],
)
def test_what_no_board_can_be_asked_for(asked: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check(asked)


def test_what_boards_can_be_asked_for() -> None:
    check({"sram_min": "16 KiB", "flash_min": 1, "family": "stm32", "core": ["cortex-m0"], "meter": True, "one": False})


SCRIPT = """
import sys
import pytest
assert pytest.main(["-q", "-p", "no:cacheprovider"]) == 0
heavy = {"numpy", "pydantic", "pandas", "serial", "pyocd", "unicorn", "platformio", "rich", "ruamel", "bench.rack"}
assert "bench.pytest_plugin" in sys.modules
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


def test_without_a_rack_nothing_heavy_is_imported(tmp_path: Path) -> None:
    """Every pytest run on the machine loads the plug-in."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    (tmp_path / "test_any.py").write_text(
        "import pytest\n"
        "@pytest.mark.board(family='stm32')\n"
        "def test_board(board): assert False\n"
        "def test_none(record_metric): record_metric('x', 1, 's')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed, 1 skipped" in done.stdout
