"""Fixtures that the tests of several parts of the project use."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def root() -> Path:
    """The root folder of the project."""
    return Path(__file__).resolve().parents[1]
