"""Picture quality of results, and the quality per watt and per bit."""

from typing import NamedTuple

from ffrtmp_analysis import efficiency
from ffrtmp_shared.measurement import QualityMeasurement
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_master.exporters.scenario_labels import ScenarioGauge


class PictureQuality(NamedTuple):
    """Quality of the pictures of a result or of a rendition. An unknown value is None."""

    vmaf_model: str
    vmaf_mean: float
    vmaf_harmonic_mean: float
    vmaf_p1: float
    vmaf_p5: float
    vmaf_min: float
    vmaf_neg_mean: float | None
    psnr_y_db: float | None
    ssim_ffmpeg: float | None
    xpsnr_y_db: float | None
    vmaf_per_watt: float | None
    vmaf_per_bit_per_s: float | None


MODEL = ScenarioGauge("ffrtmp_qoe_vmaf_model", "", "The model with which VMAF was computed")

QUALITY_GAUGES = {
    "vmaf_mean": ScenarioGauge("ffrtmp_qoe_vmaf_mean", "", "Mean VMAF over the frames"),
    "vmaf_harmonic_mean": ScenarioGauge(
        "ffrtmp_qoe_vmaf_harmonic_mean", "", "Harmonic mean of VMAF over the frames"
    ),
    "vmaf_p1": ScenarioGauge("ffrtmp_qoe_vmaf_p1", "", "VMAF that 1 % of the frames do not exceed"),
    "vmaf_p5": ScenarioGauge("ffrtmp_qoe_vmaf_p5", "", "VMAF that 5 % of the frames do not exceed"),
    "vmaf_min": ScenarioGauge("ffrtmp_qoe_vmaf_min", "", "Lowest VMAF of a frame"),
    "vmaf_neg_mean": ScenarioGauge(
        "ffrtmp_qoe_vmaf_neg_mean",
        "",
        "Mean VMAF over the frames with the model without enhancement gain (NEG), for comparing "
        "codecs",
    ),
    "psnr_y_db": ScenarioGauge(
        "ffrtmp_qoe_psnr_y_decibels",
        "decibels",
        "Mean PSNR of the luma over the frames, by libvmaf, which limits it (to 60 dB for 8 bits)",
    ),
    "ssim_ffmpeg": ScenarioGauge(
        "ffrtmp_qoe_ssim_ffmpeg_ratio",
        "ratio",
        "Mean SSIM over the frames and all planes, by FFmpeg; 1 for identical pictures",
    ),
    "xpsnr_y_db": ScenarioGauge(
        "ffrtmp_qoe_xpsnr_y_decibels", "decibels", "XPSNR of the luma of the whole clip, by FFmpeg"
    ),
    "vmaf_per_watt": ScenarioGauge(
        "ffrtmp_qoe_vmaf_per_watt",
        "",
        "Mean VMAF divided by the mean power in watts of the CPU packages, memory and NVIDIA GPUs "
        "during the encode, if measured; compare only encodes of similar quality",
    ),
    "vmaf_per_bit_per_s": ScenarioGauge(
        "ffrtmp_qoe_vmaf_per_bit_per_second",
        "",
        "Mean VMAF divided by the mean bit rate of the video in bits per second; compare only "
        "encodes of similar quality",
    ),
}
"""The gauges of each field that has one."""


def picture_quality(
    quality: QualityMeasurement | Unavailable,
    *,
    bits_per_s: float | None,
    power_w: float | None,
) -> PictureQuality | None:
    """Return the quality of pictures, or None if it was not measured.

    Args:
        quality: The measured quality.
        bits_per_s: The mean bit rate of the video whose quality it is, in bits per second, or None
            if it is unknown.
        power_w: The mean power of the host while this output was encoded, in watts, or None if it
            is unknown.
    """
    if isinstance(quality, Unavailable):
        return None
    vmaf = quality.vmaf_mean
    return PictureQuality(
        vmaf_model=quality.vmaf_model,
        vmaf_mean=vmaf,
        vmaf_harmonic_mean=quality.vmaf_harmonic_mean,
        vmaf_p1=quality.vmaf_p1,
        vmaf_p5=quality.vmaf_p5,
        vmaf_min=quality.vmaf_min,
        vmaf_neg_mean=known(quality.vmaf_neg_mean),
        psnr_y_db=known(quality.psnr_y_mean_db),
        ssim_ffmpeg=known(quality.ssim_ffmpeg_mean),
        xpsnr_y_db=known(quality.xpsnr_y_db),
        vmaf_per_watt=efficiency.quality_per_watt(vmaf, power_w),
        vmaf_per_bit_per_s=efficiency.quality_per_bit_per_second(vmaf, bits_per_s),
    )


def known(value: float | Unavailable) -> float | None:
    """Return a measured value, or None if it is unavailable."""
    return None if isinstance(value, Unavailable) else value
