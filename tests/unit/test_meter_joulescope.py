"""As much of the Joulescope's driver as can be tried without one."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from metered import settings

from bench.errors import ConfigError, InfrastructureError
from bench.meters.joulescope import missing
from bench.meters.opening import opened
from bench.meters.trace import Gap

INSTALLED = importlib.util.find_spec("joulescope") is not None


def test_what_is_no_number_is_missing() -> None:
    nan = float("nan")
    assert missing(np.array([1.0, nan, nan, 2.0, nan])) == (Gap(1, 2), Gap(4, 1))
    assert missing(np.array([1.0])) == ()


@pytest.mark.skipif(INSTALLED, reason="the package joulescope is installed")
def test_a_package_that_is_not_installed_is_named() -> None:
    with (
        pytest.raises(ConfigError, match=r"pip install 'ftte-bench\[joulescope\]'"),
        opened(settings("joulescope", "")),
    ):
        pass


@pytest.mark.skipif(not INSTALLED, reason="the package joulescope is not installed")
def test_an_instrument_that_is_not_there_is_named() -> None:
    with (
        pytest.raises(InfrastructureError, match="no-such-instrument"),
        opened(settings("joulescope", "no-such-instrument")),
    ):
        pass
