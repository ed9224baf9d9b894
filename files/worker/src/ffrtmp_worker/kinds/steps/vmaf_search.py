"""Search for the constant quality setting with which an encode reaches a VMAF score.

The functions of this module only compute the next step from the probes so far. The search is
therefore deterministic: nodes on which the probes have the same scores find the same setting.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import msgspec
from ffrtmp_shared.encoders import Quality

MAX_PROBES = 4
"""The maximum number of probes of a search."""

_PERFECT = 100.0
_LEAST_LOSS, _GREATEST_LOSS = 0.5, 99.5
"""Scores closer to the ends of VMAF's scale hardly depend on the setting."""

_USUAL_VMAF = 93.0
_USUAL_PLACE = 0.45
"""Place on the scale of settings, from 0 to 1, at which clips usually have `_USUAL_VMAF`."""

_USUAL_SLOPE = math.log(2) * 10.0
"""Usual growth of the loss over the whole scale, in logits.

The loss of most clips doubles about every five of the 51 steps of H.264.
"""

_LEAST_STEEPNESS, _GREATEST_STEEPNESS = 0.2, 3.0
"""Bounds of a slope that is derived from two probes, relative to the usual slope."""

_POINTS = 3
"""The number of probes that determine a curve."""


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """An encode with a setting, and the mean VMAF of its output."""

    setting: float
    vmaf: float


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The VMAF to reach, the permitted deviation, and the scale of the encoder's settings."""

    vmaf: float
    tolerance: float
    scale: Quality

    def is_reached(self, probe: Probe) -> bool:
        """Return whether the score of a probe is within the tolerance."""
        return abs(probe.vmaf - self.vmaf) <= self.tolerance


class Try(msgspec.Struct, frozen=True):
    """The next step of a search: a probe with this setting."""

    setting: float


class Found(msgspec.Struct, frozen=True):
    """The end of a search: a probe whose score is within the tolerance."""

    probe: Probe


class Predicted(msgspec.Struct, frozen=True):
    """The end of a search whose probes are used up: the setting that they predict.

    Its score is not known.
    """

    setting: float


class Refused(msgspec.Struct, frozen=True):
    """The end of a search without a setting, and the reason."""

    reason: str


def next_step(target: Target, probes: Sequence[Probe]) -> Try | Found | Predicted | Refused:
    """Return the next step of a search.

    The logit of the loss, which is 100 minus the score, grows about linearly with the setting. The
    first probe has the setting with which clips usually reach the target. The next setting is
    extrapolated until the target is between two probes. Then it is interpolated, with the curvature
    that a third probe shows.

    Args:
        target: The score to reach. Higher settings on its scale mean lower quality.
        probes: The probes so far, in their order.

    Returns:
        A setting that has not been probed, or the end of the search.
    """
    if probes and target.is_reached(closest := _closest(target, probes)):
        return Found(closest)
    low, high = _bracket(target, probes)
    refusal = _refusal(target, probes, low, high)
    if refusal:
        return Refused(refusal)
    scale = target.scale
    least = scale.least if low is None else low.setting + scale.step
    most = scale.most if high is None else high.setting - scale.step
    setting = scale.nearest(_estimate(target, probes, low, high), least, most)
    if len(probes) < MAX_PROBES:
        return Try(setting)
    return Predicted(setting)


def _closest(target: Target, probes: Sequence[Probe]) -> Probe:
    """Return the probe whose score is closest to the target."""
    return min(probes, key=lambda probe: abs(probe.vmaf - target.vmaf))


def _bracket(target: Target, probes: Sequence[Probe]) -> tuple[Probe | None, Probe | None]:
    """Return the probes next to the target: one with a better score, and one with a worse score.

    The scores of some encoders do not always fall when the setting rises. Of several brackets, the
    one with the highest settings is used, because it has the lowest bit rate.
    """
    ordered = sorted(probes, key=lambda probe: probe.setting)
    low = next((probe for probe in reversed(ordered) if probe.vmaf > target.vmaf), None)
    high = next(
        (probe for probe in ordered if low is None or probe.setting > low.setting),
        None,
    )
    return low, high


