"""Calibration of the quality metrics on pictures whose differences are known.

A metric that is wrong for identical pictures, or for a known difference, is wrong for every encode.
This may depend on the FFmpeg build, the size and the bit depth: XPSNR in some builds is correct at
8 bits, but at 10 bits only for some sizes, most of which have a width that is a multiple of 32.
"""

import logging
import math
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from ffrtmp_worker.ffmpeg import comparison_command, process
from ffrtmp_worker.measure.filter_scores import ssim_of_frames, xpsnr_of_frames_db
from ffrtmp_worker.measure.frame_scores import UnreadableScoresError, read_scores
from ffrtmp_worker.measure.json_cache import JsonCache
from ffrtmp_worker.measure.quality_graph import LOGS, Comparison, calibration_graph

_log = logging.getLogger(__name__)

_RELEASE = 1
"""Release of the procedure; cached results of other releases are not used."""

_DEADLINE_S = 120.0

COMMON_SIZES = ((320, 180), (336, 180), (330, 182), (331, 181))
"""Sizes that are calibrated at the start of the agent. Their widths are multiples of 32, of 16, of
2, and of none of these."""

_DEPTHS = ("yuv420p", "yuv420p10le")

# The frames of the clip: two identical ones, one with an offset, and a blurred one.
_FRAMES = 4
_SAME, _OFFSET, _BLURRED = (0, 1), 2, 3

_OFFSET_8_BITS = 8
_OFFSET_DB = 20 * math.log10(255 / _OFFSET_8_BITS)
"""PSNR of pictures whose samples all differ by 8 of 255, in dB."""

_PSNR_SLACK_DB = 0.2
_XPSNR_SLACK_DB = 15.0
"""Largest deviation of XPSNR from the PSNR of an offset, in dB.

XPSNR weights the error of a block by the activity of the picture, so the two are not equal.
"""

_IDENTICAL_DB = 50.0
"""Least PSNR or XPSNR of identical pictures, in dB. libvmaf limits PSNR to 60 dB at 8 bits."""

_IDENTICAL_VMAF = 90.0
_IDENTICAL_SSIM = 0.999
_BLUR_VMAF = 10.0
"""Least decrease of VMAF in a blurred picture."""

_BLUR_SSIM = 0.005
"""Least decrease of SSIM in a blurred picture."""


