"""Tests of the statements about bit rates at equal quality below the table of results."""

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.ffrtmp.encode_curves import read_curves
from ansible.module_utils.ffrtmp.encoder_differences import difference_lines
from ansible.module_utils.ffrtmp.rate_distortion import curve
from ansible.module_utils.ffrtmp.result_files import RunResults

from .rate_results import SVTAV1, X264, Point, results_of

RATE = "svtav1 8 needs 29 % (28 to 31) less bit rate than x264 medium at equal VMAF NEG "
RANGE = "(79.3 to 91.5, only 59 % of the measured range)"
TIMES = ", at 1.70 times (1.67 to 1.72) the speed and 0.94 times (0.93 to 0.96) the CPU time."
OF_RATES = (
    "Ranges of bit rates cover the interpolation: one rate point less, or Akima's method instead "
    "of PCHIP."
)
EQUAL = " All repeats had the same output."
OF_TIMES = " Ranges by repeats, as of speed and CPU time, are 95 % intervals."
OTHERS = " Other clips may differ."
DISTURBED = {"state": "degraded", "reasons": [{"code": "other-load", "detail": "a compiler"}]}


def _lines(*groups: list[dict[str, Any]]) -> list[str]:
    return difference_lines(read_curves(found for group in groups for found in group), 1000)


def _both(**changes: Any) -> list[dict[str, Any]]:
    return [*results_of("x264", X264, **changes), *results_of("svtav1", SVTAV1, **changes)]


def _moved(points: "list[Point] | tuple[Point, ...]", kbps: float, neg: float) -> list[Point]:
    """Return points with bit rates multiplied and qualities shifted."""
    return [(crf, rate * kbps, vmaf + neg, cpu_s) for crf, rate, vmaf, cpu_s in points]


def test_the_modules_contain_the_calculation_without_further_packages() -> None:
    root = Path(__file__).resolve().parents[2]
    assert Path(curve.__file__).is_relative_to(root / "module_utils")


def test_two_encoders_at_four_qualities_are_compared() -> None:
    assert _lines(_both()) == [RATE + RANGE + TIMES, OF_RATES + EQUAL + OF_TIMES + OTHERS]


def test_the_order_of_the_encoders_does_not_matter() -> None:
    assert _lines(results_of("svtav1", SVTAV1), results_of("x264", X264))[0] == RATE + RANGE + TIMES


def test_the_statement_is_part_of_the_table_and_fits_into_its_columns() -> None:
    precision: dict[str, Any] = {"medians": [], "drifts": []}
    run = {"id": "1", "suite_name": "demo", "created_at": "2026-01-02T03:04:05Z"}
    found = RunResults(run, _both(), precision, [], {}).table(columns=80)
    assert RATE in " ".join(found.splitlines()[-10:])
    assert max(map(len, found.splitlines())) <= 80


def test_one_repeat_has_no_interval_of_the_cpu_time() -> None:
    assert _lines(_both(repeats=1)) == [
        RATE + RANGE + ", at 1.70 times the speed and 0.94 times the CPU time.",
        OF_RATES + OTHERS,
    ]


def test_repeats_with_different_outputs_have_an_interval_of_the_bit_rate() -> None:
    results = _both()
    for number, found in enumerate(results):
        output = found["measurement"]["output"]
        output["sha256"] = f"{number:064x}"
        output["video_bitrate_kbps"] *= 1 + 0.01 * (number % 6)
    sentence, closing = _lines(results)
    assert sentence.startswith("svtav1 8 needs 29 % (28 to 30 by repeats, 28 to 31 by interp")
    assert closing == OF_RATES + OF_TIMES + OTHERS


def test_a_repeat_without_quality_has_that_of_equal_bytes() -> None:
    results = _both()
    for found in results[1::6]:
        found["measurement"]["quality"] = {"status": "unavailable", "reason": "a timeout"}
    assert _lines(results)[0] == RATE + RANGE + TIMES


def test_energy_is_compared_where_it_was_measured() -> None:
    left = results_of("x264", X264, energy_j=20.0)
    assert " energy" not in _lines(left, results_of("svtav1", SVTAV1))[0]
    sentence = _lines(left, results_of("svtav1", SVTAV1, energy_j=10.0))[0]
    assert sentence.endswith(
        "0.94 times (0.93 to 0.96) the CPU time and 0.47 times (0.47 to 0.47) the energy."
    )


def test_costs_are_compared_in_one_currency() -> None:
    results = _both()
    exported = {
        found["id"]: {
            "book_currency": "EUR",
            "book_cost_per_video_minute": "0.02" if "x264" in found["scenario"]["name"] else "0.03",
        }
        for found in results
    }
    sentence = difference_lines(read_curves(results, exported), 1000)[0]
    assert sentence.endswith(" the CPU time and 1.50 times (1.50 to 1.50) the cost.")
    exported[results[0]["id"]]["book_currency"] = "USD"
    sentence = difference_lines(read_curves(results, exported), 1000)[0]
    assert sentence.endswith(" Cost is not comparable: the currencies differ.")


