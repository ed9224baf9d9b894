"""Statements about the bit rates that encodes need at equal quality, and about what these cost."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from .encode_curves import (
    COSTS,
    TIME_RATIO,
    EncodeCurves,
    Place,
    RunCurves,
    find_cost_problem,
)
from .phrases import counted, listed
from .rate_distortion.contents import CONTENTS_MIN, MeanCurveDifference, mean_over_contents
from .rate_distortion.curve import POINTS_MIN
from .rate_distortion.difference import CurveDifference, cost_difference

_STATEMENTS_MAX = 10
_NAMED_MAX = 3
_DECIMALS_BELOW_PERCENT = 5

Interval = tuple[float, float]


@dataclass(frozen=True)
class _Pair:
    """Two encodes, by source, and the names by which they are known."""

    title: str
    reference: str
    tested: str
    sources: Mapping[str, tuple[EncodeCurves, EncodeCurves]]

    @property
    def swapped(self) -> _Pair:
        """The pair with the other encode as reference."""
        sources = {source: (tested, ref) for source, (ref, tested) in self.sources.items()}
        return _Pair(self.title, self.tested, self.reference, sources)


@dataclass(frozen=True)
class _RelativeDifference:
    """A relative difference, and its lowest and highest value by the sources of uncertainty."""

    value: float
    ranges: Mapping[str, Interval]

    @property
    def inverse(self) -> _RelativeDifference:
        """The difference of the inverse quantity, such as the speed instead of the time."""
        ranges = {
            name: (1 / (1 + high) - 1, 1 / (1 + low) - 1)
            for name, (low, high) in self.ranges.items()
        }
        return _RelativeDifference(1 / (1 + self.value) - 1, ranges)


@dataclass(frozen=True)
class _PairStatement:
    """A statement, and the sources of uncertainty that its ranges cover."""

    text: str
    covered: frozenset[str] = frozenset()


_INTERPOLATION = "interpolation"
_EQUAL_OUTPUT = "equal output"
_REPEATS = "repeats"
_CONTENTS = "clips"
_EXPLANATIONS = {
    _INTERPOLATION: (
        "Ranges of bit rates cover the interpolation: one rate point less, or Akima's method "
        "instead of PCHIP."
    ),
    _EQUAL_OUTPUT: "All repeats had the same output.",
    _REPEATS: "Ranges by repeats, as of speed and CPU time, are 95 % intervals.",
    _CONTENTS: "Ranges over clips are 95 % intervals.",
}


def difference_lines(found: RunCurves, columns: int) -> list[str]:
    """Return statements about all pairs of encodes with at least four rate points each.

    Args:
        found: The curves of the run.
        columns: Maximum length of a line.
    """
    pairs = _pairs(found)
    statements = [_statement(pair, found.quality) for pair in pairs[:_STATEMENTS_MAX]]
    texts = [statement.text for statement in statements]
    if len(pairs) > _STATEMENTS_MAX:
        texts.append(f"{counted(len(pairs) - _STATEMENTS_MAX, 'more pair')} of encodes not shown.")
    covered = frozenset[str]().union(*(statement.covered for statement in statements))
    closing = " ".join(text for name, text in _EXPLANATIONS.items() if name in covered)
    if closing and _CONTENTS not in covered:
        closing += " Other clips may differ."
    return [line for text in (*texts, closing) for line in textwrap.wrap(text, columns)]


def _pairs(found: RunCurves) -> list[_Pair]:
    """Return the pairs of encodes.

    With four or more sources, a pair has all of them. Otherwise there is one pair for each source,
    because no interval over so few contents exists.
    """
    pairs = []
    has_places = len(found.curves) > 1
    has_sources = len({source for sources in found.curves.values() for source in sources}) > 1
    for place, sources in found.curves.items():
        groups: list[dict[str, Mapping[str, EncodeCurves]]] = (
            [dict(sources)]
            if len(sources) >= CONTENTS_MIN
            else [{source: encodes} for source, encodes in sources.items()]
        )
        for group in groups:
            labels = dict.fromkeys(label for encodes in group.values() for label in encodes)
            for reference, tested in combinations(labels, 2):
                members = {
                    source: (encodes[reference], encodes[tested])
                    for source, encodes in group.items()
                    if _is_curve(encodes.get(reference)) and _is_curve(encodes.get(tested))
                }
                names = [_place_text(place, found)] if has_places else []
                if has_sources and len(members) == 1:
                    names += members
                title = f"{', '.join(names)}: " if names else ""
                if members:
                    pairs.append(_Pair(title, reference, tested, members))
    return pairs


def _is_curve(curves: EncodeCurves | None) -> bool:
    return curves is not None and curves.point_count >= POINTS_MIN


def _place_text(place: Place, found: RunCurves) -> str:
    """Return the node and the FFmpeg build, as far as they vary."""
    nodes = {other.node for other in found.curves}
    builds = {(other.ffmpeg, other.sha256) for other in found.curves}
    parts = [place.node] if len(nodes) > 1 else []
    if len(builds) > 1:
        is_ambiguous = sum(name == place.ffmpeg for name, _ in builds) > 1
        parts.append(f"{place.ffmpeg}@{place.sha256[:8]}" if is_ambiguous else place.ffmpeg)
    return ", ".join(parts)


def _statement(pair: _Pair, quality: str) -> _PairStatement:
    """Return the statement about a pair, whose subject is the encode that needs less bit rate."""
    differences = _differences(pair, "rate")
    mean = mean_over_contents(differences)
    if mean.value is None:
        reasons = list(dict.fromkeys(mean.rejected.values()))
        return _PairStatement(
            f"{pair.title}{pair.tested} and {pair.reference} are not comparable at equal {quality}:"
            f" {listed(reasons, _NAMED_MAX)}.{_degraded_text(pair)}"
        )
    if mean.value > 0:
        pair = pair.swapped
        differences = _differences(pair, "rate")
        mean = mean_over_contents(differences)
    rate = _relative_difference(differences, mean, is_rate=True)
    texts, covered = [], set(rate.ranges)
    problems: dict[str, list[str]] = {}
    for name, what in COSTS.items():
        members = [curves for both in pair.sources.values() for curves in both]
        problem = find_cost_problem(members, name)
        if problem is None:
            of_cost = _differences(pair, name)
            mean_cost = mean_over_contents(of_cost)
            problem = next(iter(mean_cost.rejected.values()), None)
            if problem is None:
                cost = _relative_difference(of_cost, mean_cost, is_rate=False)
                cost = cost.inverse if name == TIME_RATIO else cost
                covered |= set(cost.ranges)
                texts.append(_times_text(cost, what))
        if problem:
            problems.setdefault(problem, []).append(what)
    if all(found.repeats and found.repeats.is_deterministic for found in differences.values()):
        covered.add(_EQUAL_OUTPUT)
    text = _sentence(pair, rate, _at_quality(quality, differences))
    if texts:
        text += f", at {listed(texts, len(texts))}"
    text += f".{_problems_text(problems)}{_dropped_text(differences)}{_rejected_text(mean)}"
    if not rate.ranges and mean.reason is not None:
        text += f" No range is known: {mean.reason}."
    return _PairStatement(text + _degraded_text(pair), frozenset(covered))


def _differences(pair: _Pair, cost: str) -> dict[str, CurveDifference]:
    """Return the differences of the bit rates, or of another cost, by source."""
    if cost == "rate":
        return {
            source: cost_difference(reference.rate, tested.rate)
            for source, (reference, tested) in pair.sources.items()
        }
    return {
        source: cost_difference(reference.costs[cost], tested.costs[cost])
        for source, (reference, tested) in pair.sources.items()
        if reference.rate.reason is None and tested.rate.reason is None
    }


def _relative_difference(
    differences: Mapping[str, CurveDifference], mean: MeanCurveDifference, *, is_rate: bool
) -> _RelativeDifference:
    """Return the mean with its ranges: over clips, or else by repeats and by interpolation."""
    value, ranges = mean.value or 0.0, dict[str, Interval]()
    if mean.low is not None and mean.high is not None:
        ranges[_CONTENTS] = (mean.low, mean.high)
    if len(differences) > 1:
        return _RelativeDifference(value, ranges)
    (found,) = differences.values()
    repeats = found.repeats
    is_known = repeats is not None and not repeats.is_deterministic
    if repeats and is_known and repeats.low is not None and repeats.high is not None:
        ranges[_REPEATS] = (repeats.low, repeats.high)
    if is_rate and found.interpolation is not None and found.check is not None:
        low, high = found.interpolation
        ranges[_INTERPOLATION] = (min(low, found.check), max(high, found.check))
    return _RelativeDifference(value, ranges)


def _problems_text(problems: Mapping[str, Sequence[str]]) -> str:
    """Return which figures are not comparable, for each reason."""
    texts = []
    for problem, names in problems.items():
        subject = listed(names, len(names))
        verb = "is" if len(names) == 1 else "are"
        texts.append(f" {subject[0].upper()}{subject[1:]} {verb} not comparable: {problem}.")
    return "".join(texts)


def _sentence(pair: _Pair, rate: _RelativeDifference, at: str) -> str:
    """Return the statement about bit rates, without its full stop."""
    is_clear = all(high < 0 for _, high in rate.ranges.values())
    # With a difference of 5 % or more, decimals would only pretend precision.
    digits = 0 if abs(rate.value) * 100 >= _DECIMALS_BELOW_PERCENT else 1
    shown = {
        name: f"{-high * 100:.{digits}f} to {-low * 100:.{digits}f}"
        for name, (low, high) in rate.ranges.items()
    }
    if len(shown) == 1:
        ranges = next(iter(shown.values()))
    else:
        ranges = ", ".join(f"{text} by {name}" for name, text in shown.items())
    if not is_clear:
        return (
            f"{pair.title}{pair.tested} and {pair.reference} do not differ clearly in bit rate "
            f"{at}: {pair.tested} needs {ranges} % less"
        )
    amount = f"{-rate.value * 100:.{digits}f} %" + (f" ({ranges})" if ranges else "")
    return f"{pair.title}{pair.tested} needs {amount} less bit rate than {pair.reference} {at}"


def _at_quality(quality: str, differences: Mapping[str, CurveDifference]) -> str:
    """Return the quality and the common range of the curves, of which a small share is flagged."""
    known = {source: found for source, found in differences.items() if found.value is not None}
    overlaps = [found.overlap for found in known.values() if found.overlap is not None]
    share = min((overlap.ratio for overlap in overlaps), default=0.0)
    is_small = any(overlap.is_small for overlap in overlaps)
    amount = f"{'only ' if is_small else ''}{share * 100:.0f} %"
    if len(overlaps) == 1:
        span = f"{overlaps[0].low:.1f} to {overlaps[0].high:.1f}"
        return f"at equal {quality} ({span}, {amount} of the measured range)"
    clips = counted(len(known), "clip")
    return f"at equal {quality} over {clips} ({amount} or more of the measured range)"


def _times_text(cost: _RelativeDifference, what: str) -> str:
    """Return a ratio with its range, such as `2.1 times (2.0 to 2.2) the CPU time`."""
    ranges = [f" ({1 + low:.2f} to {1 + high:.2f})" for low, high in cost.ranges.values()]
    return f"{1 + cost.value:.2f} times{''.join(ranges)} the {what}"


def _dropped_text(differences: Mapping[str, CurveDifference]) -> str:
    dropped = [
        f"{name} {point.name} ({point.reason})"
        for found in differences.values()
        for name, points in found.dropped
        for point in points
    ]
    return f" Without {listed(dropped, _NAMED_MAX)}." if dropped else ""


def _rejected_text(mean: MeanCurveDifference) -> str:
    rejected = [f"{source} ({reason})" for source, reason in mean.rejected.items()]
    return f" Without the clips {listed(rejected, _NAMED_MAX)}." if rejected else ""


def _degraded_text(pair: _Pair) -> str:
    members = [curves for both in pair.sources.values() for curves in both]
    degraded = [codes for curves in members for codes in curves.degraded]
    if not degraded:
        return ""
    codes = sorted(frozenset[str]().union(*degraded))
    total = sum(curves.n for curves in members)
    return f" {len(degraded)} of {total} repeats were degraded: {', '.join(codes)}."
