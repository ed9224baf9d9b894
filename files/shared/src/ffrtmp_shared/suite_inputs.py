"""Inputs of a suite: the clips that it encodes, and the FFmpegs that it compares."""

import re
from pathlib import PurePosixPath
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec

from ffrtmp_shared.ffmpeg_under_test import FfmpegUnderTest
from ffrtmp_shared.scenario import Source, SyntheticSource

_HOW_TO_GET_A_DIGEST = ", which the command sha256sum prints"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class InputFile(NamedTuple):
    """A file that a suite lists.

    `label` is the entry of the suite, such as `source clip`, and `path` the path in the suite.
    """

    label: str
    path: str
    sha256: str


class SuiteSynthetic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A generated clip in a suite file; see `SyntheticSource`."""

    content: Literal["still", "motion", "noise", "animation"]
    width: int
    height: int
    frame_rate: str | int
    duration_s: float


class SuiteSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A clip to encode.

    It is a `file`, whose path is relative to the suite, or a `url`, both with a digest. Otherwise
    it is a `synthetic` clip, which the worker generates.
    """

    name: str
    file: str | None = None
    url: str | None = None
    sha256: str | None = None
    synthetic: SuiteSynthetic | None = None

    def resolve(self) -> Source:
        """Return the source for scenarios. Raises ValueError unless exactly one kind is set."""
        if sum(kind is not None for kind in (self.file, self.url, self.synthetic)) != 1:
            raise ValueError("a source must set exactly one of file, url, synthetic")
        if self.synthetic is None and self.sha256 is None:
            raise ValueError(f"a source by file or url needs its sha256{_HOW_TO_GET_A_DIGEST}")
        clip = self.synthetic
        return Source(
            name=self.name,
            file_name=self._file_name(),
            sha256=self.sha256,
            url=self.url,
            synthetic=None
            if clip is None
            else SyntheticSource(
                content=clip.content,
                width=clip.width,
                height=clip.height,
                frame_rate=str(clip.frame_rate),
                duration_s=clip.duration_s,
            ),
        )

    def _file_name(self) -> str:
        if self.file is not None:
            return self.file.rsplit("/", 1)[-1]
        last = PurePosixPath(urlsplit(self.url or "").path).name
        return last if _PLAIN_NAME.fullmatch(last) else self.name


class SuiteFfmpeg(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An FFmpeg to compare.

    It is a `file`, whose path is relative to the suite, or a `url`, both with a digest. An entry
    with only a name is the farm's own FFmpeg.
    """

    name: str
    file: str | None = None
    url: str | None = None
    sha256: str | None = None

    def resolve(self) -> FfmpegUnderTest:
        """Return the FFmpeg for scenarios. Raises ValueError if it is not identified uniquely."""
        if self.file is not None and self.url is not None:
            raise ValueError("an FFmpeg must set at most one of file, url")
        is_given = self.file is not None or self.url is not None
        if is_given and self.sha256 is None:
            raise ValueError(f"an FFmpeg by file or url needs its sha256{_HOW_TO_GET_A_DIGEST}")
        if self.sha256 is not None and not is_given:
            raise ValueError(
                "a sha256 requires a file or a url; an entry with only a name is the farm's own"
            )
        return FfmpegUnderTest(name=self.name, sha256=self.sha256, url=self.url)
