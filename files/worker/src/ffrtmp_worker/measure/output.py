"""What was written, and whether it is what the scenario asked for."""

import hashlib
from fractions import Fraction
from pathlib import Path

from ffrtmp_shared.encoders import ENCODERS
from ffrtmp_shared.measurement import OutputMeasurement, Unavailable
from ffrtmp_shared.scenario import EncodeSettings

from ffrtmp_worker.ffmpeg.probe import VideoProbe, is_same_rate

_FRAMES_OF_SLACK = 1.5
_FRAMES_OF_DRIFT = 0.5
_GAP_SLACK_S = 0.0021


def source_problems(source: VideoProbe) -> list[str]:
    """Say why a source cannot be measured frame by frame; an empty list means that it can."""
    found = []
    if source.complaints:
        found.append(f"the source is damaged: {source.complaints.splitlines()[-1]}")
    if source.field_order in ("tt", "bb", "tb", "bt"):
        found.append(f"the source is interlaced ({source.field_order})")
    if source.untimed_frames:
        found.append(f"{source.untimed_frames} frames of the source have no time stamp")
    elif source.longest_gap_s - source.shortest_gap_s > _GAP_SLACK_S:
        found.append(
            f"the source's frame rate varies: its frames are from {source.shortest_gap_s:.4f} s "
            f"to {source.longest_gap_s:.4f} s apart"
        )
    elif source.drift_s > _FRAMES_OF_DRIFT / float(source.frame_rate):
        found.append(
            f"the source's frame rate varies: a frame stands {source.drift_s:.4f} s from where an "
            "even rate would have it"
        )
    return found


def measure_output(
    file: Path, probe: VideoProbe, *, asked_kbps: int | None, decoded_sha256: str
) -> OutputMeasurement:
    """Put together what is reported of an output; raises OSError when it cannot be read.

    `asked_kbps` is the bit rate that the scenario has, in units of 1,000 bit/s, if it has one.
    """
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    bitrate_kbps = probe.video_bytes * 8 / 1000 / probe.duration_s
    return OutputMeasurement(
        codec=probe.codec,
        width=probe.width,
        height=probe.height,
        pixel_format=probe.pixel_format,
        frame_rate=probe.frame_rate_text,
        frames=probe.frames,
        duration_s=probe.duration_s,
        file_bytes=file.stat().st_size,
        video_bytes=probe.video_bytes,
        video_bitrate_kbps=bitrate_kbps,
        sha256=digest,
        peak_bitrate_kbps=(
            Unavailable(reason="the clip is shorter than a second")
            if probe.peak_second_bytes is None
            else probe.peak_second_bytes * 8 / 1000
        ),
        bitrate_deviation_ratio=(
            Unavailable(reason="no bit rate was asked for")
            if asked_kbps is None
            else bitrate_kbps / asked_kbps - 1.0
        ),
        profile=probe.profile or Unavailable(reason="the file does not say"),
        level=Unavailable(reason="the file does not say") if probe.level is None else probe.level,
        key_frames=probe.key_frames,
        gop_max_frames=probe.gop_max_frames,
        reorder_frames=probe.reorder_frames,
        decoded_sha256=decoded_sha256,
    )


def mismatches(settings: EncodeSettings, source: VideoProbe, output: VideoProbe) -> list[str]:
    """Name every way in which the output is not what the scenario says."""
    frame_rate, frames = source.frame_rate, source.frames
    if settings.frame_rate is not None:
        frame_rate = Fraction(settings.frame_rate)
        frames = round(source.frames * frame_rate / source.frame_rate)
    wanted: list[tuple[str, object, object]] = [
        ("codec", ENCODERS[settings.encoder].codec, output.codec),
        ("width", settings.width or source.width, output.width),
        ("height", settings.height or source.height, output.height),
        ("pixel format", settings.pixel_format, output.pixel_format),
        ("number of frames", frames, output.frames),
    ]
    found = [f"{what} is {got}, not {want}" for what, want, got in wanted if want != got]
    if not is_same_rate(frame_rate, output.frame_rate):
        found.append(f"frame rate is {output.frame_rate}, not {frame_rate}")
    slack_s = _FRAMES_OF_SLACK / float(frame_rate)
    expected_s = source.frames / float(source.frame_rate)
    if abs(output.duration_s - expected_s) > slack_s:
        found.append(f"duration is {output.duration_s:.3f} s, not {expected_s:.3f} s")
    return found
