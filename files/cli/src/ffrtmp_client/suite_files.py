"""Files that a suite lists, on the host that has the suite."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .api import Json, file_sha256

_POSITION = re.compile(r"^line (\d+), column (\d+): ", re.MULTILINE)


@dataclass(frozen=True)
class SuiteText:
    """A suite: the path of its file, and its text."""

    path: Path
    text: str

    def position(self, *parts: str) -> str:
        """Return `FILE:LINE:COLUMN` of the first of the texts that the suite contains."""
        for part in parts:
            before, found, _ = self.text.partition(part)
            if found:
                line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
                return f"{self.path}:{line}:{column}"
        return f"{self.path}:1:1"

    def located(self, message: str) -> str:
        """Return a message of the master, with the path of the suite before each position in it."""
        return _POSITION.sub(lambda match: f"{self.path}:{match[1]}:{match[2]}: ", message)

    def resolve(self, path: str) -> Path:
        """Return a path in the suite, which may be relative to the directory of the suite."""
        return self.path.parent / path


def file_problems(suite: SuiteText, files: Iterable[Json]) -> list[str]:
    """Return what is wrong with the files of a suite, each with its position and the remedy.

    The digest of each file is computed and compared with that in the suite. The suite must contain
    the digest literally, so that the master cannot ask for files that the suite does not list.

    Args:
        suite: The suite.
        files: The files as the plan lists them.

    Returns:
        The problems.
    """
    found = []
    for file in files:
        reason = _problem(suite, file)
        if reason is not None:
            found.append(reason)
    return found


def _problem(suite: SuiteText, file: Json) -> str | None:
    name, path, stated = file["name"], suite.resolve(file["path"]), file["sha256"]
    place = f"{suite.position(file['path'], stated)}: {name}: {file['path']}"
    if not path.exists():
        return f"{place} does not exist ({path}). Correct the path, or put the file there"
    if not path.is_file():
        return f"{place} is not a regular file ({path}). Set it to the path of a file"
    try:
        digest = file_sha256(path)
    except OSError as error:
        return f"{place} cannot be read ({path}): {error.strerror}. Change its permissions"
    if digest == stated and stated in suite.text:
        return None
    return (
        f"{suite.position(stated)}: {name}: {file['path']} has the SHA-256 {digest}, but the suite "
        f"states {stated}. Use the file for which the suite was written, or replace this sha256"
    )
