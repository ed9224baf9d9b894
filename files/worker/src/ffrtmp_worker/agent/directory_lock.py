"""A lock that one process of a host holds at a time."""

import fcntl
import os
from pathlib import Path


class DirectoryLock:
    """An exclusive lock on a directory. The kernel releases it if the process that holds it ends.

    The directory is locked itself, so that the lock needs neither a file nor space on a full disk.
    """

    def __init__(self, folder: Path) -> None:
        """Prepare to lock an existing directory."""
        self._folder = folder
        self._descriptor: int | None = None

    def try_acquire(self) -> bool:
        """Take the lock if it is free, without waiting; return whether it is held by this object.

        Raises:
            OSError: The directory cannot be opened or locked.
        """
        if self._descriptor is not None:
            return True
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Release the lock if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
