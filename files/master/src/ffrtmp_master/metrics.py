"""What the master counts about itself; one registry an app."""

import time
from collections.abc import Iterable

from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.models import Node
from ffrtmp_shared.states import JobState, NodeState
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ffrtmp_master.store.work import Effects

_LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 60)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The master's metrics. What is in the database is counted when it is asked for."""

    def __init__(self) -> None:
        """Make all metrics in a new registry."""
        registry = CollectorRegistry()
        self._registry = registry
        self._requests = Counter(
            "ffrtmp_master_http_requests",
            "HTTP requests by route template",
            ["route", "method", "status"],
            registry=registry,
        )
        self._latency = Histogram(
            "ffrtmp_master_http_request_duration_seconds",
            "Time from a request to the end of its answer; claims include their waiting",
            ["route", "method"],
            buckets=_LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.claims = Counter(
            "ffrtmp_master_claims", "Jobs that were leased to agents", registry=registry
        )
        self.expiries = Counter(
            "ffrtmp_master_lease_expiries", "Attempts whose agent fell silent", registry=registry
        )
        self._retries = Counter(
            "ffrtmp_master_retries",
            "Attempts that failed and are tried again, by failure class",
            ["failure_class"],
            registry=registry,
        )
        self._failures = Counter(
            "ffrtmp_master_failures",
            "Attempts that failed, by failure class",
            ["failure_class"],
            registry=registry,
        )
        self._results = Gauge(
            "ffrtmp_master_results_stored", "Results in the database", registry=registry
        )
        self._jobs = Gauge("ffrtmp_master_jobs", "Jobs by state", ["state"], registry=registry)
        self._nodes = Gauge("ffrtmp_master_nodes", "Nodes by state", ["state"], registry=registry)
        self._parked = Gauge(
            "ffrtmp_master_claims_waiting", "Claims that wait for a job", registry=registry
        )
        self.batch = Histogram(
            "ffrtmp_master_commit_batch_operations",
            "Operations that shared a commit",
            buckets=_BATCH_BUCKETS,
            registry=registry,
        )
        self._commit_duration = Histogram(
            "ffrtmp_master_commit_duration_seconds",
            "Time that a transaction of the writer took, with its commit",
            buckets=_LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.results_accepted = Counter(
            "ffrtmp_master_results", "Results that were stored", registry=registry
        )

    def effects(self, effects: Effects) -> None:
        """Count what a committed transaction did."""
        self.claims.inc(effects.claims)
        self.results_accepted.inc(effects.results)
        for failure_class, state in effects.ended:
            self._failures.labels(failure_class).inc()
            if failure_class is FailureClass.LEASE_EXPIRED:
                self.expiries.inc()
            if state is JobState.QUEUED:
                self._retries.labels(failure_class).inc()

    def committed(self, operations: int, duration_s: float) -> None:
        """Note a transaction of the writer; called in its thread."""
        self.batch.observe(operations)
        self._commit_duration.observe(duration_s)

    def render(
        self, jobs: dict[JobState, int], nodes: Iterable[Node], results: int, parked: int
    ) -> bytes:
        """Return all metrics as text, with the state of the queue as given."""
        for state, count in jobs.items():
            self._jobs.labels(state).set(count)
        present = [node.state for node in nodes]
        for node_state in NodeState:
            self._nodes.labels(node_state).set(present.count(node_state))
        self._results.set(results)
        self._parked.set(parked)
        return generate_latest(self._registry)

    def request(self, route: str, method: str, status: int, duration_s: float) -> None:
        """Count a request that was answered outside of the framework."""
        self._requests.labels(route, method, str(status)).inc()
        self._latency.labels(route, method).observe(duration_s)

    async def count_answer(self, message: Message, scope: Scope) -> None:
        """Count an answer when its head is sent; Litestar calls this for every message."""
        if message["type"] == "http.response.start":
            # An unknown path has no template, and must not become a label.
            route = scope.get("path_template") or "unmatched"
            self._requests.labels(route, str(scope.get("method")), str(message["status"])).inc()

    def timing(self, app: ASGIApp) -> ASGIApp:
        """Wrap an application so that its requests are timed; a Litestar middleware."""

        async def timed(scope: Scope, receive: Receive, send: Send) -> None:
            start = time.monotonic()
            try:
                await app(scope, receive, send)
            finally:
                method = str(scope.get("method"))
                self._latency.labels(scope["path_template"], method).observe(
                    time.monotonic() - start
                )

        return timed
