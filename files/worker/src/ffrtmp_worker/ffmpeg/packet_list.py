"""List of the packets and the format of a video, parsed from ffprobe's compact output.

Each line is a section with its fields: `packet|pts_time=0.040000|...|flags=K_`. The list is built
while ffprobe runs and needs 25 bytes for each packet.
"""

import math
from array import array
from fractions import Fraction

import msgspec

_UNKNOWN = ("N/A", "unknown", "unspecified", "reserved")
_NAN = float("nan")
_MAX_DIGITS = 15
_MAX_S = 1e12
"""Latest time stamp, in seconds. Recordings of cameras may have the time since 1970, about 2e9."""


class InvalidListError(Exception):
    """ffprobe's output contains an invalid value, or more packets than allowed."""


class VideoFormat(msgspec.Struct, frozen=True, kw_only=True):
    """Format of a video as in the container; unknown values are None.

    `frame_rate` is the mean rate that the container states, and `base_rate` the rate that its unit
    of time or the codec suggests. `time_base` is the unit of the time stamps, in seconds.
    """

    codec: str | None
    width: int
    height: int
    pixel_format: str | None
    profile: str | None
    level: int | None
    reorder_frames: int
    frame_rate: Fraction | None
    base_rate: Fraction | None
    time_base: Fraction | None
    duration_s: float | None
    field_order: str
    color_range: str | None
    color_space: str | None
    color_primaries: str | None
    color_transfer: str | None


class PacketList:
    """The packets of a video in the order of the file, and its format.

    Each array has one value for each packet: the presentation time and the duration in seconds
    (NaN if unknown), the size in bytes, and flags.
    """

    IS_KEY = 1
    IS_DISCARDED = 2
    """Mark of packets that an edit list removes: they are decoded, but not displayed."""

    def __init__(self, max_packets: int) -> None:
        """Create an empty list that accepts at most `max_packets` packets."""
        self._max_packets = max_packets
        self.times_s = array("d")
        self.durations_s = array("d")
        self.sizes_bytes = array("q")
        self.flags = array("B")
        self.format: VideoFormat | None = None

    def __len__(self) -> int:
        """Return the number of packets."""
        return len(self.times_s)

    def add_line(self, line: str) -> None:
        """Add a line of ffprobe's output.

        Raises InvalidListError if a value is invalid, or if there are too many packets.
        """
        section, _, rest = line.partition("|")
        try:
            if section == "packet":
                self._add_packet(_fields(rest))
            elif section == "stream" and self.format is None:
                self.format = _format(_fields(rest))
        except (ValueError, OverflowError, ZeroDivisionError) as error:
            raise InvalidListError(f"ffprobe wrote the invalid line {line[:200]!r}") from error

    def _add_packet(self, fields: dict[str, str]) -> None:
        if len(self.times_s) >= self._max_packets:
            raise InvalidListError(
                f"it has more than {self._max_packets} video packets, the limit of this node; "
                "shorten the clip or raise worker_source_max_packets"
            )
        flags = fields.get("flags", "")
        size_bytes = _count(fields.get("size", "0"))
        self.times_s.append(_seconds(fields.get("pts_time")))
        self.durations_s.append(_seconds(fields.get("duration_time")))
        self.sizes_bytes.append(size_bytes)
        self.flags.append(
            (self.IS_KEY if "K" in flags else 0) | (self.IS_DISCARDED if "D" in flags else 0)
        )


def _fields(text: str) -> dict[str, str]:
    return {
        key: value
        for key, sign, value in (field.partition("=") for field in text.split("|"))
        if sign
    }


def _format(fields: dict[str, str]) -> VideoFormat:
    level = int(fields.get("level", "-99"))
    return VideoFormat(
        codec=_known(fields, "codec_name"),
        width=_count(fields.get("width", "0")),
        height=_count(fields.get("height", "0")),
        pixel_format=_known(fields, "pix_fmt"),
        profile=_known(fields, "profile"),
        level=level if level >= 0 else None,
        reorder_frames=_count(fields.get("has_b_frames", "0")),
        frame_rate=_rate(fields.get("avg_frame_rate", "0/0")),
        base_rate=_rate(fields.get("r_frame_rate", "0/0")),
        time_base=_rate(fields.get("time_base", "0/0")),
        duration_s=_duration_s(fields.get("duration")),
        field_order=fields.get("field_order", "unknown"),
        color_range=_known(fields, "color_range"),
        color_space=_known(fields, "color_space"),
        color_primaries=_known(fields, "color_primaries"),
        color_transfer=_known(fields, "color_transfer"),
    )


def _seconds(text: str | None) -> float:
    """Return a time, or NaN if it is unknown. Raises ValueError if it is out of range."""
    if text is None or text in _UNKNOWN:
        return _NAN
    seconds = float(text)
    # This is also false for NaN and infinities, which would hide an irregular frame rate.
    if not abs(seconds) <= _MAX_S:
        raise ValueError("a time is out of range")
    return seconds


def _duration_s(text: str | None) -> float | None:
    seconds = _seconds(text)
    return None if math.isnan(seconds) else seconds


def _count(text: str) -> int:
    """Return a count. Raises ValueError if the text is not one or is too long."""
    if not (text.isdecimal() and len(text) <= _MAX_DIGITS):
        raise ValueError("a count is out of range")
    return int(text)


def _known(fields: dict[str, str], name: str) -> str | None:
    value = fields.get(name)
    return None if value is None or value in _UNKNOWN else value


def _rate(text: str) -> Fraction | None:
    """Return a positive fraction in FFmpeg's notation, or None if it is unknown."""
    numerator, _, denominator = text.partition("/")
    frames, seconds = int(numerator), int(denominator or "1")
    return Fraction(frames, seconds) if frames > 0 and seconds > 0 else None
