"""Filter graphs of the quality pass and of the calibration, with the files that they write."""

import re
from fractions import Fraction
from typing import NamedTuple

from ffrtmp_shared.scenario import ALL_SCORES, QualitySettings

from ffrtmp_worker.ffmpeg import comparison_command
from ffrtmp_worker.ffmpeg.probe import VideoProbe

THUMBNAIL_WIDTH = 64
THUMBNAIL_HEIGHT = 36
"""Size of the gray thumbnails with which the quality pass checks the alignment of frames."""

_LINES_4K = 2160
_COLUMNS_4K = 3840
# The bits of a sample, or of all samples of a pixel for packed RGB, before the byte order.
_DEEP_FORMAT = re.compile(r"(?:9|1[0-6]|32|48|64)(?:le|be)$|^x2(?:rgb|bgr)")
_LEAST_SIGMA = 2.0
_LINES_OF_SIGMA = 90
"""Height of a picture for each pixel of the standard deviation of the blur in the calibration."""


EXTRA_FRAMES = 4
"""Frames of the source that are read beyond the last one of a stream, to check the alignment."""


class ScoreLogs(NamedTuple):
    """The files that the filters write: the logs of libvmaf and of two filters of FFmpeg."""

    vmaf: str
    ssim: str
    xpsnr: str


LOGS = ScoreLogs(vmaf="vmaf.csv", ssim="ssim.log", xpsnr="xpsnr.log")


class Comparison(NamedTuple):
    """Size, pixel format and VMAF model with which frames are compared."""

    width: int
    height: int
    pixel_format: str
    model: str

    @property
    def bits(self) -> int:
        """The number of bits of a sample."""
        return 10 if self.pixel_format == "yuv420p10le" else 8


def comparison_of(distorted: VideoProbe, reference: VideoProbe) -> Comparison:
    """Return how two videos are compared: 4:2:0, with 10 bits if either has more than 8.

    The model for 2160 lines is used if either side has as many samples as a 4K picture: a film of
    3840x1600 is a 4K picture without its black bars.
    """
    formats = (distorted.pixel_format, reference.pixel_format)
    deep = any(_DEEP_FORMAT.search(name) for name in formats)
    is_4k = reference.height >= _LINES_4K or reference.width >= _COLUMNS_4K
    return Comparison(
        width=reference.width,
        height=reference.height,
        pixel_format="yuv420p10le" if deep else "yuv420p",
        model=comparison_command.VMAF_4K_MODEL if is_4k else comparison_command.VMAF_MODEL,
    )


def quality_graph(
    distorted: VideoProbe,
    reference: VideoProbe,
    threads: int,
    scores: QualitySettings = ALL_SCORES,
) -> str:
    """Return the filter graph of the quality pass, with the outputs of `score_outputs`.

    Both inputs get new time stamps that count from 0. The original time stamps of two containers
    may be rounded differently, so that wrong frames would be paired. `shortest` ends the pass with
    the shorter input, without repeating its last frame. libvmaf computes VMAF, VMAF with the
    variant of the model that ignores enhancement (NEG), PSNR and SSIM. FFmpeg's own filters compute
    SSIM and XPSNR.
    """
    how = comparison_of(distorted, reference)
    num, _, den = reference.frame_rate_text.partition("/")
    number = f"settb={den or 1}/{num},setpts=N"
    small = f"scale={THUMBNAIL_WIDTH}:{THUMBNAIL_HEIGHT}:flags=area,format=gray"
    is_same_size = (distorted.width, distorted.height) == (how.width, how.height)
    fitted = "" if is_same_size else f"scale={how.width}:{how.height}:flags=bicubic,"
    return (
        f"[0:V:0]{number},split[d][d0];[1:V:0]{number},split[r][r0];"
        f"[d]{fitted}format={how.pixel_format}[d5];[r]format={how.pixel_format}[r5];"
        f"{_metrics(how, threads, scores)};[d0]{small}[d2];[r0]{small}[r2]"
    )


