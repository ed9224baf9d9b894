"""Quality of an output compared with its source, in a separate pass that is not timed."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from ffrtmp_shared.measurement import QualityMeasurement, Unavailable
from numpy.typing import NDArray

from ffrtmp_worker.ffmpeg import command, process
from ffrtmp_worker.ffmpeg.probe import Colour, VideoProbe, is_same_rate
from ffrtmp_worker.measure.filter_scores import ssim_mean, xpsnr_db
from ffrtmp_worker.measure.frame_scores import (
    UnreadableScoresError,
    read_scores,
    summarize_scores,
)

LOG_NAME = "vmaf.csv"
"""Name of the file in the work folder that contains the scores of every frame."""

_THUMBNAIL_WIDTH = 64
_THUMBNAIL_HEIGHT = 36
"""Size of the gray thumbnails with which the quality pass checks the alignment of frames."""


class _ScoreLogs(NamedTuple):
    """The files that the quality pass writes: the logs of libvmaf and of two filters of FFmpeg."""

    vmaf: str
    ssim: str
    xpsnr: str


_LOGS = _ScoreLogs(vmaf=LOG_NAME, ssim="ssim.log", xpsnr="xpsnr.log")
_SHIFTS = (-2, -1, 1, 2)
_SHIFT_EVIDENCE = 0.5
# In squared units of 8-bit samples. Frames that differ by less count as equal and cannot reveal a
# shift.
_LEAST_DIFFERENCE = 1e-3
_CHUNK_FRAMES = 256
_LINES_4K = 2160
_HDR_TRANSFERS = ("smpte2084", "arib-std-b67")


class Clip(msgspec.Struct, frozen=True, kw_only=True):
    """A video file in the work folder: its name and the properties of its video."""

    name: str
    probe: VideoProbe


class QualityPass(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of the quality pass: FFmpeg, work folder, threads, and deadline in seconds."""

    ffmpeg: Path
    folder: Path
    threads: int
    deadline_s: float


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
        The quality. It is unavailable if the pass fails, if the sample values have different
        meanings, or if frames may be paired wrongly, because the numbers of frames differ or the
        output matches better when it is shifted by a frame or two.
    """
    problem = _colour_problem(distorted.probe.colour, reference.probe.colour)
    if not is_same_rate(distorted.probe.frame_rate, reference.probe.frame_rate):
        problem = (
            f"the output has {distorted.probe.frame_rate_text} frames a second and the source "
            f"{reference.probe.frame_rate_text}"
        )
    elif distorted.probe.frames != reference.probe.frames:
        problem = (
            f"the output has {distorted.probe.frames} frames and the source "
            f"{reference.probe.frames}"
        )
    if problem:
        return Unavailable(reason=problem)
    model = _model(reference.probe)
    thumbnails = ("distorted.gray", "reference.gray")
    outcome = process.run_process(
        command.compare(
            how.ffmpeg,
            distorted=distorted.name,
            reference=reference.name,
            graph=_filter_graph(distorted.probe, reference.probe, model, how.threads),
            thumbnails=thumbnails,
        ),
        cwd=how.folder,
        log=how.folder / "quality.log",
        deadline_s=how.deadline_s,
        stop=stop,
    )
    problem = _process_problem(outcome)
    if problem:
        return Unavailable(reason=problem)
    frames = [_read_thumbnails(how.folder / name) for name in thumbnails]
    try:
        scores = read_scores(how.folder / LOG_NAME)
    except UnreadableScoresError as error:
        return Unavailable(reason=str(error))
    ssim, ssim_pairs = ssim_mean(how.folder / _LOGS.ssim)
    xpsnr, xpsnr_pairs = xpsnr_db(how.folder / _LOGS.xpsnr)
    pairs = {len(scores["vmaf"]), ssim_pairs, xpsnr_pairs}
    problem = _pairing_problem(frames[0], frames[1], pairs, distorted.probe.frames)
    if problem:
        return Unavailable(reason=problem)
    return msgspec.structs.replace(
        summarize_scores(scores, model),
        ssim_ffmpeg_mean=ssim,
        xpsnr_y_db=xpsnr[0],
        xpsnr_cb_db=xpsnr[1],
        xpsnr_cr_db=xpsnr[2],
        alignment_offset=0,
    )


def _process_problem(outcome: process.Outcome) -> str:
    """Return why the process of the quality pass did not compare all frames, or ""."""
    if outcome.stopped_by is not None:
        return f"the quality pass was stopped by its {outcome.stopped_by}"
    if outcome.exit_code < 0:
        return f"the quality pass was ended by {signal.Signals(-outcome.exit_code).name}"
    if outcome.exit_code:
        last_line = " ".join(outcome.log_tail.splitlines()[-1:])
        return f"the quality pass failed: {last_line}"
    return ""


def _filter_graph(distorted: VideoProbe, reference: VideoProbe, model: str, threads: int) -> str:
    """Return the filter graph of the quality pass.

    Both inputs get new time stamps that count from 0. The original time stamps of two containers
    may be rounded differently, so that wrong frames would be paired. `shortest` ends the pass with
    the shorter input, without repeating its last frame. libvmaf computes VMAF with `model`, VMAF
    with the variant of the model that ignores enhancement (NEG), PSNR and SSIM. FFmpeg's own
    filters compute SSIM and XPSNR.
    """
    num, _, den = reference.frame_rate_text.partition("/")
    number = f"settb={den or 1}/{num},setpts=N"
    small = f"scale={_THUMBNAIL_WIDTH}:{_THUMBNAIL_HEIGHT}:flags=area,format=gray"
    size = (reference.width, reference.height)
    is_same_size = (distorted.width, distorted.height) == size
    fitted = "" if is_same_size else f"scale={size[0]}:{size[1]}:flags=bicubic,"
    pixel_format = _deeper(distorted.pixel_format, reference.pixel_format)
    return (
        f"[0:V:0]{number},split[d][d0];[1:V:0]{number},split[r][r0];"
        f"[d]{fitted}format={pixel_format},split=3[d1][d3][d4];"
        f"[r]format={pixel_format},split=3[r1][r3][r4];"
        f"[d1][r1]libvmaf=model='version={model}\\:name=vmaf|version={model}neg\\:name=vmaf_neg'"
        f":feature='name=psnr|name=float_ssim':n_threads={threads}"
        f":log_fmt=csv:log_path={_LOGS.vmaf}:shortest=1[v];"
        f"[d3][r3]ssim=stats_file={_LOGS.ssim}:shortest=1[s];"
        f"[d4][r4]xpsnr=stats_file={_LOGS.xpsnr}:shortest=1[x];"
        f"[d0]{small}[d2];[r0]{small}[r2]"
    )


def _model(reference: VideoProbe) -> str:
    """Return the VMAF model for frames of the reference's size."""
    return command.VMAF_4K_MODEL if reference.height >= _LINES_4K else command.VMAF_MODEL


