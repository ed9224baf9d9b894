"""Means and percentiles of the quality scores of a rendition."""

import math

import numpy as np
from ffrtmp_shared.measurement import QualityMeasurement
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_worker.measure.frame_scores import METRICS, FrameScores

NOT_REQUESTED = Unavailable(reason="the suite switched it off (quality)")
"""The value of a score that the suite does not request."""


def summarize_scores(scores: FrameScores, model: str) -> QualityMeasurement:
    """Pool the scores of the frames. The harmonic mean has an offset of 1, as in libvmaf.

    Args:
        scores: The scores of at least one frame; a metric that is missing was not requested.
        model: The VMAF model that computed them.

    Returns:
        The pooled scores.
    """
    vmaf = scores["vmaf"]
    means: dict[str, float | Unavailable] = dict.fromkeys(METRICS, NOT_REQUESTED)
    means |= {name: math.fsum(column) / len(column) for name, column in scores.items()}
    return QualityMeasurement(
        vmaf_model=model,
        vmaf_mean=float(vmaf.mean()),
        vmaf_harmonic_mean=float(len(vmaf) / np.sum(1.0 / (vmaf + 1.0)) - 1.0),
        vmaf_min=float(vmaf.min()),
        vmaf_p1=float(np.percentile(vmaf, 1)),
        vmaf_p5=float(np.percentile(vmaf, 5)),
        vmaf_p10=float(np.percentile(vmaf, 10)),
        vmaf_std=float(vmaf.std()),
        vmaf_neg_mean=means["vmaf_neg"],
        psnr_y_mean_db=means["psnr_y"],
        psnr_cb_mean_db=means["psnr_cb"],
        psnr_cr_mean_db=means["psnr_cr"],
        ssim_libvmaf_mean=means["float_ssim"],
        pairs=len(vmaf),
    )