class CalibrationFailedError(Exception):
    """The calibration could not be run, so that nothing is known about the metrics."""


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stored calibration: the reason why each metric that failed cannot be used."""

    faults: dict[str, str]


class Calibration:
    """The calibrations of the metrics of one FFmpeg build, by size and bit depth.

    They are cached in memory and, for all agents of the host, in a folder.
    """

    def __init__(self, folder: Path | None, ffmpeg: Path, ffmpeg_sha256: str) -> None:
        """Create the cache.

        Args:
            folder: The folder of the cache. If it is None, nothing is stored.
            ffmpeg: The FFmpeg that measures quality.
            ffmpeg_sha256: The digest of its file.
        """
        self._files = JsonCache(folder, _Record)
        self._ffmpeg = ffmpeg
        self._ffmpeg_sha256 = ffmpeg_sha256
        self._known: dict[Comparison, Mapping[str, str]] = {}

    def faults(
        self, how: Comparison, threads: int, stop: Callable[[], bool] = lambda: False
    ) -> Mapping[str, str]:
        """Return the metrics that cannot be used for a comparison, each with the reason.

        Args:
            how: The size, pixel format and model of the comparison.
            threads: The number of threads of libvmaf.
            stop: A function that returns true when the calibration is to stop.

        Returns:
            The reasons by the name of the metric: vmaf, vmaf_neg, psnr, float_ssim, ssim or xpsnr.

        Raises:
            CalibrationFailedError: FFmpeg failed or was stopped.
        """
        known = self._known.get(how)
        if known is None:
            stored = self._files.load(self._name(how))
            known = None if stored is None else stored.faults
        if known is None:
            known = run_calibration(self._ffmpeg, how, threads, stop)
            self._files.store(self._name(how), _Record(dict(known)))
        self._known[how] = known
        return known

    def check_common_sizes(self, threads: int, stop: Callable[[], bool] = lambda: False) -> None:
        """Calibrate for usual sizes and bit depths, and log the metrics that fail."""
        for width, height in COMMON_SIZES:
            for pixel_format in _DEPTHS:
                how = Comparison(width, height, pixel_format, comparison_command.VMAF_MODEL)
                try:
                    faults = self.faults(how, threads, stop)
                except (CalibrationFailedError, OSError) as error:
                    # A job that cannot be calibrated either reports the reason.
                    _log.warning("the quality metrics were not calibrated: %s", error)
                    return
                for metric, reason in faults.items():
                    _log.warning("a quality metric is not used", extra={metric: reason})

    def _name(self, how: Comparison) -> str:
        size = f"{how.width}x{how.height}-{how.pixel_format}"
        return f"calibration-{_RELEASE}-{self._ffmpeg_sha256}-{size}"


def run_calibration(
    ffmpeg: Path, how: Comparison, threads: int, stop: Callable[[], bool] = lambda: False
) -> Mapping[str, str]:
    """Compare generated pictures, and return the metrics with wrong scores, with the reasons.

    Args:
        ffmpeg: The FFmpeg with libvmaf.
        how: The size, pixel format and model of the comparison.
        threads: The number of threads of libvmaf.
        stop: A function that returns true when the calibration is to stop.

    Raises:
        CalibrationFailedError: FFmpeg failed or was stopped.
        OSError: FFmpeg cannot be started.
    """
    offset = _OFFSET_8_BITS << (how.bits - 8)
    with tempfile.TemporaryDirectory(prefix="ffrtmp-calibration-") as name:
        folder = Path(name)
        outcome = process.run_process(
            comparison_command.calibrate(
                ffmpeg.absolute(),
                size=f"{how.width}x{how.height}",
                frames=_FRAMES,
                graph=calibration_graph(how, offset, threads),
            ),
            cwd=folder,
            log=folder / "calibration.log",
            deadline_s=_DEADLINE_S,
            stop=stop,
        )
        if outcome.stopped_by is not None:
            raise CalibrationFailedError(f"it was stopped by its {outcome.stopped_by}")
        if outcome.exit_code < 0:
            signal_name = signal.Signals(-outcome.exit_code).name
            raise CalibrationFailedError(f"FFmpeg was ended by {signal_name}")
        if outcome.exit_code:
            raise CalibrationFailedError(" ".join(outcome.log_tail.splitlines()[-1:]))
        try:
            scores = read_scores(folder / LOGS.vmaf)
        except UnreadableScoresError as error:
            raise CalibrationFailedError(str(error)) from error
        ssim, xpsnr = ssim_of_frames(folder / LOGS.ssim), xpsnr_of_frames_db(folder / LOGS.xpsnr)
    if len(scores["vmaf"]) != _FRAMES:
        raise CalibrationFailedError(f"{len(scores['vmaf'])} of {_FRAMES} frames were compared")
    planes = zip(scores["psnr_y"], scores["psnr_cb"], scores["psnr_cr"], strict=True)
    found = {
        **{name: _vmaf_fault(list(scores[name])) for name in ("vmaf", "vmaf_neg")},
        "psnr": _decibel_fault(list(planes), _PSNR_SLACK_DB),
        "float_ssim": _ssim_fault(list(scores["float_ssim"])),
        "ssim": _ssim_fault(ssim),
        "xpsnr": _decibel_fault(xpsnr, _XPSNR_SLACK_DB),
    }
    where = f"{how.width}x{how.height} with {how.bits} bits"
    return {
        metric: f"the metric is wrong in this FFmpeg build for {where}: {fault}"
        for metric, fault in found.items()
        if fault
    }


def _vmaf_fault(scores: Sequence[float]) -> str:
    """Return what is wrong with the scores of the four frames, or ""."""
    worst = min(scores[place] for place in _SAME)
    if not worst >= _IDENTICAL_VMAF:
        return f"identical pictures have a score of {worst:.1f}"
    if not 0 <= scores[_BLURRED] <= worst - _BLUR_VMAF:
        return f"a blurred picture has a score of {scores[_BLURRED]:.1f}"
    return ""


def _ssim_fault(scores: Sequence[float]) -> str:
    if len(scores) != _FRAMES:
        return f"{len(scores)} of {_FRAMES} frames have a score"
    worst = min(scores[place] for place in _SAME)
    if not _IDENTICAL_SSIM <= worst <= 1.0 + 1e-6:
        return f"identical pictures have a score of {worst:.4f}"
    if not -1.0 <= scores[_BLURRED] <= worst - _BLUR_SSIM:
        return f"a blurred picture has a score of {scores[_BLURRED]:.4f}"
    return ""


def _decibel_fault(scores_db: Sequence[Sequence[float]], slack_db: float) -> str:
    """Return what is wrong with the scores of the planes of the four frames, or ""."""
    if len(scores_db) != _FRAMES:
        return f"{len(scores_db)} of {_FRAMES} frames have a score"
    worst = min(plane for place in _SAME for plane in scores_db[place])
    if not worst >= _IDENTICAL_DB:
        return f"identical pictures have {worst:.1f} dB"
    for plane in scores_db[_OFFSET]:
        if not abs(plane - _OFFSET_DB) <= slack_db:
            return f"a difference of {_OFFSET_DB:.1f} dB has {plane:.1f} dB"
    if not max(scores_db[_BLURRED]) < _IDENTICAL_DB:
        return f"a blurred picture has {max(scores_db[_BLURRED]):.1f} dB"
    return ""
