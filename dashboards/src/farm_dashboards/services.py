"""The panels of the services that process metrics and alerts, and of the cost of exporters."""

from farm_dashboards import thresholds
from farm_dashboards.layout import Row
from farm_dashboards.panels import Description, State, graph, states_over_time
from farm_dashboards.queries import Query

_VM = 'job="victoria_metrics"'


def services_row() -> Row:
    """Return the row of the services that process metrics."""
    return Row(
        "Monitoring services",
        [
            graph(
                Description(
                    number=50,
                    title="Stored samples per second",
                    text="Samples that VictoriaMetrics stores. If it drops, targets are missing or "
                    "the database does not accept samples: check its disk.",
                    unit="cps",
                ),
                Query(
                    f"sum(rate(vm_rows_inserted_total{{{_VM}}}[$__rate_interval]))",
                    "samples",
                ),
            ),
            graph(
                Description(
                    number=51,
                    title="Free disk space of VictoriaMetrics",
                    text="Free space on the disk of the database. At its limit, it drops new "
                    "samples: shorten the retention or enlarge the disk.",
                    unit="bytes",
                    steps=thresholds.falling(10e9, 5e9),
                    alerts=("MetricsDiskNearlyFull",),
                ),
                Query(f"min(vm_free_disk_space_bytes{{{_VM}}})", "free"),
            ),
            graph(
                Description(
                    number=52,
                    title="New series per second",
                    text="Series that are created. Many new series for a long time slow queries "
                    "down, and above a configured limit their samples are dropped.",
                    unit="cps",
                ),
                Query(
                    f"sum(rate(vm_new_timeseries_created_total{{{_VM}}}[$__rate_interval]))",
                    "new series",
                ),
            ),
            graph(
                Description(
                    number=53,
                    title="Failed evaluations of rules",
                    text="Queries of rules that failed in an hour. The alerts of these rules do "
                    "not fire: read the journal of vmalert.",
                    unit="none",
                    steps=thresholds.none_allowed(),
                    alerts=("RulesFail",),
                ),
                Query(
                    'sum(increase(vmalert_execution_errors_total{job="vmalert"}[1h]))',
                    "failed",
                ),
            ),
            graph(
                Description(
                    number=54,
                    title="Notifications",
                    text="Notifications of Alertmanager in an hour, those that failed, and errors "
                    "of vmalert when it sent alerts to it. After a failure, check the address and "
                    "the secret of the receiver.",
                    unit="none",
                    alerts=("AlertsUndelivered",),
                ),
                Query(
                    'sum(increase(alertmanager_notifications_total{job="alertmanager"}[1h]))',
                    "sent",
                ),
                Query(
                    'sum(increase(alertmanager_notifications_failed_total{job="alertmanager"}[1h]))',
                    "failed",
                ),
                Query(
                    'sum(increase(vmalert_alerts_send_errors_total{job="vmalert"}[1h]))',
                    "errors of vmalert",
                ),
            ),
            states_over_time(
                Description(
                    number=55,
                    title="Configuration",
                    text="Whether the last configuration was accepted. If not, the service will "
                    "not start again: read its journal and deploy a corrected configuration.",
                    unit="bool_yes_no",
                    steps=thresholds.at_least(1),
                    alerts=("ConfigurationRejected",),
                ),
                (State(0, "rejected", thresholds.RED), State(1, "accepted", thresholds.GREEN)),
                Query(
                    'min(vmalert_config_last_reload_successful{job="vmalert"})',
                    "vmalert",
                ),
                Query(
                    'min(alertmanager_config_last_reload_successful{job="alertmanager"})',
                    "Alertmanager",
                ),
            ),
            graph(
                Description(
                    number=56,
                    title="CPU usage of exporters",
                    text="CPU time per second of all processes of a job. Exporters that use more "
                    "than a few percent of a core disturb measurements: raise the scrape interval.",
                    unit="percentunit",
                    steps=thresholds.rising(0.02, 0.1),
                    width=24,
                ),
                Query(
                    "sum by (job) (rate(process_cpu_seconds_total"
                    '{job=~"cpu|gpu|ffmpeg|docker_stats|results|qoe|cost|health|node"}'
                    "[$__rate_interval]))",
                    "{{job}}",
                ),
            ),
        ],
    )
