"""A report as Markdown: its texts and tables. Plots are represented by their tables."""

from __future__ import annotations

import re

from .document import Block, Paragraph, Plot, Preformatted, Report, Statements, Table

_MARKUP = re.compile(r"([\\`*_\[\]<>|#~])")
_FENCE = "~~~~"


def markdown_text(report: Report) -> str:
    """Return a report as Markdown with the tables of GitHub.

    Args:
        report: The report.
    """
    parts = [f"# {_escaped(report.title)}", _escaped(report.subtitle)]
    for section in report.sections:
        parts.append(f"## {_escaped(section.title)}")
        parts += [_block(block) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return _escaped(block.text)
    if isinstance(block, Statements):
        return "\n".join(f"- {_escaped(text)}" for text in block.texts)
    if isinstance(block, Preformatted):
        text = block.text.replace(_FENCE, "")
        return f"{_escaped(block.caption)}\n\n{_FENCE}\n{text}\n{_FENCE}"
    if isinstance(block, Plot):
        return f"{_escaped(block.caption)}\n\n{_table(block.table)}"
    return f"{_escaped(block.caption)}\n\n{_table(block)}"


def _table(table: Table) -> str:
    head = [_escaped(column.heading) for column in table.columns]
    rule = ["---:" if column.is_number else "---" for column in table.columns]
    rows = [[_escaped(cell) for cell in cells] for cells in table.cells]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def _escaped(text: str) -> str:
    """Return text on one line in which no character is markup."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
