"""Atomic replacement of small files."""

import os
from pathlib import Path


def write_atomically(file: Path, content: bytes, *, is_durable: bool, mode: int = 0o600) -> None:
    """Replace a file; a reader sees the former content or the new content, never a part.

    Args:
        file: The file; its directory must exist. `file` with the suffix `.new` is used meanwhile.
        content: The new content.
        is_durable: Whether the content must survive a power failure once this returns. Without
            it, the file may have its former content afterwards, but never a part of the new one.
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
        # Also without is_durable: the rename must not reach the disk before the content.
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
