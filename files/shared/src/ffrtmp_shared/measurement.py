"""Measurements of an attempt.

The name of a field contains the unit of the value. If a value is unavailable, it states why.
"""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from ffrtmp_shared.constrained_types import (
    Amount,
    Count,
    Currency,
    FileName,
    LongText,
    Moment,
    Name,
    Real,
    Sha256,
    Text,
    Word,
)

_Argument = Annotated[str, Meta(max_length=4096)]
_Arguments = Annotated[tuple[_Argument, ...], Meta(max_length=1024)]


class Cause(StrEnum):
    """The causes of unavailable values that affect the verdict."""

    PAIRING = "pairing"
    """Frames of the output could not be assigned to frames of the source."""


class Unavailable(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag="unavailable",
    tag_field="status",
):
    """The reason why a value could not be measured on this host, and its cause if it matters."""

    reason: LongText
    cause: Cause | None = None


NODE_EXCLUSIVE = "exclusive"
"""The use of a node by a job, while no other job can run on it."""

NODE_SHARED = "shared"
"""The use of a node by a job, while other jobs can run on it."""

_UNKNOWN = Unavailable(reason="this release of the agent did not measure it")


class SourceMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Format and complexity of the source.

    `si_*` and `ti_*` are the spatial and temporal information of the luma according to ITU-T P.910,
    computed by FFmpeg's filter siti. The spatial information is the standard deviation of the edges
    of a picture. The temporal information is the standard deviation of the difference between a
    picture and the previous one. Both are given as mean and maximum over the first
    `characterised_s` seconds. P.910 itself defines only the maximum.
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
    """Cost of the FFmpeg process that encoded. No other process is included.

    `wall_s` is the time from the start to the end of the process, according to the monotonic clock.
    `user_s`, `system_s`, `max_rss_kib` and the numbers of context switches and page faults are
    those that wait4 returned for the process. A major page fault is one that read from disk.

    `frames` is FFmpeg's final count. `fps` is frames / wall_s, and `speed` is source duration /
    wall_s; both refer to the whole lifetime of the process. `first_frame_s` is the time from the
    start of the process to the first progress report that counts a frame. `fps_p1` and `fps_p5` are
    the 1st and 5th percentiles of the frame rate in the intervals between progress reports,
    beginning with the first frame.
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
        """The sum of the user and system CPU time of the encode."""
        return self.user_s + self.system_s


class OutputMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Properties of the output file as reported by ffprobe.

    `video_bitrate_kbps` is the total size of the video packets divided by `duration_s` (the sum
    of the packets' durations), in units of 1,000 bit/s. `peak_bitrate_kbps` is the maximum bit rate
    in any one-second window that starts at a frame. `bitrate_deviation_ratio` is the relative
    deviation of the bit rate from the requested one; it is negative if the bit rate is lower.
    `level` is the number by which the codec identifies the level. `gop_max_frames` is the largest
    number of frames from one key frame to the next. `reorder_frames` is the number of frames by
    which the decoder has to delay the output because of B-frames. `decoded_sha256` is the digest of
    all decoded pictures of the first video stream.
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
    bitrate_deviation_ratio: Real | Unavailable = _UNKNOWN
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
    """Quality of the output compared with its source, measured in a separate pass after the encode.

    Every frame of the output is compared with the frame of the same number in the source. `pairs`
    is the number of compared frames. If the output has a different size, it is first scaled to the
    size of the source. Percentiles are interpolated linearly between ranks. For a `live`, the
    output consists of the frames that the player received; see `ReceivedMeasurement`.

    `vmaf_neg_mean` is computed with the variant of the model without enhancement gain (NEG), which
    is intended for comparing codecs. PSNR and `ssim_libvmaf_mean` are computed by libvmaf and are
    means over the frames. libvmaf limits the PSNR of identical pictures (to 60 dB for 8 bits).
    `ssim_ffmpeg_mean` is computed by FFmpeg's filter over all planes and differs from libvmaf's
    SSIM, which covers only the luma. XPSNR is computed by FFmpeg for the whole clip; it is not a
    mean over frames. Scores in dB and SSIM may be negative. `alignment_offset` is the shift of up
    to two frames at which the pictures match best. It is always 0 here, because the quality is
    otherwise unavailable.
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
    psnr_y_mean_db: Real | Unavailable = _UNKNOWN
    psnr_cb_mean_db: Real | Unavailable = _UNKNOWN
    psnr_cr_mean_db: Real | Unavailable = _UNKNOWN
    ssim_libvmaf_mean: Real | Unavailable = _UNKNOWN
    ssim_ffmpeg_mean: Real | Unavailable = _UNKNOWN
    xpsnr_y_db: Real | Unavailable = _UNKNOWN
    xpsnr_cb_db: Real | Unavailable = _UNKNOWN
    xpsnr_cr_db: Real | Unavailable = _UNKNOWN
    alignment_offset: Annotated[int, Meta(ge=-(2**31), le=2**31)] | Unavailable = _UNKNOWN


