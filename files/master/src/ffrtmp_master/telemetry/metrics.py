"""Counters and histograms of the master; each application has a separate registry.

These metrics start at 0 when the process starts. Metrics of the state in the database are read from
the database at each scrape instead (see `snapshot`).
"""

import time
from collections.abc import Iterable, Sequence

from ffrtmp_shared import release_info
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.states import JobState
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ffrtmp_master.store.unit_of_work import Effects
from ffrtmp_master.telemetry.histograms import HistogramFamily, SingleThreadHistogram

REFUSAL_REASONS = (
    "connections",
    "connections_per_address",
    "handshake",
    "idle",
    "head_timeout",
    "request_line",
    "headers",
    "body",
    "body_rate",
    "unread_body",
    "pipelined",
    "upgrade",
    "response_stalled",
)
"""The limits of the listener, as values of a label."""

_LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 60)
# Waits range from an immediate claim by a parked agent to days in the queue.
_WAIT_BUCKETS_S = (0.01, 0.05, 0.25, 1, 5, 15, 60, 300, 900, 3600, 14400, 43200, 86400, 259200)
_RUN_BUCKETS_S = (0.1, 0.5, 1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)

# Clients can send any method name, so other names must not become label values.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER = "other"
# Unknown paths have no template and must not become label values either.
_UNMATCHED = "unmatched"


