"""Quality of a stored stream compared with the frames that the encoder read, frame by frame.

The source is passed to the comparison as it was passed to the encoder: repeated, in the same
container and with the same time stamps. The encoder rounds the time stamps to frames and adds a
known offset. Each frame of the stored stream is therefore compared with the frame of the source
that has the same time stamp, regardless of lost frames. If there is none, the quality is
unavailable.
"""

import errno
import os
import subprocess
from array import array
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from ffrtmp_shared.live_measurement import ReceivedMeasurement
from ffrtmp_shared.measurement import QualityMeasurement
from ffrtmp_shared.unavailable import Cause, Unavailable

from ffrtmp_worker.ffmpeg import arguments, comparison_command, live_command, process
from ffrtmp_worker.ffmpeg.live_pipeline import Packets
from ffrtmp_worker.ffmpeg.probe import (
    UnreadableFileError,
    VideoProbe,
    list_packets,
    summarize_packets,
)
from ffrtmp_worker.measure.filter_scores import ssim_mean, xpsnr_db
from ffrtmp_worker.measure.frame_scores import (
    FRAMES_NAME,
    UnreadableScoresError,
    read_scores,
)
from ffrtmp_worker.measure.quality import (
    THUMBNAILS,
    Clip,
    QualityPass,
    colour_problem,
    metric_faults,
    pass_failure,
    read_thumbnails,
    shift_problem,
    source_colour,
    space_problem,
    without_faulty,
)
from ffrtmp_worker.measure.quality_graph import (
    EXTRA_FRAMES,
    LOGS,
    comparison_of,
    received_graph,
)
from ffrtmp_worker.measure.quality_statistics import summarize_scores
from ffrtmp_worker.measure.received_chunks import (
    Numbers,
    Places,
    ReceivedFrames,
    measure_chunks,
)
from ffrtmp_worker.measure.received_packets import arrival_times_s, compare_packets

_TIME_STAMPS = ("distorted.times", "reference.times")
_MORE_PACKETS = 1000
"""Packets that a player may have stored while it was being ended."""

_LONGEST_REORDER_MS = 5000
"""Time by which a packet that was not listed may precede others because of reordered frames."""

_SOURCE_LOG = "reference.log"
_LOG_BYTES = 16_384


