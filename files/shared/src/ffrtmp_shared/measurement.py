"""What an attempt measured. Units stand in the names; what could not be had says why."""

import msgspec


class Unavailable(msgspec.Struct, frozen=True, tag="unavailable", tag_field="status"):
    """A value that could not be measured on this host, and the reason."""

    reason: str


class EncodeMeasurement(msgspec.Struct, frozen=True, kw_only=True):
    """The FFmpeg process that encoded, and nothing else.

    `wall_s` is monotonic time around the process; `user_s`, `system_s` and `max_rss_kib` are
    from wait4 of that process. `frames` is FFmpeg's own count at the end. `fps` is
    frames / wall_s, `speed` source duration / wall_s, both over the whole life of the process.
    `first_frame_s` is the time from the start of the process to the first progress report that
    counts a frame.
    """

    wall_s: float
    user_s: float
    system_s: float
    max_rss_kib: int
    frames: int
    fps: float
    speed: float
    first_frame_s: float | Unavailable

    @property
    def cpu_s(self) -> float:
        """CPU time of the encode, user and system."""
        return self.user_s + self.system_s


class OutputMeasurement(msgspec.Struct, frozen=True, kw_only=True):
    """What ffprobe finds in the file that was written.

    `video_bitrate_kbps` is the sum of the sizes of the video packets over `duration_s` (the sum
    of the packets' durations), in units of 1,000 bit/s.
    """

    codec: str
    width: int
    height: int
    pixel_format: str
    frame_rate: str
    frames: int
    duration_s: float
    file_bytes: int
    video_bytes: int
    video_bitrate_kbps: float
    sha256: str


class QualityMeasurement(
    msgspec.Struct, frozen=True, kw_only=True, tag="measured", tag_field="status"
):
    """VMAF of the output against its source, from a pass of its own after the encode.

    Every frame of the output is compared with the frame of the same number in the source;
    `pairs` is how many there were. Percentiles interpolate linearly between ranks.
    """

    vmaf_model: str
    vmaf_mean: float
    vmaf_harmonic_mean: float
    vmaf_min: float
    vmaf_p1: float
    vmaf_p5: float
    pairs: int


class FfmpegBuild(msgspec.Struct, frozen=True, kw_only=True):
    """One FFmpeg binary, named so that it can be told from every other."""

    version: str
    sha256: str


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the host around the attempt.

    `load_before` is the 1-minute load average when the encode began; `steal_ratio` is the part
    of all CPU time during the encode that the hypervisor took away.
    """

    kernel: str
    cpu_model: str
    cpu_governor: str | Unavailable
    cpu_frequency_mhz: float | Unavailable
    load_before: float
    steal_ratio: float
    memory_available_bytes: int


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody needs in order to run the same encode by hand.

    `argv` is the exact argument list of the encode, its first item the binary. Paths of the
    source and the output are relative to the attempt's work folder.
    """

    argv: tuple[str, ...]
    ffmpeg: FfmpegBuild
    quality_ffmpeg: FfmpegBuild
    source_sha256: str
    agent_version: str


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """All that one attempt measured."""

    encode: EncodeMeasurement
    output: OutputMeasurement
    quality: QualityMeasurement | Unavailable
    environment: Environment
    provenance: Provenance
