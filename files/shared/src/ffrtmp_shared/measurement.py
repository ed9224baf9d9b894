"""Measurements of an attempt. Names contain the unit; unavailable values contain the reason."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from ffrtmp_shared.constrained_types import (
    Amount,
    Count,
    Currency,
    LongText,
    Name,
    Sha256,
    Text,
    Word,
)

_Argument = Annotated[str, Meta(max_length=4096)]
_Arguments = Annotated[tuple[_Argument, ...], Meta(max_length=1024)]


class Unavailable(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="unavailable", tag_field="status"
):
    """The reason why a value could not be measured on this host."""

    reason: LongText


_UNKNOWN = Unavailable(reason="this release of the agent did not measure it")


class SourceMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Format and complexity of the source.

    Spatial and temporal information of the luma follow ITU-T P.910 and come from FFmpeg's filter
    siti: `si_*` is the standard deviation of the edges of a picture, `ti_*` that of its difference
    from the previous picture. Both are given as mean and maximum over the first `characterised_s`
    seconds. P.910 itself defines the maximum.
    """

    codec: Text
    width: Count
    height: Count
    pixel_format: Text
    frame_rate: Text
    frames: Count
    duration_s: Amount
    characterised_s: Amount | Unavailable
    si_mean: Amount | Unavailable
    si_max: Amount | Unavailable
    ti_mean: Amount | Unavailable
    ti_max: Amount | Unavailable


class EncodeMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cost of the FFmpeg process that encoded, without any other process.

    `wall_s` is the monotonic time from start to end of the process. `user_s`, `system_s`,
    `max_rss_kib`, context switches and page faults come from wait4 of the process; a major fault
    is one that read from disk. `frames` is FFmpeg's final count. `fps` is frames / wall_s and
    `speed` is source duration / wall_s, both over the whole lifetime of the process.
    `first_frame_s` is the time from the start of the process to the first progress report that
    counts a frame. `fps_p1` and `fps_p5` are the 1st and 5th percentile of the frame rate in the
    intervals between progress reports, from the first frame on.
    """

    wall_s: Amount
    user_s: Amount
    system_s: Amount
    max_rss_kib: Count
    frames: Count
    fps: Amount
    speed: Amount
    first_frame_s: Amount | Unavailable
    voluntary_switches: Count | Unavailable = _UNKNOWN
    involuntary_switches: Count | Unavailable = _UNKNOWN
    minor_faults: Count | Unavailable = _UNKNOWN
    major_faults: Count | Unavailable = _UNKNOWN
    fps_p1: Amount | Unavailable = _UNKNOWN
    fps_p5: Amount | Unavailable = _UNKNOWN

    @property
    def cpu_s(self) -> float:
        """User and system CPU time of the encode."""
        return self.user_s + self.system_s


class OutputMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Properties of the output file as ffprobe reports them.

    `video_bitrate_kbps` is the total size of the video packets divided by `duration_s` (the sum
    of the packets' durations), in units of 1,000 bit/s. `peak_bitrate_kbps` is the maximum over
    all one-second windows that start at a frame. `bitrate_deviation_ratio` is the relative
    deviation of the bit rate from the requested one, negative if it is lower. `level` is the
    codec's own number, `gop_max_frames` the largest number of frames from one key frame to the
    next, and `reorder_frames` the number of frames that the decoder has to delay because of
    B-frames. `decoded_sha256` is the digest of all decoded pictures of the first video stream.
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
    peak_bitrate_kbps: Amount | Unavailable = _UNKNOWN
    bitrate_deviation_ratio: float | Unavailable = _UNKNOWN
    profile: Text | Unavailable = _UNKNOWN
    level: Count | Unavailable = _UNKNOWN
    key_frames: Count | Unavailable = _UNKNOWN
    gop_max_frames: Count | Unavailable = _UNKNOWN
    reorder_frames: Count | Unavailable = _UNKNOWN
    decoded_sha256: Sha256 | Unavailable = _UNKNOWN


class QualityMeasurement(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag="measured",
    tag_field="status",
):
    """Quality of the output compared with its source, from a separate pass after the encode.

    Every frame of the output is compared with the frame of the same number in the source;
    `pairs` is the number of compared frames. An output of another size is scaled to the size of
    the source. Percentiles are interpolated linearly between ranks. `vmaf_neg_mean` is from the
    variant of the model without enhancement gain (NEG), which is the one for comparing codecs.
    PSNR and SSIM are from libvmaf, as means over the frames; libvmaf limits the PSNR of equal
    pictures (to 60 dB for 8 bits). `ssim_ffmpeg_mean` is from FFmpeg's filter over all planes and
    differs from libvmaf's SSIM, which covers only the luma. XPSNR is from FFmpeg and covers the
    whole clip; it is not a mean over frames. `alignment_offset` is the shift of up to two frames
    at which the pictures match best. It is always 0, because the quality is unavailable otherwise.
    """

    vmaf_model: Text
    vmaf_mean: Amount
    vmaf_harmonic_mean: Amount
    vmaf_min: Amount
    vmaf_p1: Amount
    vmaf_p5: Amount
    pairs: Count
    vmaf_p10: Amount | Unavailable = _UNKNOWN
    vmaf_std: Amount | Unavailable = _UNKNOWN
    vmaf_neg_mean: Amount | Unavailable = _UNKNOWN
    psnr_y_mean_db: Amount | Unavailable = _UNKNOWN
    psnr_cb_mean_db: Amount | Unavailable = _UNKNOWN
    psnr_cr_mean_db: Amount | Unavailable = _UNKNOWN
    ssim_libvmaf_mean: Amount | Unavailable = _UNKNOWN
    ssim_ffmpeg_mean: Amount | Unavailable = _UNKNOWN
    xpsnr_y_db: Amount | Unavailable = _UNKNOWN
    xpsnr_cb_db: Amount | Unavailable = _UNKNOWN
    xpsnr_cr_db: Amount | Unavailable = _UNKNOWN
    alignment_offset: int | Unavailable = _UNKNOWN


class FfmpegBuild(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An FFmpeg binary, identified by its digest."""

    version: Text
    sha256: Sha256


