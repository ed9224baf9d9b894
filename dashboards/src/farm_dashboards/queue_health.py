"""The dashboard Queue and monitoring health."""

from farm_dashboards import links, variables
from farm_dashboards.components import components_row
from farm_dashboards.layout import FarmDashboard
from farm_dashboards.masters import loops_row, master_row
from farm_dashboards.queue import queue_row
from farm_dashboards.services import services_row
from farm_dashboards.targets import targets_row


def dashboard() -> FarmDashboard:
    """Return the dashboard."""
    return FarmDashboard(
        links.QUEUE,
        "Queue and monitoring health",
        "Why jobs wait or fail, whether the masters keep up, and whether the monitoring itself can "
        "be trusted.",
        [variables.node()],
        [
            targets_row(),
            queue_row(),
            master_row(),
            loops_row(),
            components_row(),
            services_row(),
        ],
    )