def _colour_problem(output: Colour, source: Colour) -> str:
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


def _deeper(first: str, second: str) -> str:
    """Return the pixel format of the comparison: 4:2:0, with 10 bits if either has more than 8."""
    deep = any("10" in name or "12" in name or "16" in name for name in (first, second))
    return "yuv420p10le" if deep else "yuv420p"


def _read_thumbnails(file: Path) -> NDArray[np.uint8]:
    shape = (_THUMBNAIL_HEIGHT * _THUMBNAIL_WIDTH,)
    size = file.stat().st_size // shape[0]
    if not size:
        return np.empty((0, *shape), dtype=np.uint8)
    return np.memmap(file, dtype=np.uint8, mode="r", shape=(size, *shape))


def _pairing_problem(
    distorted: NDArray[np.uint8], reference: NDArray[np.uint8], pairs: set[int], frames: int
) -> str:
    """Return why frames may have been paired wrongly, or "" if nothing indicates it."""
    if not len(distorted) == len(reference) == frames or pairs != {frames}:
        counts = " or ".join(str(count) for count in sorted(pairs))
        return (
            f"of {frames} frames {len(distorted)} of the output and {len(reference)} of the "
            f"source were decoded and {counts} pairs compared"
        )
    evidence = {
        shift: _difference(distorted, reference, shift, shift)
        / max(_difference(distorted, reference, 0, shift), _LEAST_DIFFERENCE)
        for shift in _SHIFTS
        if abs(shift) < frames
    }
    best = min(evidence, key=lambda shift: evidence[shift], default=0)
    if best and evidence[best] < _SHIFT_EVIDENCE:
        return f"the output's frames match the source's better when shifted by {best}"
    return ""


def _difference(
    distorted: NDArray[np.uint8], reference: NDArray[np.uint8], shift: int, window: int
) -> float:
    """Return the mean squared difference between output frames n and source frames n + shift.

    Only those n are used for which the source has a frame n + window, so that different shifts
    are compared over the same output frames in clips of any length.
    """
    first, end_all = max(0, -window), len(distorted) - max(0, window)
    total = 0.0
    for start in range(first, end_all, _CHUNK_FRAMES):
        end = min(start + _CHUNK_FRAMES, end_all)
        output = distorted[start:end].astype(np.float32)
        source = reference[start + shift : end + shift].astype(np.float32)
        total += float(np.square(output - source).mean()) * (end - start)
    return total / (end_all - first)
