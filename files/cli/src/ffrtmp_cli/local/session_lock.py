"""Lock that keeps two runs of `ffrtmp local` from disturbing each other's measurements."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ffrtmp_cli.errors import CommandError

_WAIT_S = 10.0
_POLL_S = 0.1


@contextmanager
def exclusive_lock(file: Path, pid: int) -> Iterator[int]:
    """Hold a lock file, which contains the ID of the process, within the context.

    The kernel releases the lock when this process and all child processes with the descriptor have
    ended, also if they are killed.

    Args:
        file: The lock file, which is created if it does not exist.
        pid: The ID of this process.

    Yields:
        The descriptor of the file, which child processes have to inherit.

    Raises:
        CommandError: Another process holds the lock, or the file cannot be written.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        opened = file.open("a+", encoding="utf-8")
    except OSError as error:
        raise CommandError(
            f"{file} cannot be written: {error.strerror}. Change the permissions of its directory, "
            "or set XDG_STATE_HOME to a directory of yours"
        ) from error
    with opened:
        _lock(opened)
        _write(opened, str(pid))
        try:
            yield opened.fileno()
        finally:
            # A full disk must not replace the error that ended the command.
            with suppress(OSError):
                _write(opened, "")


def _lock(opened: IO[str]) -> None:
    """Lock a file. If its holder was killed, wait until the child processes of that have ended."""
    deadline_s = time.monotonic() + _WAIT_S
    while True:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(opened)
            if holder is None or _is_running(holder):
                raise CommandError(_running_text(holder)) from None
            if time.monotonic() > deadline_s:
                raise CommandError(
                    f"the programs of another ffrtmp local (process {holder}), which was killed, "
                    "have not ended yet. Wait some seconds, and run the command again"
                ) from None
            time.sleep(_POLL_S)
        else:
            return


def _write(opened: IO[str], text: str) -> None:
    opened.truncate(0)
    opened.write(text)
    opened.flush()


def _holder(opened: IO[str]) -> int | None:
    """Return the ID of the process that has locked a file, or None if it is unknown."""
    opened.seek(0)
    text = opened.read(32).strip()
    return int(text) if text.isdecimal() else None


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _running_text(holder: int | None) -> str:
    process = "another process" if holder is None else f"process {holder}"
    return (
        f"another ffrtmp local is running ({process}), and two would disturb each other's "
        "measurements. Wait until it has ended, or press Ctrl-C in its terminal"
    )
