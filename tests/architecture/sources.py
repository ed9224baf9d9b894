"""Lists of the committed files of the repository."""

import shutil
import subprocess
from pathlib import Path

SERVICES = ("shared", "analysis", "master", "worker")
"""The distributions of programs that run without a user."""

DISTRIBUTIONS = (*SERVICES, "cli")


def text_files(root: Path) -> list[Path]:
    """Return the committed text files without symbolic links."""
    listed = subprocess.run(
        [shutil.which("git") or "git", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    files = [root / name for name in listed if name]
    return [file for file in files if file.is_file() and not file.is_symlink() and _is_text(file)]


def python_files(root: Path) -> list[Path]:
    """Return the committed Python files."""
    return [file for file in text_files(root) if file.suffix == ".py"]


def _is_text(file: Path) -> bool:
    try:
        file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
    return True