def received_graph(
    received: VideoProbe,
    reference: VideoProbe,
    *,
    offset_s: float,
    frame_rate: Fraction,
    is_converted: bool,
    end: int,
    threads: int,
) -> str:
    """Return the filter graph that compares a stored stream with the source that was encoded.

    The time stamps of both are rounded to frames, as in the encoder, so that libvmaf and the other
    filters pair frames with equal time stamps. Frames of the source without a frame of the stream
    are skipped.

    Args:
        received: The format of the stored stream.
        reference: The source.
        offset_s: The time stamp of the first frame that was encoded, in seconds.
        frame_rate: The frame rate of the stream.
        is_converted: Whether the frame rate of the source was changed before the encoder.
        end: The time after the last frame of the stream to compare, in frames.
        threads: The number of threads of libvmaf.
    """
    how = comparison_of(received, reference)
    converted = f"fps={frame_rate.numerator}/{frame_rate.denominator}," if is_converted else ""
    whole = f"settb={frame_rate.denominator}/{frame_rate.numerator}"
    small = f"scale={THUMBNAIL_WIDTH}:{THUMBNAIL_HEIGHT}:flags=area,format=gray,split"
    is_same_size = (received.width, received.height) == (how.width, how.height)
    fitted = "" if is_same_size else f"scale={how.width}:{how.height}:flags=bicubic,"
    return (
        f"[0:V:0]settb=AVTB,setpts=PTS-{round(offset_s * 1e6)},{whole},"
        f"trim=end_pts={end},split[d][d0];"
        f"[1:V:0]setpts=PTS-STARTPTS,{converted}{whole},"
        f"trim=end_pts={end + EXTRA_FRAMES},split[r][r0];"
        f"[d]{fitted}format={how.pixel_format}[d5];[r]format={how.pixel_format}[r5];"
        f"{_metrics(how, threads)};[d0]{small}[d2][d3];[r0]{small}[r2][r3]"
    )


def calibration_graph(how: Comparison, offset: int, threads: int) -> str:
    """Return the filter graph that compares a generated clip with a distorted copy of itself.

    The first two frames are identical. To all samples of the third, `offset` is added. The fourth
    is blurred.
    """
    # libvmaf's SSIM reduces large pictures first, so that a slight blur would have no effect.
    sigma = max(min(how.width, how.height) / _LINES_OF_SIGMA, _LEAST_SIGMA)
    added = ":".join(f"{plane}=val+{offset}" for plane in "yuv")
    return (
        f"[0:v]format={how.pixel_format},split[r5][t];"
        f"[t]lutyuv={added}:enable='eq(n,2)',gblur=sigma={sigma:.1f}:enable='eq(n,3)'[d5];"
        f"{_metrics(how, threads)}"
    )


def score_outputs(scores: QualitySettings) -> tuple[str, ...]:
    """Return the outputs of a graph that have the scores: v of libvmaf, s of ssim, x of xpsnr."""
    wanted = {"[v]": True, "[s]": scores.ssim, "[x]": scores.xpsnr}
    return tuple(label for label, is_wanted in wanted.items() if is_wanted)


def _metrics(how: Comparison, threads: int, scores: QualitySettings = ALL_SCORES) -> str:
    """Return the part that compares d5 with r5 and has the outputs of `score_outputs`."""
    models = [f"version={how.model}\\:name=vmaf"]
    if scores.neg:
        models.append(f"version={how.model}neg\\:name=vmaf_neg")
    features = [
        f"name={name}"
        for name, is_wanted in (("psnr", scores.psnr), ("float_ssim", scores.ssim))
        if is_wanted
    ]
    feature = f":feature='{'|'.join(features)}'" if features else ""
    filters = {
        "[v]": f"libvmaf=model='{'|'.join(models)}'{feature}:n_threads={threads}"
        f":log_fmt=csv:log_path={LOGS.vmaf}:shortest=1",
        "[s]": f"ssim=stats_file={LOGS.ssim}:shortest=1",
        "[x]": f"xpsnr=stats_file={LOGS.xpsnr}:shortest=1",
    }
    inputs = {"[v]": "1", "[s]": "3", "[x]": "4"}
    outputs = score_outputs(scores)
    copies = {side: "".join(f"[{side}{inputs[label]}]" for label in outputs) for side in "dr"}
    return ";".join(
        (
            *(f"[{side}5]split={len(outputs)}{copies[side]}" for side in "dr"),
            *(f"[d{inputs[out]}][r{inputs[out]}]{filters[out]}{out}" for out in outputs),
        )
    )
