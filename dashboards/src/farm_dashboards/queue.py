"""The panels of the job queue."""

from farm_dashboards import thresholds
from farm_dashboards.layout import Row
from farm_dashboards.panels import Description, graph
from farm_dashboards.queries import Query

_QUEUED = 'max by (priority, reason) (ffrtmp_master_jobs_queued{job="master"})'


def queue_row() -> Row:
    """Return the row of the queue."""
    return Row(
        "Queue",
        [
            graph(
                Description(
                    number=10,
                    title="Queue by reason",
                    text="Queued jobs by the reason why they wait. no_node: no active node meets "
                    "the requirements, so add a node or cancel the run. ready without running "
                    "jobs: the agents do not claim.",
                    unit="none",
                    alerts=("QueueStuck", "NoNodeForJobs", "QueueGrows"),
                ),
                Query(f"sum by (reason) ({_QUEUED})", "{{reason}}"),
                is_stacked=True,
            ),
            graph(
                Description(
                    number=11,
                    title="Queue by priority",
                    text="Queued jobs by priority. If a priority stays constant while others fall, "
                    "its jobs starve: pause the submission of higher priorities.",
                    unit="none",
                    alerts=("QueueStarves",),
                ),
                Query(f"sum by (priority) ({_QUEUED})", "{{priority}}"),
                is_stacked=True,
            ),
            graph(
                Description(
                    number=12,
                    title="Jobs per minute",
                    text="Jobs that are submitted, claimed and finished. If submissions exceed the "
                    "finished jobs for long, the queue grows: add nodes.",
                    unit="cpm",
                ),
                Query(
                    "60 * sum(rate("
                    'ffrtmp_master_jobs_submitted_total{job="master"}[$__rate_interval]))',
                    "submitted",
                ),
                Query(
                    '60 * sum(rate(ffrtmp_master_claims_total{job="master"}[$__rate_interval]))',
                    "claimed",
                ),
                Query(
                    "60 * sum by (state) (rate("
                    'ffrtmp_master_jobs_finished_total{job="master"}[$__rate_interval]))',
                    "{{state}}",
                ),
            ),
            graph(
                Description(
                    number=13,
                    title="Waiting and running",
                    text="Time that attempts waited and ran, in the last hour. If jobs wait longer "
                    "than they run, the farm has too few slots.",
                    unit="s",
                ),
                *(
                    Query(
                        f"histogram_quantile({quantile}, sum by (le) "
                        f'(increase({metric}_bucket{{job="master"}}[1h])))',
                        legend,
                    )
                    for legend, quantile, metric in (
                        ("wait p50", 0.5, "ffrtmp_master_job_queue_wait_seconds"),
                        ("wait p95", 0.95, "ffrtmp_master_job_queue_wait_seconds"),
                        ("run p50", 0.5, "ffrtmp_master_attempt_run_time_seconds"),
                        ("run p95", 0.95, "ffrtmp_master_attempt_run_time_seconds"),
                    )
                ),
            ),
            graph(
                Description(
                    number=14,
                    title="Failed attempts per hour",
                    text="Failed attempts by class. encode_failed and source classes are caused by "
                    "the job: read its log. Others are caused by the node.",
                    unit="none",
                    steps=thresholds.none_allowed(),
                    alerts=("JobsFailed",),
                ),
                Query(
                    "sum by (failure_class) "
                    '(increase(ffrtmp_master_failures_total{job="master"}[1h]))',
                    "{{failure_class}}",
                ),
            ),
            graph(
                Description(
                    number=15,
                    title="Expired leases per hour",
                    text="Attempts whose agent stopped sending heartbeats. Each repeats an encode: "
                    "check the network and restarts of the agents.",
                    unit="none",
                    steps=thresholds.none_allowed(),
                    alerts=("LeasesRunOut",),
                ),
                Query(
                    'sum(increase(ffrtmp_master_lease_expiries_total{job="master"}[1h]))',
                    "expired",
                ),
            ),
            graph(
                Description(
                    number=16,
                    title="Reports on the workers",
                    text="Reports that were not delivered yet, and rejected ones. Deferred reports "
                    "mean that the master answers with errors; the reason of a rejected report is "
                    "in the spool.",
                    unit="none",
                    width=12,
                    alerts=("ReportsDeferred", "ReportsRejected"),
                ),
                Query(
                    'sum by (node, state) (ffrtmp_ffmpeg_reports{job="ffmpeg", node=~"$node"})',
                    "{{node}} {{state}}",
                ),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=17,
                    title="Parked claims",
                    text="Claims that wait for a job at each master. With idle nodes, their number "
                    "is that of the slots; 0 means that no agent asks for jobs.",
                    unit="none",
                    width=12,
                ),
                Query(
                    'max by (instance) (ffrtmp_master_claims_parked{job="master"})',
                    "{{instance}}",
                ),
            ),
        ],
    )
