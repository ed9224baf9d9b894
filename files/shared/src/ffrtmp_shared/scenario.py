"""Typed settings of one fully resolved thing to measure."""

from typing import Annotated

import msgspec
from msgspec import Meta

from ffrtmp_shared.bounds import Line, Sha256, Word
from ffrtmp_shared.encoders import ENCODERS

PIXEL_FORMATS = ("yuv420p", "yuv420p10le")
"""Pixel formats that all of the farm's encoders take."""

MAX_THREADS = 256
"""The greatest number of encoder threads that a suite may ask for."""

MAX_GOP_FRAMES = 1_000_000
"""The greatest distance between key frames that a suite may ask for."""


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A clip to encode, named by its content.

    `sha256` is the lower-case hexadecimal digest of the file; `file_name` its base name, kept
    for people and for the suffix.
    """

    name: Line
    sha256: Sha256
    file_name: Line


class RatePoint(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """How the encoder is told to spend bits: exactly one of the fields is set.

    `crf` is constant quality on the encoder's own scale; `bitrate_kbps` is an average bit rate
    of the video stream in kbit/s (1,000 bit/s), one pass.
    """

    crf: Annotated[float, Meta(ge=0, le=63)] | None = None
    bitrate_kbps: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None

    def __post_init__(self) -> None:
        """Refuse a rate point that says nothing or two things."""
        if (self.crf is None) == (self.bitrate_kbps is None):
            raise ValueError("a rate point sets exactly one of crf, bitrate_kbps")

    @property
    def label(self) -> str:
        """A short name for tables and labels: `1500k` or `crf23`."""
        return f"{self.bitrate_kbps}k" if self.crf is None else f"crf{self.crf:g}"


class EncodeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the encoder is told.

    `threads` is the encoder's number of worker threads, pinned because x264 writes another
    stream for another number; `gop_frames` is the greatest distance between key frames.
    """

    encoder: Word
    preset: Word
    rate: RatePoint
    pixel_format: Word = "yuv420p"
    threads: Annotated[int, Meta(ge=1, le=MAX_THREADS)] = 2
    gop_frames: Annotated[int, Meta(ge=1, le=MAX_GOP_FRAMES)] = 250

    def problems(self) -> list[str]:
        """Say what the encoder would not accept; an empty list means that all is well."""
        encoder = ENCODERS.get(self.encoder)
        if encoder is None:
            return [f"unknown encoder {self.encoder!r}; known are {', '.join(sorted(ENCODERS))}"]
        found = []
        if self.preset not in encoder.presets:
            found.append(
                f"{self.encoder} has no preset {self.preset!r}; it has {', '.join(encoder.presets)}"
            )
        if self.rate.crf is not None and not encoder.crf_min <= self.rate.crf <= encoder.crf_max:
            found.append(
                f"{self.encoder} takes a crf from {encoder.crf_min:g} to {encoder.crf_max:g}, "
                f"not {self.rate.crf:g}"
            )
        if self.pixel_format not in PIXEL_FORMATS:
            found.append(
                f"unknown pixel format {self.pixel_format!r}; known are {', '.join(PIXEL_FORMATS)}"
            )
        return found


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fully resolved thing to measure.

    `name` is unique within a run. `slowest_speed` is the speed, in multiples of real time, under
    which an encode is given up: the deadline of a job is its source's duration divided by it.
    """

    name: Line
    kind: Line
    source: Source
    encode: EncodeSettings
    slowest_speed: Annotated[float, Meta(gt=0, le=1)]
