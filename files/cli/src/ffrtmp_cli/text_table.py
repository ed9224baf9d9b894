"""Tables of short texts for people, with one line for each row."""

from collections.abc import Sequence

_GAP = "  "


def text_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as text, with columns that are as wide as their longest cell.

    Args:
        headings: The headings of the columns.
        rows: The cells of each row, one for each heading.
    """
    lines = [tuple(headings), *(tuple(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def text_list(pairs: Sequence[tuple[str, str]]) -> str:
    """Return labels with their values as text, one on each line.

    Args:
        pairs: The labels and values. A pair with an empty value is left out.
    """
    shown = [(label, value) for label, value in pairs if value]
    width = max((len(label) for label, _ in shown), default=0)
    return "\n".join(f"{label.ljust(width)}{_GAP}{value}" for label, value in shown)
