"""Files that all processes of a test run share."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a file, which the first process that needs it creates.

    Args:
        factory: Provides the folder of the test run.
        name: The file's name, which must be the same in every process.
        make: Creates the file at a given path, whose name ends in `name`.

    Returns:
        The path of the file. Tests must not change the file.
    """
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # The folder of this process is in the folder of the test run.
        folder = folder.parent
    file = folder / name
    with (folder / f"{name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            unfinished = folder / f"unfinished-{name}"
            make(unfinished)
            unfinished.rename(file)
    return file
