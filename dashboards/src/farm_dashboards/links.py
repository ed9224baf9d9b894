"""Links between dashboards, and to the runbook."""

from grafana_foundation_sdk.builders.dashboard import DashboardLink
from grafana_foundation_sdk.models.dashboard import DashboardLinkType

TAG = "ffmpeg-rtmp"
"""The tag of all dashboards of a farm."""

OVERVIEW, RUN, NODES, LIVE, ENERGY, QUEUE = (
    f"ffrtmp-{name}" for name in ("overview", "run", "nodes", "live", "energy", "queue")
)
"""The uids of the dashboards, which are part of their URLs and never change."""

_TIME = "${__url_time_range}"
_FIELD = "${__data.fields.%s}"


def other_dashboards() -> DashboardLink:
    """Return the menu of all dashboards, which keeps the time range and the variables."""
    return (
        DashboardLink("Dashboards of the farm")
        .type(DashboardLinkType.DASHBOARDS)
        .icon("external link")
        .tooltip("All dashboards of the farm, for the same time and nodes")
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
        .target_blank(False)
        .url("")
    )


def runbook(alert: str) -> DashboardLink:
    """Return the link of a panel to the page of an alert in the runbook."""
    return _link(f"Runbook: {alert}", f"${{runbooks}}/{alert}.md")


def to_runbook() -> DashboardLink:
    """Return the link of a table's row to the page of its alert in the runbook."""
    return _link("Runbook", f"${{runbooks}}/{_FIELD % 'Alertname'}.md")


def to_node() -> DashboardLink:
    """Return the link of a table's row to the dashboard of its node."""
    return _link("Node ${__data.fields.Node}", f"/d/{NODES}?var-node={_FIELD % 'Node'}&{_TIME}")


def to_run() -> DashboardLink:
    """Return the link of a table's row to the results of its scenario."""
    return _link("Results of this scenario", f"/d/{RUN}?var-scenario={_FIELD % 'Scenario'}&{_TIME}")


def series_to_node() -> DashboardLink:
    """Return the link of a series with the label node to the dashboard of that node."""
    return _link(
        "Node ${__field.labels.node}", f"/d/{NODES}?var-node=${{__field.labels.node}}&{_TIME}"
    )


def _link(title: str, url: str) -> DashboardLink:
    return (
        DashboardLink(title)
        .type(DashboardLinkType.LINK)
        .icon("external link")
        .tooltip(title)
        .tags([])
        .as_dropdown(False)
        .include_vars(False)
        .keep_time(False)
        .target_blank(False)
        .url(url)
    )
