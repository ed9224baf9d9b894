"""Tests of Bjontegaard differences: reference values, closed forms, guards and hulls."""

import math
import subprocess
import sys
from itertools import pairwise

import pytest
from ffrtmp_analysis.rate_distortion.contents import mean_over_contents
from ffrtmp_analysis.rate_distortion.convex_hull import convex_hull
from ffrtmp_analysis.rate_distortion.curve import Curve, RatePoint, make_curve
from ffrtmp_analysis.rate_distortion.difference import (
    CurveDifference,
    cost_difference,
    quality_difference,
    relative_costs,
)
from ffrtmp_analysis.rate_distortion.piecewise_cubic import akima, pchip
from ffrtmp_analysis.rate_distortion.quality_target import cost_at
from ffrtmp_analysis.student_t import two_sided_quantile

REFERENCES = {
    "example 1": (
        ([9487.76, 4593.60, 2486.44, 1358.24], [40.037, 38.615, 36.845, 34.851]),
        ([9787.80, 4469.00, 2451.52, 1356.24], [40.121, 38.651, 36.970, 34.987]),
        (-4.417485350589045, -4.425245156997493, 0.11969278542479489, 0.11940927028529469),
    ),
    "example 2": (
        ([82472.76, 26875.24, 9487.76, 4593.6], [43.825, 41.404, 40.037, 38.615]),
        ([99896.96, 33952.04, 9787.8, 4469.0], [44.731, 41.875, 40.121, 38.651]),
        (-4.47218200276197, -4.0857609404152395, 0.08887484704747745, 0.08990284924945707),
    ),
    "example 3": (
        (
            [82472.76, 26875.24, 9487.76, 4593.6, 3600, 2900],
            [43.825, 41.404, 40.037, 38.615, 36.5, 35.1],
        ),
        (
            [99896.96, 33952.04, 9787.8, 4469.0, 4040, 3300],
            [44.731, 41.875, 40.121, 38.651, 37, 36.5],
        ),
        (-2.9528024116427964, -2.52692018696532, 0.08953590194998828, 0.050889305024889205),
    ),
    "VCEG-M33": (
        ([686.76, 309.58, 157.11, 85.95], [40.28, 37.18, 34.24, 31.42]),
        ([893.34, 407.8, 204.93, 112.75], [40.39, 37.21, 34.17, 31.24]),
        (31.379878202397627, 31.38398898434116, -1.1834724046224592, -1.183658970073208),
    ),
}
"""Rates and qualities of the reference and of the tested curve, and the results for them.

The first three are the examples of the package bjontegaard 1.3.0 (FAU Erlangen-Nuernberg, BSD
licence), the last one is the data of VCEG-M33 that implementations usually include. The results are
those of the package: BD-rate in percent with PCHIP and Akima, and BD-PSNR with both. The
tests do not require the package, because it installs matplotlib.
"""

RATES = (400.0, 800.0, 1600.0, 3200.0, 6400.0)
QUALITIES = (70.0, 80.0, 87.0, 92.0, 95.0)


def curve(
    rates: "list[float] | tuple[float, ...]" = RATES,
    qualities: "list[float] | tuple[float, ...]" = QUALITIES,
    name: str = "some",
    saturation: float | None = 99.5,
) -> Curve:
    """Return a curve with one repeat of each point. The points are named crf0, crf1 and so on."""
    points = [
        RatePoint(f"crf{number}", (rate,), (quality,), is_deterministic=True)
        for number, (rate, quality) in enumerate(zip(rates, qualities, strict=True))
    ]
    return make_curve(name, points, saturation)


def percent(difference: CurveDifference) -> float:
    assert difference.reason is None
    assert difference.value is not None
    return difference.value * 100


@pytest.mark.parametrize("name", REFERENCES)
def test_results_equal_those_of_the_reference_package(name: str) -> None:
    reference, tested, expected = REFERENCES[name]
    curves = curve(*reference, saturation=None), curve(*tested, saturation=None)
    rate, quality = cost_difference(*curves), quality_difference(*curves)
    assert rate.check is not None
    found = (percent(rate), rate.check * 100, quality.value, quality.check)
    assert found == pytest.approx(expected, rel=0, abs=1e-9)