class Metrics:
    """The master's counters and histograms."""

    def __init__(self, database: str) -> None:
        """Create all metrics in a new registry; `database` is the kind of database."""
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(_BuildInfo(database))
        self._requests = Counter(
            "ffrtmp_master_http_requests",
            "HTTP requests by route template, method and status",
            ["route", "method", "status"],
            registry=registry,
        )
        self._latency = HistogramFamily(
            "ffrtmp_master_http_request_duration_seconds",
            "Duration of HTTP requests; that of claims includes the wait for a job",
            ["route", "method"],
            bounds=_LATENCY_BUCKETS_S,
        )
        registry.register(self._latency)
        self._refusals = Counter(
            "ffrtmp_master_listener_refusals",
            "Connections and requests that the listener refused or ended, by the limit exceeded",
            ["reason"],
            registry=registry,
        )
        for reason in REFUSAL_REASONS:
            self._refusals.labels(reason)
        # Cached, because looking up the labels costs more than incrementing a counter.
        self._answered: dict[tuple[str, str, int], tuple[Counter, SingleThreadHistogram]] = {}
        self._make_queue_metrics(registry)
        self._make_writer_metrics(registry)

    def _make_queue_metrics(self, registry: CollectorRegistry) -> None:
        self._submitted = Counter(
            "ffrtmp_master_jobs_submitted",
            "New jobs, including those of runs; further attempts are not counted",
            registry=registry,
        )
        self._claims = Counter("ffrtmp_master_claims", "Jobs leased to agents", registry=registry)
        self._results = Counter("ffrtmp_master_results", "Stored results", registry=registry)
        self._finished = Counter(
            "ffrtmp_master_jobs_finished",
            "Jobs that became final, by final state",
            ["state"],
            registry=registry,
        )
        self._expiries = Counter(
            "ffrtmp_master_lease_expiries",
            "Attempts whose lease expired, or whose agent restarted without its job",
            registry=registry,
        )
        self._failures = Counter(
            "ffrtmp_master_failures",
            "Failed attempts by failure class",
            ["failure_class"],
            registry=registry,
        )
        self._retries = Counter(
            "ffrtmp_master_retries",
            "Failed attempts that are retried, by failure class",
            ["failure_class"],
            registry=registry,
        )
        # All series are initialized to 0, because Prometheus cannot compute the rate of a series
        # that first appears with the value 1.
        for state in JobState:
            if state.is_final:
                self._finished.labels(state)
        for failure_class in FailureClass:
            self._failures.labels(failure_class)
            if failure_class.is_retryable:
                self._retries.labels(failure_class)
        self._queue_wait = _histogram(
            registry,
            "ffrtmp_master_job_queue_wait_seconds",
            "Time from when a job becomes available until an agent claims it, per attempt",
            _WAIT_BUCKETS_S,
        )
        self._run_time = _histogram(
            registry,
            "ffrtmp_master_attempt_run_time_seconds",
            "Time from the claim to the end of the attempt, for any outcome",
            _RUN_BUCKETS_S,
        )
        self._end_to_end = _histogram(
            registry,
            "ffrtmp_master_job_end_to_end_seconds",
            "Time from the submission of a job until it is final, including waits and retries",
            _WAIT_BUCKETS_S,
        )

    def _make_writer_metrics(self, registry: CollectorRegistry) -> None:
        self._batch = Histogram(
            "ffrtmp_master_commit_batch_operations",
            "Operations per commit",
            unit="operations",
            buckets=_BATCH_BUCKETS,
            registry=registry,
        )
        self._commit_duration = Histogram(
            "ffrtmp_master_commit_duration_seconds",
            "Duration of write transactions, including the commit",
            unit="seconds",
            buckets=_LATENCY_BUCKETS_S,
            registry=registry,
        )
        self._rollbacks = Counter(
            "ffrtmp_master_rollbacks",
            "Write transactions rolled back after a rejected request or a database failure",
            registry=registry,
        )

    def effects(self, effects: Effects) -> None:
        """Count the effects of a committed transaction."""
        self._submitted.inc(effects.submitted)
        self._claims.inc(effects.claims)
        self._results.inc(effects.results)
        for state, count in effects.finished.items():
            self._finished.labels(state).inc(count)
        for failure_class, state in effects.ended:
            self._failures.labels(failure_class).inc()
            if failure_class is FailureClass.LEASE_EXPIRED:
                self._expiries.inc()
            if state is JobState.QUEUED:
                self._retries.labels(failure_class).inc()
        for histogram, values_s in (
            (self._queue_wait, effects.queue_waits_s),
            (self._run_time, effects.run_times_s),
            (self._end_to_end, effects.end_to_end_s),
        ):
            for value_s in values_s:
                # Durations can be negative if the clock was set back.
                histogram.observe(max(value_s, 0.0))

    def count_refusal(self, reason: str) -> None:
        """Count a connection or request that the listener refused; `reason` names the limit."""
        self._refusals.labels(reason).inc()

    def committed(self, operations: int, duration_s: float) -> None:
        """Count a committed transaction of the writer."""
        self._batch.observe(operations)
        self._commit_duration.observe(duration_s)

    def rolled_back(self) -> None:
        """Count a transaction that was rolled back."""
        self._rollbacks.inc()

    def count_request(self, route: str, method: str, status: int, duration_s: float) -> None:
        """Count a request that was served without the framework, and observe its duration.

        Args:
            route: The path template.
            method: The method of the request.
            status: The status of the response.
            duration_s: The duration of the request in seconds.
        """
        key = (route, method, status)
        found = self._answered.get(key)
        if found is None:
            found = self._answered[key] = (
                self._requests.labels(route, method, str(status)),
                self._latency.labels(route, method),
            )
        found[0].inc()
        found[1].observe(duration_s)

    def count_answer(self, message: Message, scope: Scope) -> None:
        """Count a response when its head is sent. Called for each ASGI message of the response."""
        if message["type"] == "http.response.start":
            route = scope.get("path_template") or _UNMATCHED
            self._requests.labels(route, _method(scope), str(message["status"])).inc()

    async def time(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Call an application and observe the duration of the request.

        Args:
            app: The application.
            scope: The ASGI scope of the request.
            receive: The ASGI receive callable.
            send: The ASGI send callable.
        """
        start_s = time.monotonic()
        try:
            await app(scope, receive, send)
        finally:
            route = scope.get("path_template") or _UNMATCHED
            duration_s = time.monotonic() - start_s
            self._latency.labels(route, _method(scope)).observe(duration_s)


class _BuildInfo(Collector):
    """Exports the release of the master."""

    def __init__(self, database: str) -> None:
        self._database = database

    def collect(self) -> Iterable[Metric]:
        yield release_info.build_info(
            "master",
            "Release of the master, version of Python, and kind of database",
            database=self._database,
        )


def _histogram(
    registry: CollectorRegistry, name: str, documentation: str, bounds: Sequence[float]
) -> SingleThreadHistogram:
    family = HistogramFamily(name, documentation, bounds=bounds)
    registry.register(family)
    return family.labels()


def _method(scope: Scope) -> str:
    method = str(scope.get("method"))
    return method if method in _METHODS else _OTHER