def _refusal(target: Target, probes: Sequence[Probe], low: Probe | None, high: Probe | None) -> str:
    """Return why no setting will be found, or "" if the search goes on."""
    scale = target.scale
    if low is None and high is not None and high.setting <= scale.least:
        return f"the best setting, {high.setting:g}, reaches only {high.vmaf:.2f}"
    if high is None and low is not None and low.setting >= scale.most:
        return f"even the worst setting, {low.setting:g}, reaches {low.vmaf:.2f}"
    if low is not None and high is not None and high.setting - low.setting < 1.5 * scale.step:
        return (
            f"no setting lies between {low.setting:g} with {low.vmaf:.2f} and {high.setting:g} "
            f"with {high.vmaf:.2f}"
        )
    if len(probes) >= MAX_PROBES and (low is None or high is None):
        return describe_miss(target, probes)
    return ""


def describe_miss(target: Target, probes: Sequence[Probe]) -> str:
    """Return the reason for a refusal after all probes."""
    closest = _closest(target, probes)
    return f"the closest of {len(probes)} probes, {closest.setting:g}, reaches {closest.vmaf:.2f}"


def _estimate(
    target: Target, probes: Sequence[Probe], low: Probe | None, high: Probe | None
) -> float:
    """Return the setting at which the target is expected."""
    scale = target.scale
    wanted = _logit(target.vmaf)
    usual_slope = _USUAL_SLOPE / (scale.most - scale.least)
    if low is not None and high is not None:
        return _interpolate(wanted, probes, low, high)
    if low is not None:
        return _extrapolate(wanted, probes, low, scale.most, usual_slope)
    if high is not None:
        return _extrapolate(wanted, probes, high, scale.least, usual_slope)
    usual_setting = scale.least + _USUAL_PLACE * (scale.most - scale.least)
    return usual_setting + (wanted - _logit(_USUAL_VMAF)) / usual_slope


def _extrapolate(
    wanted: float, probes: Sequence[Probe], end: Probe, limit: float, usual_slope: float
) -> float:
    """Return the setting at which the logit of the loss is `wanted`, beyond the last probe.

    Args:
        wanted: The logit at the target.
        probes: All probes, which are on one side of the target.
        end: The probe that is closest to the target.
        limit: The end of the scale beyond this probe.
        usual_slope: The usual growth of the logit for each step of the setting.
    """
    slope = usual_slope
    others = [probe for probe in probes if probe is not end]
    if others:
        other = min(others, key=lambda probe: abs(probe.setting - end.setting))
        found = (_logit(end.vmaf) - _logit(other.vmaf)) / (end.setting - other.setting)
        slope = min(max(found, usual_slope * _LEAST_STEEPNESS), usual_slope * _GREATEST_STEEPNESS)
    estimate = end.setting + (wanted - _logit(end.vmaf)) / slope
    is_far = abs(estimate - end.setting) > abs(limit - end.setting) / 2
    # The last probe then shows what the encoder can reach.
    return limit if is_far and len(probes) == MAX_PROBES - 1 else estimate


def _interpolate(wanted: float, probes: Sequence[Probe], low: Probe, high: Probe) -> float:
    """Return the setting at which the logit of the loss is `wanted`, between two probes.

    With three probes, the inverse of a parabola is used if it stays between the two.
    """
    line = _lagrange(wanted, [low, high])
    nearest = sorted(probes, key=lambda probe: abs(_logit(probe.vmaf) - wanted))[:_POINTS]
    logits = [_logit(probe.vmaf) for probe in sorted(nearest, key=lambda probe: probe.setting)]
    is_monotone = all(before < after for before, after in pairwise(logits))
    if len(nearest) < _POINTS or not is_monotone:
        return line
    curve = _lagrange(wanted, nearest)
    return curve if low.setting < curve < high.setting else line


def _lagrange(wanted: float, probes: Sequence[Probe]) -> float:
    """Return the setting at `wanted` of the polynomial through the probes, over their logits."""
    logits = [_logit(probe.vmaf) for probe in probes]
    return sum(
        probe.setting
        * math.prod(
            (wanted - other) / (logits[place] - other)
            for number, other in enumerate(logits)
            if number != place
        )
        for place, probe in enumerate(probes)
    )


def _logit(vmaf: float) -> float:
    """Return the logit of the loss of a score."""
    loss = min(max(_PERFECT - vmaf, _LEAST_LOSS), _GREATEST_LOSS)
    return math.log(loss / (_PERFECT - loss))
