"""What all tests share; keep it small."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.compiler.recipe import Recipe, make


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The checkout that is tested."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def int8_program() -> str:
    """The name of a small int8 program, emitted into firmware/generated."""
    return make(Recipe("demo-cnn", name="test_int8")).plan.name


@pytest.fixture(scope="session")
def float32_program() -> str:
    """The same network in float32."""
    return make(Recipe("demo-cnn", dtype="float32", name="test_float32")).plan.name
