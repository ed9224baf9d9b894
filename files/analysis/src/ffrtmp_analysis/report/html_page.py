"""A report as one HTML page, which needs neither a network nor scripts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from html import escape

from .document import Block, Paragraph, Plot, Preformatted, Report, Section, Statements, Table
from .style import STYLE

_SVG_START = "<svg "


def html_page(report: Report, images: Sequence[str]) -> str:
    """Return a report as HTML.

    Its content security policy forbids everything except the style sheet that the page contains.

    Args:
        report: The report.
        images: The charts of its plots as SVG, in the order of `report.plots`.

    Raises:
        ValueError: The number of images is not that of the plots, or an image is not SVG.
    """
    if len(images) != len(report.plots):
        raise ValueError(f"the report has {len(report.plots)} plots, but {len(images)} images")
    if not all(image.startswith(_SVG_START) for image in images):
        raise ValueError("an image of the report is not SVG")
    remaining = iter(images)
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    links = "".join(
        f'<li><a href="#{section.name}">{escape(section.title)}</a></li>'
        for section in report.sections
    )
    sections = "\n".join(_section(section, remaining) for section in report.sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{escape(report.title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{escape(report.title)}</h1>
<p class="subtitle">{escape(report.subtitle)}</p>
</header>
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main>
{sections}
</main>
</body>
</html>
"""


def _section(section: Section, images: Iterator[str]) -> str:
    blocks = "\n".join(_block(block, images) for block in section.blocks)
    heading = f'<h2 id="{section.name}-title">{escape(section.title)}</h2>'
    return (
        f'<section id="{section.name}" aria-labelledby="{section.name}-title">\n'
        f"{heading}\n{blocks}\n</section>"
    )


def _block(block: Block, images: Iterator[str]) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, Statements):
        return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in block.texts)}</ul>"
    if isinstance(block, Preformatted):
        caption = escape(block.caption)
        return (
            f'<p>{caption}</p><pre tabindex="0" role="region" aria-label="{caption}">'
            f"{escape(block.text)}</pre>"
        )
    if isinstance(block, Plot):
        return _figure(block, next(images))
    return _table(block)


def _figure(plot: Plot, image: str) -> str:
    label = escape(plot.table.caption)
    svg = f'<svg role="graphics-document" aria-label="{label}" {image[len(_SVG_START) :]}'
    return (
        f'<figure>\n<div class="scroll" tabindex="0" role="region" aria-label="Chart: {label}">'
        f"{svg}</div>\n<figcaption>{escape(plot.caption)}</figcaption>\n"
        f"<details><summary>Data of this chart: {label}</summary>\n{_table(plot.table)}\n"
        "</details>\n</figure>"
    )


def _table(table: Table) -> str:
    kinds = [' class="number"' if column.is_number else "" for column in table.columns]
    head = "".join(
        f'<th scope="col"{kind}>{escape(column.heading)}</th>'
        for kind, column in zip(kinds, table.columns, strict=True)
    )
    body = "\n".join(
        f"<tr>{''.join(_cell(kind, cell) for kind, cell in zip(kinds, cells, strict=True))}</tr>"
        for cells in table.cells
    )
    caption = escape(table.caption)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Table: {caption}">'
        f"<table><caption>{caption}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _cell(kind: str, text: str) -> str:
    return f"<td{kind}>{escape(text)}</td>"
