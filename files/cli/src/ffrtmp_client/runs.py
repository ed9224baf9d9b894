"""Functions that create, observe and await runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from .api import Json, Master, file_sha256
from .deadline import Deadline, persist
from .errors import ApiError, RefusedError, SettingsError
from .precision import precision_progress
from .progress import count_text, waiting
from .value_rules import KEY, RULES

POLL_S = 2.0
"""Interval at which an awaited run is polled, in seconds."""

SUITE_MAX_BYTES = 4_000_000
"""Maximum size of a suite file. The master accepts a million characters of up to four bytes."""

_LOG_TAIL_LINES = 20
_OUTCOMES = {"failed": "failed", "canceled": "was canceled"}


class RunError(ApiError):
    """A run that did not succeed or did not end in time."""


def is_final(run: Json) -> bool:
    """Return whether every job of the run has ended."""
    return run["state"] not in ("queued", "running")


def job_count(run: Json) -> int:
    """Return the number of the run's jobs."""
    return sum(run["counts"].values())


def check_key(key: str) -> None:
    """Raise SettingsError if the master does not accept a key as an idempotency key."""
    if not re.search(KEY, key):
        raise SettingsError(f"key must be {RULES[KEY]}")


def find_by_key(master: Master, key: str) -> Json | None:
    """Return the run that the holder of the token created with this idempotency key, or None.

    Keys belong to their owners, so the master lists only runs of the caller. Raises SettingsError
    if the key is not valid.
    """
    check_key(key)
    for run in master.pages("/v1/runs", {"key": key}):
        if run.get("key") == key:
            return run
    return None


def read_suite(path: str) -> str:
    """Return the text of a suite file. Raises SettingsError if it is too long or unreadable."""
    file = Path(path)
    try:
        _check_regular("suite", file)
        with file.open("rb") as opened:
            content = opened.read(SUITE_MAX_BYTES + 1)
        if len(content) > SUITE_MAX_BYTES:
            raise SettingsError(
                f"suite {path} has more than {SUITE_MAX_BYTES} bytes, which the master would "
                "reject: divide it into several suites"
            )
        return content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"suite {path} cannot be read: {error}") from error


def _check_regular(option: str, file: Path) -> None:
    """Raise SettingsError if a file exists but is not a regular file, which may have no end."""
    if file.exists() and not file.is_file():
        raise SettingsError(f"{option} {file} is not a regular file: set it to the path of a file")


def source_digests(suite: str, paths: Iterable[str]) -> dict[str, Path]:
    """Return the paths of the source files by their digests.

    Raises SettingsError if a file cannot be read, or if the suite does not contain its digest,
    because the run would then measure another clip.
    """
    found: dict[str, Path] = {}
    for path in paths:
        _check_regular("source", Path(path))
        try:
            digest = file_sha256(Path(path))
        except OSError as error:
            raise SettingsError(f"source {path} cannot be read: {error}") from error
        if digest not in suite:
            raise SettingsError(
                f"source {path} has the SHA-256 {digest}, which the suite does not contain: use "
                "the file for which the suite was written, or correct the sha256 in the suite"
            )
        found[digest] = Path(path)
    return found


def missing_sources(master: Master, sources: dict[str, Path]) -> list[str]:
    """Return the digests of the sources that the master does not have."""
    return [digest for digest in sources if not master.exists(f"/v1/sources/{digest}")]


def request_of(suite: str, params: Mapping[str, Any]) -> Json:
    """Return the body of a request for a run or its plan.

    Args:
        suite: Text of the suite.
        params: Arguments of the module, of which `seed` and `when_unmet` are used if they are set.
    """
    more = {name: params[name] for name in ("seed", "when_unmet") if params[name] is not None}
    return {"suite": suite, **more}


def plan(master: Master, request: Json, key: str | None) -> Json:
    """Return the jobs that a run would have, without queueing them.

    Args:
        master: Connection to the master.
        request: Body of the request, with the suite.
        key: Idempotency key that the request for a run would have, if any.

    Returns:
        The plan. If there is a run with the key, its `existing` names that run.
    """
    if key:
        check_key(key)
    headers = {"Idempotency-Key": key} if key else {}
    found: Json = master.send("POST", "/v1/runs/plan", request, headers)
    return found


def key_conflict(found: Json, key: str | None, option: str) -> str | None:
    """Return why a run cannot have a key, or None if it can.

    Args:
        found: Plan of the run.
        key: The key, if any.
        option: Name of the option or variable with which the operator sets the key.
    """
    existing = found.get("existing")
    if existing is None or existing["is_same"]:
        return None
    return (
        f"{option} {key} was used for run {existing['id']} of suite {existing['suite_name']}, "
        f"which was queued at {existing['created_at']} with another suite or seed. Choose another "
        f"{option}, or use the suite and the seed of that run unchanged"
    )


def create(master: Master, request: Json, key: str | None) -> Json:
    """Queue a run. If there is a run with the key, return that run instead.

    Args:
        master: Connection to the master.
        request: Body of the request, with the suite.
        key: Idempotency key, if any.

    Returns:
        The run.
    """
    headers = {"Idempotency-Key": key} if key else {}
    run: Json = master.send("POST", "/v1/runs", request, headers)
    return run


