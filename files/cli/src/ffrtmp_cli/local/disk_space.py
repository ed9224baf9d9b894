"""Disk space that a run needs, and the removal of runs that were not continued."""

import shutil
from pathlib import Path

from ffrtmp_cli.errors import CommandError
from ffrtmp_cli.local.farm_files import MIN_FREE_BYTES

_KEEP_S = 30 * 86_400
# The excerpt or source exists in the session, on the master, in the cache and in the work folder.
_COPIES = 4
_LARGEST_COPY_BYTES = 512 * 1024 * 1024


def check_space(folder: Path, clip: Path) -> None:
    """Raise CommandError if the file system of a directory has too little free space.

    Args:
        folder: The directory of the session.
        clip: The clip or suite.
    """
    copies_bytes = _COPIES * min(clip.stat().st_size, _LARGEST_COPY_BYTES)
    check_free(folder, MIN_FREE_BYTES + copies_bytes)


def check_free(folder: Path, needed_bytes: int) -> None:
    """Raise CommandError if fewer bytes are free on the file system of a directory.

    Args:
        folder: The directory of the session.
        needed_bytes: The number of bytes.
    """
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise CommandError(
            f"{folder} has {free_bytes // 2**20} MiB of free disk space, but the run needs "
            f"{-(-needed_bytes // 2**20)} MiB. Completed work is kept: remove other files, and run "
            "the same command again, or set XDG_STATE_HOME to a directory on another disk"
        )


def remove_old_sessions(sessions: Path, now_s: float) -> None:
    """Remove the runs that were interrupted more than 30 days ago.

    Args:
        sessions: The directory of all sessions.
        now_s: The current time, as Unix time in seconds.
    """
    if not sessions.is_dir():
        return
    for folder in sessions.iterdir():
        if folder.is_dir() and now_s - folder.stat().st_mtime > _KEEP_S:
            shutil.rmtree(folder, ignore_errors=True)
