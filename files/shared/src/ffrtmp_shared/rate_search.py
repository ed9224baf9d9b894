"""Search for the setting with which an encode reaches a VMAF."""

from typing import Annotated

import msgspec
from msgspec import Meta

from ffrtmp_shared.constrained_types import Amount, Word

MAX_RATE_PROBES = 16
"""Maximum number of probes in a result; agents of later releases may use more than now."""


class RateProbe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One probe of a search: a complete encode of the source with this setting, and its output.

    `video_bitrate_kbps` has the same meaning as in `OutputMeasurement`, and `vmaf_mean` as in
    `QualityMeasurement`.
    """

    setting: Amount
    vmaf_mean: Amount
    video_bitrate_kbps: Amount


class RateSearch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The search for the setting with which an encode reaches the requested VMAF.

    `setting` is the value of `control`, which is `crf` or `cq`, that the measured encode used. It
    is that of the probe whose VMAF deviates from `vmaf_target` by at most `vmaf_tolerance`. If no
    probe does, the setting follows from all probes, and the measured encode has such a VMAF.
    `probes` lists all probes in their order. They took `duration_s` seconds before the measurement
    and are included neither in its times nor in its energy. If `is_cached` is true, an earlier job
    on this node made the probes, with the same source, encoder settings and FFmpeg.
    """

    vmaf_target: Amount
    vmaf_tolerance: Amount
    control: Word
    setting: Amount
    probes: Annotated[tuple[RateProbe, ...], Meta(min_length=1, max_length=MAX_RATE_PROBES)]
    duration_s: Amount
    is_cached: bool = False

    @property
    def is_confirmed(self) -> bool:
        """Return whether a probe had the setting that was found."""
        return any(probe.setting == self.setting for probe in self.probes)

    def is_reached(self, vmaf_mean: float) -> bool:
        """Return whether a VMAF is within the tolerance."""
        return abs(vmaf_mean - self.vmaf_target) <= self.vmaf_tolerance