@pytest.mark.parametrize("factor", [0.5, 0.69, 1.0, 1.3, 20.0])
def test_a_constant_factor_of_the_rates_is_the_difference(factor: float) -> None:
    found = cost_difference(curve(), curve([factor * rate for rate in RATES]))
    assert percent(found) == pytest.approx((factor - 1) * 100, abs=1e-9)
    assert found.check == pytest.approx(factor - 1)
    assert found.value_of_log_quality == pytest.approx(factor - 1)
    assert found.interpolation is not None
    assert found.interpolation[0] < factor - 1 < found.interpolation[1]


def test_a_constant_shift_of_the_qualities_is_the_difference() -> None:
    found = quality_difference(curve(), curve(RATES, [quality - 2.5 for quality in QUALITIES]))
    assert found.value == pytest.approx(-2.5)
    assert found.check == pytest.approx(-2.5)


def test_parallel_lines_in_the_logarithm_of_the_rate() -> None:
    """A shift of the quality by 3 is one of the rate by a factor, as 10 points are a doubling."""
    qualities = [60.0, 70.0, 80.0, 90.0]
    found = cost_difference(
        curve(RATES[:4], qualities), curve(RATES[:4], [quality + 3 for quality in qualities])
    )
    assert percent(found) == pytest.approx((2**-0.3 - 1) * 100)


def test_differences_in_both_directions_are_inverse() -> None:
    left, right = curve(), curve([300, 900, 1500, 2500, 6000], [68, 81, 86, 91, 96])
    there, back = cost_difference(left, right), cost_difference(right, left)
    assert there.value is not None
    assert back.value is not None
    assert (1 + there.value) * (1 + back.value) == pytest.approx(1)
    assert there.value != pytest.approx(0)


def test_the_difference_is_the_mean_of_the_differences_at_equal_quality() -> None:
    left, right = curve(), curve([300, 900, 1500, 2500, 6000], [68, 81, 86, 91, 96])
    found = relative_costs(left, right, 4001)
    assert found[0][0] == 70
    assert found[-1][0] == 95
    logs = [math.log1p(value) for _, value in found]
    trapezoid = sum((a + b) / 2 for a, b in pairwise(logs)) / 4000
    assert math.expm1(trapezoid) == pytest.approx(cost_difference(left, right).value, abs=1e-6)


def test_cubic_polynomials_of_both_interpolations_pass_through_the_points() -> None:
    x, y = (0.0, 1.0, 3.0, 4.0, 7.0), (0.0, 2.0, 2.5, 6.0, 6.1)
    for interpolation in (pchip, akima):
        found = interpolation(x, y)
        assert [found.at(position) for position in x] == pytest.approx(y)
        assert found.integral(0.5, 6) == pytest.approx(
            sum(found.at(0.5 + (number + 0.5) / 1000 * 5.5) for number in range(1000)) * 5.5 / 1000,
            abs=1e-4,
        )
    values = [pchip(x, y).at(number / 100) for number in range(701)]
    assert values == sorted(values)


def test_the_order_of_the_points_does_not_matter() -> None:
    found = curve(RATES[::-1], QUALITIES[::-1])
    assert [point.costs for point in found.points] == [(rate,) for rate in RATES]


def test_saturated_points_and_those_after_them_are_dropped_and_named() -> None:
    found = curve((400, 800, 1600, 3200, 6400, 9000), (70, 80, 87, 92, 99.6, 99.4))
    assert found.reason is None
    assert [point.name for point in found.points] == ["crf0", "crf1", "crf2", "crf3"]
    assert [(point.name, point.reason) for point in found.dropped] == [
        ("crf4", "saturated at 99.60"),
        ("crf5", "saturated, as is crf4"),
    ]
    assert cost_difference(curve(), found).dropped == (("some", found.dropped),)


def test_published_saturated_curves_are_rejected_with_the_reason() -> None:
    """Data of Anserw/Bjontegaard_metric, issue 3, for which the cubic method returns 100421 %."""
    reference = curve([5012.39, 4012.23, 3014.7, 2014.65], [99.97751, 99.91607, 99.51432, 96.622])
    tested = curve([5096.02, 4000.03, 3067.89, 2054.35], [99.98146, 99.94996, 99.66744, 97.1181])
    found = cost_difference(reference, tested)
    assert found.value is None
    assert found.check is None
    assert found.repeats is None
    assert found.interpolation is None
    assert found.reason is not None
    assert "1 usable points, but 4 are required" in found.reason
    assert "crf2 saturated at 99.51" in found.reason


