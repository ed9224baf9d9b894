"""Tests of the comparison of two sets of results."""

import random
from collections.abc import Sequence

import pytest
from ffrtmp_analysis.comparison.compared_results import (
    ComparedSide,
    Condition,
    ControlEncodes,
    Repeat,
    ScenarioResults,
)
from ffrtmp_analysis.comparison.conclusion import Conclusion, conclude
from ffrtmp_analysis.comparison.differences import ComparisonVerdict, Difference, Pairing
from ffrtmp_analysis.comparison.quantities import Quantity
from ffrtmp_analysis.comparison.sentences import (
    difference_sentence,
    headline_sentences,
    mean_sentence,
)
from ffrtmp_analysis.comparison.side_comparison import Margins, compare
from ffrtmp_shared.verdict import VerdictState

_SPEEDS = [2.0, 2.01, 2.02, 2.03, 2.04, 2.05, 2.06, 2.07]


def _repeats(
    speeds: Sequence[float],
    *,
    run: str = "run",
    disturbed: int = 0,
    reason: str = "other-load",
    quality: Sequence[float] = (),
) -> tuple[Repeat, ...]:
    """Return results with speeds, of which the first ones are degraded."""
    return tuple(
        Repeat(
            round=f"{run}/{number}",
            values={Quantity.SPEED: speed, Quantity.BIT_RATE: 1000.0}
            | ({Quantity.VMAF_NEG: quality[number]} if quality else {}),
            state=VerdictState.DEGRADED if number < disturbed else VerdictState.VALID,
            reasons=(reason,) if number < disturbed else (),
        )
        for number, speed in enumerate(speeds)
    )


def _side(
    name: str,
    repeats: tuple[Repeat, ...],
    source: str = "clip",
    conditions: dict[Condition, tuple[str, ...]] | None = None,
) -> ComparedSide:
    results = ScenarioResults(
        node="worker1",
        source=source,
        configuration="x264/1500k",
        repeats=repeats,
        conditions=conditions or {},
    )
    return ComparedSide(name=name, scenarios=(results,))


def _one(a: ComparedSide, b: ComparedSide, quantity: Quantity = Quantity.SPEED) -> Difference:
    (found,) = compare(a, b, quantities=(quantity,)).differences
    return found


def test_a_slower_side_is_slower_by_the_ratio_of_its_speeds() -> None:
    a = _side("A", _repeats(_SPEEDS))
    b = _side("B", _repeats([speed * 0.9 for speed in _SPEEDS], run="other"))
    found = _one(a, b)
    assert found.verdict is ComparisonVerdict.SLOWER
    assert found.change == pytest.approx(-0.1, abs=0.002)
    assert found.low is not None
    assert found.high is not None
    assert found.low < -0.1 < found.high < 0
    assert (found.pairing, found.a.n, found.b.n) == (Pairing.NONE, 8, 8)
    assert _one(b, a).verdict is ComparisonVerdict.FASTER
    sentence = difference_sentence(found)
    assert sentence.startswith("speed slower: -10.0 % (")
    assert "; n = 8 and 8, unpaired. It is unexplained, because" in sentence


def test_common_rounds_are_paired() -> None:
    # The drift of the node is larger than the difference.
    drifting = [2.0 * 1.05**number for number in range(8)]
    noise = [1.0, 1.001, 0.999, 1.002, 0.998, 1.0, 1.001, 0.999]
    slower = [speed * 0.97 * factor for speed, factor in zip(drifting, noise, strict=True)]
    paired = _one(_side("A", _repeats(drifting)), _side("B", _repeats(slower)))
    assert (paired.verdict, paired.pairing) == (ComparisonVerdict.SLOWER, Pairing.ROUNDS)
    assert paired.change == pytest.approx(-0.03, abs=0.001)
    unpaired = _one(_side("A", _repeats(drifting)), _side("B", _repeats(slower, run="other")))
    assert (unpaired.verdict, unpaired.pairing) == (ComparisonVerdict.NOT_SHOWN, Pairing.NONE)
    assert unpaired.detectable is not None
    assert unpaired.detectable > 0.1
    assert unpaired.repeats_needed is not None
    assert unpaired.repeats_needed > 100
    assert "smallest detectable difference" in difference_sentence(unpaired)


