"""Documents about runs and jobs, which --json prints."""

from typing import Any

import msgspec
from ffrtmp_client import runs
from ffrtmp_client.api import Json


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """Queued jobs of a run that wait for the same reason.

    Attributes:
        reason: `no_node`, `backoff`, `busy` or `ready`.
        message: The reason as text.
        jobs: The number of jobs.
    """

    reason: str
    message: str
    jobs: int


class RunEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A run.

    Attributes:
        id: The id of the run.
        suite: The name of the suite.
        state: `queued`, `running`, `succeeded`, `failed` or `canceled`.
        counts: The number of jobs in each state.
        nodes: The nodes that can run jobs of the run.
        priority: The priority of its jobs.
        created_at: The time at which it was queued.
        created_by: The name of the token with which it was queued.
        finished_at: The time at which its last job ended; null until then.
        key: The idempotency key of the request, if any.
        pending: Why jobs are queued.
    """

    id: str
    suite: str
    state: str
    counts: dict[str, int]
    nodes: tuple[str, ...]
    priority: str
    created_at: str
    created_by: str
    finished_at: str | None
    key: str | None
    pending: tuple[Pending, ...]


class JobFailure(msgspec.Struct, frozen=True, kw_only=True):
    """The last failure of a job.

    Attributes:
        failure_class: The kind of the failure, such as `node` or `out_of_memory`.
        message: The reason.
        log_tail: The last lines of FFmpeg's log, which may be empty.
    """

    failure_class: str
    message: str
    log_tail: str


class JobEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A job.

    Attributes:
        id: The id of the job.
        run_id: The run of the job; null for a single job.
        scenario: The name of the scenario.
        repeat: The number of the repeat, from 1.
        state: `queued`, `leased`, `running`, `succeeded`, `failed` or `canceled`.
        node: The node that runs or ran the job, or on which it must run; null if any node may.
        attempt: The number of the last attempt; 0 before the first.
        max_attempts: The number of attempts after which the job fails.
        priority: The priority.
        stage: The stage of the attempt, such as `encode`; null unless the job is running.
        ratio: The completed part of the stage, from 0 to 1; null if it is unknown.
        speed: The current speed of the encode as a multiple of real time; null if it is unknown.
        waiting: Why the job is queued; null in other states.
        failure: The last failure, if any.
        created_at: The time at which the job was queued.
        started_at: The time at which the last attempt began, if any.
        finished_at: The time at which the job ended, if it has.
    """

    id: str
    run_id: str | None
    scenario: str
    repeat: int
    state: str
    node: str | None
    attempt: int
    max_attempts: int
    priority: str
    stage: str | None
    ratio: float | None
    speed: float | None
    waiting: str | None
    failure: JobFailure | None
    created_at: str
    started_at: str | None
    finished_at: str | None


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the state of a job.

    Attributes:
        before: The state before; null for a new job.
        after: The state after.
        attempt: The number of the attempt.
        at: The time.
        reason: The reason.
    """

    before: str | None
    after: str
    attempt: int
    at: str
    reason: str


class RunsDocument(msgspec.Struct, tag_field="schema", tag="ffrtmp/runs/1", kw_only=True):
    """Runs, the newest first.

    Attributes:
        runs: The runs.
    """

    runs: tuple[RunEntry, ...]


class RunDocument(msgspec.Struct, tag_field="schema", tag="ffrtmp/run/1", kw_only=True):
    """A run with the jobs that run or have failed.

    Attributes:
        run: The run.
        active: The jobs that are running.
        failures: The jobs that have failed or wait for another attempt.
    """

    run: RunEntry
    active: tuple[JobEntry, ...]
    failures: tuple[JobEntry, ...]


class JobsDocument(msgspec.Struct, tag_field="schema", tag="ffrtmp/jobs/1", kw_only=True):
    """Jobs in the order in which they were created.

    Attributes:
        jobs: The jobs.
    """

    jobs: tuple[JobEntry, ...]


class JobDocument(msgspec.Struct, tag_field="schema", tag="ffrtmp/job/1", kw_only=True):
    """A job with its history.

    Attributes:
        job: The job.
        transitions: The changes of its state.
    """

    job: JobEntry
    transitions: tuple[Transition, ...]


class LogDocument(msgspec.Struct, tag_field="schema", tag="ffrtmp/job-log/1", kw_only=True):
    """The log of an attempt, or with --follow one line of it.

    Attributes:
        job_id: The id of the job.
        attempt: The number of the attempt.
        text: The log. With --follow, a line without its line feed.
    """

    job_id: str
    attempt: int
    text: str


def run_entry(run: Json) -> RunEntry:
    """Return a run of the API as an entry of a document."""
    return RunEntry(
        id=run["id"],
        suite=run["suite_name"],
        state=run["state"],
        counts=run["counts"],
        nodes=tuple(run["nodes"]),
        priority=run.get("priority", "medium"),
        created_at=run["created_at"],
        created_by=run["created_by"],
        finished_at=run["finished_at"],
        key=run["key"],
        pending=tuple(
            Pending(reason=item["reason"], message=item["message"], jobs=item["jobs"])
            for item in run.get("pending") or ()
        ),
    )


def job_entry(job: Json) -> JobEntry:
    """Return a job of the API as an entry of a document."""
    progress: dict[str, Any] = job["progress"] or {} if job["state"] == "running" else {}
    failure = job["failure"]
    return JobEntry(
        id=job["id"],
        run_id=job["run_id"],
        scenario=job["scenario"]["name"],
        repeat=job["repeat"],
        state=job["state"],
        node=job["leased_to"] or job["node"],
        attempt=job["attempt"],
        max_attempts=job["max_attempts"],
        priority=job.get("priority", "medium"),
        stage=progress.get("stage"),
        ratio=progress.get("ratio") or None,
        speed=progress.get("speed") or None,
        waiting=job.get("waiting"),
        failure=None
        if failure is None
        else JobFailure(
            failure_class=failure["failure_class"],
            message=failure["message"],
            log_tail=failure.get("log_tail", ""),
        ),
        created_at=job["created_at"],
        started_at=job["started_at"],
        finished_at=job["finished_at"],
    )


def run_document(run: Json, jobs: list[Json]) -> RunDocument:
    """Return the document of a run.

    Args:
        run: The run as the API returns it.
        jobs: Its jobs as the API returns them.
    """
    failed = {failure["job_id"] for failure in runs.failures(jobs)}
    return RunDocument(
        run=run_entry(run),
        active=tuple(job_entry(job) for job in jobs if job["state"] in ("leased", "running")),
        failures=tuple(job_entry(job) for job in jobs if job["id"] in failed),
    )
