"""Texts of a comparison: for the terminal, and Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ffrtmp_analysis.comparison.differences import Difference, SideSummary
from ffrtmp_analysis.comparison.quantities import RULES
from ffrtmp_analysis.comparison.sentences import change_text, interval_text

from ffrtmp_cli.comparison.document import (
    ComparisonDocument,
    has_several_nodes,
    scenario_label,
)
from ffrtmp_cli.text_table import text_table

_HEADINGS = ("scenario", "quantity", "A", "B", "change", "interval", "verdict", "n", "degraded")
_DIGITS = 4


def terminal_text(document: ComparisonDocument) -> str:
    """Return a comparison as text: what matters first, the table, and the findings."""
    parts = [f"A: {document.a}\nB: {document.b}", "\n".join(_first(document))]
    if document.differences:
        headings = [heading.upper() for heading in _HEADINGS]
        parts.append(text_table(headings, _rows(document)))
    parts.append("\n".join(document.findings))
    return "\n\n".join(part for part in parts if part)


def markdown_text(document: ComparisonDocument) -> str:
    """Return a comparison as Markdown, for a comment on a pull request."""
    lines = [f"### {_escaped(document.a)} → {_escaped(document.b)}", ""]
    conclusion, *others = document.summary
    lines += [f"**{_escaped(conclusion)}**", ""]
    texts = [*document.headlines, *others, *_changes(document)]
    lines += [f"- {_escaped(text)}" for text in texts]
    if document.findings:
        lines += ["", "#### Findings", "", *(f"- {_escaped(text)}" for text in document.findings)]
    if document.differences:
        lines += ["", "<details><summary>All comparisons</summary>", ""]
        lines += [_markdown_row(_HEADINGS), "|" + "---|" * len(_HEADINGS)]
        lines += [_markdown_row(row) for row in _rows(document)]
        lines += ["", "</details>"]
    return "\n".join(lines) + "\n"


def _first(document: ComparisonDocument) -> Iterator[str]:
    yield from document.headlines
    yield from document.summary
    yield from _changes(document)


def _changes(document: ComparisonDocument) -> Iterator[str]:
    if document.changed:
        yield f"Different conditions: {'; '.join(change.text for change in document.changed)}."


def _rows(document: ComparisonDocument) -> list[tuple[str, ...]]:
    has_node = has_several_nodes(document.differences)
    return [_row(found, has_node=has_node) for found in document.differences]


def _row(found: Difference, *, has_node: bool) -> tuple[str, ...]:
    change = interval = "-"
    if found.change is not None and found.low is not None and found.high is not None:
        change = change_text(found.change, is_relative=found.is_relative)
        interval = interval_text(found.low, found.high, is_relative=found.is_relative)
    counts = [side.n for side in (found.a, found.b)]
    return (
        scenario_label(found, has_node=has_node),
        RULES[found.quantity].name,
        _median(found.a),
        _median(found.b),
        change,
        interval,
        found.verdict.replace("_", " "),
        f"{counts[0]}" if counts[0] == counts[1] else f"{counts[0]}, {counts[1]}",
        _degraded(found),
    )


def _median(side: SideSummary) -> str:
    if side.median is None:
        return "-"
    digits = max(_DIGITS - len(f"{abs(side.median):.0f}"), 0)
    return f"{side.median:.{digits}f}"


def _degraded(found: Difference) -> str:
    counts = [side.n_degraded for side in (found.a, found.b)]
    return f"{counts[0]}, {counts[1]}" if any(counts) else "0"


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _escaped(text: str) -> str:
    """Return text without characters that Markdown interprets."""
    for character in "\\`*_[]<>|":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", " ")
