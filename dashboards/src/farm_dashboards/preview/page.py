"""The page of the preview."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

from farm_dashboards.preview.database import Database
from farm_dashboards.preview.drawings import Drawing, Period, draw

_ROWS_MAX = 40
_STYLE = """
body { font-family: sans-serif; margin: 1rem; color: #222; }
.panels { display: flex; flex-wrap: wrap; gap: 1rem; }
.panel { border: 1px solid #ccc; padding: .6rem; max-width: 46rem; }
.panel h3 { margin: 0 0 .3rem; font-size: 1rem; }
.panel p { margin: 0 0 .5rem; font-size: .85rem; color: #555; }
.panel svg { max-width: 100%; height: auto; }
.problem { color: #b00020; font-weight: bold; }
.table { overflow: auto; max-height: 18rem; }
table { border-collapse: collapse; font-size: .75rem; }
td, th { border: 1px solid #ddd; padding: .1rem .4rem; text-align: left; }
"""


@dataclass(frozen=True)
class Preview:
    """A page, and the panels whose queries returned no data or failed."""

    html: str
    empty: tuple[str, ...]
    failed: tuple[str, ...]


def preview(
    documents: Sequence[dict[str, Any]], database: Database, period: Period, source: str
) -> Preview:
    """Return the page with all panels.

    Args:
        documents: The dashboards.
        database: The database.
        period: The period.
        source: The name of the database, which the page states.
    """
    sections, empty, failed = [], [], []
    for document in documents:
        panels = []
        for panel in document["panels"]:
            if panel["type"] == "row":
                panels.append(f"</div><h2>{escape(panel['title'])}</h2><div class='panels'>")
                continue
            drawing = draw(panel, database, period)
            name = f"{document['uid']}/{panel['id']}"
            empty += [f"{name}{letter}" for letter in drawing.empty]
            failed += [f"{name}{error}" for error in drawing.errors]
            panels.append(_panel(panel, drawing))
        heading = f"<h1 id='{document['uid']}'>{escape(document['title'])}</h1>"
        purpose = f"<p>{escape(document['description'])}</p>"
        sections.append(f"{heading}{purpose}<div>{''.join(panels)}</div>")
    return Preview(_page(sections, documents, period, source, empty), tuple(empty), tuple(failed))


def _page(
    sections: Sequence[str],
    documents: Sequence[dict[str, Any]],
    period: Period,
    source: str,
    empty: Sequence[str],
) -> str:
    links = " · ".join(
        f"<a href='#{document['uid']}'>{escape(document['title'])}</a>" for document in documents
    )
    times = " to ".join(
        datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds")
        for at_s in (period.begin_s, period.end_s)
    )
    head = (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Preview of the dashboards"
        f"</title><style>{_STYLE}</style>"
    )
    intro = (
        f"<p>Data of {escape(source)}, {times}. The charts are drawn with Vega-Lite. They show the "
        "data of each panel, not its appearance in Grafana.</p>"
    )
    missing = f"<p>Queries without data: {escape(', '.join(empty) or 'none')}</p>"
    return f"{head}<body>{intro}{missing}<p>{links}</p>{''.join(sections)}</body></html>\n"


def _panel(panel: dict[str, Any], drawing: Drawing) -> str:
    return "".join(_parts(panel, drawing))


def _parts(panel: dict[str, Any], drawing: Drawing) -> Iterator[str]:
    yield f"<div class='panel' id='panel-{panel['id']}'>"
    yield f"<h3>{panel['id']} {escape(panel['title'])}</h3><p>{escape(panel['description'])}</p>"
    for error in drawing.errors:
        yield f"<p class='problem'>{escape(error)}</p>"
    if drawing.empty:
        yield f"<p class='problem'>no data: {escape(', '.join(drawing.empty))}</p>"
    yield drawing.svg
    if drawing.rows:
        yield "<div class='table'><table><tr>"
        yield "".join(f"<th>{escape(title)}</th>" for title in drawing.head)
        yield "</tr>"
        for row in drawing.rows[:_ROWS_MAX]:
            cells = "".join(f"<td>{escape(cell)}</td>" for cell in row)
            yield f"<tr>{cells}</tr>"
        yield "</table></div>"
        if len(drawing.rows) > _ROWS_MAX:
            yield f"<p>and {len(drawing.rows) - _ROWS_MAX} more rows</p>"
    yield "</div>"
