"""Tests of the rate-distortion figures of a run as data."""

import pytest
from ansible.module_utils.ffrtmp.encode_curves import read_curves
from ansible.module_utils.ffrtmp.rate_distortion_summary import summarize_rate_distortion

from .rate_results import SVTAV1, X264, results_of


def test_pairs_have_differences_of_rate_quality_and_other_costs() -> None:
    results = [*results_of("x264", X264), *results_of("svtav1", SVTAV1)]
    found = summarize_rate_distortion(read_curves(results))
    assert found.quality == "VMAF NEG"
    (pair,) = found.pairs
    assert (pair.reference, pair.tested) == ("x264 medium", "svtav1 8")
    assert pair.rates["clip"].value == pytest.approx(-0.29, abs=0.01)
    assert pair.mean_rate.value == pytest.approx(pair.rates["clip"].value)
    quality = pair.qualities["clip"].value
    assert quality is not None
    assert 2 < quality < 5
    assert list(pair.costs) == ["cpu_s", "time_ratio"]
    assert pair.costs["time_ratio"]["clip"].value == pytest.approx(0.94 * 5 / 8 - 1, abs=0.01)


def test_the_bit_rate_at_a_quality_is_interpolated_and_never_extrapolated() -> None:
    # With one encoder, the quality is VMAF, which is one point higher than VMAF NEG here.
    (x264,) = summarize_rate_distortion(read_curves(results_of("x264", X264))).encodes
    at_80, at_90, at_95 = x264.targets
    assert at_80.value is not None
    assert 484 < at_80.value < 775
    assert at_90.value is not None
    assert 775 < at_90.value < 1298
    assert at_95.value is None
    assert at_95.reason == "x264 medium: 95 is above the measured qualities, 74.07 to 94.50"


def test_a_disturbed_encode_has_a_reason_instead_of_the_ratio_of_speeds() -> None:
    verdict = {"state": "degraded", "reasons": [{"code": "other-load", "detail": "a compiler"}]}
    results = [*results_of("x264", X264), *results_of("svtav1", SVTAV1, verdict=verdict)]
    (pair,) = summarize_rate_distortion(read_curves(results)).pairs
    assert pair.costs["time_ratio"]["clip"].value is None
    assert pair.costs["time_ratio"]["clip"].reason == (
        "other load or steal degraded most repeats of svtav1 8"
    )
    assert pair.rates["clip"].value is not None


def test_few_points_have_reasons_instead_of_figures() -> None:
    results = [*results_of("x264", X264[:3]), *results_of("svtav1", SVTAV1)]
    found = summarize_rate_distortion(read_curves(results))
    (pair,) = found.pairs
    assert pair.rates["clip"].value is None
    assert pair.rates["clip"].reason
    assert all(target.reason for target in found.encodes[0].targets)


def test_several_sizes_of_an_encoder_have_a_hull() -> None:
    large = results_of("x264", X264)
    small = results_of("x264-small", [(30, 300, 75.0, 1.0), (26, 500, 79.0, 1.1)])
    for result in large:
        result["scenario"]["encode"] |= {"width": 1280, "height": 720}
    for result in small:
        result["scenario"]["encode"] |= {"width": 640, "height": 360}
    (found,) = summarize_rate_distortion(read_curves([*large, *small])).hulls
    assert found.configuration == "x264 medium"
    assert found.hull.sizes == ("640x360", "1280x720")


def test_a_run_without_transcodes_has_no_figures() -> None:
    found = summarize_rate_distortion(read_curves([]))
    assert (found.encodes, found.pairs, found.hulls) == ((), (), ())
