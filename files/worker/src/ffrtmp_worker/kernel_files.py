"""Functions that read values from files in sysfs, procfs and cgroupfs."""

from pathlib import Path


class KernelFileError(Exception):
    """One of the kernel's files cannot be read or does not contain the expected value."""


def read_text(file: Path) -> str:
    """Return the content of a file without surrounding white space. Raises KernelFileError."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except PermissionError as error:
        raise KernelFileError(f"{file} may not be read") from error
    except (OSError, UnicodeDecodeError) as error:
        raise KernelFileError(f"{file} cannot be read: {error}") from error


def read_int(file: Path) -> int:
    """Return the integer that a file contains. Raises KernelFileError."""
    text = read_text(file)
    try:
        return int(text)
    except ValueError as error:
        raise KernelFileError(f"{file} does not contain an integer: {text[:40]!r}") from error


def find_text(file: Path) -> str | None:
    """Return the content of a file, or None if it cannot be read."""
    try:
        return read_text(file)
    except KernelFileError:
        return None


def find_int(file: Path) -> int | None:
    """Return the integer that a file contains, or None if there is none."""
    try:
        return read_int(file)
    except KernelFileError:
        return None
