"""Dashboards: rows of panels, and the positions of the panels in the grid."""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models

from farm_dashboards import annotations, links, variables
from farm_dashboards.panels import FarmPanel

_COLUMNS = 24
_ROW_NUMBER = 1000
"""The id of the first row, which is greater than those of all panels."""


@dataclass(frozen=True)
class Row:
    """A heading with the panels below it."""

    title: str
    panels: Sequence[FarmPanel]


@dataclass(frozen=True)
class FarmDashboard:
    """A dashboard.

    Attributes:
        uid: The name in the URL of the dashboard, which never changes.
        title: The title.
        purpose: The questions that the dashboard answers.
        filters: The variables, apart from those of every dashboard.
        rows: The rows.
        period: The time range that is shown first, up to now.
    """

    uid: str
    title: str
    purpose: str
    filters: Sequence[builders.QueryVariable]
    rows: Sequence[Row]
    period: str = "now-6h"

    def build(self) -> models.Dashboard:
        """Return the dashboard as Grafana's classic model."""
        result = (
            builders.Dashboard(self.title)
            .uid(self.uid)
            .description(self.purpose)
            .tags([links.TAG])
            .readonly()
            .timezone("browser")
            .time(self.period, "now")
            .refresh("1m")
            .tooltip(models.DashboardCursorSync.CROSSHAIR)
            .variables([variables.datasource(), *self.filters, variables.runbooks()])
            .annotations(annotations.all_annotations())
            .link(links.other_dashboards())
        )
        top = 0
        for at, row in enumerate(self.rows):
            heading = builders.Row(row.title).id(_ROW_NUMBER + at).collapsed(False)
            result = result.with_row(heading.grid_pos(models.GridPos(h=1, w=_COLUMNS, x=0, y=top)))
            top += 1
            positions = placed(row.panels, top)
            for panel, position in positions:
                panel.content.grid_pos = position
                result = result.with_panel(panel)
            top = max(position.y + position.h for _, position in positions)
        return result.build()


def placed(panels: Sequence[FarmPanel], top: int) -> list[tuple[FarmPanel, models.GridPos]]:
    """Return the panels with their positions, from left to right and in as many lines as needed.

    Args:
        panels: The panels of a row.
        top: The first free line of the grid.
    """
    found = []
    left, height = 0, 0
    for panel in panels:
        width = panel.described.width
        if left + width > _COLUMNS:
            left, top, height = 0, top + height, 0
        found.append((panel, models.GridPos(h=panel.described.height, w=width, x=left, y=top)))
        left, height = left + width, max(height, panel.described.height)
    return found
