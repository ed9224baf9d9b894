"""Quality of an output compared with its source, in a separate pass that is not timed."""

import errno
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec
import numpy as np
from ffrtmp_shared.measurement import QualityMeasurement
from ffrtmp_shared.scenario import ALL_SCORES, QualitySettings
from ffrtmp_shared.unavailable import Cause, Unavailable
from numpy.typing import NDArray

from ffrtmp_worker.ffmpeg import comparison_command, process
from ffrtmp_worker.ffmpeg.container_crop import stored_frames
from ffrtmp_worker.ffmpeg.frame_rate import is_same_rate
from ffrtmp_worker.ffmpeg.probe import Colour, VideoProbe
from ffrtmp_worker.measure.calibration import Calibration, CalibrationFailedError
from ffrtmp_worker.measure.filter_scores import ssim_mean, xpsnr_db
from ffrtmp_worker.measure.frame_scores import (
    UnreadableScoresError,
    read_scores,
    wanted_metrics,
)
from ffrtmp_worker.measure.quality_cache import QualityCache
from ffrtmp_worker.measure.quality_graph import (
    LOGS,
    THUMBNAIL_HEIGHT,
    THUMBNAIL_WIDTH,
    Comparison,
    comparison_of,
    quality_graph,
    score_outputs,
)
from ffrtmp_worker.measure.quality_statistics import NOT_REQUESTED, summarize_scores

LOG_NAME = LOGS.vmaf
"""Name of the file in the work folder that contains the scores of every frame."""

_FIELDS = {
    "vmaf_neg": ("vmaf_neg_mean",),
    "psnr": ("psnr_y_mean_db", "psnr_cb_mean_db", "psnr_cr_mean_db"),
    "float_ssim": ("ssim_libvmaf_mean",),
    "ssim": ("ssim_ffmpeg_mean",),
    "xpsnr": ("xpsnr_y_db", "xpsnr_cb_db", "xpsnr_cr_db"),
}
"""The fields of each metric that can be unavailable while VMAF is not."""

THUMBNAILS = ("distorted.gray", "reference.gray")
"""Names of the files with the thumbnails of the output and the source in the work folder."""

Thumbnails = NDArray[np.uint8]
"""Gray thumbnails of frames, one in each row."""

_SHIFTS = (-2, -1, 1, 2)
_SHIFT_EVIDENCE = 0.5
# In squared units of 8-bit samples. Frames that differ by less count as equal, so that neither a
# still picture nor one that is encoded without loss can reveal a shift.
_LEAST_DIFFERENCE = 1e-3
_CHUNK_FRAMES = 256
# RGB, a palette, and gray with or without alpha.
_CONVERTED_FORMAT = re.compile(r"(?:x2|[a0x]?)(?:rgb|bgr|gbr)|pal8|gray|ya\d|mono")
_HDR_TRANSFERS = ("smpte2084", "arib-std-b67")


class Clip(msgspec.Struct, frozen=True, kw_only=True):
    """A video file in the work folder: its name and the properties of its video."""

    name: str
    probe: VideoProbe


