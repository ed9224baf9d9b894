"""Fixtures for the tests of more than one part."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def root() -> Path:
    """The root folder of the project."""
    return Path(__file__).resolve().parents[1]
