"""Tests of the search for a VMAF over generated curves of quality."""

import math
from collections.abc import Callable

import pytest
from ffrtmp_shared.encoders import ENCODERS, Quality
from ffrtmp_worker.kinds.steps.vmaf_search import (
    MAX_PROBES,
    Found,
    Predicted,
    Probe,
    Refused,
    Target,
    Try,
    describe_miss,
    next_step,
)
from hypothesis import given
from hypothesis import strategies as st
from property_budget import budget

Curve = Callable[[float], float]

X264 = ENCODERS["libx264"].quality[1]
SVT_AV1 = ENCODERS["libsvtav1"].quality[1]
SCALES = sorted({encoder.quality[1] for encoder in ENCODERS.values()}, key=str)


def search(target: Target, curve: Curve) -> tuple[Found | Predicted | Refused, list[Probe]]:
    """Search along a curve, and check each step."""
    probes: list[Probe] = []
    while isinstance(step := next_step(target, probes), Try):
        assert target.scale.accepts(step.setting)
        assert step.setting not in [probe.setting for probe in probes]
        probes.append(Probe(setting=step.setting, vmaf=curve(step.setting)))
        assert len(probes) <= MAX_PROBES
    return step, probes


def logistic(scale: Quality, middle: float, steepness: float, best: float) -> Curve:
    """Return a curve that falls from about `best` and has half of it at the place `middle`."""

    def vmaf(setting: float) -> float:
        place = (setting - scale.least) / (scale.most - scale.least)
        return best / (1 + math.exp((place - middle) * steepness))

    return vmaf


def settings(scale: Quality) -> list[float]:
    """Return all settings that a search may try."""
    count = round((scale.most - scale.least) / scale.step)
    return [scale.nearest(scale.least + n * scale.step, scale.least, scale.most)
            for n in range(count + 1)]  # fmt: skip


targets = st.floats(1, 99).map(lambda value: round(value, 1))
tolerances = st.sampled_from([0.1, 0.5, 1.0, 3.0])
scales = st.sampled_from(SCALES)
curves = st.tuples(st.floats(0.4, 1.1), st.floats(3, 20), st.floats(60, 100))


@pytest.mark.property
@budget(100)
@given(targets, tolerances, scales, curves)
def test_a_search_along_a_falling_curve_ends_correctly(
    vmaf: float, tolerance: float, scale: Quality, shape: tuple[float, float, float]
) -> None:
    curve = logistic(scale, *shape)
    target = Target(vmaf=vmaf, tolerance=tolerance, scale=scale)
    end, probes = search(target, curve)
    if isinstance(end, Found):
        assert end.probe in probes
        assert abs(end.probe.vmaf - vmaf) <= tolerance
        return
    if isinstance(end, Predicted):
        assert len(probes) == MAX_PROBES
        assert scale.accepts(end.setting)
        above = [probe.setting for probe in probes if probe.vmaf > vmaf]
        below = [probe.setting for probe in probes if probe.vmaf < vmaf]
        assert max(above) < end.setting < min(below)
        return
    is_reachable = any(abs(curve(setting) - vmaf) <= tolerance for setting in settings(scale))
    assert len(probes) == MAX_PROBES or not is_reachable
    if curve(scale.least) < vmaf - tolerance:
        assert "best setting" in end.reason or len(probes) == MAX_PROBES
    elif curve(scale.most) > vmaf + tolerance:
        assert "worst setting" in end.reason or len(probes) == MAX_PROBES


@pytest.mark.property
@budget(100)
@given(st.floats(80, 97), st.floats(0.7, 0.95), st.floats(7, 12))
def test_usual_curves_are_reached_within_half_a_point(
    vmaf: float, middle: float, steepness: float
) -> None:
    # Such curves are those of x264 and x265 on films.
    target = Target(vmaf=vmaf, tolerance=0.5, scale=X264)
    end, _ = search(target, logistic(X264, middle, steepness, 100))
    assert isinstance(end, Found)


