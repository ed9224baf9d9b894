"""Document of a comparison, which all its outputs are made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from ffrtmp_analysis.comparison.compared_results import ComparedSide
from ffrtmp_analysis.comparison.conclusion import Conclusion, conclude, regressions
from ffrtmp_analysis.comparison.differences import (
    Comparison,
    ComparisonVerdict,
    ControlShift,
    Difference,
    MeanDifference,
    SideSummary,
)
from ffrtmp_analysis.comparison.quantities import RULES, Quantity
from ffrtmp_analysis.comparison.sentences import (
    change_text,
    difference_sentence,
    headline_sentences,
    mean_sentence,
)
from ffrtmp_analysis.comparison.side_comparison import Margins, compare
from ffrtmp_client.phrases import listed

from ffrtmp_cli.comparison.changed_conditions import ChangedCondition

_CONCLUSIONS = {
    Conclusion.REGRESSION: "Regression: {b} is worse than {a} by more than the margin in {worse}.",
    Conclusion.UNDECIDED: (
        "Undecided: no regression was shown, but not everything could be compared."
    ),
    Conclusion.NO_REGRESSION: (
        "No regression: nothing of {b} was shown to be worse than {a} by more than the margin."
    ),
}
_LABELS_MAX = 3
_NOT_SHOWN = frozenset({ComparisonVerdict.SAME, ComparisonVerdict.NOT_SHOWN})


class ComparisonSettings(NamedTuple):
    """Settings of a comparison.

    Attributes:
        quantities: The quantities.
        margins: The differences that do not matter.
    """

    quantities: tuple[Quantity, ...] = tuple(Quantity)
    margins: Margins = Margins()


class ComparisonDocument(
    msgspec.Struct, tag_field="schema", tag="ffrtmp/comparison/1", frozen=True, kw_only=True
):
    """The comparison of two sides. Changes are those from A to B.

    Attributes:
        a: The name of side A.
        b: The name of side B.
        conclusion: `regression`, `undecided` or `no_regression`.
        headlines: What a reader must know first, such as a shift of the control encodes.
        summary: The conclusion, the number of differences with each verdict, the smallest
            detectable differences, and the degraded results, as sentences.
        findings: A sentence for each difference that was shown, each mean over clips, and each
            reason why something is not comparable.
        changed: The conditions and settings that differ.
        controls: The control encodes of each node that both sides have.
        differences: The differences, in the order of nodes, scenarios and quantities.
        regressions: The positions in `differences` of those that are regressions, from 0.
        means: The means over clips.
        only_in_a: The scenarios with results of only side A.
        only_in_b: The scenarios with results of only side B.
    """

    a: str
    b: str
    conclusion: Conclusion
    headlines: tuple[str, ...]
    summary: tuple[str, ...]
    findings: tuple[str, ...]
    changed: tuple[ChangedCondition, ...]
    controls: tuple[ControlShift, ...]
    differences: tuple[Difference, ...]
    regressions: tuple[int, ...]
    means: tuple[MeanDifference, ...]
    only_in_a: tuple[str, ...]
    only_in_b: tuple[str, ...]


def compare_sides(
    a: ComparedSide,
    b: ComparedSide,
    *,
    settings: ComparisonSettings = ComparisonSettings(),  # noqa: B008 - it is immutable
    changed: tuple[ChangedCondition, ...] = (),
    has_controls: bool = True,
    remarks: tuple[str, ...] = (),
) -> ComparisonDocument:
    """Return the comparison of two sides as a document.

    Args:
        a: The first side.
        b: The second side.
        settings: The quantities to compare, and the differences that do not matter.
        changed: The conditions that differ.
        has_controls: Whether control encodes could show that a node changed between the sides.
        remarks: Sentences on the runs, which follow the other headlines.
    """
    comparison = compare(a, b, quantities=settings.quantities, margins=settings.margins)
    worse = regressions(comparison)
    positions = tuple(
        number
        for number, found in enumerate(comparison.differences)
        if any(found is regression for regression in worse)
    )
    headlines = list(headline_sentences(comparison))
    if has_controls and comparison.differences and not comparison.controls:
        headlines.insert(
            0,
            "No node has control encodes on both sides, so that differences of speed, CPU time, "
            "energy and cost may be those of the node.",
        )
    return ComparisonDocument(
        a=a.name,
        b=b.name,
        conclusion=conclude(comparison),
        headlines=(*headlines, *remarks),
        summary=tuple(_summary(comparison, worse)),
        findings=tuple(_findings(comparison)),
        changed=changed,
        controls=comparison.controls,
        differences=comparison.differences,
        regressions=positions,
        means=comparison.means,
        only_in_a=comparison.only_in_a,
        only_in_b=comparison.only_in_b,
    )


def scenario_label(found: Difference | MeanDifference, *, has_node: bool) -> str:
    """Return the name of the scenario of a difference, with its node if there are several."""
    source = f"{found.source}/" if isinstance(found, Difference) else ""
    return (f"{found.node}: " if has_node else "") + source + found.configuration


def has_several_nodes(differences: tuple[Difference, ...]) -> bool:
    """Return whether scenarios have to be named with their node."""
    return len({found.node for found in differences}) > 1


def _summary(comparison: Comparison, worse: tuple[Difference, ...]) -> Iterator[str]:
    text = _CONCLUSIONS[conclude(comparison)]
    count = f"{len(worse)} of {len(comparison.differences)} comparisons"
    yield text.format(a=comparison.a, b=comparison.b, worse=count)
    counts = Counter(found.verdict for found in comparison.differences)
    text = ", ".join(
        f"{counts[verdict]} {verdict.value.replace('_', ' ')}"
        for verdict in ComparisonVerdict
        if counts[verdict]
    )
    if text:
        yield f"Verdicts on B: {text}."
    yield from _detectable_lines(comparison)
    yield from _degraded_lines(comparison)


def _detectable_lines(comparison: Comparison) -> Iterator[str]:
    """Yield for each quantity what the comparisons without a verdict could have shown."""
    groups: dict[Quantity, list[Difference]] = {}
    for found in comparison.differences:
        if found.verdict is ComparisonVerdict.NOT_SHOWN:
            groups.setdefault(found.quantity, []).append(found)
    for quantity, group in groups.items():
        is_relative, margin = group[0].is_relative, group[0].margin
        sizes = [found.detectable for found in group if found.detectable is not None]
        repeats = [found.repeats_needed for found in group if found.repeats_needed is not None]
        texts = [
            change_text(size, is_relative=is_relative, has_sign=False)
            for size in dict.fromkeys((min(sizes), max(sizes)) if sizes else ())
        ]
        could = " to ".join(texts) if len(sizes) == len(group) else "too few repeats for any"
        needed = (
            f"about {max(repeats)} repeats of each side would show "
            if len(repeats) == len(group)
            else "no feasible number of repeats would show "
        ) + change_text(margin, is_relative=is_relative, has_sign=False)
        yield (
            f"Smallest detectable difference of {RULES[quantity].name} where none was shown: "
            f"{could}; {needed}."
        )


def _degraded_lines(comparison: Comparison) -> Iterator[str]:
    """Yield a sentence for each side with degraded or invalid results, which count each once."""
    fullest: dict[tuple[str, str, str], Difference] = {}
    for found in comparison.differences:
        key = found.node, found.source, found.configuration
        if key not in fullest or found.a.n + found.b.n > fullest[key].a.n + fullest[key].b.n:
            fullest[key] = found
    for letter in "ab":
        sides: list[SideSummary] = [getattr(found, letter) for found in fullest.values()]
        reasons: Counter[str] = Counter()
        for side in sides:
            reasons.update(side.reasons)
        degraded, invalid = (
            sum(getattr(side, name) for side in sides) for name in ("n_degraded", "n_invalid")
        )
        total = sum(side.n + side.n_invalid for side in sides)
        if degraded or invalid:
            why = ", ".join(f"{code} {count}" for code, count in sorted(reasons.items()))
            yield (
                f"Of the {total} results of {letter.upper()}, {degraded} are degraded and "
                f"{invalid} invalid ({why})."
            )


def _findings(comparison: Comparison) -> Iterator[str]:
    """Yield the sentences of differences that were shown, of means, and of obstacles."""
    has_node = has_several_nodes(comparison.differences)
    obstacles: dict[str, list[Difference]] = {}
    for found in comparison.differences:
        if found.reason is not None:
            obstacles.setdefault(found.reason, []).append(found)
        elif found.verdict not in _NOT_SHOWN:
            yield f"{scenario_label(found, has_node=has_node)}: {difference_sentence(found)}"
    for mean in comparison.means:
        if mean.low == mean.high:
            # All clips are equal, which the table shows.
            continue
        yield f"{scenario_label(mean, has_node=has_node)}: {mean_sentence(mean)}"
    for reason, group in obstacles.items():
        labels = list(dict.fromkeys(scenario_label(found, has_node=has_node) for found in group))
        quantities = dict.fromkeys(RULES[found.quantity].name for found in group)
        yield f"{listed(labels, _LABELS_MAX)}: {', '.join(quantities)} not comparable: {reason}."
