"""Annotations: events that all graphs of a dashboard mark."""

from grafana_foundation_sdk.builders.dashboard import AnnotationQuery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from farm_dashboards.queries import SOURCE

RUNS = 'max by (state) (ffrtmp_runs{job="health"}) > 0'
DEPLOYMENTS = (
    'sum by (version) (ffrtmp_master_build_info{job="master"})'
    ' unless sum by (version) (ffrtmp_master_build_info{job="master"} offset 5m)'
)
ALERTS = 'ALERTS{alertstate="firing", alertname!="Watchdog"}'


def all_annotations() -> list[Builder[models.AnnotationQuery]]:
    """Return the annotations of every dashboard."""
    return [
        _annotation("Runs", RUNS, "blue", "Run", "Unfinished runs: {{state}}"),
        _annotation("Deployments", DEPLOYMENTS, "purple", "Deployment", "Release {{version}}"),
        _annotation("Alerts", ALERTS, "red", "{{alertname}}", "Severity: {{severity}}"),
    ]


def _annotation(name: str, expr: str, color: str, title: str, text: str) -> AnnotationQuery:
    return (
        AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(True)
        .hide(False)
        .icon_color(color)
        .expr(expr)
        .step("60s")
        .title_format(title)
        .text_format(text)
        # Grafana displays the values of those labels that an event has.
        .tag_keys("job,node,component,instance")
    )
