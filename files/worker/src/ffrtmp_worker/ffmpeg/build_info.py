"""Identification of an FFmpeg binary by its version and its digest."""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from ffrtmp_shared.provenance import FfmpegBuild

from ffrtmp_worker.ffmpeg import process
from ffrtmp_worker.ffmpeg.process import Outcome

_VERSION_TIMEOUT_S = 30.0
_LONGEST_LINE = 1024
_QUOTED_CHARACTERS = 80


class UnusableFfmpegError(Exception):
    """A binary cannot be started, or is not FFmpeg."""

    def __init__(self, message: str, *, log_tail: str = "", errno: int | None = None) -> None:
        """Create the error.

        Args:
            message: The problem.
            log_tail: The last lines of the output of the binary.
            errno: The kernel's error number if the binary could not be started.
        """
        super().__init__(message)
        self.log_tail = log_tail
        self.errno = errno


def identify_build(
    binary: Path,
    *,
    timeout_s: float = _VERSION_TIMEOUT_S,
    stop: Callable[[], bool] = lambda: False,
) -> FfmpegBuild:
    """Return the version that an FFmpeg binary reports, and the digest of its file.

    Args:
        binary: The FFmpeg binary.
        timeout_s: The maximum time for reporting the version, in seconds.
        stop: A function that returns true when the identification is to stop.

    Raises:
        UnusableFfmpegError: The binary cannot be run, is not FFmpeg, or does not report its
            version in time.
    """
    lines: list[str] = []

    def on_line(line: str, _elapsed_s: float) -> None:
        if not lines:
            lines.append(line[:_LONGEST_LINE])

    try:
        with tempfile.TemporaryDirectory(prefix="ffrtmp-version-") as name:
            outcome = process.run_process(
                [str(binary.absolute()), "-version"],
                cwd=Path(name),
                log=Path(name) / "version.log",
                deadline_s=timeout_s,
                stop=stop,
                on_line=on_line,
            )
        with binary.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        message = f"{binary} cannot be started: {error.strerror}"
        raise UnusableFfmpegError(message, errno=error.errno) from error
    _check(binary, outcome, timeout_s)
    words = lines[0].split() if lines else []
    if words[:2] != ["ffmpeg", "version"] or not "".join(words[2:3]).isprintable():
        output = "".join(lines)[:_QUOTED_CHARACTERS]
        raise UnusableFfmpegError(f"{binary} is not FFmpeg: its output is {output!r}")
    return FfmpegBuild(version="".join(words[2:3]), sha256=digest)


def _check(binary: Path, outcome: Outcome, timeout_s: float) -> None:
    tail = outcome.log_tail
    if outcome.stopped_by is not None:
        raise UnusableFfmpegError(
            f"{binary} did not report its version within {timeout_s:g} s", log_tail=tail
        )
    if outcome.exit_code:
        # The first line of the log is the command.
        last_line = "".join(tail.splitlines()[1:][-1:])
        raise UnusableFfmpegError(
            f"{binary} cannot be run: -version ended with code {outcome.exit_code}"
            + (f", and its last line was: {last_line}" if last_line else ""),
            log_tail=tail,
        )