def test_a_small_interval_around_zero_is_the_same() -> None:
    a = _side("A", _repeats([2.0 + number / 1000 for number in range(8)]))
    b = _side("B", _repeats([2.002 + number / 1000 for number in range(8)], run="other"))
    found = _one(a, b)
    assert found.verdict is ComparisonVerdict.SAME
    assert difference_sentence(found).startswith("speed same within 1.0 %: +0.10 % (")


def test_three_repeats_are_not_comparable() -> None:
    found = _one(
        _side("A", _repeats(_SPEEDS[:3])), _side("B", _repeats([1.0, 1.1, 1.2], run="other"))
    )
    assert found.verdict is ComparisonVerdict.NOT_COMPARABLE
    assert found.reason is not None
    assert "at least 4 repeats" in found.reason


@pytest.mark.parametrize("reason", ["other-load", "steal"])
def test_a_disturbed_side_has_no_verdict_on_speed_but_on_bytes(reason: str) -> None:
    a = _side("A", _repeats(_SPEEDS, disturbed=5, reason=reason))
    b = _side("B", _repeats(_SPEEDS, run="other"))
    speed = _one(a, b)
    assert speed.verdict is ComparisonVerdict.NOT_COMPARABLE
    assert speed.reason is not None
    assert "5 of 8 results of A are degraded by other load or steal" in speed.reason
    assert _one(a, b, Quantity.BIT_RATE).verdict is ComparisonVerdict.SAME
    half = _side("A", _repeats(_SPEEDS, disturbed=4, reason=reason))
    assert _one(half, b).verdict is not ComparisonVerdict.NOT_COMPARABLE


def test_other_degradations_are_counted_and_named() -> None:
    a = _side("A", _repeats(_SPEEDS, disturbed=8, reason="io-pressure"))
    found = _one(a, _side("B", _repeats([speed * 1.2 for speed in _SPEEDS], run="other")))
    assert found.verdict is ComparisonVerdict.FASTER
    assert (found.a.n_degraded, found.b.n_degraded) == (8, 0)
    assert "A: 8 degraded (io-pressure 8); B: none degraded" in difference_sentence(found)


def test_equal_repeats_are_compared_exactly() -> None:
    a = _side("A", _repeats(_SPEEDS[:2], quality=[90.0, 90.0]))
    b = _side("B", _repeats(_SPEEDS[:2], run="other", quality=[88.5, 88.5]))
    found = _one(a, b, Quantity.VMAF_NEG)
    assert (found.verdict, found.pairing) == (ComparisonVerdict.WORSE, Pairing.EXACT)
    assert (found.low, found.change, found.high) == (-1.5, -1.5, -1.5)
    assert difference_sentence(found) == (
        "VMAF NEG worse: -1.5 points; n = 2 and 2, all repeats equal."
    )
    close = _side("B", _repeats(_SPEEDS[:2], run="other", quality=[89.6, 89.6]))
    assert _one(a, close, Quantity.VMAF_NEG).verdict is ComparisonVerdict.SAME
    varying = _side("B", _repeats(_SPEEDS[:2], run="other", quality=[88.5, 88.6]))
    assert _one(a, varying, Quantity.VMAF_NEG).verdict is ComparisonVerdict.NOT_COMPARABLE


@pytest.mark.parametrize(
    ("condition", "quantity", "is_comparable"),
    [
        (Condition.SOURCE, Quantity.BIT_RATE, False),
        (Condition.RATE_SCALE, Quantity.SPEED, False),
        (Condition.QUALITY_MODEL, Quantity.VMAF_NEG, False),
        (Condition.QUALITY_MODEL, Quantity.SPEED, True),
        (Condition.CPU_MODEL, Quantity.SPEED, False),
        (Condition.CPU_MODEL, Quantity.BIT_RATE, True),
        (Condition.FFMPEG, Quantity.SPEED, True),
    ],
)
def test_different_conditions_are_named(
    condition: Condition, quantity: Quantity, is_comparable: bool
) -> None:
    repeats = _repeats(_SPEEDS, quality=[90.0] * 8)
    a = _side("A", repeats, conditions={condition: ("one",)})
    found = _one(a, _side("B", repeats, conditions={condition: ("two",)}), quantity)
    assert (found.verdict is not ComparisonVerdict.NOT_COMPARABLE) == is_comparable
    if not is_comparable:
        assert found.reason == f"the {condition} differs: one and two"


