"""Rate points: settings of an encoder that determine the bit rate or the quality of its output."""

from typing import Annotated

import msgspec
from msgspec import Meta

from ffrtmp_shared.encoders import Encoder, QualityControl, RateControl
from ffrtmp_shared.suite_limits import MAX_VMAF, MAX_VMAF_TOLERANCE, MIN_VMAF, MIN_VMAF_TOLERANCE

DEFAULT_VMAF_TOLERANCE = 0.5
"""The default deviation from a requested VMAF that is permitted."""

_ALL_BUT_ONE = 3


class RatePoint(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Rate control settings of an encoder. Exactly one of crf, cq, bitrate_kbps and vmaf is set.

    `crf` is a constant quality on the scale of a software encoder. `cq` is a constant quantizer or
    quality for encoders without CRF, which are the hardware encoders and rav1e. `bitrate_kbps` is
    the average bit rate of the video stream in kbit/s (1,000 bit/s), which is reached in one or two
    `passes`. `max_kbps` limits the rate over a decoder buffer of `buffer_kbit`. By default, the
    buffer holds one second at `max_kbps`.

    `vmaf` is a mean VMAF. The worker searches for the constant quality of the encoder with which
    the output of the clip deviates from it by at most `vmaf_tolerance`.
    """

    crf: Annotated[float, Meta(ge=0, le=63)] | None = None
    cq: Annotated[int, Meta(ge=0, le=255)] | None = None
    bitrate_kbps: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    passes: Annotated[int, Meta(ge=1, le=2)] = 1
    max_kbps: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    buffer_kbit: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None
    vmaf: Annotated[float, Meta(ge=MIN_VMAF, le=MAX_VMAF)] | None = None
    vmaf_tolerance: Annotated[float, Meta(ge=MIN_VMAF_TOLERANCE, le=MAX_VMAF_TOLERANCE)] = (
        DEFAULT_VMAF_TOLERANCE
    )

    def __post_init__(self) -> None:
        """Reject missing and conflicting settings."""
        if [self.crf, self.cq, self.bitrate_kbps, self.vmaf].count(None) != _ALL_BUT_ONE:
            raise ValueError("a rate point must set exactly one of crf, cq, bitrate_kbps, vmaf")
        if self.vmaf_tolerance != DEFAULT_VMAF_TOLERANCE and self.vmaf is None:
            raise ValueError("vmaf_tolerance requires vmaf")
        if self.passes > 1 and self.bitrate_kbps is None:
            raise ValueError("two passes require bitrate_kbps")
        if self.buffer_kbit is not None and self.max_kbps is None:
            raise ValueError("buffer_kbit requires max_kbps")
        if self.max_kbps is not None and self.max_kbps < (self.bitrate_kbps or 0):
            raise ValueError("max_kbps is below bitrate_kbps")

    def control(self, encoder: Encoder) -> RateControl:
        """Return the rate control of `encoder` that the rate point uses."""
        if self.bitrate_kbps is not None:
            return "bitrate_kbps"
        if self.vmaf is not None:
            return encoder.quality[0]
        return "cq" if self.crf is None else "crf"

    def with_quality(self, control: QualityControl, value: float) -> "RatePoint":
        """Return the rate point with a constant quality instead of a requested VMAF."""
        quality = {"crf": value} if control == "crf" else {"cq": int(value)}
        return RatePoint(max_kbps=self.max_kbps, buffer_kbit=self.buffer_kbit, **quality)

    @property
    def label(self) -> str:
        """A short name for tables and labels, such as `1500k`, `crf23`, `crf23-max4000k`, `vmaf93`.

        A tolerance is part of the name unless it is the default, as in `vmaf93-tol1`.
        """
        if self.bitrate_kbps is not None:
            name = f"{self.bitrate_kbps}k" + ("-2pass" if self.passes > 1 else "")
        elif self.crf is not None:
            name = f"crf{self.crf:g}"
        elif self.vmaf is not None:
            name = f"vmaf{self.vmaf:g}"
            if self.vmaf_tolerance != DEFAULT_VMAF_TOLERANCE:
                name += f"-tol{self.vmaf_tolerance:g}"
        else:
            name = f"cq{self.cq}"
        if self.max_kbps is not None:
            name += f"-max{self.max_kbps}k"
        return name + (f"-buf{self.buffer_kbit}k" if self.buffer_kbit is not None else "")
