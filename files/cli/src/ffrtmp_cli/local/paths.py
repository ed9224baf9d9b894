"""Directories of `ffrtmp local`, as the XDG Base Directory Specification defines them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ffrtmp_cli.errors import CommandError

_NAME = "ffmpeg-rtmp"


@dataclass(frozen=True)
class LocalPaths:
    """The directories of `ffrtmp local`.

    Attributes:
        state: The directory of interrupted runs.
        cache: The directory of the agent's caches, which may be deleted.
    """

    state: Path
    cache: Path

    @property
    def lock(self) -> Path:
        """The file that only one process of `ffrtmp local` may lock."""
        return self.state / "lock"

    @property
    def sessions(self) -> Path:
        """The directory that has one directory for each unfinished run."""
        return self.state / "sessions"


def find_paths(environment: Mapping[str, str] = os.environ) -> LocalPaths:
    """Return the directories of the user.

    Args:
        environment: The environment variables.

    Raises:
        CommandError: The user has no home directory.
    """
    return LocalPaths(
        state=_base(environment, "XDG_STATE_HOME", ".local/state") / _NAME / "local",
        cache=_base(environment, "XDG_CACHE_HOME", ".cache") / _NAME,
    )


def _base(environment: Mapping[str, str], variable: str, default: str) -> Path:
    # The specification requires that relative paths are ignored.
    given = Path(environment.get(variable, ""))
    if given.is_absolute():
        return given
    home = Path(environment.get("HOME", ""))
    if not home.is_absolute():
        raise CommandError(
            f"there is no home directory: set HOME, or set {variable} to a directory of yours"
        )
    return home / default
