"""The committed dashboards, and their queries as a database can answer them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farm_dashboards.preview.expressions import substituted

FOLDER = Path(__file__).resolve().parents[1] / "roles/grafana/files/dashboards"

_SELECTED = re.compile(r"\b([a-zA-Z_]\w*)\{")


@dataclass(frozen=True)
class PanelQuery:
    """A query of a panel."""

    uid: str
    panel: dict[str, Any]
    target: dict[str, Any]

    @property
    def name(self) -> str:
        """The dashboard, the panel and the letter of the query."""
        return f"{self.uid}/{self.panel['id']}{self.target['refId']}"

    @property
    def expr(self) -> str:
        """The query, in which all nodes, encoders and scenarios are selected."""
        return substituted(self.target["expr"], rate_interval="1m")


def documents() -> list[dict[str, Any]]:
    """Return all dashboards."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.json"))]


def panels(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels of a dashboard, without the headings of its rows."""
    return [panel for panel in document["panels"] if panel["type"] != "row"]


def queries() -> Iterator[PanelQuery]:
    """Yield the queries of all panels."""
    for document in documents():
        for panel in panels(document):
            for target in panel["targets"]:
                yield PanelQuery(document["uid"], panel, target)


def metrics_of(expr: str) -> set[str]:
    """Return the names of the metrics that a query selects. Each selector has matchers."""
    return set(_SELECTED.findall(expr))