class QualityPass(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of the quality pass.

    `deadline_s` is the maximum duration of the pass, in seconds. If `calibration` is set, metrics
    that are wrong for the size and bit depth of the frames are unavailable. `scores` are those that
    are measured in addition to VMAF. If `known` is set, a known quality is not measured again.
    """

    ffmpeg: Path
    folder: Path
    threads: int
    deadline_s: float
    calibration: Calibration | None = None
    scores: QualitySettings = ALL_SCORES
    known: QualityCache | None = None


def log_name(rendition: str) -> str:
    """Return the name of the file that contains the scores of every frame of a rendition."""
    log = Path(LOG_NAME)
    return f"{log.stem}-{rendition}{log.suffix}"


def measure_quality(
    how: QualityPass, *, distorted: Clip, reference: Clip, stop: Callable[[], bool]
) -> QualityMeasurement | Unavailable:
    """Compare each frame of `distorted` with the frame of `reference` that has the same number.

    The scores of every frame remain in `vmaf.csv` in the work folder.

    Args:
        how: The parameters of the pass.
        distorted: The output.
        reference: The source.
        stop: A function that returns true when the pass is to stop.

    Returns:
        The quality. It is unavailable if the pass fails, or if the sample values have different
        meanings. It is also unavailable, with the cause `pairing`, if frames may be paired
        wrongly, because the numbers of frames differ or the output matches better when it is
        shifted by a frame or two.
    """
    problem = _problem(distorted.probe, reference.probe)
    if problem is not None:
        return problem
    comparison = comparison_of(distorted.probe, reference.probe)
    faults = metric_faults(how, comparison, stop)
    if isinstance(faults, Unavailable):
        return faults
    try:
        measured = _load_or_run(how, distorted, reference, comparison.model, stop)
    except OSError as error:
        # The encode has been measured, and a full disk must not lose its result.
        return Unavailable(reason=f"the quality pass failed: {error.strerror or error}")
    finally:
        for name in THUMBNAILS:
            (how.folder / name).unlink(missing_ok=True)
    if isinstance(measured, Unavailable):
        return measured
    return without_faulty(measured, {name: faults[name] for name in _requested(how, faults)})


def _requested(how: QualityPass, metrics: Iterable[str]) -> list[str]:
    """Return those of the metrics that the settings of the pass request."""
    scores = how.scores
    is_wanted = {
        "vmaf_neg": scores.neg,
        "psnr": scores.psnr,
        "float_ssim": scores.ssim,
        "ssim": scores.ssim,
        "xpsnr": scores.xpsnr,
    }
    return [name for name in metrics if is_wanted.get(name, True)]


def _load_or_run(
    how: QualityPass, distorted: Clip, reference: Clip, model: str, stop: Callable[[], bool]
) -> QualityMeasurement | Unavailable:
    """Return the known quality, or run the pass and store the quality."""
    log = how.folder / LOGS.vmaf
    # The scores do not depend on the number of threads.
    graph = quality_graph(distorted.probe, reference.probe, 1, how.scores)
    known = None if how.known is None else how.known.load(graph, log)
    if known is not None:
        return known
    failure = space_problem(how.folder, 2 * distorted.probe.frames) or _run(
        how, distorted, reference, stop
    )
    if failure:
        return Unavailable(reason=failure)
    measured = _read(how, model, distorted.probe.frames)
    if how.known is not None and isinstance(measured, QualityMeasurement):
        how.known.store(graph, log, measured)
    return measured


def metric_faults(
    how: QualityPass, comparison: Comparison, stop: Callable[[], bool]
) -> Mapping[str, str] | Unavailable:
    """Return the metrics that cannot be used, with reasons, or why there is no quality at all."""
    if how.calibration is None:
        return {}
    try:
        faults = how.calibration.faults(comparison, how.threads, stop)
    except CalibrationFailedError as error:
        return Unavailable(reason=f"the calibration of the quality pass failed: {error}")
    return Unavailable(reason=faults["vmaf"]) if "vmaf" in faults else faults


def space_problem(folder: Path, frames: int) -> str:
    """Return why this number of thumbnails does not fit on the disk, or "" if it does."""
    needed_bytes = frames * THUMBNAIL_WIDTH * THUMBNAIL_HEIGHT
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes <= free_bytes:
        return ""
    return (
        f"the quality pass needs {needed_bytes} bytes for thumbnails of {frames} frames in the "
        f"work directory (worker_data_dir), where {free_bytes} are free"
    )


def _run(how: QualityPass, distorted: Clip, reference: Clip, stop: Callable[[], bool]) -> str:
    """Run the quality pass, and return why it failed, or ""."""
    outcome = process.run_process(
        comparison_command.compare(
            how.ffmpeg,
            distorted=distorted.name,
            reference=reference.name,
            graph=quality_graph(distorted.probe, reference.probe, how.threads, how.scores),
            scores=score_outputs(how.scores),
            thumbnails=THUMBNAILS,
            stored=stored_frames(how.ffmpeg),
        ),
        cwd=how.folder,
        log=how.folder / "quality.log",
        deadline_s=how.deadline_s,
        stop=stop,
    )
    return pass_failure(outcome)


def pass_failure(outcome: process.Outcome) -> str:
    """Return why the process of a quality pass failed, or "" if it did not."""
    if outcome.stopped_by is not None:
        return f"the quality pass was stopped by its {outcome.stopped_by}"
    if outcome.exit_code < 0:
        return f"the quality pass was ended by {signal.Signals(-outcome.exit_code).name}"
    if outcome.exit_code:
        lines = outcome.log_tail.splitlines()
        # FFmpeg reports a full disk before its last lines.
        full = [line for line in lines if os.strerror(errno.ENOSPC) in line]
        return f"the quality pass failed: {' '.join((full or lines)[-1:])}"
    return ""


def _read(how: QualityPass, model: str, frames: int) -> QualityMeasurement | Unavailable:
    """Return the quality from the files of a pass over clips with this number of frames."""
    folder = how.folder
    try:
        scores = read_scores(folder / LOGS.vmaf, wanted_metrics(how.scores))
    except UnreadableScoresError as error:
        return Unavailable(reason=str(error))
    pairs = {len(scores["vmaf"])}
    ssim: float | Unavailable = NOT_REQUESTED
    xpsnr: tuple[float | Unavailable, ...] = (NOT_REQUESTED,) * 3
    if how.scores.ssim:
        ssim, ssim_pairs = ssim_mean(folder / LOGS.ssim)
        pairs.add(ssim_pairs)
    if how.scores.xpsnr:
        xpsnr, xpsnr_pairs = xpsnr_db(folder / LOGS.xpsnr)
        pairs.add(xpsnr_pairs)
    output, source = (read_thumbnails(folder / name) for name in THUMBNAILS)
    mispaired = _pairing_problem(output, source, pairs, frames)
    if mispaired:
        return Unavailable(reason=mispaired, cause=Cause.PAIRING)
    return msgspec.structs.replace(
        summarize_scores(scores, model),
        ssim_ffmpeg_mean=ssim,
        xpsnr_y_db=xpsnr[0],
        xpsnr_cb_db=xpsnr[1],
        xpsnr_cr_db=xpsnr[2],
        alignment_offset=0,
    )


def without_faulty(measured: QualityMeasurement, faults: Mapping[str, str]) -> QualityMeasurement:
    """Return the quality without the values of metrics that failed their calibration."""
    return msgspec.structs.replace(
        measured,
        **{
            field: Unavailable(reason=reason)
            for metric, reason in faults.items()
            for field in _FIELDS[metric]
        },
    )


def _problem(distorted: VideoProbe, reference: VideoProbe) -> Unavailable | None:
    """Return why the frames of two videos cannot be compared, or None if they can."""
    if not is_same_rate(distorted.frame_rate, reference.frame_rate):
        return Unavailable(
            reason=f"the output has {distorted.frame_rate_text} frames a second and the source "
            f"{reference.frame_rate_text}"
        )
    if distorted.frames != reference.frames:
        return Unavailable(
            reason=f"the output has {distorted.frames} frames and the source {reference.frames}",
            cause=Cause.PAIRING,
        )
    if distorted.flags.has_film_grain:
        return Unavailable(
            reason="the decoder adds film grain to the output, which the metrics would rate like "
            "coded details"
        )
    problem = colour_problem(distorted.colour, source_colour(reference))
    return Unavailable(reason=problem) if problem else None


def source_colour(source: VideoProbe) -> Colour:
    """Return the color properties of the frames to which a source is converted.

    FFmpeg converts RGB and gray samples, which have the full range, to YUV with the limited range,
    for the encoder as well as for the comparison.
    """
    if _CONVERTED_FORMAT.match(source.pixel_format) is None:
        return source.colour
    return Colour(range="tv", matrix=None, primaries=None, transfer=source.colour.transfer)


def colour_problem(output: Colour, source: Colour) -> str:
    """Return why samples of the two files cannot be compared, or "" if they can."""
    for colour, role in ((output, "output"), (source, "source")):
        if colour.transfer in _HDR_TRANSFERS:
            # VMAF's models were trained with video of standard dynamic range.
            return f"the {role} is HDR ({colour.transfer}), for which there is no model"
    # If a file does not specify a range, it has the limited range.
    pairs = [("range", output.range or "tv", source.range or "tv")]
    pairs += [
        (what, output_value, source_value)
        for what, output_value, source_value in (
            ("matrix", output.matrix, source.matrix),
            ("primaries", output.primaries, source.primaries),
            ("transfer", output.transfer, source.transfer),
        )
        if output_value is not None and source_value is not None
    ]
    return "; ".join(
        f"the output's colour {what} is {output_value} and the source's {source_value}"
        for what, output_value, source_value in pairs
        if output_value != source_value
    )


def read_thumbnails(file: Path) -> Thumbnails:
    """Return the thumbnails in a file, one in each row, without reading all of them into memory."""
    shape = (THUMBNAIL_HEIGHT * THUMBNAIL_WIDTH,)
    size = file.stat().st_size // shape[0]
    if not size:
        return np.empty((0, *shape), dtype=np.uint8)
    return np.memmap(file, dtype=np.uint8, mode="r", shape=(size, *shape))


def _pairing_problem(
    distorted: Thumbnails, reference: Thumbnails, pairs: set[int], frames: int
) -> str:
    """Return why frames may have been paired wrongly, or "" if nothing indicates it."""
    if not len(distorted) == len(reference) == frames or pairs != {frames}:
        counts = " or ".join(str(count) for count in sorted(pairs))
        return (
            f"of {frames} frames {len(distorted)} of the output and {len(reference)} of the "
            f"source were decoded and {counts} pairs compared"
        )
    return shift_problem(distorted, reference, np.arange(frames))


def shift_problem(distorted: Thumbnails, reference: Thumbnails, places: NDArray[np.int64]) -> str:
    """Return whether the output matches the source better when it is shifted, or "" if not.

    Args:
        distorted: The thumbnails of the output.
        reference: The thumbnails of the source.
        places: The number of the frame of the source for each frame of the output.
    """
    evidence = {
        shift: max(_difference(distorted, reference, places, shift, shift), _LEAST_DIFFERENCE)
        / max(_difference(distorted, reference, places, 0, shift), _LEAST_DIFFERENCE)
        for shift in _SHIFTS
        if abs(shift) < len(places)
    }
    best = min(evidence, key=lambda shift: evidence[shift], default=0)
    if best and evidence[best] < _SHIFT_EVIDENCE:
        return f"the output's frames match the source's better when shifted by {best}"
    return ""


def _difference(
    distorted: Thumbnails,
    reference: Thumbnails,
    places: NDArray[np.int64],
    shift: int,
    window: int,
) -> float:
    """Return the mean squared difference between output frames and shifted source frames.

    Only those output frames are used for which the source has a frame that is shifted by `window`,
    so that different shifts are compared over the same output frames in clips of any length.
    """
    numbers = np.flatnonzero((places + window >= 0) & (places + window < len(reference)))
    total = 0.0
    for start in range(0, len(numbers), _CHUNK_FRAMES):
        chosen = numbers[start : start + _CHUNK_FRAMES]
        output = distorted[chosen].astype(np.float32)
        source = reference[places[chosen] + shift].astype(np.float32)
        total += float(np.square(output - source).mean()) * len(chosen)
    return total / max(len(numbers), 1)
