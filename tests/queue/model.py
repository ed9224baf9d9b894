"""A model of the queue: a second, simple implementation of its rules in memory."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.requirements import Priority

HELD = ("leased", "running")
FINAL = ("succeeded", "failed", "canceled")

LEASE_S = 60.0
BACKOFF_S = 5.0
STEP_S = 3600.0


@dataclass
class ModelJob:
    """The expected state of a job."""

    id: str
    run_id: str | None
    created_at: datetime
    priority: str
    exclusive: bool
    encoder: str
    node: str | None
    label: str | None
    max_attempts: int
    deadline_s: float | None
    state: str = "queued"
    attempt: int = 0
    leased_to: str | None = None
    slot: int | None = None
    not_before: datetime | None = None
    started_at: datetime | None = None
    expires_at: datetime | None = None
    cancel_requested: bool = False
    superseded_by: str | None = None
    retry_of: str | None = None

    @property
    def place(self) -> tuple[float, str]:
        """The position in the queue; the job with the lowest value is claimed first."""
        return self.created_at.timestamp() - Priority(self.priority).steps * STEP_S, self.id

    @property
    def is_held(self) -> bool:
        return self.state in HELD

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    def api_fields(self) -> dict[str, Any]:
        """Return fields of the job with the values that the API should return."""
        return {
            "id": self.id,
            "run_id": self.run_id,
            "state": self.state,
            "attempt": self.attempt,
            "leased_to": self.leased_to,
            "priority": self.priority,
            "exclusive": self.exclusive,
            "max_attempts": self.max_attempts,
            "retry_of": self.retry_of,
            "superseded_by": self.superseded_by,
        }


@dataclass
class ModelNode:
    """The expected state of a node."""

    name: str
    encoders: tuple[str, ...]
    label: str | None
    draining: bool = False

    def meets(self, job: ModelJob) -> bool:
        return (
            job.encoder in self.encoders
            and job.node in (None, self.name)
            and job.label in (None, self.label)
        )


@dataclass
class Model:
    """The expected state of the farm."""

    now: datetime
    jobs: dict[str, ModelJob] = field(default_factory=dict)
    nodes: dict[str, ModelNode] = field(default_factory=dict)
    # The number of the attempt whose result is stored, by the id of its job.
    results: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with the times of a master that has just started.

        They are the time until which a master could receive heartbeats, and the end of the leases
        that were last extended.
        """
        self.listening_until = self.extended_until = self.now

    def add(self, sent: dict[str, Any]) -> ModelJob:
        """Add a new job that the master has returned."""
        job = ModelJob(
            id=sent["id"],
            run_id=sent["run_id"],
            created_at=datetime.fromisoformat(sent["created_at"]),
            priority=sent["priority"],
            exclusive=sent["exclusive"],
            encoder=sent["scenario"]["encode"]["encoder"],
            node=sent["node"],
            label=sent["requirements"].get("labels", {}).get("rack"),
            max_attempts=sent["max_attempts"],
            deadline_s=sent["deadline_s"],
            retry_of=sent["retry_of"],
        )
        assert job.id not in self.jobs
        assert job.created_at == self.now
        self.jobs[job.id] = job
        return job

    def held_on(self, node: str) -> list[ModelJob]:
        return [job for job in self.jobs.values() if job.is_held and job.leased_to == node]

    def of_run(self, run_id: str) -> list[ModelJob]:
        return [job for job in self.jobs.values() if job.run_id == run_id]

    # --- actions of agents ---

    def first_for(self, name: str) -> ModelJob | None:
        """Return the job that a free slot of a node should get."""
        node, working = self.nodes[name], self.held_on(name)
        if node.draining or any(job.exclusive for job in working):
            return None
        candidates = [job for job in self.jobs.values() if self._is_ready(job) and node.meets(job)]
        first = min(candidates, key=lambda job: job.place, default=None)
        # If the first job is exclusive, it waits until the node is free, and blocks later jobs.
        return None if first is None or (first.exclusive and working) else first

    def claim(self, name: str, slot: int) -> ModelJob | None:
        """Lease the job that a claim should get, or return None if it should not get a job."""
        for job in self.held_on(name):
            if job.slot == slot:
                self.end_attempt(job, FailureClass.LEASE_EXPIRED, retry_after_s=0)
        first = self.first_for(name)
        if first is None:
            return None
        first.state = "leased"
        first.attempt += 1
        first.leased_to, first.slot = name, slot
        first.started_at = self.now
        first.not_before = None
        self.renew(first)
        return first

    def _is_ready(self, job: ModelJob) -> bool:
        return job.state == "queued" and (job.not_before is None or job.not_before <= self.now)

    def holds(self, job: ModelJob, node: str, attempt: int) -> bool:
        return job.is_held and job.attempt == attempt and job.leased_to == node

    def renew(self, job: ModelJob) -> None:
        job.expires_at = self.now + timedelta(seconds=LEASE_S)

    def store_result(self, job: ModelJob) -> None:
        if job.cancel_requested:
            self._end(job, "canceled")
            return
        assert job.id not in self.results
        self.results[job.id] = job.attempt
        self._end(job, "succeeded")

    def end_attempt(
        self, job: ModelJob, kind: FailureClass, retry_after_s: float | None = None
    ) -> None:
        if job.cancel_requested:
            self._end(job, "canceled")
        elif kind.is_retryable and job.attempt < job.max_attempts:
            pause_s = BACKOFF_S * 2 ** (job.attempt - 1) if retry_after_s is None else retry_after_s
            job.state = "queued"
            job.leased_to = job.slot = job.started_at = job.expires_at = None
            job.not_before = self.now + timedelta(seconds=pause_s) if pause_s else None
        else:
            self._end(job, "failed")

    def _end(self, job: ModelJob, state: str) -> None:
        job.state = state
        job.slot = job.expires_at = None

    # --- time and actions of operators ---

    def sweep(self) -> None:
        """End expired attempts."""
        for job in self.jobs.values():
            if not job.is_held:
                continue
            assert job.expires_at is not None and job.started_at is not None
            if job.expires_at < self.now:
                self.end_attempt(job, FailureClass.LEASE_EXPIRED)
            elif job.deadline_s and job.started_at + timedelta(seconds=job.deadline_s) < self.now:
                self.end_attempt(job, FailureClass.DEADLINE_EXCEEDED)

    def stop(self) -> None:
        """Record that the master could receive heartbeats until now."""
        self.listening_until = max(self.listening_until, self.now)

    def start(self) -> None:
        """Extend leases by the time without a master, once for each heartbeat."""
        latest = self.now + timedelta(seconds=LEASE_S) - timedelta(microseconds=1)
        silence = self.now - self.listening_until
        extended = [
            job
            for job in self.jobs.values()
            if silence and job.is_held and self.listening_until <= job.expires_at
            if job.expires_at > self.extended_until
        ]
        for job in extended:
            job.expires_at = min(job.expires_at + silence, latest)
        if extended:
            self.extended_until = latest
        self.listening_until = self.now

    def cancel(self, jobs: Iterable[ModelJob]) -> None:
        for job in jobs:
            if job.state == "queued":
                self._end(job, "canceled")
            elif job.is_held:
                job.cancel_requested = True

    def remove_node(self, name: str) -> None:
        del self.nodes[name]
        self.cancel([job for job in self.jobs.values() if job.node == name])

    def counts(self, run_id: str) -> dict[str, int]:
        """Return the number of jobs of a run in each state, without superseded jobs."""
        counts = dict.fromkeys(("queued", *HELD, *FINAL), 0)
        for job in self.of_run(run_id):
            if job.superseded_by is None:
                counts[job.state] += 1
        return counts
