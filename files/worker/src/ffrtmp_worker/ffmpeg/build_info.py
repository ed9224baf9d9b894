"""Telling one FFmpeg binary from every other."""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from ffrtmp_shared.measurement import FfmpegBuild

from ffrtmp_worker.ffmpeg import process
from ffrtmp_worker.ffmpeg.process import Outcome

_VERSION_TIMEOUT_S = 30.0
_LONGEST_LINE = 1024
_SAID = 80


class UnusableFfmpegError(Exception):
    """A binary cannot be started or does not answer as FFmpeg does."""

    def __init__(self, message: str, *, log_tail: str = "", errno: int | None = None) -> None:
        """Keep what it said, and the kernel's number for why it was not started at all."""
        super().__init__(message)
        self.log_tail = log_tail
        self.errno = errno


def identify_build(
    binary: Path,
    *,
    timeout_s: float = _VERSION_TIMEOUT_S,
    stop: Callable[[], bool] = lambda: False,
) -> FfmpegBuild:
    """Name the FFmpeg at `binary` by its own version and by the digest of the file.

    Raises UnusableFfmpegError when it cannot be run, or says nothing within `timeout_s` seconds
    or before `stop()` is true.
    """
    lines: list[str] = []

    def hear(line: str, _elapsed_s: float) -> None:
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
                on_line=hear,
            )
        with binary.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        said = f"{binary} cannot be started: {error.strerror}"
        raise UnusableFfmpegError(said, errno=error.errno) from error
    _check(binary, outcome, timeout_s)
    words = lines[0].split() if lines else []
    if words[:2] != ["ffmpeg", "version"] or not "".join(words[2:3]).isprintable():
        raise UnusableFfmpegError(f"{binary} is not FFmpeg: it says {''.join(lines)[:_SAID]!r}")
    return FfmpegBuild(version="".join(words[2:3]), sha256=digest)


def _check(binary: Path, outcome: Outcome, timeout_s: float) -> None:
    tail = outcome.log_tail
    if outcome.stopped_by is not None:
        raise UnusableFfmpegError(
            f"{binary} did not say its version within {timeout_s:g} s", log_tail=tail
        )
    if outcome.exit_code:
        # The first line of the log is the command.
        last = "".join(tail.splitlines()[1:][-1:])
        raise UnusableFfmpegError(
            f"{binary} cannot be run: -version ended with code {outcome.exit_code}"
            + (f", saying: {last}" if last else ""),
            log_tail=tail,
        )
