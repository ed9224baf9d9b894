"""Files that all processes of a test run share."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a file that the first process that needs it makes.

    Args:
        factory: Knows the folder of the test run.
        name: The file's name, the same in every process.
        make: Makes the file at a path that ends in `name`.

    Returns:
        Where the file is. Tests must not change it.
    """
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Each process has a folder of its own in that of the test run.
        folder = folder.parent
    file = folder / name
    with (folder / f"{name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            unfinished = folder / f"unfinished-{name}"
            make(unfinished)
            unfinished.rename(file)
    return file