def wait_until_final(master: Master, run_id: str, deadline: Deadline) -> Json:
    """Wait until every job of a run has ended. The wait continues while the master is unavailable.

    Args:
        master: Connection to the master.
        run_id: Id of the run.
        deadline: Time at which the wait ends.

    Returns:
        The run in its final state.

    Raises:
        RunError: The run has not ended at the deadline. The error contains its current state.
    """
    while True:
        run: Json = persist(lambda: master.get(f"/v1/runs/{run_id}"), deadline)
        if is_final(run):
            return run
        if deadline.is_over:
            raise RunError(
                f"run {run_id} is still {run['state']} after wait_timeout_s: {count_text(run)}. "
                "It continues; wait again, or cancel it with state=canceled",
                run=run,
                jobs=job_count(run),
            )
        deadline.pause(POLL_S)


def check_succeeded(run: Json) -> None:
    """Raise RunError if a run has ended with jobs that did not succeed."""
    outcome = _OUTCOMES.get(run["state"])
    if outcome is not None:
        raise RunError(
            f"run {run['id']} of suite {run['suite_name']} {outcome}: {count_text(run)}; "
            "ffrtmp_run_info lists its failures",
            run=run,
            jobs=job_count(run),
        )


def active_jobs(jobs: Iterable[Json]) -> list[Json]:
    """Return the active jobs with their progress, ordered by node and scenario."""
    active = []
    for job in jobs:
        if job["state"] not in ("leased", "running"):
            continue
        progress = job.get("progress") or {}
        active.append(
            {
                "job_id": job["id"],
                "node": job["leased_to"],
                "scenario": job["scenario"]["name"],
                "repeat": job["repeat"],
                "stage": progress.get("stage", "start"),
                "ratio": progress.get("ratio", 0.0),
                "speed": progress.get("speed", 0.0),
            }
        )
    return sorted(active, key=lambda job: (job["node"] or "", job["scenario"], job["repeat"]))


def failures(jobs: Iterable[Json]) -> list[Json]:
    """Return the jobs that have failed or wait for another attempt, each with its last failure.

    A job that was retried is left out, because the job that retries it counts instead.
    """
    found = []
    for job in jobs:
        failure = job.get("failure")
        if not failure or job["state"] == "succeeded" or job.get("superseded_by"):
            continue
        found.append(
            {
                "job_id": job["id"],
                "state": job["state"],
                "node": job["leased_to"] or job["node"],
                "scenario": job["scenario"]["name"],
                "repeat": job["repeat"],
                "attempt": job["attempt"],
                "failure_class": failure["failure_class"],
                "message": failure["message"],
                "log_tail": "\n".join(
                    failure.get("log_tail", "").rstrip().splitlines()[-_LOG_TAIL_LINES:]
                ),
            }
        )
    return found


def jobs_of(master: Master, run_id: str) -> list[Json]:
    """Return all jobs of a run."""
    return list(master.pages("/v1/jobs", {"run": run_id}))


def precision_of(master: Master, run: Json, deadline: Deadline) -> Json | None:
    """Return the progress towards the precision that a suite requests, while the run is open.

    Args:
        master: Connection to the master.
        run: The run.
        deadline: Time after which a failed request is not repeated.

    Returns:
        The summary of `precision_progress`. None if the suite requests no precision, if the run
        gets no further repeats, or if the master is too busy to compute the report.
    """
    if not run.get("unsettled_nodes"):
        return None
    try:
        report = persist(lambda: master.get(f"/v1/runs/{run['id']}/precision"), deadline)
    except RefusedError as refused:
        if refused.status != HTTPStatus.TOO_MANY_REQUESTS:
            raise
        return None
    return precision_progress(report)


def observe(
    master: Master, run_id: str, deadline: Deadline, known_counts: dict[str, Any] | None
) -> tuple[Json, list[Json]]:
    """Wait for a change of a run, then return the run and its jobs.

    The wait ends when the counts differ from `known_counts`, a job has entered another stage, jobs
    that no node can run wait for another reason, or the run has ended. It continues while the
    master is unavailable.

    Args:
        master: Connection to the master.
        run_id: Id of the run.
        deadline: Time at which the wait ends. If it has passed, the function does not wait.
        known_counts: The last known number of jobs by state. If it is None, the counts of the first
            poll are used.

    Returns:
        The run and its jobs.
    """
    first_seen: tuple[dict[str, str], list[str]] | None = None
    while True:
        run: Json = persist(lambda: master.get(f"/v1/runs/{run_id}"), deadline)
        jobs = persist(lambda: jobs_of(master, run_id), deadline)
        seen = (
            {job["job_id"]: job["stage"] for job in active_jobs(jobs)},
            [item["message"] for item in waiting(run, is_idle=False)],
        )
        if first_seen is None:
            first_seen = seen
            if known_counts is None:
                known_counts = run["counts"]
        if (
            deadline.is_over
            or is_final(run)
            or counts_differ(run["counts"], known_counts or {})
            or seen != first_seen
        ):
            return run, jobs
        deadline.pause(POLL_S)


def counts_differ(counts: dict[str, Any], known: dict[str, Any]) -> bool:
    """Return whether counts by state differ. A state that is missing has the count 0."""
    states = counts.keys() | known.keys()
    return any(int(counts.get(state, 0)) != int(known.get(state, 0)) for state in states)
