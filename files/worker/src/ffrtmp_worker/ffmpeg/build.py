"""Telling one FFmpeg binary from every other."""

import hashlib
import subprocess
from pathlib import Path

from ffrtmp_shared.measurement import FfmpegBuild

_VERSION_TIMEOUT_S = 30.0


class UnusableFfmpegError(Exception):
    """A binary cannot be started or does not answer as FFmpeg does."""


def identify(binary: Path) -> FfmpegBuild:
    """Name the FFmpeg at `binary` by its own version and by the digest of the file.

    Raises UnusableFfmpegError when it cannot be run.
    """
    try:
        answer = subprocess.run(
            [str(binary), "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_VERSION_TIMEOUT_S,
            check=True,
            text=True,
        )
        with binary.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, subprocess.SubprocessError) as error:
        raise UnusableFfmpegError(f"{binary} cannot be run: {error}") from error
    words = answer.stdout.split()
    if words[:2] != ["ffmpeg", "version"]:
        raise UnusableFfmpegError(f"{binary} is not FFmpeg: it says {answer.stdout[:80]!r}")
    return FfmpegBuild(version=words[2], sha256=digest)
