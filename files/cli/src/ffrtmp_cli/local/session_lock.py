"""Lock that keeps two runs of `ffrtmp local` from disturbing each other's measurements."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ffrtmp_cli.errors import CommandError


@contextmanager
def exclusive_lock(file: Path, pid: int) -> Iterator[None]:
    """Hold a lock file, which contains the ID of the process, within the context.

    The kernel releases the lock when the process ends, also if it is killed.

    Args:
        file: The lock file, which is created if it does not exist.
        pid: The ID of this process.

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
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(_refusal(opened)) from None
        _write(opened, str(pid))
        try:
            yield
        finally:
            # A full disk must not replace the error that ended the command.
            with suppress(OSError):
                _write(opened, "")


def _write(opened: IO[str], text: str) -> None:
    opened.truncate(0)
    opened.write(text)
    opened.flush()


def _refusal(opened: IO[str]) -> str:
    opened.seek(0)
    holder = opened.read(32).strip()
    process = f"process {holder}" if holder.isdecimal() else "another process"
    return (
        f"another ffrtmp local is running ({process}), and two would disturb each other's "
        "measurements. Wait until it has ended, or press Ctrl-C in its terminal"
    )
