"""Identity of an installed program: its file, its version and the shared libraries that it loads.

The digest of the file alone does not identify a program of a distribution: FFmpeg's libraries and
libvmaf are upgraded without a change of the file.
"""

import contextlib
import hashlib
import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from ffrtmp_worker.ffmpeg import elf, process

_log = logging.getLogger(__name__)

_TIMEOUT_S = 30.0
_MAX_LIBRARIES = 4096
# ldconfig writes this file when libraries are installed, perhaps in a folder searched earlier.
_LOADER_CACHE = Path("/etc/ld.so.cache")
# Commands of snaps are links to this program, which starts whatever version is installed.
_LAUNCHERS = ("snap",)


class _FileState(NamedTuple):
    """Attributes of a file that change when it is replaced or written."""

    inode: int
    size_bytes: int
    mtime_ns: int


class _UnidentifiedError(Exception):
    """The program cannot be identified; the message is the reason."""


class ProgramIdentity:
    """The identity of a program, which is determined again when its files change.

    A library that the program opens while it runs, such as a driver, is not part of it.
    """

    def __init__(self, program: Path) -> None:
        """Prepare the identity of the program at a path; nothing is read yet."""
        self._program = program.absolute()
        self._fingerprint: str | None = None
        self._states: dict[Path, _FileState | None] = {}
        self._logged = ""

    def fingerprint(self) -> str | None:
        """Return a digest of the program's file, version and libraries, or None if it is unknown.

        The first call runs the program. Later calls only look up the inode, the size and the time
        of each file, and determine the identity again if one of them has changed. The log states
        why an identity is unknown.
        """
        if not self._states or any(_state(file) != was for file, was in self._states.items()):
            # The files are looked up first, so that a change at the same time is found later.
            self._states = {file: _state(file) for file in (self._program, _LOADER_CACHE)}
            self._fingerprint = self._determine()
        return self._fingerprint

    def _determine(self) -> str | None:
        try:
            libraries = {file: _state(file) for file in self._libraries()}
            described = [
                _file_sha256(self._program),
                _version_sha256(self._program),
                sorted((str(file), state) for file, state in libraries.items()),
            ]
        except (_UnidentifiedError, OSError) as error:
            reason = str(error)
            if reason != self._logged:
                self._logged = reason
                _log.warning(
                    "measurements of a program are not cached, because it cannot be identified",
                    extra={"program": str(self._program), "why": reason},
                )
            return None
        self._states |= libraries
        return hashlib.sha256(msgspec.json.encode(described)).hexdigest()

    def _libraries(self) -> list[Path]:
        """Return the shared libraries that the program loads when it starts."""
        reason = elf.unsupported_reason(self._program)
        if reason:
            raise _UnidentifiedError(reason)
        if self._program.resolve().name in _LAUNCHERS:
            raise _UnidentifiedError(f"it is a link to {self._program.resolve()}")
        return _loaded_libraries(self._program) if elf.is_dynamic(self._program) else []


def _state(file: Path) -> _FileState | None:
    with contextlib.suppress(OSError):
        status = file.stat()
        return _FileState(status.st_ino, status.st_size, status.st_mtime_ns)
    return None


def _file_sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _version_sha256(program: Path) -> str:
    """Return the digest of everything that the program reports about its version."""
    digest = hashlib.sha256()
    _run([str(program), "-version"], lambda line: digest.update(f"{line}\n".encode()))
    return digest.hexdigest()


def _loaded_libraries(program: Path) -> list[Path]:
    ldd = shutil.which("ldd")
    if ldd is None:
        raise _UnidentifiedError("ldd, which lists its libraries, is not installed")
    lines: list[str] = []

    def on_line(line: str) -> None:
        if len(lines) == _MAX_LIBRARIES:
            raise _UnidentifiedError(f"it loads more than {_MAX_LIBRARIES} libraries")
        lines.append(line)

    _run([ldd, str(program)], on_line)
    return [file for file in map(_library, lines) if file is not None]


def _library(line: str) -> Path | None:
    """Return the file in a line of ldd: `NAME => FILE (ADDRESS)` or `FILE (ADDRESS)`.

    The kernel's library, such as linux-vdso.so.1, has no file.
    """
    name, _, found = line.strip().rpartition(" => ")
    file = found.rpartition(" (")[0] or found
    if file == "not found":
        raise _UnidentifiedError(f"its library {name} was not found")
    return Path(file) if file.startswith("/") else None


def _run(argv: list[str], on_line: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="ffrtmp-identity-") as folder:
        outcome = process.run_process(
            argv,
            cwd=Path(folder),
            log=Path(folder) / "program.log",
            deadline_s=_TIMEOUT_S,
            stop=lambda: False,
            on_line=lambda line, _elapsed_s: on_line(line),
        )
    name = Path(argv[0]).name
    if outcome.stopped_by is not None:
        raise _UnidentifiedError(f"{name} did not end within {_TIMEOUT_S:g} s")
    if outcome.exit_code:
        raise _UnidentifiedError(f"{name} ended with code {outcome.exit_code}")
