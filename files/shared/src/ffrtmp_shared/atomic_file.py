"""Atomic replacement of small files."""

import os
from pathlib import Path


def write_atomically(file: Path, content: bytes, *, is_durable: bool, mode: int = 0o600) -> None:
    """Replace a file so that a reader sees either the former or the new content, never a part.

    Args:
        file: The file. Its directory must exist. The new content is first written to a file of the
            same name with the suffix `.new`.
        content: The new content.
        is_durable: Whether the new content must survive a power failure after the function has
            returned. If not, the function does not wait for the disk, and a power failure may leave
            arbitrary content. This is acceptable for state that is invalid after a reboot.
        mode: The permissions of the file.

    Raises:
        OSError: The file cannot be written; its former content is unchanged.
    """
    partial = file.with_name(file.name + ".new")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as opened:  # noqa: PTH123 - Path.open takes no descriptor
        os.fchmod(descriptor, mode)
        opened.write(content)
        opened.flush()
        if is_durable:
            os.fsync(descriptor)
    partial.replace(file)
    if is_durable:
        _sync_directory(file.parent)


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
