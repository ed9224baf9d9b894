"""Checks that apply to all tests of the project."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _shared_directory_unchanged() -> Iterator[None]:
    """Check that no test changes the permissions of the directory for temporary files.

    Other programs of the computer use it, for example APT as a user of its own.
    """
    shared = Path(tempfile.gettempdir())
    before = shared.stat()
    yield
    after = shared.stat()
    assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid), shared
