"""The panels of the components that the exporter health checks, and of their certificates."""

from farm_dashboards import thresholds
from farm_dashboards.layout import Row
from farm_dashboards.panels import Description, bars, graph
from farm_dashboards.queries import Query
from farm_dashboards.tables import Column, grid

_BY = "component, instance"
_HEALTH = 'job="health"'
_START_TIMES = 'process_start_time_seconds{job=~".+"}'


def components_row() -> Row:
    """Return the row of the components."""
    return Row(
        "Components and certificates",
        [
            grid(
                Description(
                    number=40,
                    title="Components",
                    text="Every component of the inventory, as the exporter health reaches it. If "
                    "the release differs, repeat the deployment of that host.",
                    unit="none",
                    width=16,
                    height=10,
                    alerts=("ComponentUnreachable", "VersionMismatch"),
                ),
                ["component", "instance"],
                [
                    Column(
                        "Reachable",
                        f"min by ({_BY}) (ffrtmp_probe_success{{{_HEALTH}}})",
                        "bool_yes_no",
                        thresholds.at_least(1),
                    ),
                    Column(
                        "Release deployed",
                        f"min by ({_BY}) (ffrtmp_probe_version_matches{{{_HEALTH}}})",
                        "bool_yes_no",
                        thresholds.at_least(1),
                    ),
                    Column(
                        "Duration",
                        f"max by ({_BY}) (ffrtmp_probe_duration_seconds{{{_HEALTH}}})",
                        "s",
                        thresholds.rising(1, 4),
                    ),
                ],
            ),
            bars(
                Description(
                    number=41,
                    title="Remaining validity of certificates",
                    text="The certificates that expire first: ten of those that masters and "
                    "exporters use, and ten of those that components present. Below 30 days, run "
                    "the playbook that renews certificates.",
                    unit="s",
                    steps=thresholds.falling(30 * 86_400, 7 * 86_400),
                    height=10,
                    alerts=("CertificateExpiresSoon",),
                ),
                Query(
                    "bottomk(10, min by (job, instance, certificate) "
                    '(ffrtmp_certificate_not_after_timestamp_seconds{job=~".+"}) - time())',
                    "{{job}} {{instance}} {{certificate}}",
                ),
                Query(
                    f"bottomk(10, min by ({_BY}) "
                    "(ffrtmp_probe_certificate_not_after_timestamp_seconds"
                    f"{{{_HEALTH}}}) - time())",
                    "{{component}} {{instance}}",
                ),
            ),
            graph(
                Description(
                    number=42,
                    title="Revocation lists",
                    text="Age of the oldest revocation list in use, and time until the first one "
                    "expires; no data without one. Above an age of 40 days, the timer on the "
                    "control node that renews it does not run.",
                    unit="s",
                    steps=thresholds.rising(35 * 86_400, 40 * 86_400),
                    width=12,
                    alerts=("RevocationListOld", "RevocationListExpiresSoon"),
                ),
                Query(
                    "max by (job) (time() - "
                    'ffrtmp_revocation_list_this_update_timestamp_seconds{job=~".+"})',
                    "{{job}} age",
                ),
                Query(
                    "min by (job) ("
                    'ffrtmp_revocation_list_next_update_timestamp_seconds{job=~".+"} - time())',
                    "{{job}} until expiry",
                ),
            ),
            graph(
                Description(
                    number=43,
                    title="Restarts per hour",
                    text="Restarts of each service in an hour. A service that restarts repeatedly "
                    "ends unexpectedly: read its journal.",
                    unit="none",
                    steps=thresholds.rising(2, 5),
                    width=12,
                    alerts=("ServiceRestarts",),
                ),
                # A service that has started less than a minute ago is not in the subquery yet.
                Query(
                    "max by (job, instance) (sum_over_time("
                    f"(delta({_START_TIMES}[1m]) > bool 1)[1h:1m]) or 0 * {_START_TIMES})",
                    "{{job}} {{instance}}",
                ),
            ),
        ],
    )