class FfmpegBuild(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An FFmpeg binary, identified by its digest."""

    version: Text
    sha256: Sha256


class SlotEnvironment(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag="measured",
    tag_field="status",
):
    """State of the CPUs that the slot may use, and of the slot's own tasks, during the encode.

    `cpus` is the number of CPUs that were online and on which the slot may run. `quota_cpus` is the
    CPU time that the slot may use per second. `busy_s` is the CPU time of all processes on these
    CPUs in `duration_s` seconds, including the encode itself.

    `steal_ratio` is the time that the hypervisor took from these CPUs, divided by the time in which
    they had work. If the quota is lower than the latter, it is divided by the quota. The pressure
    ratios are the fractions of time in which at least one task of the slot waited for CPU, memory
    or disk.
    """

    cpus: Count
    quota_cpus: Amount | Unavailable
    duration_s: Amount
    busy_s: Amount
    steal_ratio: Amount
    cpu_pressure_ratio: Amount | Unavailable
    memory_pressure_ratio: Amount | Unavailable
    io_pressure_ratio: Amount | Unavailable

    @property
    def entitled_s(self) -> float:
        """The CPU time that the slot may use in `duration_s` seconds."""
        if isinstance(self.quota_cpus, Unavailable):
            return self.cpus * self.duration_s
        return min(self.cpus, self.quota_cpus) * self.duration_s


class Environment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """State of the host before and during the encode.

    `load_before` is the 1-minute load average at the start of the encode. `steal_ratio` is the
    fraction of all CPU time during the encode that the hypervisor used for other purposes.
    `cpu_busy_s` is the CPU time of all processes of the host during the encode, including the
    encode itself, on all `cpu_count` CPUs. `throttle_events` is the number of thermal throttling
    events of the slot's cores and packages. `throttled_periods` is the number of scheduler periods
    in which the slot had used up its CPU quota.

    The pressure ratios are the fractions of time in which at least one task of the host waited for
    CPU, memory or disk. Frequencies and temperatures are sampled once a second. `cpu_affinity`
    lists the CPUs that the encode was allowed to use, and `numa_nodes` lists the NUMA nodes of
    these CPUs. `host_tuning` is `on` if the farm's tuning of the host was active during the whole
    encode. `source_cached_ratio` is the fraction of the source that was in the page cache at the
    start. `slot` describes only the part of the host that the encode was allowed to use.
    `node_use` is `exclusive` if no other job could run on the node at the same time, and otherwise
    `shared`. `measured_at` is the time of the start, according to the clock of the host.
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
    temperature_start_celsius: Real | Unavailable = _UNKNOWN
    temperature_max_celsius: Real | Unavailable = _UNKNOWN
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
    slot: SlotEnvironment | Unavailable = _UNKNOWN
    measured_at: Moment | Unavailable = _UNKNOWN
    node_use: Text | Unavailable = _UNKNOWN


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


class EnergyMeasurement(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag="measured",
    tag_field="status",
):
    """Energy that the hardware used during the encode, according to its counters.

    `zones_j` contains the energy of each zone in joules. For processors (RAPL), the zones are the
    packages and their DRAM; zones within a package and zones that contain packages are excluded.
    For GPUs (NVML), the zones are boards. `gross_j` is the sum of the zones over `duration_s`
    seconds. `idle_w` is the power of the same zones in a window before the encode in which the
    agent ran no job. `net_j` is gross_j - idle_w * duration_s.
    """

    zones_j: Annotated[dict[Text, Amount], Meta(max_length=64)]
    gross_j: Amount
    duration_s: Amount
    idle_w: Amount | Unavailable
    net_j: Real | Unavailable


class VerdictState(StrEnum):
    """The extent to which the figures of a result can be relied on."""

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
    """One output of a ladder. `encode` is null if one process encoded all renditions."""

    name: Name
    encode: EncodeMeasurement | None
    output: OutputMeasurement
    quality: QualityMeasurement | Unavailable


class DensityStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step of a density search, in which `streams` streams ran together for `window_s` seconds.

    `held` indicates whether all streams kept up with real time. `slowest_speed` is the speed of
    the slowest stream in multiples of real time, without its startup. `lag_max_s` is the largest
    lag of any stream. `cpu_busy_ratio` is the fraction of time in which the CPUs that the slot may
    use were busy. `power_w` is the power of the host's processor packages and their memory, and
    `gpu_power_w` is the power of all its NVIDIA GPUs. `limit` names the exhausted resource. It is
    empty if all streams kept up.
    """

    streams: Count
    window_s: Amount
    held: bool
    slowest_speed: Amount | Unavailable
    lag_max_s: Real | Unavailable
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
    """Cost per hour of each stream that a node can encode in real time, in `currency` (ISO 4217).

    `host_per_hour` and `energy_per_kwh` are the prices that the operator configured. If
    `energy_per_kwh` is unavailable, `host_per_hour` includes the price of energy.
    `energy_per_stream_hour` is watts_per_stream / 1000 * energy_per_kwh. `per_stream_hour` is
    energy_per_stream_hour + host_per_hour / streams.
    """

    currency: Currency
    host_per_hour: Amount
    energy_per_kwh: Amount | Unavailable
    energy_per_stream_hour: Amount | Unavailable
    per_stream_hour: Amount


class DensityMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The number of streams that the node can encode in real time.

    `streams` is the number of streams that kept up with real time in a window of `verify_s`
    seconds; it is 0 if not even one stream did. `steps` contains all steps of the search in their
    order. `limit` names the resource that would be exhausted by more streams; it is empty if the
    search reached its configured maximum. `power_w` and `gpu_power_w` were measured in the verified
    window. `watts_per_stream` is their sum divided by `streams`. On hosts without an NVIDIA GPU,
    the sum is `power_w` alone.
    """

    streams: Count
    limit: Text
    steps: Annotated[tuple[DensityStep, ...], Meta(max_length=256)]
    power_w: Amount | Unavailable
    watts_per_stream: Amount | Unavailable
    gpu_power_w: Amount | Unavailable = _UNKNOWN
    cost: StreamCost | Unavailable = _UNKNOWN


class LiveMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Timing of a live stream to the RTMP server. A feeder plays the source to the encoder.

    A picture is due at its time in the source, counted from the start of the feeder. `lag_*_s` is
    the time from when the nth picture is due until the encoder has written n pictures; it is
    sampled four times a second. `end_to_end_*_s` is the time from when a picture is due until a
    player on this node receives its packet from the server; it is measured for every packet. Both
    times include the lookahead of the encoder but not the reordering of B-frames. The first second
    is excluded.

    If the player received nothing for long, `end_to_end_*_s` is unavailable, because it would
    describe only the time before. `silence_max_s` is the longest time without a packet at the
    player, and `silence_end_s` is the time from its last packet to the end of the stream.

    `below_real_time_s` is the time during which the lag grew. `stalls` is the number of times that
    the encoder wrote no picture for more than a second. `reconnects` is the number of times that
    the connection to the server was established again. `frames_lost` is the number of encoded
    frames that the player did not receive, counted from the first frame that it received to the
    last one that the encoder wrote early enough to arrive before the end. The bit
    rates are measured at the player for each whole second, in units of 1,000 bit/s. `bitrate_cv` is
    their standard deviation divided by their mean. `helpers_cpu_s` is the CPU time of the feeder
    and the player.

    `startup_s` is the time from the start of the encoder until the player received the first frame.

    The `server_*` fields are taken from the statistics of the RTMP server, which are polled once a
    second until shortly before the end. `server_bytes_in` is the number of received bytes of audio
    and video. `server_bitrate_mean_kbps` is their mean bit rate from the first poll with data to
    the last. `server_dropped` is the number of messages that were not sent to a player.
    `server_publishers` is the number of publishing connections, which is one more than the number
    of reconnects that the server observed.
    """

    duration_s: Amount
    lag_p50_s: Real
    lag_p95_s: Real
    lag_p99_s: Real
    lag_max_s: Real
    below_real_time_s: Amount
    stalls: Count
    reconnects: Count
    frames_lost: Count
    end_to_end_p50_s: Real | Unavailable
    end_to_end_p95_s: Real | Unavailable
    end_to_end_p99_s: Real | Unavailable
    end_to_end_max_s: Real | Unavailable
    bitrate_mean_kbps: Amount
    bitrate_max_kbps: Amount
    bitrate_cv: Amount
    helpers_cpu_s: Amount
    server_bytes_in: Count | Unavailable = _UNKNOWN
    server_bitrate_mean_kbps: Amount | Unavailable = _UNKNOWN
    server_dropped: Count | Unavailable = _UNKNOWN
    server_publishers: Count | Unavailable = _UNKNOWN
    silence_max_s: Amount | Unavailable = _UNKNOWN
    silence_end_s: Amount | Unavailable = _UNKNOWN
    startup_s: Amount | Unavailable = _UNKNOWN


MAX_CHUNKS = 3601
"""Maximum number of chunks of a stream: four hours of four seconds, and one incomplete chunk."""


class ReceivedChunk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a received stream.

    `frames` is the number of frames of the encoder in this part, `duration_s` is their duration,
    and `pairs` is the number of those that were received and compared. `stall_s` is the time for
    which a viewer saw a still picture in this part. The scores are means over the compared frames.
    They are unavailable if no frame was received.
    """

    duration_s: Amount
    frames: Count
    pairs: Count
    stall_s: Amount
    vmaf_mean: Amount | Unavailable
    vmaf_neg_mean: Amount | Unavailable
    psnr_y_mean_db: Real | Unavailable
    ssim_libvmaf_mean: Real | Unavailable


class ReceivedMeasurement(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag="measured",
    tag_field="status",
):
    """Quality of the stream that the player received, in parts of `chunk_s` seconds.

    Each received frame is compared with the frame that the encoder read at the same position of the
    stream. The position follows from the time stamp. Lost frames are counted but not compared. The
    quality of all received frames together is in `Measurement.quality`.

    The parts start at the first frame that the player received. The last part may be shorter.
    `frames` is the number of frames from the first to the last received one, `pairs` is the number
    of compared frames, and `frames_lost` is the difference. `frames_lost_at_start` is the number of
    frames before the first received one. `file_bytes` is the size of the stored stream.

    `stall_s` is the time for which a viewer saw a still picture because frames were lost or late.
    The viewer's player shows the first frame `buffer_s` seconds after it has received it. It waits
    for late frames, which delays all later frames, and skips lost frames. `LiveMeasurement`
    contains the start-up time.
    """

    chunk_s: Amount
    buffer_s: Amount
    frames: Count
    pairs: Count
    frames_lost: Count
    frames_lost_at_start: Count
    stall_s: Amount
    file_bytes: Count
    chunks: Annotated[tuple[ReceivedChunk, ...], Meta(min_length=1, max_length=MAX_CHUNKS)]


MAX_RATE_PROBES = 16
"""Maximum number of probes in a result; agents of later releases may use more than now."""


class RateProbe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One probe of a search: a complete encode of the source with this setting, and its output.

    `video_bitrate_kbps` has the same meaning as in `OutputMeasurement`, and `vmaf_mean` as in
    `QualityMeasurement`.
    """

    setting: Amount
    vmaf_mean: Amount
    video_bitrate_kbps: Amount


class RateSearch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The search for the setting with which an encode reaches the requested VMAF.

    `setting` is the value of `control`, which is `crf` or `cq`, that the measured encode used. It
    is that of the probe whose VMAF deviates from `vmaf_target` by at most `vmaf_tolerance`. If no
    probe does, the setting follows from all probes, and the measured encode has such a VMAF.
    `probes` lists all probes in their order. They took `duration_s` seconds before the measurement
    and are included neither in its times nor in its energy. If `is_cached` is true, an earlier job
    on this node made the probes, with the same source, encoder settings and FFmpeg.
    """

    vmaf_target: Amount
    vmaf_tolerance: Amount
    control: Word
    setting: Amount
    probes: Annotated[tuple[RateProbe, ...], Meta(min_length=1, max_length=MAX_RATE_PROBES)]
    duration_s: Amount
    is_cached: bool = False

    @property
    def is_confirmed(self) -> bool:
        """Return whether a probe had the setting that was found."""
        return any(probe.setting == self.setting for probe in self.probes)

    def is_reached(self, vmaf_mean: float) -> bool:
        """Return whether a VMAF is within the tolerance."""
        return abs(vmaf_mean - self.vmaf_target) <= self.vmaf_tolerance


class OmittedArtifact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of the attempt that is not among the artifacts of the result, and the reason."""

    name: FileName
    size_bytes: Count
    reason: Text


class Measurement(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """All measurements of one attempt.

    `encode` covers the work that is measured. For a `transcode`, this is the encode; for a
    `decode`, the decode; and for a `ladder`, all processes. For a `density`, `encode` contains the
    sums of the CPU times and frames of all streams in the verified window, and the maximum of their
    memory. For a `live`, it covers the encoder, but not the feeder and the player.

    `output` is null for kinds that do not have exactly one output file. The outputs of a `ladder`
    are in `renditions`. `energy` is the energy of all processors of the host, and `gpu_energy` is
    the energy of all its NVIDIA GPUs. `received` is null unless the suite requests that the stream
    of a `live` is measured as the player received it. `rate_search` is null unless the rate point
    requests a VMAF. `omitted_artifacts` names the files that could not be stored with the result.
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
    received: ReceivedMeasurement | Unavailable | None = None
    source: SourceMeasurement | None = None
    rate_search: RateSearch | None = None
    omitted_artifacts: Annotated[tuple[OmittedArtifact, ...], Meta(max_length=256)] = ()
