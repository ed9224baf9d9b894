"""The panels of the masters, and of the loops of all programs."""

from farm_dashboards import thresholds
from farm_dashboards.layout import Row
from farm_dashboards.panels import Description, graph
from farm_dashboards.queries import Query

_MASTER = 'job="master"'
_REQUESTS = f"ffrtmp_master_http_requests_total{{{_MASTER}}}[$__rate_interval]"
_SUCCESSES = f'ffrtmp_master_http_requests_total{{{_MASTER}, status=~"[1-4].."}}[$__rate_interval]'
_IMPORTER = "ffrtmp_importer"
_LOOPS = (
    ("ffrtmp_master", _MASTER),
    ("ffrtmp_exporter", 'job=~".+"'),
    ("ffrtmp_agent", 'job="ffmpeg"'),
    ("ffrtmp_energy_reader", 'job="cpu"'),
    (_IMPORTER, 'job="series_importer"'),
)


def master_row() -> Row:
    """Return the row of the masters."""
    return Row(
        "Masters",
        [
            graph(
                Description(
                    number=20,
                    title="Requests",
                    text="Requests per second by route. A route that grows without more jobs is a "
                    "client that polls: use the event feed instead.",
                    unit="reqps",
                ),
                Query(f"sum by (route) (rate({_REQUESTS}))", "{{route}}"),
            ),
            graph(
                Description(
                    number=21,
                    title="Failed requests",
                    text="Share of requests with a status of 500 or more. Check the disk and the "
                    "database of the master; agents repeat their requests.",
                    unit="percentunit",
                    steps=thresholds.rising(0.005, 0.02),
                    alerts=("MasterFails",),
                ),
                # The difference is rounded, because it is otherwise not exactly 0 without failures.
                Query(
                    f"round((sum(rate({_REQUESTS})) - (sum(rate({_SUCCESSES})) or vector(0)))"
                    f" / sum(rate({_REQUESTS})), 0.000001)",
                    "failed",
                ),
            ),
            graph(
                Description(
                    number=22,
                    title="Commits",
                    text="Duration of transactions. Each claim and result waits for one: above "
                    "half a second, move the database to a faster disk.",
                    unit="s",
                    steps=thresholds.rising(0.1, 0.5),
                    alerts=("CommitsSlow",),
                ),
                *(
                    Query(
                        f"histogram_quantile({quantile}, sum by (le) (rate("
                        f"ffrtmp_master_commit_duration_seconds_bucket{{{_MASTER}}}"
                        "[$__rate_interval])))",
                        legend,
                    )
                    for legend, quantile in (("p50", 0.5), ("p99", 0.99))
                ),
            ),
            graph(
                Description(
                    number=23,
                    title="Free disk space",
                    text="Share of free space on the disk of each master. When it is full, results "
                    "are refused and stay on the workers: remove old runs or enlarge it.",
                    unit="percentunit",
                    steps=thresholds.falling(0.2, 0.1),
                    alerts=("DiskNearlyFull",),
                ),
                Query(
                    f"min by (instance) (ffrtmp_master_disk_free_bytes{{{_MASTER}}}"
                    f" / ffrtmp_master_disk_size_bytes{{{_MASTER}}})",
                    "{{instance}}",
                ),
                maximum=1,
            ),
            graph(
                Description(
                    number=24,
                    title="Database",
                    text="Size of the database, and of SQLite's write-ahead log. A log that grows "
                    "is held by a long read: restart the client, for example a backup.",
                    unit="bytes",
                    alerts=("WriteAheadLogGrows",),
                ),
                Query(f"max(ffrtmp_master_database_size_bytes{{{_MASTER}}})", "database"),
                Query(
                    f"max(ffrtmp_master_database_wal_size_bytes{{{_MASTER}}})",
                    "write-ahead log",
                ),
            ),
            graph(
                Description(
                    number=25,
                    title="Refused connections and requests",
                    text="Connections and requests that a limit of the listener ended, by limit. "
                    "Find the client in the journal, or raise the limit for a larger farm.",
                    unit="reqps",
                    steps=thresholds.rising(0.1, 1),
                    alerts=("ConnectionsRefused",),
                ),
                Query(
                    "sum by (reason) (rate("
                    f"ffrtmp_master_listener_refusals_total{{{_MASTER}}}[$__rate_interval]))",
                    "{{reason}}",
                ),
            ),
        ],
    )


def _loop(prefix: str, name: str, matchers: str) -> str:
    selector = f"{prefix}_loop_{name}{{{matchers}}}"
    # The importer is not scraped. It writes its metrics itself, so they end when it hangs.
    return f"last_over_time({selector}[1d])" if prefix == _IMPORTER else selector


def loops_row() -> Row:
    """Return the row of the loops."""
    return Row(
        "Loops",
        [
            graph(
                Description(
                    number=30,
                    title="Age of the last pass",
                    text="Time since the last complete pass of the slowest loop of each program, "
                    "divided by its limit. At 1, the loop is stalled: read the journal of the "
                    "program.",
                    unit="percentunit",
                    steps=thresholds.rising(0.5, 1),
                    width=12,
                    alerts=("LoopStalled",),
                ),
                *(
                    Query(
                        "max by (job, loop) ("
                        f"(time() - {_loop(prefix, 'last_success_timestamp_seconds', matchers)})"
                        f" / {_loop(prefix, 'stale_after_seconds', matchers)})",
                        "{{job}} {{loop}}",
                    )
                    for prefix, matchers in _LOOPS
                ),
            ),
            graph(
                Description(
                    number=31,
                    title="Items set aside",
                    text="Runs, jobs or results that failed repeatedly in a loop and are left out "
                    "for a while. The journal of the program names them.",
                    unit="none",
                    steps=thresholds.none_allowed(),
                    width=12,
                    alerts=("LoopItemsSetAside",),
                ),
                *(
                    Query(
                        f"sum by (job, loop) ({_loop(prefix, 'items_set_aside', matchers)})",
                        "{{job}} {{loop}}",
                    )
                    for prefix, matchers in _LOOPS
                ),
            ),
        ],
    )
