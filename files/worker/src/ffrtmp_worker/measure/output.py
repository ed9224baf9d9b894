"""Figures of an output, and comparison of the output with the settings of the scenario."""

import hashlib
import math
from fractions import Fraction
from pathlib import Path

from ffrtmp_shared.encoders import ENCODERS
from ffrtmp_shared.measurement import OutputMeasurement
from ffrtmp_shared.scenario import EncodeSettings
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_worker.ffmpeg.frame_rate import is_same_rate
from ffrtmp_worker.ffmpeg.probe import VideoProbe

_FRAMES_OF_SLACK = 1.5
_FRAMES_OF_DRIFT = 0.5
_GAP_SLACK_S = 0.0021


def source_problems(source: VideoProbe) -> list[str]:
    """Return the reasons why a source cannot be measured frame by frame, or [] if it can."""
    found = []
    if source.complaints:
        found.append(f"the source is damaged: {source.complaints.splitlines()[-1]}")
    if source.field_order in ("tt", "bb", "tb", "bt"):
        found.append(f"the source is interlaced ({source.field_order})")
    elif source.flags.is_interlaced:
        found.append(
            f"the source is interlaced, although its header states {source.field_order}: its "
            "pictures are fields"
        )
    if source.untimed_frames:
        found.append(f"{source.untimed_frames} frames of the source have no time stamp")
    elif source.longest_gap_s - source.shortest_gap_s > _GAP_SLACK_S:
        found.append(
            f"the source's frame rate varies: its frames are from {source.shortest_gap_s:.4f} s "
            f"to {source.longest_gap_s:.4f} s apart"
        )
    elif source.drift_s > _FRAMES_OF_DRIFT / float(source.frame_rate):
        found.append(
            f"the source's frame rate varies: a frame is {source.drift_s:.4f} s away from its "
            "place at an even rate"
        )
    return found


def file_sha256(file: Path) -> str:
    """Return the digest of a file, in hexadecimal. Raises OSError if it cannot be read."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def measure_output(
    file: Path,
    probe: VideoProbe,
    *,
    requested_kbps: int | None,
    sha256: str,
    decoded_sha256: str,
) -> OutputMeasurement:
    """Return the figures of an output.

    Args:
        file: The output.
        probe: The properties of the output's video.
        requested_kbps: The bit rate of the scenario in units of 1,000 bit/s, if it has one.
        sha256: The digest of the file.
        decoded_sha256: The digest of the decoded frames.

    Raises:
        OSError: The file cannot be read.
    """
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
        sha256=sha256,
        peak_bitrate_kbps=(
            Unavailable(reason="the clip is shorter than a second")
            if probe.peak_second_bytes is None
            else probe.peak_second_bytes * 8 / 1000
        ),
        bitrate_deviation_ratio=(
            Unavailable(reason="the scenario sets no bit rate")
            if requested_kbps is None
            else bitrate_kbps / requested_kbps - 1.0
        ),
        profile=probe.profile or Unavailable(reason="the file does not contain it"),
        level=Unavailable(reason="the file does not contain it")
        if probe.level is None
        else probe.level,
        key_frames=probe.key_frames,
        gop_max_frames=probe.gop_max_frames,
        reorder_frames=probe.reorder_frames,
        decoded_sha256=decoded_sha256,
    )


def mismatches(settings: EncodeSettings, source: VideoProbe, output: VideoProbe) -> list[str]:
    """Return all differences between the output and the settings.

    Args:
        settings: The settings of the encode.
        source: The properties of the source; the output must have the same unless the settings
            change them.
        output: The properties of the output.
    """
    frame_rate, frames = source.frame_rate, source.frames
    if settings.frame_rate is not None:
        frame_rate = Fraction(settings.frame_rate)
        # FFmpeg rounds halves up. The time stamps of the container decide about the last frame.
        exact = source.frames * frame_rate / source.frame_rate
        frames = math.floor(exact + Fraction(1, 2))
        if abs(output.frames - frames) == 1 and abs(output.frames - exact) <= 1:
            frames = output.frames
    expected: list[tuple[str, object, object]] = [
        ("codec", ENCODERS[settings.encoder].codec, output.codec),
        ("width", settings.width or source.width, output.width),
        ("height", settings.height or source.height, output.height),
        ("pixel format", settings.pixel_format, output.pixel_format),
        ("number of frames", frames, output.frames),
    ]
    found = [
        f"{what} is {actual}, not {value}" for what, value, actual in expected if value != actual
    ]
    if not is_same_rate(frame_rate, output.frame_rate):
        found.append(f"frame rate is {output.frame_rate}, not {frame_rate}")
    slack_s = _FRAMES_OF_SLACK / float(frame_rate)
    expected_s = frames / float(frame_rate)
    if abs(output.duration_s - expected_s) > slack_s:
        found.append(f"duration is {output.duration_s:.3f} s, not {expected_s:.3f} s")
    return found
