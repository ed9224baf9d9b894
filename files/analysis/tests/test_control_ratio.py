"""Tests of speeds relative to control encodes, with which independent farms are compared."""

import pytest
from ffrtmp_analysis.comparison.compared_results import (
    ComparedSide,
    Condition,
    ControlEncodes,
    Repeat,
    ScenarioResults,
)
from ffrtmp_analysis.comparison.control_ratio import relate_to_controls
from ffrtmp_analysis.comparison.differences import ComparisonVerdict, Difference
from ffrtmp_analysis.comparison.quantities import Quantity
from ffrtmp_analysis.comparison.side_comparison import compare
from ffrtmp_shared.verdict import VerdictState

_NOISE = (0.99, 0.995, 1.0, 1.001, 1.002, 1.004, 1.006, 1.01)


def _side(
    name: str, host: float, *, change: float = 1.0, quality: float = 90.0, controls: int = 3
) -> ComparedSide:
    """Return a side whose host is `host` times as fast as the reference.

    `change` is the ratio of the speed of the encode to that of the reference.
    """
    repeats = tuple(
        Repeat(
            round=f"{name}/{number}",
            values={
                Quantity.SPEED: 2.0 * host * change * noise,
                Quantity.CPU_TIME: 3.0 / host,
                Quantity.ENERGY: 50.0 / host,
                Quantity.COST: 0.1,
                Quantity.BIT_RATE: 1000.0,
                Quantity.VMAF_NEG: quality,
            },
            digest="same",
        )
        for number, noise in enumerate(_NOISE)
    )
    results = ScenarioResults(
        node="worker1",
        source="clip",
        configuration="x264/1500k",
        repeats=repeats,
        conditions={Condition.CPU_MODEL: (f"CPU of {name}",), Condition.SOURCE: ("digest",)},
    )
    speeds = tuple(4.0 * host * noise for noise in _NOISE[:controls])
    return ComparedSide(
        name=name,
        scenarios=(results,),
        controls=(ControlEncodes(node="worker1", speeds=speeds),),
    )


def _differences(a: ComparedSide, b: ComparedSide) -> dict[Quantity, Difference]:
    comparison = compare(relate_to_controls(a), relate_to_controls(b))
    return {found.quantity: found for found in comparison.differences}


def test_a_speed_is_divided_by_the_median_of_the_controls() -> None:
    (results,) = relate_to_controls(_side("a", host=3.0)).scenarios
    # The median of 0.99, 0.995 and 1.0 is 0.995; the host cancels out.
    assert results.repeats[2].values[Quantity.SPEED] == pytest.approx(2.0 / (4.0 * 0.995))
    assert results.repeats[2].values[Quantity.BIT_RATE] == 1000.0


def test_a_faster_host_is_no_difference() -> None:
    found = _differences(_side("a", host=1.0), _side("b", host=2.5))
    assert found[Quantity.SPEED].verdict is ComparisonVerdict.SAME
    assert found[Quantity.VMAF_NEG].verdict is ComparisonVerdict.SAME
    assert found[Quantity.BIT_RATE].verdict is ComparisonVerdict.SAME


def test_a_slower_encode_is_found_on_a_faster_host() -> None:
    found = _differences(_side("a", host=1.0), _side("b", host=2.5, change=0.8, quality=92.0))
    speed = found[Quantity.SPEED]
    assert speed.verdict is ComparisonVerdict.SLOWER
    assert speed.change == pytest.approx(-0.2, abs=0.01)
    assert found[Quantity.VMAF_NEG].verdict is ComparisonVerdict.BETTER


@pytest.mark.parametrize("quantity", [Quantity.CPU_TIME, Quantity.ENERGY, Quantity.COST])
def test_properties_of_the_host_cannot_be_compared(quantity: Quantity) -> None:
    a, b = (relate_to_controls(_side(name, host=1.0)) for name in "ab")
    for side in (a, b):
        (results,) = side.scenarios
        assert all(quantity not in repeat.values for repeat in results.repeats)
        assert "different farms" in results.unavailable[quantity]


def test_a_node_without_control_encodes_has_no_relative_speed() -> None:
    (results,) = relate_to_controls(_side("b", host=1.0, controls=0)).scenarios
    assert all(Quantity.SPEED not in repeat.values for repeat in results.repeats)
    assert "no control encodes" in results.unavailable[Quantity.SPEED]
    found = _differences(_side("a", host=1.0), _side("b", host=1.0, controls=0))
    assert found[Quantity.SPEED].verdict is ComparisonVerdict.NOT_COMPARABLE
    assert "no control encodes" in (found[Quantity.SPEED].reason or "")


def test_verdicts_and_digests_are_kept() -> None:
    side = _side("a", host=1.0)
    (results,) = side.scenarios
    degraded = Repeat(
        round="1",
        values={Quantity.SPEED: 2.0},
        state=VerdictState.DEGRADED,
        reasons=("steal",),
        digest="digest",
    )
    changed = ComparedSide(
        name="a",
        scenarios=(
            ScenarioResults(
                node="worker1", source="clip", configuration="x264", repeats=(degraded,)
            ),
        ),
        controls=side.controls,
    )
    (kept,) = relate_to_controls(changed).scenarios[0].repeats
    assert (kept.state, kept.reasons, kept.digest) == (VerdictState.DEGRADED, ("steal",), "digest")
    assert results.conditions[Condition.SOURCE] == ("digest",)