def test_a_negative_slope_at_the_end_of_the_scale_is_saturation() -> None:
    """The case of Netflix/vmaf, issue 56: two points of an easy clip reach 99 to 100."""
    found = curve((400, 800, 1600, 3200), (92, 97, 99.9, 99.8))
    assert found.reason is not None
    assert "crf2 saturated at 99.90, crf3 saturated, as is crf2" in found.reason
    assert quality_difference(curve(), found).value is None


def test_duplicates_are_dropped_but_curves_that_are_not_monotone_are_rejected() -> None:
    duplicate = curve((400, 800, 1600, 1600, 1700, 3200), (70, 80, 86, 87, 87, 92))
    assert duplicate.reason is None
    assert [(point.name, point.reason) for point in duplicate.dropped] == [
        ("crf2", "dominated by crf3"),
        ("crf4", "dominated by crf3"),
    ]
    folded = curve((400, 800, 1600, 3200, 6400), (70, 80, 87, 86, 95), name="x264")
    assert folded.reason == "x264: crf3 costs more than crf2 at a lower quality"
    assert cost_difference(curve(), folded).value is None


def test_too_few_points_are_rejected() -> None:
    few = curve(RATES[:3], QUALITIES[:3], name="x264")
    found = cost_difference(few, curve())
    assert found.value is None
    assert found.reason == "x264: 3 usable points, but 4 are required"
    assert relative_costs(few, curve(), 10) == []


@pytest.mark.parametrize(
    ("rate", "quality"), [(0, 80), (-1, 80), (math.inf, 80), (math.nan, 80), (500, math.nan)]
)
def test_values_that_are_no_measurements_are_rejected(rate: float, quality: float) -> None:
    found = curve((400, rate, 1600, 3200), (70, quality, 87, 92))
    assert found.reason == "some: crf1 lacks a positive cost or a quality"


@pytest.mark.parametrize(
    ("shift", "is_rejected", "is_small"), [(2, False, False), (5, False, True), (12, True, True)]
)
def test_curves_must_overlap(shift: float, is_rejected: bool, is_small: bool) -> None:
    qualities = (60.0, 67.0, 73.0, 80.0)
    found = cost_difference(
        curve(RATES[:4], qualities), curve(RATES[:4], [quality + shift for quality in qualities])
    )
    assert found.overlap is not None
    assert found.overlap.ratio == pytest.approx((20 - shift) / (20 + shift))
    assert found.overlap.is_small is is_small
    assert (found.value is None) is is_rejected
    if is_rejected:
        assert found.reason == (
            "the qualities overlap in 25 % of their range, and 50 % are required"
        )


def test_curves_without_overlap_are_rejected_instead_of_zero() -> None:
    found = cost_difference(curve(RATES[:4], (20, 30, 40, 50)), curve())
    assert found.value is None
    assert found.overlap is not None
    assert found.overlap.ratio == 0


@pytest.mark.parametrize(("count", "share"), [(4, 1), (5, 1), (6, 0.5), (7, 0.5)])
def test_the_interpolation_is_tested_by_leaving_out_a_point(count: int, share: float) -> None:
    rates = [100 * 1.5**number for number in range(count)]
    qualities = [60, 70, 76, 82, 88, 91, 93.0][:count]

    def without(number: int) -> Curve:
        points = zip(rates, qualities, strict=True)
        left = [point for at, point in enumerate(points) if at != number]
        return Curve("", tuple(RatePoint("", (rate,), (quality,)) for rate, quality in left))

    complete = curve(rates, qualities)
    changes = [
        abs(math.log1p(percent(cost_difference(complete, without(number))) / 100))
        for number in range(1, count - 1)
    ]
    error = share * max(changes)
    found = cost_difference(complete, complete).interpolation
    assert found == pytest.approx((math.expm1(-error), math.expm1(error)))


def test_other_costs_need_not_ascend() -> None:
    rates = curve()
    times = {f"crf{number}": [value] for number, value in enumerate((2.0, 1.9, 2.5, 2.4, 3.0))}
    reference = rates.with_costs(times, "CPU time")
    doubled = {name: [2 * value for value in values] for name, values in times.items()}
    found = cost_difference(reference, rates.with_costs(doubled, "CPU time"))
    assert percent(found) == pytest.approx(100)
    assert quality_difference(reference, reference).reason == (
        "some: the costs do not ascend with the quality"
    )
    del times["crf3"]
    missing = rates.with_costs(times, "CPU time")
    assert cost_difference(reference, missing).value is None
    assert missing.reason == "some: the CPU time of crf3 is unavailable"


