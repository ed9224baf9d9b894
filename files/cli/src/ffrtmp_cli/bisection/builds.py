"""FFmpeg builds of a bisection: files of this computer, or URLs with a digest."""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
from ffrtmp_worker.ffmpeg import elf

from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.local.clip import file_digest

_URL = re.compile(r"https?://\S+", re.IGNORECASE)
_URL_WITH_DIGEST = re.compile(r"(?P<url>https?://[^\s#]+)#sha256=(?P<digest>[0-9a-f]{64})")
_LEAST = 2


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """An FFmpeg build.

    Attributes:
        number: The place in the list, from 1.
        place: The path or the URL of the program.
        sha256: The SHA-256 of the program.
    """

    number: int
    place: str
    sha256: str

    @property
    def name(self) -> str:
        """The name of the build in suites."""
        return f"build{self.number}"

    @property
    def label(self) -> str:
        """The name of the build for readers."""
        return f"build {self.number} ({self.place})"

    @property
    def suite_entry(self) -> dict[str, str]:
        """The entry of the build in the list `ffmpegs` of a suite."""
        key = "url" if _URL.match(self.place) else "file"
        return {"name": self.name, key: self.place, "sha256": self.sha256}


def read_builds(arguments: Sequence[str]) -> tuple[Build, ...]:
    """Return the builds that a user lists.

    Args:
        arguments: Paths, or URLs that end with `#sha256=` and a digest.

    Raises:
        CommandError: A build cannot be used. The message says what to do.
    """
    if len(arguments) < _LEAST:
        raise CommandError("name at least two builds, the oldest one first", ExitCode.USAGE)
    return tuple(_build(number, given) for number, given in enumerate(arguments, start=1))


def _build(number: int, given: str) -> Build:
    if _URL.match(given):
        found = _URL_WITH_DIGEST.fullmatch(given)
        if found is None:
            raise CommandError(
                f"{given}: the digest is missing. Append #sha256= and the SHA-256 of the program, "
                "which the command sha256sum prints",
                ExitCode.USAGE,
            )
        return Build(number=number, place=found["url"], sha256=found["digest"])
    path = Path(given).absolute()
    if not path.is_file():
        raise CommandError(f"{given} is not a file: check its path", ExitCode.NOT_FOUND)
    try:
        reason = elf.unsupported_reason(path)
    except OSError as error:
        raise CommandError(
            f"{given} cannot be read: {error.strerror}. Change its permissions", ExitCode.USAGE
        ) from error
    if reason:
        raise CommandError(
            f"{given} cannot be measured: {reason}. Name the program itself", ExitCode.USAGE
        )
    return Build(number=number, place=str(path), sha256=file_digest(path))
