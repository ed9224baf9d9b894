"""What an attempt measured. Units stand in the names; what could not be had says why."""

from typing import Annotated

import msgspec
from msgspec import Meta

from ffrtmp_shared.bounds import Amount, Count, LongText, Sha256, Text

_Argument = Annotated[str, Meta(max_length=4096)]
_Arguments = Annotated[tuple[_Argument, ...], Meta(max_length=1024)]


class Unavailable(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="unavailable", tag_field="status"
):
    """A value that could not be measured on this host, and the reason."""

    reason: LongText


class EncodeMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The FFmpeg process that encoded, and nothing else.

    `wall_s` is monotonic time around the process; `user_s`, `system_s` and `max_rss_kib` are
    from wait4 of that process. `frames` is FFmpeg's own count at the end. `fps` is
    frames / wall_s, `speed` source duration / wall_s, both over the whole life of the process.
    `first_frame_s` is the time from the start of the process to the first progress report that
    counts a frame.
    """

    wall_s: Amount
    user_s: Amount
    system_s: Amount
    max_rss_kib: Count
    frames: Count
    fps: Amount
    speed: Amount
    first_frame_s: Amount | Unavailable

    @property
    def cpu_s(self) -> float:
        """CPU time of the encode, user and system."""
        return self.user_s + self.system_s


class OutputMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ffprobe finds in the file that was written.

    `video_bitrate_kbps` is the sum of the sizes of the video packets over `duration_s` (the sum
    of the packets' durations), in units of 1,000 bit/s.
    """

    codec: Text
    width: Count
    height: Count
    pixel_format: Text
    frame_rate: Text
    frames: Count
    duration_s: Amount
    file_bytes: Count
    video_bytes: Count
    video_bitrate_kbps: Amount
    sha256: Sha256


class QualityMeasurement(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag="measured",
    tag_field="status",
):
    """VMAF of the output against its source, from a pass of its own after the encode.

    Every frame of the output is compared with the frame of the same number in the source;
    `pairs` is how many there were. Percentiles interpolate linearly between ranks.
    """

    vmaf_model: Text
    vmaf_mean: Amount
    vmaf_harmonic_mean: Amount
    vmaf_min: Amount
    vmaf_p1: Amount
    vmaf_p5: Amount
    pairs: Count


class FfmpegBuild(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One FFmpeg binary, named so that it can be told from every other."""

    version: Text
    sha256: Sha256


class Environment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The state of the host around the attempt.

    `load_before` is the 1-minute load average when the encode began; `steal_ratio` is the part
    of all CPU time during the encode that the hypervisor took away.
    """

    kernel: Text
    cpu_model: Text
    cpu_governor: Text | Unavailable
    cpu_frequency_mhz: Amount | Unavailable
    load_before: Amount
    steal_ratio: Amount
    memory_available_bytes: Count


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody needs in order to run the same encode by hand.

    `argv` is the exact argument list of the encode, its first item the binary. Paths of the
    source and the output are relative to the attempt's work folder.
    """

    argv: _Arguments
    ffmpeg: FfmpegBuild
    quality_ffmpeg: FfmpegBuild
    source_sha256: Sha256
    agent_version: Text


class Measurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that one attempt measured."""

    encode: EncodeMeasurement
    output: OutputMeasurement
    quality: QualityMeasurement | Unavailable
    environment: Environment
    provenance: Provenance