def test_builds_are_not_mixed_within_a_side() -> None:
    a = _side("A", _repeats(_SPEEDS), conditions={Condition.FFMPEG: ("7.0", "8.0")})
    found = _one(a, _side("B", _repeats(_SPEEDS)))
    assert found.reason == "A has results with more than one FFmpeg build: 7.0, 8.0"


def test_invalid_results_are_not_compared() -> None:
    invalid = tuple(
        Repeat(
            round=str(number),
            values={Quantity.SPEED: 1.0},
            state=VerdictState.INVALID,
            reasons=("steal",),
        )
        for number in range(8)
    )
    a = _side("A", _repeats(_SPEEDS))
    assert _one(a, _side("B", invalid)).reason == (
        "B has no value: all 8 results are invalid (steal)"
    )
    mixed = _one(a, _side("B", _repeats(_SPEEDS) + invalid[:1]))
    assert (mixed.b.n, mixed.b.n_invalid) == (8, 1)


def _clips(name: str, factors: Sequence[float]) -> ComparedSide:
    scenarios = tuple(
        _side(
            name,
            _repeats([factor * speed for speed in _SPEEDS], run=name),
            source=f"clip{number}",
        ).scenarios[0]
        for number, factor in enumerate(factors)
    )
    return ComparedSide(name=name, scenarios=scenarios)


def test_intervals_of_selected_differences_are_wider() -> None:
    comparison = compare(_clips("A", [1.0] * 10), _clips("B", [1.2] + [1.0] * 9))
    speeds = [found for found in comparison.differences if found.quantity is Quantity.SPEED]
    assert [found.verdict for found in speeds].count(ComparisonVerdict.FASTER) == 1
    assert speeds[0].confidence == pytest.approx(0.995)
    assert speeds[1].confidence == 0.95


def test_clips_are_averaged_but_not_pooled() -> None:
    factors = [1.1, 1.2, 1.3, 1.4, 1.0]
    comparison = compare(_clips("A", [1.0] * 5), _clips("B", factors), quantities=(Quantity.SPEED,))
    (mean,) = comparison.means
    # The geometric mean of the ratios.
    assert mean.change == pytest.approx((1.1 * 1.2 * 1.3 * 1.4) ** 0.2 - 1, abs=1e-3)
    assert mean.clips == 5
    assert mean.low < 0.2 < mean.high
    assert mean_sentence(mean).startswith("speed, mean over 5 clips: +19")
    assert len(comparison.differences) == 5
    assert compare(_clips("A", [1.0] * 3), _clips("B", [1.0] * 3)).means == ()


def test_scenarios_of_one_side_are_named() -> None:
    comparison = compare(_clips("A", [1.0, 1.0]), _clips("B", [1.0]))
    assert comparison.only_in_a == ("worker1: clip1/x264/1500k",)
    assert "Only A has results of: worker1: clip1/x264/1500k." in list(
        headline_sentences(comparison)
    )
    assert conclude(comparison) is Conclusion.UNDECIDED


def _with_controls(side: ComparedSide, speeds: Sequence[float], **settings: float) -> ComparedSide:
    controls = ControlEncodes(node="worker1", speeds=tuple(speeds), **settings)  # type: ignore[arg-type]
    return ComparedSide(name=side.name, scenarios=side.scenarios, controls=(controls,))


