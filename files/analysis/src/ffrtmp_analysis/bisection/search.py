"""Search for the build of a change, as a function of everything that was measured so far.

The search has no state of its own: it is repeated after each batch of measurements, and returns
either the next request or the conclusion. It can therefore be interrupted at any time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import msgspec

from ffrtmp_analysis.bisection.classification import SearchedChange, has_change
from ffrtmp_analysis.bisection.measured_batches import (
    Batch,
    Measure,
    Stage,
    Target,
    count_repeats,
    results_of,
    results_of_build,
)
from ffrtmp_analysis.comparison.compared_results import ComparedSide, ScenarioResults
from ffrtmp_analysis.comparison.differences import (
    REGRESSIONS,
    Comparison,
    ComparisonVerdict,
    Difference,
    Pairing,
)
from ffrtmp_analysis.comparison.quantities import RULES, Quantity
from ffrtmp_analysis.comparison.scenario_difference import MeasuredShift, measure_shift
from ffrtmp_analysis.comparison.side_comparison import Margins, compare

REPEATS_MAX = 32
"""Default of the maximum number of repeats of each build in a comparison."""

_EXACT_REPEATS = 2
"""Repeats that show that an encoder always produces the same output."""

_ENDS_FIRST = 8
_STEP_FIRST = 4
_CONFIRMATION_FIRST = 8

_MARGINS = Margins()


class _Strictness(NamedTuple):
    """The evidence that a step needs.

    Attributes:
        level: The probability of a wrong classification.
        can_estimate: Whether the estimate decides if the permitted repeats do not suffice.
    """

    level: float
    can_estimate: bool


_STRICTNESS = (_Strictness(0.1, can_estimate=True), _Strictness(0.01, can_estimate=False))
"""The evidence for the first pass and for a second one. The confirmation finds errors of the first
pass, after which the measurements are judged again."""


class Outcome(StrEnum):
    """The kind of a conclusion."""

    FOUND = "found"
    """The change is between a build and its predecessor."""
    NOT_SHOWN = "not_shown"
    """The last build is not shown to be worse than the first."""
    UNDECIDED = "undecided"
    """A build cannot be classified with the permitted repeats."""
    NOT_CONFIRMED = "not_confirmed"
    """The search ended at two builds that do not differ when they are compared directly."""
    NOT_COMPARABLE = "not_comparable"
    """The first and the last build cannot be compared."""


class BisectionConclusion(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a search.

    Attributes:
        outcome: The kind of the conclusion.
        before: The number of the last build that is known to lack the change, from 0.
        after: The number of the first build that is known to have it.
        target: The change that was searched for; None if no change is shown.
        difference: The difference of the target between the two builds; None without a target.
        ends: All differences between the first and the last build.
    """

    outcome: Outcome
    before: int
    after: int
    target: Target | None
    difference: Difference | None
    ends: tuple[Difference, ...]


@dataclass(frozen=True)
class SearchSettings:
    """Settings of a search.

    Attributes:
        quantities: The quantities that may have become worse, the most important one first.
        margins: The differences that do not matter.
        repeats_max: The maximum number of repeats of each build in a comparison.
        rate: The probability with which a build may be named although nothing changed.
    """

    quantities: tuple[Quantity, ...]
    margins: Margins = _MARGINS
    repeats_max: int = REPEATS_MAX
    rate: float = 0.05

    def looks(self, first: int) -> tuple[int, ...]:
        """Return the numbers of repeats at which a comparison is judged."""
        found = []
        while first < self.repeats_max:
            found.append(first)
            first *= 2
        return *found, self.repeats_max


def continue_search(
    builds: int, batches: Sequence[Batch], settings: SearchSettings
) -> Measure | BisectionConclusion:
    """Return what to measure next, or the conclusion.

    Args:
        builds: The number of builds, which is at least two.
        batches: Everything that was measured so far.
        settings: The settings.
    """
    return _Search(builds - 1, batches, settings).next()


@dataclass(frozen=True)
class _Limits:
    """The two builds between which the change is, or the next request to narrow them."""

    before: int
    after: int
    request: Measure | None = None
    is_undecided: bool = False


