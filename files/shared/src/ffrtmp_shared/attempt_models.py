"""Wire types of the API for attempts of jobs: progress, failures and artifacts."""

from typing import Annotated

import msgspec
from msgspec import Meta

from ffrtmp_shared.constrained_types import Amount, Count, FileName, Real, Sha256
from ffrtmp_shared.failure_classes import FailureClass


class Failure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Reason why an attempt failed. `log_tail` contains the last lines of FFmpeg's log, if any."""

    failure_class: FailureClass
    message: Annotated[str, Meta(max_length=4096)]
    log_tail: Annotated[str, Meta(max_length=16384)] = ""


class Progress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Progress of an attempt. `stage` is usually a value of `stages.Stage`.

    `ratio` is the completed part of the stage, from 0 to 1; it is 0 if it is unknown.
    `bitrate_bps` is the current output bit rate per second of video. `duplicated_frames` and
    `dropped_frames` are FFmpeg's counts since the start of the encode. `lag_s` is the time by which
    the encoder of a stream lags behind. These fields are null if they are unknown.
    """

    stage: Annotated[str, Meta(max_length=32)]
    frames: Count = 0
    fps: Amount = 0.0
    speed: Amount = 0.0
    ratio: Amount = 0.0
    bitrate_bps: Amount | None = None
    duplicated_frames: Count | None = None
    dropped_frames: Count | None = None
    lag_s: Real | None = None


class Artifact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that belongs to an attempt, such as FFmpeg's log."""

    name: FileName
    sha256: Sha256
    size_bytes: Count


Artifacts = Annotated[tuple[Artifact, ...], Meta(max_length=256)]
