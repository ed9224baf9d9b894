"""What an attempt measured. Units stand in the names; what could not be had says why."""

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
    """A value that could not be measured on this host, and the reason."""

    reason: LongText


_UNKNOWN = Unavailable(reason="this release of the agent did not measure it")


class SourceMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the source is, and how much there is to encode in it.

    Spatial and temporal information are those of ITU-T P.910, of the luma by FFmpeg's filter siti:
    `si_*` the standard deviation of a picture's edges, `ti_*` that of its difference from the one
    before; each the mean and the greatest over the first `characterised_s` seconds. P.910 itself
    takes the greatest.
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
    """The FFmpeg process that encoded, and nothing else.

    `wall_s` is monotonic time around the process; `user_s`, `system_s` and `max_rss_kib` are
    from wait4 of that process. `frames` is FFmpeg's own count at the end. `fps` is
    frames / wall_s, `speed` source duration / wall_s, both over the whole life of the process.
    `first_frame_s` is the time from the start of the process to the first progress report that
    counts a frame. `fps_p1` and `fps_p5` are the rates that 1 % and 5 % of the intervals between
    two reports of progress fall below, from the first frame on. Context switches and page faults
    are from wait4 too; a major fault waited for the disk.
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
        """CPU time of the encode, user and system."""
        return self.user_s + self.system_s


class OutputMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ffprobe finds in the file that was written.

    `video_bitrate_kbps` is the sum of the sizes of the video packets over `duration_s` (the sum
    of the packets' durations), in units of 1,000 bit/s; `peak_bitrate_kbps` is the most in any
    second that begins with a frame. `bitrate_deviation_ratio` is by how much the bit rate is above
    (or, negative, below) the one that was asked for, as a part of that. `level` is the codec's own
    number, `gop_max_frames` the most frames from one key frame to the next, and `reorder_frames`
    how many frames the decoder has to hold back because of B-frames. `decoded_sha256` is of the
    pictures of the first video stream, decoded one after the other.
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
    """VMAF of the output against its source, from a pass of its own after the encode.

    Every frame of the output is compared with the frame of the same number in the source;
    `pairs` is how many there were. An output of another size is scaled to the source's.
    Percentiles interpolate linearly between ranks. `vmaf_neg_mean` is of the model's variant
    that gives nothing for enhancement, which is what codecs are compared by. PSNR and SSIM are
    libvmaf's, means over the frames; libvmaf caps the PSNR of equal pictures (60 dB for 8 bits).
    `ssim_ffmpeg_mean` is that of FFmpeg's filter over all planes, which is another number than
    libvmaf's of the luma. XPSNR is FFmpeg's, over the whole clip and not a mean of its frames'.
    `alignment_offset` is the shift, of those by up to two frames, at which the pictures match
    best: 0, or there would be no quality.
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
    """One FFmpeg binary, named so that it can be told from every other."""

    version: Text
    sha256: Sha256


class Environment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The state of the host around the attempt.

    `load_before` is the 1-minute load average when the encode began; `steal_ratio` is the part
    of all CPU time during the encode that the hypervisor took away. `cpu_busy_s` is the CPU time
    of everything on the host during the encode, its own included, on `cpu_count` CPUs.
    `throttle_events` counts how often cores and packages slowed down for heat, and
    `throttled_periods` in how many of the scheduler's periods the slot had used up its quota.
    The pressures are the parts of the time in which some task of the host waited for the CPU,
    for memory or for its disks. Frequencies and temperatures were looked at once a second.
    `cpu_affinity` has the CPUs that the encode might use, `numa_nodes` the NUMA nodes that they
    are on. `host_tuning` is `on` where the farm's tuning of the host held for the whole encode.
    `source_cached_ratio` is the part of the source that needed no disk when the encode began.
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
    """What somebody needs in order to run the same encode by hand.

    `argv` is the exact argument list of the encode, its first item the binary. `more_argv` has
    those of the processes that followed it: a second pass, or further renditions. Paths of the
    source and the output are relative to the attempt's work folder.
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
    """Energy from the hardware's own counters while the encode ran.

    `zones_j` has joules by zone. Of processors (RAPL) these are packages, and the DRAM beside them;
    zones that are part of a package or that hold packages are not among them. Of GPUs (NVML) it
    is a board each. `gross_j` is their sum over `duration_s`.
    `idle_w` is the power of the same zones in a window before the encode in which nothing of
    ours ran, and `net_j` is gross_j - idle_w * duration_s.
    """

    zones_j: Annotated[dict[Text, Amount], Meta(max_length=64)]
    gross_j: Amount
    duration_s: Amount
    idle_w: Amount | Unavailable
    net_j: float | Unavailable


class VerdictState(StrEnum):
    """What the numbers of a result are worth."""

    VALID = "valid"
    DEGRADED = "degraded"
    INVALID = "invalid"


class VerdictReason(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a result is not simply valid: a code that the documentation explains, and figures."""

    code: Word
    detail: Text


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether an engineer would sign the numbers.

    `degraded` numbers were disturbed and are shown as such; `invalid` ones enter no mean.
    """

    state: VerdictState
    reasons: Annotated[tuple[VerdictReason, ...], Meta(max_length=64)] = ()


class RenditionMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One output of a ladder. `encode` is its own process where it had one."""

    name: Name
    encode: EncodeMeasurement | None
    output: OutputMeasurement
    quality: QualityMeasurement | Unavailable


class DensityStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """So many streams at once for `window_s`: whether all of them held real time.

    `slowest_speed` is the speed of the slowest stream in multiples of real time, without what it
    needed to start; `lag_max_s` is by how much a stream fell back at most. `cpu_busy_ratio` is
    the busy part of the CPUs that the slot may use, `power_w` the power of the host's packages
    and their memory, `gpu_power_w` that of its NVIDIA GPUs, all of them. `limit` says what ran
    out, and is empty where the streams held.
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
    """What one of the streams that a node holds costs for an hour, in `currency` (ISO 4217).

    `host_per_hour` and `energy_per_kwh` are the prices that the operator gave; without the second
    the first has the energy in it. `energy_per_stream_hour` is watts_per_stream / 1000 *
    energy_per_kwh, and `per_stream_hour` that and host_per_hour / streams.
    """

    currency: Currency
    host_per_hour: Amount
    energy_per_kwh: Amount | Unavailable
    energy_per_stream_hour: Amount | Unavailable
    per_stream_hour: Amount


class DensityMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many streams the node holds in real time.

    `streams` held through a window of `verify_s`; it is 0 where not even one did. `steps` is the
    whole search in its order. `limit` says what ran out with more streams, and is empty where
    the search ended at the most that it was to try. `power_w` and `gpu_power_w` are from the
    verified window, and `watts_per_stream` is their sum over `streams`, without the second on
    hosts that have no NVIDIA GPU.
    """

    streams: Count
    limit: Text
    steps: Annotated[tuple[DensityStep, ...], Meta(max_length=256)]
    power_w: Amount | Unavailable
    watts_per_stream: Amount | Unavailable
    gpu_power_w: Amount | Unavailable = _UNKNOWN
    cost: StreamCost | Unavailable = _UNKNOWN


class LiveMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a stream to the RTMP server kept up with the clock, from a feeder that plays the source.

    A picture is due when the feeder has it by its own clock. `lag_*_s` is from when the nth was
    due until the encoder had written the nth, four times a second, `end_to_end_*_s` until a
    player on this node had it from the server, for every packet; an encoder that looks ahead is
    late by that much, and the order of B-frames is not waited for. The first second is in neither.
    `below_real_time_s` is how long the stream fell back, `stalls` how often nothing new was
    written for more than a second, `reconnects` how often the connection to the server had to
    be made again. `frames_lost` were encoded and did not reach the player after its first.
    The bit rate is of whole seconds at the player, in units of 1,000 bit/s; `bitrate_cv` is its
    standard deviation over its mean. `helpers_cpu_s` is the CPU time of feeder and player.
    What begins with `server` the RTMP server counted, asked once a second until shortly before the
    end: bytes of audio and video that came in, their mean bit rate from the first look that saw
    any to the last, messages that it did not send to a player, and the connections that published,
    which are one more than the reconnects that it saw.
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
    """All that one attempt measured.

    `encode` is the process whose cost is the question: the encode of a `transcode`, the decode
    of a `decode`, the whole of a `ladder`. `output` is null for kinds that keep no single file;
    a `ladder` has its outputs in `renditions`. A `density` has all streams of the verified
    window together in `encode`: sums of their CPU time and frames, the greatest of their memory.
    `energy` is that of the processors, `gpu_energy` that of NVIDIA's GPUs, all that the host has.
    A `live` has its encoder there, without the processes that feed it and play its stream.
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