class Environment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """State of the host before and during the encode.

    `load_before` is the 1-minute load average at the start of the encode, and `steal_ratio` the
    fraction of all CPU time during the encode that the hypervisor took away. `cpu_busy_s` is the
    CPU time of all processes of the host during the encode, including the encode, on `cpu_count`
    CPUs. `throttle_events` is the number of thermal throttling events of cores and packages, and
    `throttled_periods` the number of scheduler periods in which the slot had used up its quota.
    The pressures are the fractions of time in which at least one task of the host waited for CPU,
    memory or disk. Frequencies and temperatures are sampled once a second. `cpu_affinity` lists
    the CPUs that the encode was allowed to use, `numa_nodes` their NUMA nodes. `host_tuning` is
    `on` if the farm's tuning of the host was active during the whole encode.
    `source_cached_ratio` is the fraction of the source that was in the page cache at the start.
    """

    kernel: Text
    cpu_model: Text
    cpu_governor: Text | Unavailable
    cpu_frequency_mhz: Amount | Unavailable
    load_before: Amount
    steal_ratio: Amount
    memory_available_bytes: Count
    cpu_count: Count | Unavailable = _UNKNOWN
    cpu_busy_s: Amount | Unavailable = _UNKNOWN
    cpu_frequency_min_mhz: Amount | Unavailable = _UNKNOWN
    temperature_start_celsius: float | Unavailable = _UNKNOWN
    temperature_max_celsius: float | Unavailable = _UNKNOWN
    throttle_events: Count | Unavailable = _UNKNOWN
    throttled_periods: Count | Unavailable = _UNKNOWN
    cpu_pressure_ratio: Amount | Unavailable = _UNKNOWN
    memory_pressure_ratio: Amount | Unavailable = _UNKNOWN
    io_pressure_ratio: Amount | Unavailable = _UNKNOWN
    turbo: Text | Unavailable = _UNKNOWN
    smt: Text | Unavailable = _UNKNOWN
    cpu_affinity: Text | Unavailable = _UNKNOWN
    microcode: Text | Unavailable = _UNKNOWN
    numa_nodes: Text | Unavailable = _UNKNOWN
    host_tuning: Text | Unavailable = _UNKNOWN
    source_cached_ratio: Amount | Unavailable = _UNKNOWN


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Information for repeating the same encode manually.

    `argv` is the exact argument list of the encode, starting with the binary. `more_argv` contains
    those of the subsequent processes: a second pass, or further renditions. Paths of the source
    and the output are relative to the working directory of the attempt.
    """

    argv: _Arguments
    ffmpeg: FfmpegBuild
    quality_ffmpeg: FfmpegBuild
    source_sha256: Sha256
    agent_version: Text
    more_argv: Annotated[tuple[_Arguments, ...], Meta(max_length=16)] = ()


class EnergyMeasurement(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag="measured",
    tag_field="status",
):
    """Energy during the encode, from the counters of the hardware.

    `zones_j` contains the joules of each zone. Zones of processors (RAPL) are the packages and
    their DRAM; zones within a package and zones that contain packages are excluded. Zones of GPUs
    (NVML) are boards. `gross_j` is the sum of the zones over `duration_s`. `idle_w` is the power
    of the same zones in a window before the encode in which the agent ran no job, and `net_j` is
    gross_j - idle_w * duration_s.
    """

    zones_j: Annotated[dict[Text, Amount], Meta(max_length=64)]
    gross_j: Amount
    duration_s: Amount
    idle_w: Amount | Unavailable
    net_j: float | Unavailable


class VerdictState(StrEnum):
    """Usability of the figures of a result."""

    VALID = "valid"
    DEGRADED = "degraded"
    INVALID = "invalid"


class VerdictReason(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reason for a verdict other than valid: a documented code and the relevant figures."""

    code: Word
    detail: Text


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Assessment of whether the figures of a result can be relied on.

    `degraded` figures come from a disturbed host and are marked as such. `invalid` figures are
    excluded from medians.
    """

    state: VerdictState
    reasons: Annotated[tuple[VerdictReason, ...], Meta(max_length=64)] = ()


class RenditionMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One output of a ladder. `encode` is null if one process made all renditions."""

    name: Name
    encode: EncodeMeasurement | None
    output: OutputMeasurement
    quality: QualityMeasurement | Unavailable


class DensityStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step of a density search: `streams` simultaneous streams for `window_s`.

    `held` indicates whether all streams kept up with real time. `slowest_speed` is the speed of
    the slowest stream in multiples of real time, without its startup; `lag_max_s` is the largest
    lag of a stream. `cpu_busy_ratio` is the busy fraction of the CPUs that the slot may use,
    `power_w` the power of the host's packages and their memory, `gpu_power_w` that of all its
    NVIDIA GPUs. `limit` names the exhausted resource and is empty if the streams held.
    """

    streams: Count
    window_s: Amount
    held: bool
    slowest_speed: Amount | Unavailable
    lag_max_s: float | Unavailable
    cpu_busy_ratio: Amount
    power_w: Amount | Unavailable
    limit: Text
    gpu_power_w: Amount | Unavailable = _UNKNOWN


class StreamCost(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag="computed",
    tag_field="status",
):
    """Cost per hour of one of the streams that a node holds, in `currency` (ISO 4217).

    `host_per_hour` and `energy_per_kwh` are the prices that the operator configured; without the
    latter, the former includes energy. `energy_per_stream_hour` is watts_per_stream / 1000 *
    energy_per_kwh. `per_stream_hour` is that amount plus host_per_hour / streams.
    """

    currency: Currency
    host_per_hour: Amount
    energy_per_kwh: Amount | Unavailable
    energy_per_stream_hour: Amount | Unavailable
    per_stream_hour: Amount


class DensityMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The number of streams that the node holds in real time.

    `streams` is the number that held in a window of `verify_s`; 0 if not even one did. `steps`
    contains all steps of the search in their order. `limit` names the resource that is exhausted
    with more streams; it is empty if the search reached its configured maximum. `power_w` and
    `gpu_power_w` are from the verified window. `watts_per_stream` is their sum divided by
    `streams`, without `gpu_power_w` on hosts that have no NVIDIA GPU.
    """

    streams: Count
    limit: Text
    steps: Annotated[tuple[DensityStep, ...], Meta(max_length=256)]
    power_w: Amount | Unavailable
    watts_per_stream: Amount | Unavailable
    gpu_power_w: Amount | Unavailable = _UNKNOWN
    cost: StreamCost | Unavailable = _UNKNOWN


class LiveMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Timing of a stream to the RTMP server, encoded from a feeder that plays the source.

    A picture is due at its time in the source, counted from the start of the feeder. `lag_*_s` is
    the time from when the nth picture is due until the encoder has written n pictures, sampled
    four times a second. `end_to_end_*_s` is the time from when a picture is due until a player on
    this node receives its packet from the server, for every packet. Both include the lookahead of
    the encoder but not the reordering of B-frames, and exclude the first second.
    `below_real_time_s` is the time during which the lag grew, `stalls` the number of times that
    the encoder wrote no picture for more than a second, and `reconnects` the number of times that
    the connection to the server was established again. `frames_lost` is the number of encoded
    frames that the player missed after its first. The bit rates cover whole seconds at the player,
    in units of 1,000 bit/s; `bitrate_cv` is their standard deviation divided by their mean.
    `helpers_cpu_s` is the CPU time of feeder and player.

    The `server_*` fields come from the statistics of the RTMP server, polled once a second until
    shortly before the end: received bytes of audio and video, their mean bit rate from the first
    poll with data to the last, messages that were not sent to a player, and publishing
    connections, which are one more than the reconnects that the server observed.
    """

    duration_s: Amount
    lag_p50_s: float
    lag_p95_s: float
    lag_p99_s: float
    lag_max_s: float
    below_real_time_s: Amount
    stalls: Count
    reconnects: Count
    frames_lost: Count
    end_to_end_p50_s: float
    end_to_end_p95_s: float
    end_to_end_p99_s: float
    end_to_end_max_s: float
    bitrate_mean_kbps: Amount
    bitrate_max_kbps: Amount
    bitrate_cv: Amount
    helpers_cpu_s: Amount
    server_bytes_in: Count | Unavailable = _UNKNOWN
    server_bitrate_mean_kbps: Amount | Unavailable = _UNKNOWN
    server_dropped: Count | Unavailable = _UNKNOWN
    server_publishers: Count | Unavailable = _UNKNOWN


class Measurement(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """All measurements of one attempt.

    `encode` covers the measured work: the encode of a `transcode`, the decode of a `decode`, all
    processes of a `ladder`. For a `density`, it covers all streams of the verified window: the
    sums of their CPU time and frames, and the maximum of their memory. For a `live`, it covers
    the encoder without feeder and player. `output` is null for kinds without a single output
    file; the outputs of a `ladder` are in `renditions`. `energy` is that of all processors of the
    host, `gpu_energy` that of all its NVIDIA GPUs.
    """

    encode: EncodeMeasurement
    output: OutputMeasurement | None
    quality: QualityMeasurement | Unavailable
    environment: Environment
    provenance: Provenance
    energy: EnergyMeasurement | Unavailable = _UNKNOWN
    gpu_energy: EnergyMeasurement | Unavailable = _UNKNOWN
    verdict: Verdict | None = None
    renditions: Annotated[tuple[RenditionMeasurement, ...], Meta(max_length=16)] = ()
    density: DensityMeasurement | None = None
    live: LiveMeasurement | None = None
    source: SourceMeasurement | None = None
