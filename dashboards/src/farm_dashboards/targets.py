"""The panels of alerts and of the targets that are scraped."""

from farm_dashboards import links, thresholds
from farm_dashboards.layout import Row
from farm_dashboards.panels import Description, State, graph, states_over_time
from farm_dashboards.queries import Query
from farm_dashboards.tables import Column, grid

_VM = 'job="victoria_metrics"'


def targets_row() -> Row:
    """Return the row of alerts and targets."""
    return Row(
        "Alerts and targets",
        [
            grid(
                Description(
                    number=1,
                    title="Firing alerts",
                    text="Alerts that are firing. Open the page of the alert in the runbook. "
                    "Watchdog always fires: without it, no alert is delivered.",
                    unit="none",
                    width=16,
                    alerts=("Watchdog",),
                ),
                ["alertname", "severity", "node", "instance"],
                [
                    Column(
                        "Firing",
                        "max by (alertname, severity, node, instance) "
                        '(ALERTS{alertstate="firing"})',
                        "bool_yes_no",
                    )
                ],
                [links.to_runbook()],
            ),
            graph(
                Description(
                    number=2,
                    title="Series that VictoriaMetrics stores",
                    text="Series that received samples in the last hour. A sudden rise means that "
                    "a target sends labels without a bound: see Samples per scrape.",
                    unit="short",
                ),
                Query(
                    f'max(vm_cache_entries{{{_VM}, type="storage/hour_metric_ids"}})',
                    "active series",
                ),
            ),
            states_over_time(
                Description(
                    number=3,
                    title="Targets",
                    text="Whether all targets of each job respond. If one is down, check its unit "
                    "with systemctl status, its certificate and the network.",
                    unit="bool_on_off",
                    steps=thresholds.at_least(1),
                    width=12,
                    height=10,
                    alerts=("TargetDown", "TargetMissing"),
                ),
                (State(0, "down", thresholds.RED), State(1, "up", thresholds.GREEN)),
                Query('min by (job) (up{job=~".+"})', "{{job}}"),
            ),
            grid(
                Description(
                    number=4,
                    title="Nodes without metrics",
                    text="Targets of each online node. A node with 0 is registered, but is not "
                    "scraped: check that VictoriaMetrics can read its targets from the master.",
                    unit="none",
                    width=12,
                    height=10,
                    alerts=("NodeNotScraped",),
                ),
                ["node"],
                [
                    Column(
                        "Online",
                        'max by (node) (ffrtmp_node_up{job="health", node=~"$node"})',
                        "bool_yes_no",
                        thresholds.at_least(1),
                    ),
                    Column(
                        "Targets",
                        'sum by (node) (up{job=~"cpu|gpu|ffmpeg|node|docker_stats", '
                        'node=~"$node"})'
                        ' or 0 * max by (node) (ffrtmp_node_up{job="health", node=~"$node"})',
                        "none",
                        thresholds.at_least(3),
                    ),
                ],
                [links.to_node()],
            ),
            graph(
                Description(
                    number=5,
                    title="Age of the exporters' data",
                    text="Time since an exporter has read its source. If it grows, panels show old "
                    "values: check that the master responds.",
                    unit="s",
                    steps=thresholds.rising(300, 600),
                    alerts=("SourceStale",),
                ),
                Query(
                    "max by (job, instance) (time() - "
                    'ffrtmp_exporter_source_last_success_timestamp_seconds{job=~".+"})',
                    "{{job}} {{instance}}",
                ),
            ),
            graph(
                Description(
                    number=6,
                    title="Samples per scrape",
                    text="Samples in a response, the largest of each job. At the limit of the job, "
                    "all samples of the target are dropped: find the metric that grew.",
                    unit="short",
                    alerts=("ScrapeLimited",),
                ),
                Query(
                    'max by (job) (scrape_samples_post_metric_relabeling{job=~".+"})',
                    "{{job}}",
                ),
            ),
            graph(
                Description(
                    number=7,
                    title="Failed collectors",
                    text="Collectors of an exporter that fail. The other metrics of the exporter "
                    "are complete: read its journal for the cause.",
                    unit="none",
                    steps=thresholds.none_allowed(),
                    alerts=("CollectorFailed",),
                ),
                Query(
                    'sum by (job) (1 - ffrtmp_scrape_collector_success{job=~".+"})',
                    "{{job}}",
                ),
            ),
        ],
    )
