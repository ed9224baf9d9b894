"""Sentences that state the outcome of a comparison."""

from collections.abc import Iterator

from ffrtmp_analysis.comparison.differences import (
    Comparison,
    ComparisonVerdict,
    ControlShift,
    Difference,
    MeanDifference,
    Pairing,
    SideSummary,
)
from ffrtmp_analysis.comparison.quantities import RULES
from ffrtmp_analysis.comparison.recorded_factors import Factor

_PAIRINGS = {
    Pairing.ROUNDS: "paired by round",
    Pairing.NONE: "unpaired",
    Pairing.EXACT: "all repeats equal",
}

_ARTICLES = {Factor.CLOCK: "the "}
_PART_MIN = 0.05
"""Smallest part of a change that a sentence names, as a fraction of the change."""


def change_text(change: float, *, is_relative: bool, has_sign: bool = True) -> str:
    """Return a change as text, such as `+3.1 %` or `-0.52 points`.

    Args:
        change: The change: a ratio minus 1, or points.
        is_relative: Whether it is a ratio minus 1.
        has_sign: Whether a positive change has a sign.
    """
    amount, unit = (100 * change, "%") if is_relative else (change, "points")
    return f"{_number(amount, '+' if has_sign else '')} {unit}"


def interval_text(low: float, high: float, *, is_relative: bool) -> str:
    """Return an interval as text without a unit, such as `-1.2 to +2.1`."""
    factor = 100 if is_relative else 1
    return f"{_number(factor * low, '+')} to {_number(factor * high, '+')}"


def difference_sentence(found: Difference) -> str:
    """Return a sentence about a difference, without its scenario."""
    name = RULES[found.quantity].name
    if found.verdict is ComparisonVerdict.NOT_COMPARABLE:
        return f"{name} not comparable: {found.reason}{_degraded_text(found)}."
    assert found.change is not None  # noqa: S101 - all other verdicts have these values
    assert found.low is not None  # noqa: S101
    assert found.high is not None  # noqa: S101
    assert found.pairing is not None  # noqa: S101
    estimate = change_text(found.change, is_relative=found.is_relative)
    if found.pairing is not Pairing.EXACT:
        estimate += f" ({interval_text(found.low, found.high, is_relative=found.is_relative)})"
    margin = change_text(found.margin, is_relative=found.is_relative, has_sign=False)
    basis = f"n = {found.a.n} and {found.b.n}, {_PAIRINGS[found.pairing]}{_degraded_text(found)}"
    if found.verdict is ComparisonVerdict.SAME:
        return f"{name} same within {margin}: {estimate}; {basis}."
    if found.verdict is ComparisonVerdict.NOT_SHOWN:
        detectable = _detectable_text(found, margin)
        return f"no difference of {name} shown: {estimate}; {detectable}; {basis}."
    return f"{name} {found.verdict}: {estimate}; {basis}.{_attribution_text(found)}"


def mean_sentence(found: MeanDifference) -> str:
    """Return a sentence about a mean over clips, without its configuration."""
    estimate = change_text(found.change, is_relative=found.is_relative)
    interval = interval_text(found.low, found.high, is_relative=found.is_relative)
    text = f"{RULES[found.quantity].name}, mean over {found.clips} clips: {estimate} ({interval})"
    if found.left_out:
        text += f"; not comparable: {', '.join(found.left_out)}"
    return f"{text}."


def control_sentence(shift: ControlShift) -> str:
    """Return a sentence about the control encodes of a node."""
    if shift.change is None:
        change = "no ratio"
    else:
        change = change_text(shift.change, is_relative=True)
        if shift.low is not None and shift.high is not None:
            change += f" ({interval_text(shift.low, shift.high, is_relative=True)})"
    basis = f"{change}, n = {shift.n_a} and {shift.n_b}; {shift.reason}"
    if shift.is_shifted:
        return (
            f"The control encodes of {shift.node} shifted: {basis}. Differences of speed, CPU "
            "time, energy and cost may be those of the node."
        )
    if shift.is_shifted is None:
        return f"It is unknown whether {shift.node} changed: {basis}."
    return f"The control encodes of {shift.node} did not shift: {basis}."


def headline_sentences(comparison: Comparison) -> Iterator[str]:
    """Yield the sentences that a reader must see first: shifts, and missing scenarios."""
    for shift in sorted(comparison.controls, key=lambda shift: not shift.is_shifted):
        yield control_sentence(shift)
    for name, missing in (
        (comparison.a, comparison.only_in_a),
        (comparison.b, comparison.only_in_b),
    ):
        if missing:
            yield f"Only {name} has results of: {'; '.join(missing)}."
    if not comparison.differences:
        yield "The two sides have no scenario in common on the same node."


def degraded_text(side: SideSummary) -> str:
    """Return the degraded and invalid results of a side as text, or "" if there are none."""
    counts = [
        f"{count} {word}"
        for count, word in ((side.n_degraded, "degraded"), (side.n_invalid, "invalid"))
        if count
    ]
    if not counts:
        return ""
    reasons = ", ".join(f"{code} {count}" for code, count in side.reasons.items())
    return f"{', '.join(counts)} ({reasons})" if reasons else ", ".join(counts)


def _degraded_text(found: Difference) -> str:
    texts = [degraded_text(side) or "none degraded" for side in (found.a, found.b)]
    if not (degraded_text(found.a) or degraded_text(found.b)):
        return ""
    return f"; A: {texts[0]}; B: {texts[1]}"


def _attribution_text(found: Difference) -> str:
    """Return a sentence on the recorded factors of a difference, or ""."""
    if found.unexplained is None or found.change is None:
        return ""
    if all(part.change is None for part in found.parts):
        return " It is unexplained, because no factor was recorded."
    least = _PART_MIN * abs(found.change)
    parts = [
        f"{_number(100 * part.change, '+')} % are due to {_ARTICLES.get(part.factor, '')}"
        f"{part.factor}"
        for part in found.parts
        if part.change is not None and abs(part.change) >= least
    ]
    unrecorded = [part.factor for part in found.parts if part.change is None]
    text = f"{_number(100 * found.unexplained, '+')} % are unexplained"
    text = f"{', '.join(parts)}, and {text}" if parts else text
    if unrecorded:
        text += f" (not recorded: {', '.join(unrecorded)})"
    return f" Of the {change_text(found.change, is_relative=True)}, {text}."


def _detectable_text(found: Difference, margin: str) -> str:
    if found.repeats_needed is None:
        needed = f"showing {margin} is out of reach"
    else:
        needed = f"about {found.repeats_needed} repeats of each side would show {margin}"
    if found.detectable is None:
        return f"too few repeats to show any difference among so many comparisons, {needed}"
    detectable = change_text(found.detectable, is_relative=found.is_relative, has_sign=False)
    return f"smallest detectable difference {detectable}, {needed}"


def _number(value: float, sign: str) -> str:
    """Return a number with two decimals below 1, one below 100, and none above."""
    size = abs(value)
    digits = 2 if size < 1 else 1 if size < 100 else 0  # noqa: PLR2004
    text = f"{value:{sign}.{digits}f}"
    return text.lstrip("+-") if not text.strip("+-0.") else text
