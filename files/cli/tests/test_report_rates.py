"""Tests of the rows of the rate-distortion tables of a report."""

from typing import Any

import pytest
from ffrtmp_client.encode_curves import read_curves
from ffrtmp_client.rate_distortion_summary import summarize_rate_distortion
from ffrtmp_client.report.run_data import RateTables
from ffrtmp_client.report_rates import rate_tables
from report_results import transcodes


def _tables(results: list[dict[str, Any]]) -> RateTables:
    curves = read_curves(results)
    return rate_tables(summarize_rate_distortion(curves), curves)


def test_the_encode_that_needs_less_bit_rate_is_the_first() -> None:
    results = transcodes()
    (row,) = _tables(results).differences
    assert (row["tested"], row["reference"]) == ("svtav1 8", "x264 medium")
    assert row["rate"] < 0 < row["quality"]
    low, high = (float(text) for text in row["interpolation"].split(" to "))
    assert low <= row["rate"] <= high < 0
    assert row["check"] == pytest.approx(row["rate"], abs=3)
    assert row["repeats"] == "equal output"
    # The speeds of the encoders are 3 and 2 times real time.
    assert row["time_ratio"] == pytest.approx((2 / 3 - 1) * 100, abs=2)
    assert row["reason"] == ""

    # The order of the encodes in the run does not matter.
    (other,) = _tables(results[24:] + results[:24]).differences
    assert other["rate"] == pytest.approx(row["rate"])
    assert other["quality"] == pytest.approx(row["quality"], rel=0.2)
    assert other["time_ratio"] == pytest.approx(row["time_ratio"])


def test_disturbed_times_are_not_compared() -> None:
    results = transcodes()
    for result in results[:24]:
        reason = {"code": "other-load", "detail": "other processes used 20 % of the CPU time"}
        result["measurement"]["verdict"] = {"state": "degraded", "reasons": [reason]}
    (row,) = _tables(results).differences
    assert row["rate"] is not None
    for name in ("time_ratio", "cpu_s", "energy_gross_j"):
        assert row[name] is None
    assert "other load or steal degraded most repeats" in row["reason"]


def test_a_pair_with_too_few_points_states_the_reason() -> None:
    results = [each for each in transcodes() if "crf22" not in each["scenario"]["name"]]
    (row,) = _tables(results).differences
    assert row["rate"] is None
    assert "3" in row["reason"]


def test_bit_rates_at_qualities_have_a_value_or_a_reason() -> None:
    rows = {row["encode"]: row for row in _tables(transcodes()).targets}
    assert 351 < rows["svtav1 8"]["at_80"] < 636
    assert rows["svtav1 8"]["at_95"] is None
    assert rows["svtav1 8"]["reason"].startswith("95 is above the measured qualities")
