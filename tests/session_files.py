"""Files that all processes of a test run share."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a file that is created by the first process that needs it.

    Args:
        factory: Provides the folder of the test run.
        name: The file's name, the same in every process.
        make: Creates the file at a path that ends in `name`.

    Returns:
        The path of the file. Tests must not change the file.
    """
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Each process has a separate folder in the folder of the test run.
        folder = folder.parent
    file = folder / name
    with (folder / f"{name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            unfinished = folder / f"unfinished-{name}"
            make(unfinished)
            unfinished.rename(file)
    return file
