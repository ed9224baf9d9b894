"""Typed settings of one fully resolved thing to measure."""

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ffrtmp_shared.constrained_types import Line, Name, Sha256, Url, Word
from ffrtmp_shared.encoders import ENCODERS, Encoder, RateControl
from ffrtmp_shared.ffmpeg_under_test import FfmpegUnderTest

PIXEL_FORMATS = ("yuv420p", "yuv420p10le")
"""Pixel formats of the farm; not every encoder takes both."""

MAX_THREADS = 256
"""The greatest number of encoder threads that a suite may ask for."""

MIN_LIVE_S = 10
"""The shortest stream that is measured, in seconds: a shorter one says nothing of its lag."""

MAX_LIVE_S = 14_400
"""The longest: every packet's way to the player is kept in memory until the end."""

_ALL_BUT_ONE = 2

# Paths, options and protocols: none of them is the base name of a clip.
_PATH_LIKE = re.compile(r"[/\\]|^-|^\.{1,2}$|^[A-Za-z][A-Za-z0-9+.,-]*:")

MAX_GOP_FRAMES = 1_000_000
"""The greatest distance between key frames that a suite may ask for."""


Pixels = Annotated[int, Meta(ge=16, le=16_384)]
FrameRate = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,5}(/[1-9][0-9]{0,5})?$(?!\n)")]
Threads = Annotated[int, Meta(ge=1, le=MAX_THREADS)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class SyntheticSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A clip that the worker makes itself with FFmpeg's generators.

    `still` hardly moves, `motion` is a test picture that does, `noise` is grain that nothing
    predicts, `animation` has flat areas with sharp edges. `frame_rate` is written as FFmpeg
    writes it: `30` or `30000/1001`.
    """

    content: Literal["still", "motion", "noise", "animation"]
    width: Pixels
    height: Pixels
    frame_rate: FrameRate
    duration_s: Seconds


class Source(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A clip to encode, named by its content.

    `sha256` is the lower-case hexadecimal digest of the file; `file_name` its base name, kept
    for people and for the suffix. The master has the file, unless `url` says where a worker
    finds it. A `synthetic` source has neither digest nor URL: the worker makes it, and the
    result's provenance has the digest of what was made.
    """

    name: Line
    file_name: Line
    sha256: Sha256 | None = None
    url: Url | None = None
    synthetic: SyntheticSource | None = None

    def __post_init__(self) -> None:
        """Refuse a source whose content is not fixed, or is fixed twice."""
        if (self.sha256 is None) == (self.synthetic is None):
            raise ValueError("a source sets exactly one of sha256, synthetic")
        if self.synthetic is not None and self.url is not None:
            raise ValueError("a synthetic source has no url")

    def problems(self) -> list[str]:
        """Say what could be taken for more than a name, or does not go with 4:2:0 pictures."""
        found = []
        if _PATH_LIKE.search(self.file_name):
            found.append(f"file_name {self.file_name!r} is no plain name: no path, no protocol")
        made = self.synthetic
        if made is not None and (made.width % 2 or made.height % 2):
            found.append(f"a synthetic {made.width}x{made.height} is odd; both have to be even")
        return found


class RatePoint(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """How the encoder is told to spend bits: exactly one of crf, cq and bitrate_kbps is set.

    `crf` is constant quality on a software encoder's own scale, `cq` a constant quantizer or
    quality of the encoders that know no CRF: hardware's and rav1e; `bitrate_kbps` is an average
    bit rate of the video stream in kbit/s (1,000 bit/s) in one or two `passes`. `max_kbps` caps
    the rate over a decoder's buffer of `buffer_kbit` (one second at the cap where none is given).
    """

    crf: Annotated[float, Meta(ge=0, le=63)] | None = None
    cq: Annotated[int, Meta(ge=0, le=255)] | None = None
    bitrate_kbps: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    passes: Annotated[int, Meta(ge=1, le=2)] = 1
    max_kbps: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    buffer_kbit: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None

    def __post_init__(self) -> None:
        """Refuse a rate point that says nothing, two things, or what does not go together."""
        if [self.crf, self.cq, self.bitrate_kbps].count(None) != _ALL_BUT_ONE:
            raise ValueError("a rate point sets exactly one of crf, cq, bitrate_kbps")
        if self.passes > 1 and self.bitrate_kbps is None:
            raise ValueError("only a bitrate_kbps takes two passes")
        if self.buffer_kbit is not None and self.max_kbps is None:
            raise ValueError("buffer_kbit goes with max_kbps")
        if self.max_kbps is not None and self.max_kbps < (self.bitrate_kbps or 0):
            raise ValueError("max_kbps is below bitrate_kbps")

    @property
    def control(self) -> RateControl:
        """The field that says how bits are spent."""
        if self.bitrate_kbps is not None:
            return "bitrate_kbps"
        return "cq" if self.crf is None else "crf"

    @property
    def label(self) -> str:
        """A short name for tables and labels, such as `1500k`, `crf23` or `crf23-max4000k`."""
        if self.bitrate_kbps is not None:
            name = f"{self.bitrate_kbps}k" + ("-2pass" if self.passes > 1 else "")
        elif self.crf is not None:
            name = f"crf{self.crf:g}"
        else:
            name = f"cq{self.cq}"
        if self.max_kbps is not None:
            name += f"-max{self.max_kbps}k"
        return name + (f"-buf{self.buffer_kbit}k" if self.buffer_kbit is not None else "")


class EncodeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the encoder is told.

    `threads` is the encoder's number of worker threads, pinned because x264 writes another
    stream for another number; `gop_frames` is the greatest distance between key frames.
    Without `width` and `height` the pictures keep their size, without `frame_rate` their rate.
    `options` are further options of the encoder, only those of its allow list.
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
        """Name every field that the encoder would not accept, each with what is allowed."""
        encoder = ENCODERS.get(self.encoder)
        if encoder is None:
            known = ", ".join(sorted(ENCODERS))
            return [("encoder", f"unknown encoder {self.encoder!r}; known are {known}")]
        found = []
        if self.preset not in encoder.presets:
            said = f"{self.encoder} has no preset {self.preset!r}; it has "
            found.append(("preset", said + ", ".join(encoder.presets)))
        if self.pixel_format not in encoder.pixel_formats:
            said = f"{self.encoder} has no pixel format {self.pixel_format!r}; it has "
            found.append(("pixel_format", said + ", ".join(encoder.pixel_formats)))
        found += [("rate", said) for said in self._rate_problems(encoder)]
        found += [("options", said) for said in self._option_problems(encoder)]
        if (self.width is None) != (self.height is None):
            found.append(("width", "width and height go together: set both or neither"))
        for field, pixels in (("width", self.width), ("height", self.height)):
            if pixels is not None and pixels % 2:
                found.append((field, f"{field} {pixels} is odd; 4:2:0 pictures need an even one"))
        return found

    def problems(self) -> list[str]:
        """Say what the encoder would not accept; an empty list means that all is well."""
        return [message for _, message in self.setting_errors()]

    def _rate_problems(self, encoder: Encoder) -> list[str]:
        rate = self.rate
        found = []
        for field, value, scale in (("crf", rate.crf, encoder.crf), ("cq", rate.cq, encoder.cq)):
            if value is None:
                continue
            if scale is None:
                found.append(f"{encoder.name} takes no {field}; it takes {encoder.rate_controls}")
            elif not scale.accepts(value):
                found.append(f"{encoder.name} takes a {field} {scale}, not {value:g}")
        if rate.passes > encoder.passes:
            found.append(f"{encoder.name} makes no second pass; leave out passes")
        elif rate.passes > 1 and self.preset.startswith("realtime"):
            found.append(f"{encoder.name} makes no second pass with {self.preset}")
        if rate.max_kbps is not None and rate.control not in encoder.capped:
            held = ", ".join(encoder.capped) or "nothing"
            found.append(f"{encoder.name} holds no max_kbps with {rate.control}; only with {held}")
        return found

    def _option_problems(self, encoder: Encoder) -> list[str]:
        found = []
        for name, value in self.options.items():
            allowed = encoder.options.get(name)
            if allowed is None:
                known = ", ".join(sorted(encoder.options))
                found.append(f"{encoder.name} has no option {name!r} here; allowed are {known}")
            elif not allowed.accepts(value):
                found.append(f"{encoder.name}'s option {name} is {allowed}, not {value!r}")
        return found


class Rendition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One output of a ladder. All renditions of a ladder have the same encoder."""

    name: Name
    encode: EncodeSettings


class LadderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Several renditions of one source: by one process that decodes once, or each by its own.

    Processes of their own run one after another (`together` false).
    """

    renditions: Annotated[tuple[Rendition, ...], Meta(min_length=1, max_length=16)]
    together: bool = True

    def problems(self) -> list[str]:
        """Say why the renditions cannot be measured as one ladder."""
        found = []
        names = [rendition.name for rendition in self.renditions]
        found += [
            f"the name {name} of a rendition stands twice"
            for name in sorted({name for name in names if names.count(name) > 1})
        ]
        encodes = [rendition.encode for rendition in self.renditions]
        if len({encode.encoder for encode in encodes}) > 1:
            found.append("all renditions of a ladder have the same encoder")
        if any(encode.rate.passes > 1 for encode in encodes):
            found.append("a ladder is encoded in one pass; leave out passes")
        return found


class DecodeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Decoding to nothing, with so many threads of the decoder."""

    threads: Threads = 2


class DensitySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A search for the number of streams that the node holds in real time.

    Each step of the search lasts `window_s`, the check of its answer `verify_s`. A stream holds
    while its lag behind the wall clock stays below `max_lag_s`.
    """

    window_s: Seconds = 20.0
    verify_s: Seconds = 60.0
    max_lag_s: Seconds = 2.0
    max_streams: Annotated[int, Meta(ge=1, le=1024)] = 256


class LiveSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stream in real time to the farm's RTMP server, for `duration_s`."""

    duration_s: Annotated[float, Meta(ge=MIN_LIVE_S, le=MAX_LIVE_S)] = 60.0


def stream_faults(kind: str, settings: EncodeSettings) -> list[tuple[str, str]]:
    """Name every field with which an encode cannot be a stream in real time.

    There is none for kinds that do not stream.
    """
    if kind not in ("density", "live"):
        return []
    found = []
    if settings.rate.passes > 1:
        found.append(("rate", f"a {kind} is encoded in one pass; leave out passes"))
    encoder = ENCODERS.get(settings.encoder)
    if kind == "live" and encoder is not None and encoder.codec != "h264":
        # The server's module knows no later codec, and the players of its streams neither.
        said = f"RTMP carries H.264; {encoder.name} writes {encoder.codec}"
        found.append(("encoder", said))
    return found


WarmUp = Annotated[float, Meta(ge=0, le=600)]
"""Seconds for which an encode is run before it is run to be timed."""


class Scenario(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One fully resolved thing to measure.

    `name` is unique within a run. `slowest_speed` is the speed, in multiples of real time, under
    which an encode is given up: the deadline of a job is its source's duration divided by it.
    A `transcode` has its settings in `encode`, the other kinds in the field of their name; what
    each stream of a `density` or a `live` is encoded with stands in `encode` too. What a
    `transcode`, a `ladder` or a `decode` is timed by runs for `warm_up_s` seconds before, and is
    ended and thrown away.
    `ffmpeg` is the FFmpeg that a suite with several of them names; None is the farm's own.
    """

    name: Line
    kind: Line
    source: Source
    slowest_speed: Annotated[float, Meta(gt=0, le=1)]
    encode: EncodeSettings | None = None
    ladder: LadderSettings | None = None
    decode: DecodeSettings | None = None
    density: DensitySettings | None = None
    live: LiveSettings | None = None
    warm_up_s: WarmUp = 0.0
    ffmpeg: FfmpegUnderTest | None = None

    @property
    def encoders(self) -> tuple[EncodeSettings, ...]:
        """Every encoder's settings, in the order of the file; empty where nothing is encoded."""
        if self.ladder is not None:
            return tuple(rendition.encode for rendition in self.ladder.renditions)
        return () if self.encode is None else (self.encode,)

    @property
    def encoder(self) -> str | None:
        """The encoder that a node must have, or None where nothing is encoded."""
        return self.encoders[0].encoder if self.encoders else None

    @property
    def brings_ffmpeg(self) -> bool:
        """Whether it is measured with another FFmpeg than the farm's own."""
        return self.ffmpeg is not None and self.ffmpeg.is_given

    @property
    def uploads(self) -> dict[str, str]:
        """What the master has to have before a job can use it: names for people, by SHA-256."""
        found = {}
        source, ffmpeg = self.source, self.ffmpeg
        if source.sha256 is not None and source.url is None:
            found[source.sha256] = f"source {source.name}"
        if ffmpeg is not None and ffmpeg.sha256 is not None and ffmpeg.url is None:
            found[ffmpeg.sha256] = f"FFmpeg {ffmpeg.name}"
        return found

    def problems(self) -> list[str]:
        """Say what cannot be measured as it is described; an empty list means that all is well."""
        if self.kind not in KINDS:
            return [f"unknown kind {self.kind!r}; known are {', '.join(KINDS)}"]
        found = self.source.problems()
        wanted = KINDS[self.kind]
        present = tuple(field for field in _FIELDS if getattr(self, field) is not None)
        if present != wanted:
            found += [f"a {self.kind} has no settings in {f}" for f in present if f not in wanted]
            found += [f"a {self.kind} needs settings in {f}" for f in wanted if f not in present]
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
"""Every kind of scenario, and the fields that hold its settings."""

KINDS_OF_EVERY_NODE = ("transcode", "ladder", "decode", "density")
"""The kinds that an agent can do wherever it is; a `live` needs an RTMP server."""

_FIELDS = ("encode", "ladder", "decode", "density", "live")
