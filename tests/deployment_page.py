"""The lists of docs/deployment.md of what a deployment changes on a host."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

PAGE = "docs/deployment.md"
_PATHS = re.compile(r"<!-- paths -->\n(.*?)\n\n", re.DOTALL)


def listed_paths(root: Path) -> list[str]:
    """Return the paths that the page lists, which may contain wildcards."""
    (table,) = _PATHS.findall((root / PAGE).read_text(encoding="utf-8"))
    cells = [row.split("|")[1] for row in table.splitlines()[2:]]
    return [path for cell in cells for path in re.findall(r"`(/[^`]+)`", cell)]


def is_listed(path: str, listed: list[str]) -> bool:
    """Return whether a path, or a directory that contains it, is listed."""
    return any(fnmatchcase(path, entry) or path.startswith(f"{entry}/") for entry in listed)