def test_the_rate_at_a_quality_is_interpolated_but_not_extrapolated() -> None:
    assert cost_at(curve(), 80).value == pytest.approx(800)
    line = curve(RATES[:4], (60, 70, 80, 90))
    found = cost_at(line, 75)
    assert found.value == pytest.approx(800 * math.sqrt(2))
    assert found.check == pytest.approx(800 * math.sqrt(2))
    assert found.repeats is not None
    assert found.repeats.is_deterministic
    outside = cost_at(line, 95)
    assert outside.value is None
    assert outside.reason == "some: 95 is above the measured qualities, 60.00 to 90.00"
    assert cost_at(curve(RATES[:3], QUALITIES[:3]), 80).value is None


def test_contents_with_a_rejected_difference_are_named() -> None:
    half = cost_difference(curve(), curve([rate / 2 for rate in RATES]))
    double = cost_difference(curve(), curve([rate * 2 for rate in RATES]))
    none = cost_difference(curve(), curve(RATES[:3], QUALITIES[:3], name="x264"))
    few = mean_over_contents({"a": half, "b": double, "c": none})
    assert few.value == pytest.approx(0)
    assert few.low is None
    assert few.rejected == {"c": "x264: 3 usable points, but 4 are required"}
    assert few.reason == "an interval over contents requires 4 of them, not 2"
    found = mean_over_contents({"a": half, "b": double, "c": none, "d": half, "e": double})
    half_width = 3.1824463 * math.log(2) / math.sqrt(3)
    assert found.low == pytest.approx(math.exp(-half_width) - 1)
    assert found.high == pytest.approx(math.exp(half_width) - 1)
    assert mean_over_contents({"c": none}).value is None
    with pytest.raises(ValueError, match="no common mean"):
        mean_over_contents({"a": half, "b": quality_difference(curve(), curve())})


def test_the_hull_uses_the_best_size_at_each_rate() -> None:
    def points(*pairs: tuple[float, float]) -> list[RatePoint]:
        return [RatePoint(f"crf{at}", (rate,), (vmaf,)) for at, (rate, vmaf) in enumerate(pairs)]

    hull = convex_hull(
        "x264",
        {
            "1080p": points((1000, 60), (2000, 82), (4000, 90), (8000, 95), (16000, 99.7)),
            "540p": points((250, 50), (500, 62), (1000, 70), (2000, 73), (4000, 72)),
        },
    )
    assert hull.sizes == ("540p", "1080p")
    assert [point.name for point in hull.curve.points] == [
        "540p/crf0",
        "540p/crf1",
        "1080p/crf1",
        "1080p/crf2",
        "1080p/crf3",
    ]
    assert [point.name for point in hull.curve.dropped] == ["1080p/crf4"]
    assert hull.curve.reason is None
    assert percent(cost_difference(hull.curve, hull.curve)) == pytest.approx(0)
    invalid = convex_hull("x264", {"1080p": points((0, 60), (2000, 80))})
    assert invalid.curve.reason is not None
    assert convex_hull("x264", {}).curve.reason == "x264: 0 usable points, but 4 are required"


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (8.9, 2.3060), (16, 2.1199), (120, 1.9799)],
)
def test_quantiles_of_student_t(degrees: float, quantile: float) -> None:
    """Values of the usual tables."""
    assert two_sided_quantile(0.95, degrees) == pytest.approx(quantile, abs=5e-5)


def test_quantiles_require_sensible_arguments() -> None:
    assert two_sided_quantile(0.95, math.inf) == pytest.approx(1.96, abs=3e-3)
    for confidence, degrees in ((0.95, 0.5), (1.0, 5), (0.95, math.nan)):
        with pytest.raises(ValueError, match="confidence must be"):
            two_sided_quantile(confidence, degrees)


def test_the_package_loads_only_the_standard_library() -> None:
    program = (
        "import sys; import ffrtmp_analysis.rate_distortion.contents, "
        "ffrtmp_analysis.rate_distortion.convex_hull, "
        "ffrtmp_analysis.rate_distortion.quality_target; "
        "print(sorted({'scipy', 'numpy', 'msgspec', 'ffrtmp_shared'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert found.stdout.decode().strip() == "[]"
