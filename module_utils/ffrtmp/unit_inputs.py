"""The files that a systemd unit reads: their digest and the time of their last change."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

_CONTENT_MAX_BYTES = 1 << 20
"""Larger files (programs) are identified by their inode, size and time of modification."""

_LINKS_MAX = 40
"""Maximum number of symbolic links on a path, as in Linux."""


def digest_of(paths: Iterable[str], values: Mapping[str, str]) -> str:
    """Return a digest of files and of further values.

    It changes if a file is replaced, created or removed, and if a path leads to another file
    because a symbolic link on it changed. It does not depend on owners and permissions.

    Args:
        paths: Absolute paths of the files.
        values: Further values that a unit depends on, by name.
    """
    described = {path: _describe(path) for path in paths}
    text = json.dumps([described, dict(values)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def changed_at_s(paths: Iterable[str]) -> float:
    """Return the time of the last change of files and of the links that lead to them.

    Args:
        paths: Absolute paths of the files. Those that do not exist are ignored.

    Returns:
        The latest time at which the content or the attributes of a file or link changed, in seconds
        since 1970; 0 if no file exists.
    """
    times = [0.0]
    for path in paths:
        links, target = follow(path)
        for file in (*links, target):
            if os.path.lexists(file):
                times.append(file.lstat().st_ctime)
    return max(times)


def follow(path: str) -> tuple[list[Path], Path]:
    """Return all symbolic links on a path, and the file or missing file to which it leads.

    Raises:
        OSError: The path has too many links.
    """
    links: list[Path] = []
    pending = list(Path(path).parts[1:])
    reached = Path("/")
    while pending:
        part = pending.pop(0)
        step = reached.parent if part == ".." else reached / part
        if not step.is_symlink():
            reached = step
            continue
        links.append(step)
        if len(links) > _LINKS_MAX:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        target = step.readlink()
        if target.is_absolute():
            reached = Path("/")
        pending = [*(target.parts[1:] if target.is_absolute() else target.parts), *pending]
    return links, reached


def _describe(path: str) -> list[str]:
    target = follow(path)[1]
    if not target.is_file():
        return [str(target), "missing"]
    status = target.stat()
    if status.st_size > _CONTENT_MAX_BYTES:
        identity = f"{status.st_ino} {status.st_size} {status.st_mtime_ns}"
        return [str(target), identity]
    return [str(target), hashlib.sha256(target.read_bytes()).hexdigest()]
