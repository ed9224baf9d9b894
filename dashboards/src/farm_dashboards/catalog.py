"""All dashboards, and the panels that show the values of each alert."""

import json
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from farm_dashboards import energy, live, nodes, overview, queue_health, runs
from farm_dashboards.layout import FarmDashboard

_UNKNOWN_OF_VARIABLES = ("auto", "auto_count", "auto_min")


def all_dashboards() -> list[FarmDashboard]:
    """Return all dashboards, in the order of the documentation."""
    return [
        overview.dashboard(),
        runs.dashboard(),
        nodes.dashboard(),
        live.dashboard(),
        energy.dashboard(),
        queue_health.dashboard(),
    ]


def document(dashboard: FarmDashboard) -> dict[str, Any]:
    """Return a dashboard as a JSON document.

    Properties that the library emits, and that the present release of Grafana does not have, are
    left out.
    """
    found: dict[str, Any] = json.loads(JSONEncoder().encode(dashboard.build()))
    for variable in found["templating"]["list"]:
        for name in _UNKNOWN_OF_VARIABLES:
            variable.pop(name, None)
    for panel in found["panels"]:
        if panel["type"] == "table":
            panel["options"].pop("footer", None)
    return found


def alert_panels(dashboards: list[FarmDashboard]) -> dict[str, tuple[str, int]]:
    """Return the uid and the panel of each alert.

    Args:
        dashboards: The dashboards.

    Raises:
        ValueError: Two panels are those of the same alert.
    """
    found: dict[str, tuple[str, int]] = {}
    for dashboard in dashboards:
        for row in dashboard.rows:
            for panel in row.panels:
                for alert in panel.described.alerts:
                    if alert in found:
                        raise ValueError(f"the alert {alert} has two panels: keep one of them")
                    found[alert] = (dashboard.uid, panel.described.number)
    return found
