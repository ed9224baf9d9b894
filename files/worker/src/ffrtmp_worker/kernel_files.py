"""Values in files of sysfs, procfs and cgroupfs."""

from pathlib import Path


class KernelFileError(Exception):
    """A file of the kernel cannot be read or does not contain the expected value."""


def read_text(file: Path) -> str:
    """Return the content of a file without surrounding white space; raises KernelFileError."""
    try:
        return file.read_text(encoding="ascii").strip()
    except PermissionError as error:
        raise KernelFileError(f"no permission to read {file}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise KernelFileError(f"{file} cannot be read: {error}") from error


def read_int(file: Path) -> int:
    """Return the integer that a file contains; raises KernelFileError."""
    text = read_text(file)
    try:
        return int(text)
    except ValueError as error:
        raise KernelFileError(f"{file} does not contain an integer: {text[:40]!r}") from error


def find_text(file: Path) -> str | None:
    """Return the content of a file; None if the kernel does not offer it."""
    try:
        return read_text(file)
    except KernelFileError:
        return None


def find_int(file: Path) -> int | None:
    """Return the integer that a file contains; None if the kernel does not offer one."""
    try:
        return read_int(file)
    except KernelFileError:
        return None
