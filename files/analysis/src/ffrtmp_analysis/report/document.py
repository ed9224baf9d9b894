"""Parts of a report: sections with texts, tables and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .number_text import NONE, fixed, significant

TableRow = Mapping[str, Any]


@dataclass(frozen=True)
class TableColumn:
    """A column of a table.

    Attributes:
        name: The key of its values in the rows.
        heading: The heading, with the unit.
        decimals: The number of decimals of its numbers, if it is fixed.
        digits: The number of significant digits of its numbers, if it is fixed. A column with
            neither contains texts.
        names: All texts that the column may contain, if they have a fixed order.
    """

    name: str
    heading: str
    decimals: int | None = None
    digits: int | None = None
    names: Sequence[str] = ()

    @property
    def is_number(self) -> bool:
        """Return whether the column contains numbers."""
        return self.decimals is not None or self.digits is not None

    def cell(self, row: TableRow) -> str:
        """Return the text of the cell in a row."""
        value = row[self.name]
        if value is None:
            return NONE if self.is_number else ""
        if self.decimals is not None:
            return fixed(value, self.decimals)
        if self.digits is not None:
            return significant(value, self.digits)
        return str(value)


@dataclass(frozen=True)
class Table:
    """A table with a caption. Its cells are the texts of the values in its rows."""

    caption: str
    columns: Sequence[TableColumn]
    rows: Sequence[TableRow]

    @property
    def cells(self) -> list[list[str]]:
        """The texts of all cells by row."""
        return [[column.cell(row) for column in self.columns] for row in self.rows]

    @property
    def varying(self) -> Table:
        """The table without text columns that are empty in all rows."""
        columns = [
            column
            for column in self.columns
            if column.is_number or any(column.cell(row) for row in self.rows)
        ]
        return Table(self.caption, columns, self.rows)


@dataclass(frozen=True)
class Plot:
    """A chart with the table that is its only source of data.

    Attributes:
        caption: What the chart shows.
        table: The table. Each of its rows has exactly one mark in the chart.
        specification: The chart as a Vega-Lite specification.
    """

    caption: str
    table: Table
    specification: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of text."""

    text: str


@dataclass(frozen=True)
class Statements:
    """Sentences that each stand for themselves."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Preformatted:
    """Text whose line breaks are kept, such as the lines of a log, with a caption."""

    caption: str
    text: str


Block = Paragraph | Statements | Preformatted | Table | Plot


@dataclass(frozen=True)
class Section:
    """A section. One without data consists of a paragraph with the reason."""

    name: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Report:
    """A report on a run.

    Attributes:
        title: The title.
        subtitle: The run: its id, farm and time.
        sections: The sections, first the findings.
    """

    title: str
    subtitle: str
    sections: Sequence[Section]

    @property
    def plots(self) -> list[Plot]:
        """All plots in their order."""
        return [
            block
            for section in self.sections
            for block in section.blocks
            if isinstance(block, Plot)
        ]
