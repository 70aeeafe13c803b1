"""What all tests share; keep it small."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The checkout that is tested."""
    return Path(__file__).resolve().parent.parent
