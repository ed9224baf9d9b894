"""Provenance of a measurement: the commands and the FFmpeg builds."""

from typing import Annotated

import msgspec
from msgspec import Meta

from ffrtmp_shared.constrained_types import Sha256, Text

_Argument = Annotated[str, Meta(max_length=4096)]
_Arguments = Annotated[tuple[_Argument, ...], Meta(max_length=1024)]


class FfmpegBuild(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An FFmpeg binary, identified by its digest."""

    version: Text
    sha256: Sha256


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Information that is needed to repeat the same encode manually.

    `argv` is the exact argument list of the encode, starting with the binary. `more_argv` contains
    the argument lists of the processes that followed: a second pass, or further renditions. The
    paths of the source and the output are relative to the working directory of the attempt.
    """

    argv: _Arguments
    ffmpeg: FfmpegBuild
    quality_ffmpeg: FfmpegBuild
    source_sha256: Sha256
    agent_version: Text
    more_argv: Annotated[tuple[_Arguments, ...], Meta(max_length=16)] = ()