class _Search:
    def __init__(self, last: int, batches: Sequence[Batch], settings: SearchSettings) -> None:
        self._last = last
        self._batches = batches
        self._settings = settings

    def next(self) -> Measure | BisectionConclusion:
        ends = self._ends()
        if isinstance(ends, Measure | BisectionConclusion):
            return ends
        target, found = _choose_target(ends, self._settings.quantities)
        change = SearchedChange(_shift_of(found), found.pairing is Pairing.EXACT)
        refuted: set[tuple[int, int]] = set()
        outcome, pair, shown = Outcome.FOUND, (0, self._last), found
        for strictness in _STRICTNESS if self._last > 1 else ():
            limits = self._narrow(target, change, strictness)
            if limits.request is not None:
                return limits.request
            pair = limits.before, limits.after
            if limits.is_undecided:
                outcome, shown = Outcome.UNDECIDED, found
                break
            if pair in refuted:
                break
            confirmed = self._confirm(pair, target, change)
            if isinstance(confirmed, Measure):
                return confirmed
            shown = confirmed
            if confirmed.verdict in REGRESSIONS:
                outcome = Outcome.FOUND
                break
            outcome = Outcome.NOT_CONFIRMED
            refuted.add(pair)
        return self._conclusion(outcome, pair, target, shown, ends)

    def _ends(self) -> Comparison | Measure | BisectionConclusion:
        """Return the differences of the last build from the first, if there is a regression."""
        settings = self._settings
        looks = settings.looks(_ENDS_FIRST)
        n = count_repeats(self._batches, Stage.ENDS, 0, self._last)
        is_repeatable = all(RULES[quantity].is_repeatable for quantity in settings.quantities)
        first = _EXACT_REPEATS if is_repeatable else looks[0]
        if n < first:
            return self._measure(Stage.ENDS, (0, self._last), first - n, None)
        found = compare(
            self._side(Stage.ENDS, (0, self._last), 0),
            self._side(Stage.ENDS, (0, self._last), self._last),
            quantities=settings.quantities,
            margins=settings.margins,
            rate=settings.rate / len(looks),
        )
        if any(difference.verdict in REGRESSIONS for difference in found.differences):
            return found
        verdicts = {difference.verdict for difference in found.differences}
        more = [look for look in looks if look > n]
        is_undecided = ComparisonVerdict.NOT_SHOWN in verdicts or (
            n < looks[0] and ComparisonVerdict.NOT_COMPARABLE in verdicts
        )
        if is_undecided and more:
            return self._measure(Stage.ENDS, (0, self._last), more[0] - n, None)
        is_comparable = bool(verdicts - {ComparisonVerdict.NOT_COMPARABLE})
        outcome = Outcome.NOT_SHOWN if is_comparable else Outcome.NOT_COMPARABLE
        return self._conclusion(outcome, (0, self._last), None, None, found)

    def _narrow(self, target: Target, change: SearchedChange, strictness: _Strictness) -> _Limits:
        """Halve the range of builds until two neighbors are left."""
        before, after = 0, self._last
        while after - before > 1:
            middle = (before + after) // 2
            classified = self._classify(middle, target, change, strictness)
            if isinstance(classified, Measure):
                return _Limits(before, after, request=classified)
            if classified is None:
                return _Limits(before, after, is_undecided=True)
            before, after = (before, middle) if classified else (middle, after)
        return _Limits(before, after)

    def _classify(
        self, middle: int, target: Target, change: SearchedChange, strictness: _Strictness
    ) -> bool | Measure | None:
        """Return whether a build has the change, or what to measure to find out."""
        pair = 0, middle
        n, level = count_repeats(self._batches, Stage.STEP, *pair), strictness.level
        if change.is_exact:
            if n == 0:
                return self._measure(Stage.STEP, pair, _EXACT_REPEATS, target, (middle,))
            found = self._shift_of_builds(0, middle, target)
            if found is not None and found.exact is not None:
                return has_change(found, change, level)
            # The repeats with only one build have no partners.
            n -= _EXACT_REPEATS
        looks = self._settings.looks(_STEP_FIRST)
        more = [look for look in looks if look > n]
        classified = None
        if n >= looks[0]:
            found = self._shift(Stage.STEP, pair, target, 2 * level / len(looks))
            # The median of the differences is on one side of the limit with a p-value up to 0.5.
            last_level = 0.5 if strictness.can_estimate and not more else level / len(looks)
            if found is not None:
                classified = has_change(found, change, last_level)
        if classified is None and more:
            return self._measure(Stage.STEP, pair, more[0] - n, target)
        return classified

    def _confirm(
        self, pair: tuple[int, int], target: Target, change: SearchedChange
    ) -> Difference | Measure:
        """Return the difference of two neighbors, or what to measure for it."""
        if change.is_exact:
            found = self._difference(
                [results_of_build(self._batches, build) for build in pair],
                pair,
                target,
                self._settings.rate,
            )
            if found is not None and found.pairing is Pairing.EXACT:
                return found
        looks = self._settings.looks(_CONFIRMATION_FIRST)
        # Each pass may end with a confirmation.
        rate = self._settings.rate / (len(looks) * len(_STRICTNESS))
        n = count_repeats(self._batches, Stage.CONFIRMATION, *pair)
        more = [look for look in looks if look > n]
        if n < looks[0]:
            return self._measure(Stage.CONFIRMATION, pair, more[0] - n, target)
        sides = [results_of(self._batches, Stage.CONFIRMATION, *pair, build) for build in pair]
        found = self._difference(sides, pair, target, rate)
        shift = self._shift(Stage.CONFIRMATION, pair, target, rate)
        is_decided = found is not None and (
            found.verdict in REGRESSIONS
            or found.verdict is ComparisonVerdict.SAME
            or (shift is not None and has_change(shift, change, rate / 2) is False)
        )
        if more and not is_decided:
            return self._measure(Stage.CONFIRMATION, pair, more[0] - n, target)
        # Both builds were measured before, so that they have results of the scenario.
        assert found is not None  # noqa: S101
        return found

    def _difference(
        self,
        sides: Sequence[tuple[ScenarioResults, ...]],
        pair: tuple[int, int],
        target: Target,
        rate: float,
    ) -> Difference | None:
        named = [
            ComparedSide(name=_name(build), scenarios=tuple(r for r in side if _is_of(r, target)))
            for build, side in zip(pair, sides, strict=True)
        ]
        found = compare(
            *named, quantities=(target.quantity,), margins=self._settings.margins, rate=rate
        ).differences
        return found[0] if found else None

    def _shift(
        self, stage: Stage, pair: tuple[int, int], target: Target, rate: float
    ) -> MeasuredShift | None:
        sides = [results_of(self._batches, stage, *pair, build) for build in pair]
        return _measured_shift(sides, pair, target, rate)

    def _shift_of_builds(self, before: int, after: int, target: Target) -> MeasuredShift | None:
        pair = before, after
        sides = [results_of_build(self._batches, build) for build in pair]
        return _measured_shift(sides, pair, target, self._settings.rate)

    def _side(self, stage: Stage, pair: tuple[int, int], build: int) -> ComparedSide:
        scenarios = results_of(self._batches, stage, *pair, build)
        return ComparedSide(name=_name(build), scenarios=scenarios)

    def _measure(
        self,
        stage: Stage,
        pair: tuple[int, int],
        repeats: int,
        target: Target | None,
        builds: tuple[int, ...] = (),
    ) -> Measure:
        return Measure(
            stage=stage,
            before=pair[0],
            after=pair[1],
            builds=builds or pair,
            repeats=repeats,
            target=target,
        )

    @staticmethod
    def _conclusion(
        outcome: Outcome,
        pair: tuple[int, int],
        target: Target | None,
        difference: Difference | None,
        ends: Comparison,
    ) -> BisectionConclusion:
        return BisectionConclusion(
            outcome=outcome,
            before=pair[0],
            after=pair[1],
            target=target,
            difference=difference,
            ends=ends.differences,
        )