def test_shifted_control_encodes_come_first_and_excuse_the_speed() -> None:
    a = _with_controls(_side("A", _repeats(_SPEEDS)), [5.0, 5.01, 5.02, 5.03])
    slow = _side("B", _repeats([speed * 0.9 for speed in _SPEEDS], run="other"))
    b = _with_controls(slow, [4.5, 4.51, 4.52, 4.53])
    comparison = compare(a, b)
    assert comparison.controls[0].is_shifted
    first = next(headline_sentences(comparison))
    assert first.startswith("The control encodes of worker1 shifted: -10.0 % (")
    assert conclude(comparison) is Conclusion.UNDECIDED
    steady = compare(a, _with_controls(slow, [5.0, 5.01, 5.02, 5.03]))
    assert steady.controls[0].is_shifted is False
    assert conclude(steady) is Conclusion.REGRESSION


def test_two_control_encodes_say_nothing_unless_the_usual_range_is_known() -> None:
    a = _with_controls(_side("A", _repeats(_SPEEDS)), [5.0, 5.1])
    b = _with_controls(_side("B", _repeats(_SPEEDS)), [4.0, 4.1])
    assert compare(a, b).controls[0].is_shifted is None
    known = _with_controls(b, [4.0, 4.1], usual_low=4.8, usual_high=5.3)
    (shift,) = compare(a, known).controls
    assert shift.is_shifted
    assert shift.reason == "the speed of the second side is outside the usual range of the node"


def test_no_regression_is_concluded_from_equal_builds() -> None:
    chance, conclusions = random.Random(6), []  # noqa: S311 - it is a simulation
    for _ in range(20):
        sides = [
            ComparedSide(
                name=name,
                scenarios=tuple(
                    _side(
                        name,
                        _repeats([chance.lognormvariate(0.7, 0.03) for _ in range(8)]),
                        source=f"clip{number}",
                    ).scenarios[0]
                    for number in range(8)
                ),
            )
            for name in "AB"
        ]
        conclusions.append(conclude(compare(*sides)))
    assert conclusions.count(Conclusion.NO_REGRESSION) >= 19
    assert Conclusion.UNDECIDED not in conclusions


@pytest.mark.slow
def test_comparisons_of_equal_builds_rarely_fail() -> None:
    # The seeds are fixed. About 0.3 % of comparisons fail at this noise, and at most 2 % may.
    chance, quantities = random.Random(7), (Quantity.SPEED, Quantity.CPU_TIME, Quantity.ENERGY)  # noqa: S311

    def side(name: str) -> ComparedSide:
        return ComparedSide(
            name=name,
            scenarios=tuple(
                ScenarioResults(
                    node="worker1",
                    source=f"clip{number}",
                    configuration="x264/1500k",
                    repeats=tuple(
                        Repeat(
                            round=f"{name}/{repeat}",
                            values={item: chance.lognormvariate(0, 0.02) for item in quantities},
                        )
                        for repeat in range(10)
                    ),
                )
                for number in range(8)
            ),
        )

    conclusions = [conclude(compare(side("A"), side("B"))) for _ in range(300)]
    assert conclusions.count(Conclusion.REGRESSION) <= 6
    assert Conclusion.UNDECIDED not in conclusions


def test_a_difference_that_may_be_within_the_margin_is_no_regression() -> None:
    a = _side("A", _repeats(_SPEEDS))
    b = _side("B", _repeats([speed * 0.98 for speed in _SPEEDS], run="other"))
    found = _one(a, b)
    assert found.verdict is ComparisonVerdict.SLOWER
    assert found.high is not None
    assert -0.01 < found.high < 0
    assert conclude(compare(a, b)) is Conclusion.NO_REGRESSION
    assert conclude(compare(a, b, margins=Margins(relative=0.001))) is Conclusion.REGRESSION


def test_the_margin_decides_what_is_the_same() -> None:
    a = _side("A", _repeats([2.0 + number / 1000 for number in range(8)]))
    b = _side("B", _repeats([1.96 + number / 1000 for number in range(8)], run="other"))
    assert _one(a, b).verdict is ComparisonVerdict.SLOWER
    (wide, _) = compare(a, b, margins=Margins(relative=0.05)).differences
    assert wide.verdict is ComparisonVerdict.SAME