class ReceivedPass(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of the comparison of a stored stream.

    Attributes:
        quality: The parameters of the quality pass.
        ffprobe: The ffprobe that lists the packets of the stored stream.
        farm_ffmpeg: The FFmpeg that passed the source to the encoder.
        offset_s: The time stamp of the first frame that was encoded, in seconds.
        frame_rate: The frame rate of the stream.
        is_converted: Whether the encoder's FFmpeg changed the frame rate of the source.
    """

    quality: QualityPass
    ffprobe: Path
    farm_ffmpeg: Path
    offset_s: float
    frame_rate: Fraction
    is_converted: bool


class ReceivedQuality(NamedTuple):
    """The pooled scores of all received frames, and the parts of the stream."""

    quality: QualityMeasurement
    received: ReceivedMeasurement


class _StoredStream(Clip, frozen=True, kw_only=True):
    """A stored stream; `end` is the time after its last frame to compare, in frames."""

    end: int


def measure_received(
    how: ReceivedPass,
    *,
    stored: str,
    packets: Packets,
    reference: Clip,
    stop: Callable[[], bool],
) -> ReceivedQuality | Unavailable:
    """Compare the frames of a stored stream with those that the encoder read.

    The scores of the frames remain in `vmaf.csv` in the work folder, and their numbers in
    `frames.csv`.

    Args:
        how: The parameters of the pass.
        stored: The name of the stored stream in the work folder.
        packets: The packets that the player received.
        reference: The source.
        stop: A function that returns true when the pass is to stop.

    Returns:
        The quality, or why it is unavailable.
    """
    try:
        found = _probe(how, stored, packets, stop)
        if isinstance(found, Unavailable):
            return found
        faults = metric_faults(how.quality, comparison_of(found.probe, reference.probe), stop)
        if isinstance(faults, Unavailable):
            return faults
        frames = 2 * found.end + EXTRA_FRAMES
        problem = (
            colour_problem(found.probe.colour, source_colour(reference.probe))
            or space_problem(how.quality.folder, frames)
            or _run(how, found, reference, stop)
        )
        if problem:
            return Unavailable(reason=problem)
        measured = _read(how, found, packets, reference.probe)
    except OSError as error:
        # The stream has been measured, and a full disk must not lose its result.
        return Unavailable(reason=f"the quality pass failed: {error.strerror or error}")
    finally:
        for name in (*THUMBNAILS, *_TIME_STAMPS):
            (how.quality.folder / name).unlink(missing_ok=True)
    if isinstance(measured, Unavailable):
        return measured
    return ReceivedQuality(without_faulty(measured.quality, faults), measured.received)


def _probe(
    how: ReceivedPass, stored: str, packets: Packets, stop: Callable[[], bool]
) -> _StoredStream | Unavailable:
    """Return the stored stream if it contains all packets of the player."""
    try:
        found, listed, log = list_packets(
            how.ffprobe,
            how.quality.folder / stored,
            stop=stop,
            max_packets=2 * len(packets.shown_ms) + _MORE_PACKETS,
            deadline_s=how.quality.deadline_s,
            guard=arguments.stored_stream_guard(),
        )
        probe = summarize_packets(stored, found, listed, log)
    except UnreadableFileError as error:
        return Unavailable(reason=f"the stored stream cannot be read: {error}")
    difference = compare_packets(
        packets.shown_ms, packets.size_bytes, listed.times_s, listed.sizes_bytes
    )
    if difference.missing:
        return Unavailable(
            reason=f"the stored stream lacks {difference.missing} of the {difference.listed} "
            "packets that the player received: the disk of the work directory (worker_data_dir) "
            "is full or too slow"
        )
    # What the player stored while it was being ended arrived after the measurement.
    last_ms = max(packets.shown_ms)
    more_ms = difference.more_ms
    if more_ms is None:
        return _StoredStream(name=stored, probe=probe, end=_in_frames(last_ms, how) + 1)
    if more_ms < last_ms - _LONGEST_REORDER_MS:
        return Unavailable(reason="the stored stream contains packets that the player did not list")
    return _StoredStream(name=stored, probe=probe, end=_in_frames(more_ms, how))


def _in_frames(time_ms: int, how: ReceivedPass) -> int:
    """Return a time stamp of the stream in frames since the first one, as the filter graph does."""
    time_us = time_ms * 1000 - round(how.offset_s * 1e6)
    unit_us = how.frame_rate.denominator * 1_000_000
    return (2 * time_us * how.frame_rate.numerator + unit_us) // (2 * unit_us)


def _run(how: ReceivedPass, found: _StoredStream, reference: Clip, stop: Callable[[], bool]) -> str:
    """Run the pass, and return why it failed, or "". The source is read by a second process."""
    folder = how.quality.folder
    graph = received_graph(
        found.probe,
        reference.probe,
        offset_s=how.offset_s,
        frame_rate=how.frame_rate,
        is_converted=how.is_converted,
        end=found.end,
        threads=how.quality.threads,
    )
    with (folder / _SOURCE_LOG).open("wb") as log:
        feeder = process.start_process(
            live_command.feed_again(how.farm_ffmpeg, reference.name),
            folder,
            stderr=log,
            max_file_bytes=_LOG_BYTES,
        )
    with feeder:
        try:
            outcome = process.run_process(
                comparison_command.compare_received(
                    how.quality.ffmpeg,
                    received=found.name,
                    frame_rate=how.frame_rate,
                    graph=graph,
                    thumbnails=THUMBNAILS,
                    time_stamps=_TIME_STAMPS,
                ),
                cwd=folder,
                log=folder / "quality.log",
                deadline_s=how.quality.deadline_s,
                stop=stop,
                stdin=feeder.stdout or subprocess.DEVNULL,
            )
        finally:
            feeder.kill()
    failure = pass_failure(outcome)
    return failure and (_source_failure(folder / _SOURCE_LOG) or failure)


def _source_failure(log: Path) -> str:
    """Return why the source could not be read again, or "" if its log states no reason."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    # If the comparison ends first, the source is written to a pipe without a reader.
    reasons = [line for line in lines if os.strerror(errno.EPIPE) not in line]
    return f"the source could not be read again: {reasons[-1][:200]}" if reasons else ""


def _read(
    how: ReceivedPass, found: _StoredStream, packets: Packets, reference: VideoProbe
) -> ReceivedQuality | Unavailable:
    """Return the quality from the files of the pass."""
    folder = how.quality.folder
    shown, source_times = (_read_times(folder / name) for name in _TIME_STAMPS)
    if not len(shown):
        return Unavailable(reason="no frame of the stored stream could be decoded")
    try:
        scores = read_scores(folder / LOGS.vmaf)
    except UnreadableScoresError as error:
        return Unavailable(reason=str(error))
    places = np.searchsorted(source_times, shown, side="right") - 1
    ssim, ssim_pairs = ssim_mean(folder / LOGS.ssim)
    xpsnr, xpsnr_pairs = xpsnr_db(folder / LOGS.xpsnr)
    pairs = {len(scores["vmaf"]), ssim_pairs, xpsnr_pairs}
    output, source = (read_thumbnails(folder / name) for name in THUMBNAILS)
    arrived_s = _arrivals_s(packets, shown, how)
    problem = _pairing_problem(shown, source_times, places)
    if pairs != {len(shown)} or len(output) != len(shown) or len(source) != len(source_times):
        counts = " or ".join(map(str, sorted(pairs)))
        problem = f"{len(shown)} frames were decoded, but {counts} compared"
    elif np.isnan(arrived_s).any():
        problem = f"{np.isnan(arrived_s).sum()} frames are not among those of the player"
    problem = problem or shift_problem(output, source, places)
    if problem:
        return Unavailable(reason=problem, cause=Cause.PAIRING)
    _write_places(folder / FRAMES_NAME, places)
    quality = msgspec.structs.replace(
        summarize_scores(scores, comparison_of(found.probe, reference).model),
        ssim_ffmpeg_mean=ssim,
        xpsnr_y_db=xpsnr[0],
        xpsnr_cb_db=xpsnr[1],
        xpsnr_cr_db=xpsnr[2],
        alignment_offset=0,
    )
    frames = ReceivedFrames(
        places=places,
        due_s=shown / float(how.frame_rate),
        arrived_s=arrived_s,
        scores=scores,
    )
    file_bytes = (folder / found.name).stat().st_size
    return ReceivedQuality(quality, measure_chunks(frames, how.frame_rate, file_bytes))


def _write_places(file: Path, places: Places) -> None:
    with file.open("w", encoding="ascii") as lines:
        lines.write("frame\n")
        lines.writelines(f"{place}\n" for place in places)


def _read_times(file: Path) -> Places:
    """Return the time stamps that the framecrc muxer wrote: stream, dts, pts, ..."""
    times = array("q")
    with file.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            if not line.startswith("#"):
                times.append(int(line.split(",", 3)[2]))
    return np.array(times, dtype=np.int64)


def _pairing_problem(shown: Places, source: Places, places: Places) -> str:
    """Return why frames may have been paired wrongly, or "" if nothing indicates it.

    Args:
        shown: The time stamps of the frames of the stream, in frames.
        source: The time stamps of the frames of the source.
        places: The number of the frame of the source for each frame of the stream.
    """
    if (np.diff(shown) <= 0).any() or (np.diff(source) <= 0).any():
        return "two frames have the same time stamp"
    strange = int((source[np.maximum(places, 0)] != shown).sum())
    if strange:
        return f"{strange} frames of the stored stream have a time stamp of no frame of the source"
    return ""


def _arrivals_s(packets: Packets, shown: Places, how: ReceivedPass) -> Numbers:
    """Return the arrival time of each frame, in seconds, or NaN if the player did not list it."""
    # A product of a frame rate and a time may exceed the range of the integers of an array.
    frames = (_in_frames(shown_ms, how) for shown_ms in packets.shown_ms)
    numbers = np.fromiter(frames, dtype=np.int64, count=len(packets.shown_ms))
    return arrival_times_s(numbers, packets.elapsed_s, shown)