def _name(build: int) -> str:
    return f"build {build + 1}"


def _is_of(results: ScenarioResults, target: Target) -> bool:
    return (results.source, results.configuration) == (target.source, target.configuration)


def _measured_shift(
    sides: Sequence[tuple[ScenarioResults, ...]],
    pair: tuple[int, int],
    target: Target,
    rate: float,
) -> MeasuredShift | None:
    found = [[results for results in side if _is_of(results, target)] for side in sides]
    if not all(found):
        return None
    names = _name(pair[0]), _name(pair[1])
    return measure_shift(found[0][0], found[1][0], names, target.quantity, rate)


def _choose_target(ends: Comparison, quantities: Sequence[Quantity]) -> tuple[Target, Difference]:
    """Return the largest regression of the most important quantity that has one."""

    def order(found: Difference) -> tuple[int, float]:
        return quantities.index(found.quantity), -abs(_shift_of(found))

    found = min((item for item in ends.differences if item.verdict in REGRESSIONS), key=order)
    target = Target(source=found.source, configuration=found.configuration, quantity=found.quantity)
    return target, found


def _shift_of(found: Difference) -> float:
    """Return the change as a difference of logarithms, or of points."""
    assert found.change is not None  # noqa: S101 - a regression has a change
    return math.log1p(found.change) if found.is_relative else found.change
