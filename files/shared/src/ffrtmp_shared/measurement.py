"""Measurements of an attempt.

The name of a field contains the unit of the value. If a value is unavailable, it states why.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from ffrtmp_shared.constrained_types import Amount, Count, FileName, Name, Real, Sha256, Text
from ffrtmp_shared.density_measurement import DensityMeasurement
from ffrtmp_shared.host_environment import Environment
from ffrtmp_shared.live_measurement import LiveMeasurement, ReceivedMeasurement
from ffrtmp_shared.provenance import Provenance
from ffrtmp_shared.rate_search import RateSearch
from ffrtmp_shared.unavailable import UNKNOWN, Unavailable
from ffrtmp_shared.verdict import Verdict

MAX_HEADER_FAULTS = 8
"""Maximum number of values in the header of a source that are reported as wrong."""


class SourceMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Format and complexity of the source.

    `si_*` and `ti_*` are the spatial and temporal information of the luma according to ITU-T P.910,
    computed by FFmpeg's filter siti. The spatial information is the standard deviation of the edges
    of a picture. The temporal information is the standard deviation of the difference between a
    picture and the previous one. Both are given as mean and maximum over the first
    `characterised_s` seconds. P.910 itself defines only the maximum.

    `frame_rate` and `duration_s` are those of the time stamps of the frames. `header_faults` names
    the values in the header of the file that disagree with them.
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
    header_faults: Annotated[tuple[Text, ...], Meta(max_length=MAX_HEADER_FAULTS)] = ()


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
    voluntary_switches: Count | Unavailable = UNKNOWN
    involuntary_switches: Count | Unavailable = UNKNOWN
    minor_faults: Count | Unavailable = UNKNOWN
    major_faults: Count | Unavailable = UNKNOWN
    fps_p1: Amount | Unavailable = UNKNOWN
    fps_p5: Amount | Unavailable = UNKNOWN

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
    peak_bitrate_kbps: Amount | Unavailable = UNKNOWN
    bitrate_deviation_ratio: Real | Unavailable = UNKNOWN
    profile: Text | Unavailable = UNKNOWN
    level: Count | Unavailable = UNKNOWN
    key_frames: Count | Unavailable = UNKNOWN
    gop_max_frames: Count | Unavailable = UNKNOWN
    reorder_frames: Count | Unavailable = UNKNOWN
    decoded_sha256: Sha256 | Unavailable = UNKNOWN


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
    vmaf_p10: Amount | Unavailable = UNKNOWN
    vmaf_std: Amount | Unavailable = UNKNOWN
    vmaf_neg_mean: Amount | Unavailable = UNKNOWN
    psnr_y_mean_db: Real | Unavailable = UNKNOWN
    psnr_cb_mean_db: Real | Unavailable = UNKNOWN
    psnr_cr_mean_db: Real | Unavailable = UNKNOWN
    ssim_libvmaf_mean: Real | Unavailable = UNKNOWN
    ssim_ffmpeg_mean: Real | Unavailable = UNKNOWN
    xpsnr_y_db: Real | Unavailable = UNKNOWN
    xpsnr_cb_db: Real | Unavailable = UNKNOWN
    xpsnr_cr_db: Real | Unavailable = UNKNOWN
    alignment_offset: Annotated[int, Meta(ge=-(2**31), le=2**31)] | Unavailable = UNKNOWN


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


class RenditionMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One output of a ladder. `encode` is null if one process encoded all renditions."""

    name: Name
    encode: EncodeMeasurement | None
    output: OutputMeasurement
    quality: QualityMeasurement | Unavailable


MAX_CACHE_NOTES = 64
"""Maximum number of cached values, and of faults of the cache, that a measurement names."""


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

    `cached_values` names the values that were not measured again, because the node had measured
    them from the same bytes with the same programs: `source`, `output`, `quality`, and those of
    `renditions.NAME`. `cache_faults` describes entries of the node's cache that were damaged or
    unreadable, so that their values were measured again.
    """

    encode: EncodeMeasurement
    output: OutputMeasurement | None
    quality: QualityMeasurement | Unavailable
    environment: Environment
    provenance: Provenance
    energy: EnergyMeasurement | Unavailable = UNKNOWN
    gpu_energy: EnergyMeasurement | Unavailable = UNKNOWN
    verdict: Verdict | None = None
    renditions: Annotated[tuple[RenditionMeasurement, ...], Meta(max_length=16)] = ()
    density: DensityMeasurement | None = None
    live: LiveMeasurement | None = None
    received: ReceivedMeasurement | Unavailable | None = None
    source: SourceMeasurement | None = None
    rate_search: RateSearch | None = None
    omitted_artifacts: Annotated[tuple[OmittedArtifact, ...], Meta(max_length=256)] = ()
    cached_values: Annotated[tuple[Text, ...], Meta(max_length=MAX_CACHE_NOTES)] = ()
    cache_faults: Annotated[tuple[Text, ...], Meta(max_length=MAX_CACHE_NOTES)] = ()
