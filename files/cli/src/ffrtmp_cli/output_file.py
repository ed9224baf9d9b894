"""Output file of a command, which replaces an earlier file only when it is complete."""

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ffrtmp_client.folder import replacing

from ffrtmp_cli.errors import CommandError

_NEW_FILE_MODE = 0o644


@contextlib.contextmanager
def open_output(path: str) -> Iterator[IO[bytes]]:
    """Yield the file to which a command writes its output.

    A regular file keeps its permissions, and symbolic links to it remain. Something else, such as
    a device or a named pipe, is written directly, because it must not be replaced by a file.

    Args:
        path: Path of the file.

    Raises:
        CommandError: The file cannot be opened.
        SettingsError: The file or its directory cannot be written.
    """
    try:
        # /dev/stdout is a link that can be opened, but not resolved, if it is a pipe.
        given = Path(path)
        mode = given.stat().st_mode if given.exists() else None
        target = given.resolve()
        direct = given.open("wb") if mode is not None and not stat.S_ISREG(mode) else None
    except (OSError, RuntimeError) as error:
        raise CommandError(f"{path} cannot be written: {error}. Name another file") from error
    if direct is not None:
        with direct as file:
            yield file
        return
    with replacing(target, _NEW_FILE_MODE if mode is None else stat.S_IMODE(mode)) as file:
        yield file