@pytest.mark.slow
@pytest.mark.property
@budget(100)
@given(targets, tolerances, scales, curves, st.randoms(use_true_random=False))
def test_scores_that_do_not_always_fall_end_a_search_too(
    vmaf: float, tolerance: float, scale: Quality, shape: tuple[float, float, float], random: object
) -> None:
    curve = logistic(scale, *shape)
    noise = {setting: random.uniform(-1.5, 1.5) for setting in settings(scale)}  # type: ignore[attr-defined]

    def noisy(setting: float) -> float:
        return min(max(curve(setting) + noise[setting], 0.0), 100.0)

    end, probes = search(Target(vmaf=vmaf, tolerance=tolerance, scale=scale), noisy)
    if isinstance(end, Found):
        assert abs(end.probe.vmaf - vmaf) <= tolerance
        assert noisy(end.probe.setting) == end.probe.vmaf
    assert probes


@pytest.mark.property
@budget(100)
@given(targets, tolerances, scales, st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_plateaus_end_a_search_too(
    vmaf: float, tolerance: float, scale: Quality, levels: list[float]
) -> None:
    falling = sorted(levels, reverse=True)

    def stairs(setting: float) -> float:
        place = (setting - scale.least) / (scale.most - scale.least)
        return falling[min(int(place * len(falling)), len(falling) - 1)]

    end, _ = search(Target(vmaf=vmaf, tolerance=tolerance, scale=scale), stairs)
    if isinstance(end, Found):
        assert abs(end.probe.vmaf - vmaf) <= tolerance


@pytest.mark.property
@budget(100)
@given(scales, st.floats(0, 90))
def test_a_target_above_the_best_setting_is_refused_with_its_score(
    scale: Quality, best: float
) -> None:
    target = Target(vmaf=93, tolerance=0.5, scale=scale)
    end, probes = search(target, lambda _: best)
    assert isinstance(end, Refused)
    assert end.reason == f"the best setting, {scale.least:g}, reaches only {best:.2f}"
    assert probes[-1].setting == scale.least


def test_a_target_below_the_worst_setting_is_refused_with_its_score() -> None:
    target = Target(vmaf=30, tolerance=0.5, scale=SVT_AV1)
    end, probes = search(target, lambda setting: 99.0 - setting / 10)
    assert isinstance(end, Refused)
    assert end.reason == "even the worst setting, 63, reaches 92.70"
    assert probes[-1].setting == 63


def test_a_target_between_two_whole_settings_is_refused_with_both_scores() -> None:
    target = Target(vmaf=93, tolerance=0.5, scale=SVT_AV1)
    probes = [Probe(setting=41, vmaf=92.1), Probe(setting=40, vmaf=94.6)]
    assert next_step(target, probes) == Refused(
        "no setting lies between 40 with 94.60 and 41 with 92.10"
    )


def test_a_search_without_a_hit_predicts_a_setting_between_the_closest_probes() -> None:
    target = Target(vmaf=93, tolerance=0.1, scale=X264)
    probes = [Probe(setting=float(setting), vmaf=score)
              for setting, score in ((26, 90.0), (20, 96.0), (24, 93.2), (25, 92.0))]  # fmt: skip
    assert next_step(target, probes) == Predicted(24.2)
    assert describe_miss(target, probes) == "the closest of 4 probes, 24, reaches 93.20"


def test_a_search_whose_probes_are_all_better_names_the_closest() -> None:
    target = Target(vmaf=93, tolerance=0.1, scale=X264)
    probes = [Probe(setting=float(setting), vmaf=99.0 - setting / 10) for setting in range(10, 14)]
    assert next_step(target, probes) == Refused("the closest of 4 probes, 13, reaches 97.70")


def test_the_best_of_several_hits_is_used() -> None:
    target = Target(vmaf=93, tolerance=1, scale=X264)
    probes = [Probe(setting=24.0, vmaf=92.5), Probe(setting=23.5, vmaf=92.9)]
    assert next_step(target, probes) == Found(probes[1])


@pytest.mark.parametrize(("value", "expected"), [(23.456, 23.5), (-3, 5), (60, 51), (5.04, 5)])
def test_settings_of_a_scale_with_fractions_are_tenths(value: float, expected: float) -> None:
    assert X264.nearest(value, X264.least, X264.most) == expected


def test_settings_of_a_whole_scale_are_whole() -> None:
    assert SVT_AV1.nearest(34.6, 6, 63) == 35
    assert SVT_AV1.nearest(0.2, 6, 63) == 6
