"""Scenarios: the fully resolved settings of one measurement."""

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ffrtmp_shared import value_rules
from ffrtmp_shared.constrained_types import Line, Name, Sha256, Url, Word
from ffrtmp_shared.encoders import ENCODERS, Encoder
from ffrtmp_shared.ffmpeg_under_test import FfmpegUnderTest
from ffrtmp_shared.rate_point import RatePoint

PIXEL_FORMATS = ("yuv420p", "yuv420p10le")
"""The supported pixel formats. Some encoders support only the first one."""

MAX_THREADS = 256
"""The maximum number of encoder threads."""

MIN_LIVE_S = 10
"""The minimum duration of a live stream, in seconds. Lags of shorter streams are not meaningful."""

MAX_LIVE_S = 14_400
"""The maximum duration of a live stream, in seconds. It limits the memory for packet times."""

# This matches paths, options and protocols, which are not plain file names.
_PATH_LIKE = re.compile(r"[/\\]|^-|^\.{1,2}$|^[A-Za-z][A-Za-z0-9+.,-]*:")

MAX_GOP_FRAMES = 1_000_000
"""The maximum distance between key frames, in frames."""


Pixels = Annotated[int, Meta(ge=16, le=16_384)]
FrameRate = Annotated[str, Meta(pattern=value_rules.FRAME_RATE)]
Threads = Annotated[int, Meta(ge=1, le=MAX_THREADS)]
Seconds = Annotated[float, Meta(ge=0.001, le=86_400)]


class SyntheticSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A clip that the worker generates with FFmpeg.

    The `content` is `still` (a picture with almost no motion), `motion` (a moving test picture),
    `noise` (unpredictable grain) or `animation` (flat areas with sharp edges). `frame_rate` is in
    FFmpeg's notation, such as `30` or `30000/1001`.
    """

    content: Literal["still", "motion", "noise", "animation"]
    width: Pixels
    height: Pixels
    frame_rate: FrameRate
    duration_s: Seconds


class Source(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A clip to encode, identified by its digest.

    `sha256` is the lower-case hexadecimal digest of the file. `file_name` is the base name of the
    file; it is used for display and determines the suffix of the downloaded file. The worker
    downloads the file from `url`, or from the master if `url` is None. A `synthetic` source has
    neither digest nor URL. The worker generates it, and the provenance of the result contains the
    digest of the generated file.
    """

    name: Line
    file_name: Line
    sha256: Sha256 | None = None
    url: Url | None = None
    synthetic: SyntheticSource | None = None

    def __post_init__(self) -> None:
        """Reject a source unless exactly one field determines its content."""
        if (self.sha256 is None) == (self.synthetic is None):
            raise ValueError("a source must set exactly one of sha256, synthetic")
        if self.synthetic is not None and self.url is not None:
            raise ValueError("a synthetic source must not have a url")

    def problems(self) -> list[str]:
        """Return error messages for the file name and for the size of a synthetic source."""
        found = []
        if _PATH_LIKE.search(self.file_name):
            found.append(
                f"file_name {self.file_name!r} must be a plain file name without path or protocol"
            )
        clip = self.synthetic
        if clip is not None and (clip.width % 2 or clip.height % 2):
            found.append(
                f"a synthetic source of {clip.width}x{clip.height} has an odd dimension; "
                "width and height must be even"
            )
        return found


class EncodeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of an encoder.

    `threads` is the number of encoder threads. It is always set, because the output of x264 depends
    on it. `gop_frames` is the maximum distance between key frames. If `width` and `height` are
    None, the output has the size of the source. If `frame_rate` is None, it has the frame rate of
    the source. `options` are further options from the allow list of the encoder.
    """

    encoder: Word
    preset: Word
    rate: RatePoint
    pixel_format: Word = "yuv420p"
    threads: Threads = 2
    gop_frames: Annotated[int, Meta(ge=1, le=MAX_GOP_FRAMES)] = 250
    width: Pixels | None = None
    height: Pixels | None = None
    frame_rate: FrameRate | None = None
    options: Annotated[dict[Word, Word], Meta(max_length=16)] = {}

    def setting_errors(self) -> list[tuple[str, str]]:
        """Return the fields that the encoder does not accept, each with an error message."""
        encoder = ENCODERS.get(self.encoder)
        if encoder is None:
            known = ", ".join(sorted(ENCODERS))
            return [("encoder", f"unknown encoder {self.encoder!r}; known are {known}")]
        found = []
        if self.preset not in encoder.presets:
            message = f"{self.encoder} has no preset {self.preset!r}; it has "
            found.append(("preset", message + ", ".join(encoder.presets)))
        if self.pixel_format not in encoder.pixel_formats:
            message = f"{self.encoder} has no pixel format {self.pixel_format!r}; it has "
            found.append(("pixel_format", message + ", ".join(encoder.pixel_formats)))
        found += [("rate", message) for message in self._rate_problems(encoder)]
        found += [("options", message) for message in self._option_problems(encoder)]
        if (self.width is None) != (self.height is None):
            found.append(("width", "width and height go together: set both or neither"))
        for field, pixels in (("width", self.width), ("height", self.height)):
            if pixels is not None and pixels % 2:
                found.append(
                    (field, f"{field} {pixels} is odd; 4:2:0 pictures require an even value")
                )
        return found

    def problems(self) -> list[str]:
        """Return error messages for settings that the encoder does not accept."""
        return [message for _, message in self.setting_errors()]

    def _rate_problems(self, encoder: Encoder) -> list[str]:
        rate = self.rate
        found = []
        for field, value, scale in (("crf", rate.crf, encoder.crf), ("cq", rate.cq, encoder.cq)):
            if value is None:
                continue
            if scale is None:
                found.append(
                    f"{encoder.name} does not support {field}; it supports {encoder.rate_controls}"
                )
            elif not scale.accepts(value):
                found.append(f"{encoder.name} accepts {field} {scale}, not {value:g}")
        if rate.passes > encoder.passes:
            found.append(f"{encoder.name} does not support two passes; omit passes")
        elif rate.passes > 1 and self.preset.startswith("realtime"):
            found.append(f"{encoder.name} does not support two passes with {self.preset}")
        if rate.max_kbps is not None and rate.control(encoder) not in encoder.capped:
            message = f"{encoder.name} does not support max_kbps with {rate.control(encoder)}"
            capped = ", ".join(encoder.capped)
            found.append(message + (f"; only with {capped}" if capped else ""))
        return found

    def _option_problems(self, encoder: Encoder) -> list[str]:
        found = []
        for name, value in self.options.items():
            allowed = encoder.options.get(name)
            if allowed is None:
                known = ", ".join(sorted(encoder.options))
                found.append(f"{encoder.name} does not accept option {name!r}; allowed are {known}")
            elif not allowed.accepts(value):
                found.append(f"{encoder.name}'s option {name} must be {allowed}, not {value!r}")
        return found


_VMAF_REMEDY = "find the crf or cq with a transcode at this vmaf, and use it here"


class Rendition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One output of a ladder. All renditions of a ladder use the same encoder."""

    name: Name
    encode: EncodeSettings


class LadderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Several renditions of one source.

    If `together` is true, one process decodes the source once and encodes all renditions.
    Otherwise a separate process encodes each rendition, and the processes run one after another.
    """

    renditions: Annotated[tuple[Rendition, ...], Meta(min_length=1, max_length=16)]
    together: bool = True

    def problems(self) -> list[str]:
        """Return error messages for renditions that cannot form one ladder."""
        found = []
        names = [rendition.name for rendition in self.renditions]
        found += [
            f"the rendition name {name} is used twice"
            for name in sorted({name for name in names if names.count(name) > 1})
        ]
        encodes = [rendition.encode for rendition in self.renditions]
        if len({encode.encoder for encode in encodes}) > 1:
            found.append("all renditions of a ladder must use the same encoder")
        if any(encode.rate.passes > 1 for encode in encodes):
            found.append("a ladder is encoded in one pass; omit passes")
        if any(encode.rate.vmaf is not None for encode in encodes):
            found.append(f"a ladder does not support vmaf; {_VMAF_REMEDY}")
        return found


class DecodeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a decode without output. `threads` is the number of decoder threads."""

    threads: Threads = 2


class DensitySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the search for the number of streams that a node can encode in real time.

    Each step of the search lasts `window_s` seconds, and the verification of its result lasts
    `verify_s` seconds. A stream keeps up if its lag behind the wall clock stays below `max_lag_s`
    seconds. The search tries at most `max_streams` streams.
    """

    window_s: Seconds = 20.0
    verify_s: Seconds = 60.0
    max_lag_s: Seconds = 2.0
    max_streams: Annotated[int, Meta(ge=1, le=1024)] = 256


class LiveSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a stream that is sent in real time to the farm's RTMP server.

    If `measure_received` is true, the player stores the stream that it receives, and its quality is
    measured after the stream. The field is omitted if it is not set, because agents of older
    releases do not know it.
    """

    duration_s: Annotated[float, Meta(ge=MIN_LIVE_S, le=MAX_LIVE_S)] = 60.0
    measure_received: bool | msgspec.UnsetType = msgspec.UNSET


def stream_faults(kind: str, settings: EncodeSettings) -> list[tuple[str, str]]:
    """Return the fields that prevent streaming in real time, each with an error message.

    The list is empty for kinds that do not stream.
    """
    if kind not in ("density", "live"):
        return []
    found = []
    if settings.rate.passes > 1:
        found.append(("rate", f"a {kind} is encoded in one pass; omit passes"))
    if kind == "live" and settings.rate.vmaf is not None:
        found.append(("rate", f"a live does not support vmaf; {_VMAF_REMEDY}"))
    encoder = ENCODERS.get(settings.encoder)
    if kind == "live" and encoder is not None and encoder.codec != "h264":
        # Neither the RTMP module of the server nor the players of its streams support newer codecs.
        message = f"RTMP requires H.264, but {encoder.name} writes {encoder.codec}"
        found.append(("encoder", message))
    return found


class QualitySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The scores that are measured in addition to VMAF when an output is compared with its source.

    `neg` is VMAF NEG. `ssim` are the SSIM of libvmaf and that of FFmpeg's filter.
    """

    neg: bool = True
    psnr: bool = True
    ssim: bool = True
    xpsnr: bool = True


ALL_SCORES = QualitySettings()
"""All scores are measured."""

COMPARED_KINDS = ("transcode", "ladder")
"""The kinds to whose outputs `QualitySettings` apply."""


MIN_SPEED = 1e-4
"""The lowest `slowest_speed`. Deadlines are durations divided by it, so it must not be tiny."""

WarmUp = Annotated[float, Meta(ge=0, le=600)]
"""The duration in seconds of the warm-up that precedes the timed execution."""


class Scenario(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The fully resolved settings of one measurement.

    `name` is unique within a run. `slowest_speed` is the minimum speed in multiples of real time:
    the deadline of a job is the duration of its source divided by `slowest_speed`.

    The settings of a `transcode` are in `encode`. The settings of any other kind are in the field
    that is named after the kind. In addition, the settings for each stream of a `density` or a
    `live` are in `encode`.

    A `transcode`, a `ladder` or a `decode` is preceded by a warm-up: the same commands run for
    `warm_up_s` seconds, and their output is discarded. `ffmpeg` is one of the FFmpegs that the
    suite lists. If it is None, the farm's own FFmpeg is used. If `quality` is None, all scores of
    the output are measured; agents of older releases do not know the field.
    """

    name: Line
    kind: Line
    source: Source
    slowest_speed: Annotated[float, Meta(ge=MIN_SPEED, le=1)]
    encode: EncodeSettings | None = None
    ladder: LadderSettings | None = None
    decode: DecodeSettings | None = None
    density: DensitySettings | None = None
    live: LiveSettings | None = None
    warm_up_s: WarmUp = 0.0
    ffmpeg: FfmpegUnderTest | None = None
    quality: QualitySettings | None = None

    @property
    def encoders(self) -> tuple[EncodeSettings, ...]:
        """The settings of all encoders in the order of the suite; empty if nothing is encoded."""
        if self.ladder is not None:
            return tuple(rendition.encode for rendition in self.ladder.renditions)
        return () if self.encode is None else (self.encode,)

    @property
    def encoder(self) -> str | None:
        """The encoder that a node must have, or None if nothing is encoded."""
        return self.encoders[0].encoder if self.encoders else None

    @property
    def brings_ffmpeg(self) -> bool:
        """Return whether the suite provides the FFmpeg of the scenario."""
        return self.ffmpeg is not None and self.ffmpeg.is_given

    @property
    def uploads(self) -> dict[str, str]:
        """Display names of the files that must first be uploaded to the master, by SHA-256."""
        found = {}
        source, ffmpeg = self.source, self.ffmpeg
        if source.sha256 is not None and source.url is None:
            found[source.sha256] = f"source {source.name}"
        if ffmpeg is not None and ffmpeg.sha256 is not None and ffmpeg.url is None:
            found[ffmpeg.sha256] = f"FFmpeg {ffmpeg.name}"
        return found

    @property
    def measures_received(self) -> bool:
        """Return whether the quality of a received stream is measured."""
        return self.live is not None and self.live.measure_received is True

    @property
    def required_kind(self) -> str | None:
        """The kind that a node must list, or None if every node supports the scenario."""
        if self.measures_received:
            return RECEIVED_LIVE
        if self.quality is not None:
            # Agents that know these settings also support all that the kinds with them need.
            return QUALITY_SETTINGS
        if self.encode is not None and self.encode.rate.vmaf is not None:
            return VMAF_TARGET
        return None if self.kind in KINDS_OF_EVERY_NODE else self.kind

    def problems(self) -> list[str]:
        """Return error messages for settings that cannot be measured."""
        if self.kind not in KINDS:
            return [f"unknown kind {self.kind!r}; known are {', '.join(KINDS)}"]
        found = self.source.problems()
        required = KINDS[self.kind]
        present = tuple(field for field in _FIELDS if getattr(self, field) is not None)
        if present != required:
            found += [
                f"a {self.kind} must not have settings in {f}" for f in present if f not in required
            ]
            found += [f"a {self.kind} needs settings in {f}" for f in required if f not in present]
        if self.quality is not None and self.kind not in COMPARED_KINDS:
            found.append(f"a {self.kind} must not have settings in quality")
        for settings in self.encoders:
            found += [problem for problem in settings.problems() if problem not in found]
        if self.ladder is not None:
            found += self.ladder.problems()
        if self.encode is not None:
            found += [message for _, message in stream_faults(self.kind, self.encode)]
        return found


KINDS: dict[str, tuple[str, ...]] = {
    "transcode": ("encode",),
    "ladder": ("ladder",),
    "decode": ("decode",),
    "density": ("encode", "density"),
    "live": ("encode", "live"),
}
"""All kinds of scenarios, each with the fields that contain its settings."""

KINDS_OF_EVERY_NODE = ("transcode", "ladder", "decode", "density")
"""The kinds that every agent supports. A `live` also requires an RTMP server."""

RECEIVED_LIVE = "live_received"
"""The capability of agents that can measure a received stream, in the list of their kinds.

Agents of older releases do not list it, so that they do not get scenarios that they do not know.
"""

VMAF_TARGET = "vmaf_target"
"""The capability of agents that can search for a VMAF, in the list of their kinds.

Agents of older releases do not list it either.
"""

QUALITY_SETTINGS = "quality_settings"
"""The capability of agents that can omit scores, in the list of their kinds.

Agents of older releases do not list it either. Those that do also search for a VMAF.
"""

_FIELDS = ("encode", "ladder", "decode", "density", "live")