@pytest.mark.parametrize("points", [X264[:3], []])
def test_fewer_than_four_points_say_nothing(points: list[Point]) -> None:
    assert _lines(results_of("x264", points), results_of("svtav1", SVTAV1)) == []


def test_runs_without_quality_say_nothing() -> None:
    results = _both()
    for found in results:
        found["measurement"]["quality"] = {"status": "unavailable", "reason": "no libvmaf"}
    assert _lines(results) == []


def test_curves_that_hardly_overlap_are_not_compared() -> None:
    assert _lines(results_of("x264", _moved(X264, 1, -8)), results_of("svtav1", SVTAV1)) == [
        "svtav1 8 and x264 medium are not comparable at equal VMAF NEG: the qualities overlap in "
        "23 % of their range, and 50 % are required."
    ]


def test_saturated_points_are_named() -> None:
    first = results_of("x264", [(18, 4000, 99.6, 5.0), *X264])
    assert _lines(first, results_of("svtav1", SVTAV1))[0] == (
        RATE + RANGE + TIMES + " Without x264 medium crf18 (saturated at 99.60)."
    )


def test_curves_that_are_not_monotone_are_not_compared() -> None:
    folded = results_of("x264", [*X264, (18, 4000, 90.0, 5.0)])
    assert _lines(folded, results_of("svtav1", SVTAV1)) == [
        "svtav1 8 and x264 medium are not comparable at equal VMAF NEG: x264 medium: crf18 costs "
        "more than crf22 at a lower quality."
    ]


def test_a_difference_within_the_interpolation_is_none() -> None:
    found = _lines(results_of("x264", X264), results_of("x264-b", _moved(X264, 1.01, 0)))
    assert found[0].startswith(
        "x264 and x264-b do not differ clearly in bit rate at equal VMAF (74.1 to 94.5, 100 % of "
        "the measured range): x264 needs -1."
    )


def test_disturbed_encodes_are_compared_only_in_what_load_does_not_change() -> None:
    first = results_of("x264", X264, verdict=DISTURBED)
    assert _lines(first, results_of("svtav1", SVTAV1))[0] == (
        RATE
        + RANGE
        + ". Speed and CPU time are not comparable: other load or steal degraded most repeats of "
        "x264 medium."
        " 24 of 48 repeats were degraded: other-load."
    )
    few = [*results_of("svtav1", SVTAV1), *results_of("x264", X264)]
    few[0]["measurement"]["verdict"] = DISTURBED
    assert _lines(few)[0] == RATE + RANGE + TIMES + " 1 of 48 repeats were degraded: other-load."


def test_invalid_results_are_ignored() -> None:
    invalid = results_of("x264", _moved(X264, 0.1, 0), verdict={"state": "invalid", "reasons": []})
    assert _lines(_both(), invalid)[0] == RATE + RANGE + TIMES


def test_up_to_three_clips_and_all_nodes_have_a_statement_each() -> None:
    groups = [_both(source=clip, node=node) for clip in ("a", "b") for node in ("n1", "n2")]
    starts = sorted(line.split(": ")[0] for line in _lines(*groups)[:4])
    assert starts == ["n1, a", "n1, b", "n2, a", "n2, b"]


def test_four_clips_have_an_interval_over_clips() -> None:
    groups = [
        [
            *results_of("x264", _moved(X264, 1 + 0.1 * number, number / 3), source=f"c{number}"),
            *results_of("svtav1", _moved(SVTAV1, 1, number / 3), source=f"c{number}"),
        ]
        for number in range(4)
    ]
    sentence, closing = _lines(*groups)
    assert sentence == (
        "svtav1 8 needs 38 % (26 to 48) less bit rate than x264 medium at equal VMAF NEG over 4 "
        "clips (only 59 % or more of the measured range), at 1.70 times (1.70 to 1.70) the speed "
        "and 0.94 times (0.94 to 0.94) the CPU time."
    )
    assert closing == "All repeats had the same output. Ranges over clips are 95 % intervals."
    other = results_of("x264", _moved(X264, 1, -8), source="c4")
    sentence, *_ = _lines(*groups, other, results_of("svtav1", SVTAV1, source="c4"))
    assert " over 4 clips " in sentence
    assert sentence.endswith(
        " Without the clips c4 (the qualities overlap in 23 % of their range, and 50 % are "
        "required)."
    )
    sentence, *_ = _lines(*groups[:3], other, results_of("svtav1", SVTAV1, source="c4"))
    assert sentence.endswith(
        " No range is known: an interval over contents requires 4 of them, not 3."
    )


def test_the_number_of_statements_is_limited() -> None:
    groups = [results_of(f"x264-{at}", _moved(X264, 1 + at, 0)) for at in range(6)]
    lines = _lines(*groups)
    assert len(lines) == 12
    assert lines[10] == "5 more pairs of encodes not shown."
