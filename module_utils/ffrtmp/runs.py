"""Runs: making one once, waiting for it, and what is going on in it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible.module_utils.ffrtmp.api import (
    ApiError,
    Deadline,
    Json,
    Master,
    SettingsError,
    file_sha256,
    persist,
)

POLL_S = 2.0
"""How often a run is looked at while somebody waits for it."""

_LOG_TAIL_LINES = 20


class RunError(ApiError):
    """A run did not end as was wanted, or not in time."""


def is_final(run: Json) -> bool:
    """Say whether every job of the run has ended."""
    return run["state"] not in ("queued", "running")


def job_count(run: Json) -> int:
    """Return the number of the run's jobs."""
    return sum(run["counts"].values())


def find_by_key(master: Master, key: str) -> Json | None:
    """Return the run that was made with this idempotency key, if there is one."""
    for run in master.pages("/v1/runs", {"key": key}):
        if run.get("key") == key:
            return run
    return None


def read_suite(path: str) -> str:
    """Return the text of a suite file; raises SettingsError when it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"suite {path} cannot be read: {error}") from error


def source_digests(suite: str, paths: Iterable[str]) -> dict[str, Path]:
    """Return the sources' files by their digests.

    Raises SettingsError when a file cannot be read or the suite does not name its digest: the
    suite would then measure another clip than the one at hand.
    """
    found: dict[str, Path] = {}
    for path in paths:
        try:
            digest = file_sha256(Path(path))
        except OSError as error:
            raise SettingsError(f"source {path} cannot be read: {error}") from error
        if digest not in suite:
            raise SettingsError(
                f"source {path} has the SHA-256 {digest}, which the suite does not name: the file "
                "is not the one that the suite was written for, or the suite's sha256 is wrong"
            )
        found[digest] = Path(path)
    return found


def missing_sources(master: Master, sources: dict[str, Path]) -> list[str]:
    """Return the digests of the sources that the master does not have."""
    return [digest for digest in sources if not master.exists(f"/v1/sources/{digest}")]


def create(master: Master, request: Json, key: str | None) -> Json:
    """Queue a run; with a key that was used before, the run that was made then is returned."""
    headers = {"Idempotency-Key": key} if key else {}
    run: Json = master.send("POST", "/v1/runs", request, headers)
    return run


def wait_until_final(master: Master, run_id: str, deadline: Deadline) -> Json:
    """Wait until every job of a run has ended; a master that is away is waited for.

    Raises RunError, with the run as it stands, when the time is over.
    """
    while True:
        run: Json = persist(lambda: master.get(f"/v1/runs/{run_id}"), deadline)
        if is_final(run):
            return run
        if deadline.is_over:
            raise RunError(
                f"run {run_id} is still {run['state']} after the time to wait for it: "
                f"{count_text(run)}. It goes on; wait again, or cancel it with state=canceled",
                run=run,
                jobs=job_count(run),
            )
        deadline.pause(POLL_S)


def check_succeeded(run: Json) -> None:
    """Raise RunError when a run has ended with jobs that did not succeed."""
    if run["state"] in ("failed", "canceled"):
        raise RunError(
            f"run {run['id']} of suite {run['suite_name']} ended {run['state']}: "
            f"{count_text(run)}; ffrtmp_run_info lists its failures",
            run=run,
            jobs=job_count(run),
        )


def count_text(run: Json) -> str:
    """Say how many jobs are in which state, leaving out states without a job."""
    return ", ".join(f"{count} {state}" for state, count in run["counts"].items() if count)


def active_jobs(jobs: Iterable[Json]) -> list[Json]:
    """Say what is being worked on, and how far it is; ordered by node and scenario."""
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
    """Say which jobs have failed or wait for another attempt, and why the last one failed."""
    found = []
    for job in jobs:
        failure = job.get("failure")
        if not failure or job["state"] == "succeeded":
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


def observe(
    master: Master, run_id: str, wait_s: float, known_counts: dict[str, Any] | None
) -> tuple[Json, list[Json]]:
    """Return a run and its jobs, at once or as soon as something has changed.

    With `wait_s` this waits until the counts are not `known_counts`, until a job has come to
    another stage since the waiting began, until the run has ended, or `wait_s` seconds. A
    master that is away is waited for as long.
    """
    deadline = Deadline(wait_s)
    first_stages: dict[str, str] | None = None
    while True:
        run: Json = persist(lambda: master.get(f"/v1/runs/{run_id}"), deadline)
        jobs = persist(lambda: jobs_of(master, run_id), deadline)
        stages = {job["job_id"]: job["stage"] for job in active_jobs(jobs)}
        if first_stages is None:
            first_stages = stages
            if known_counts is None:
                known_counts = run["counts"]
        if (
            deadline.is_over
            or is_final(run)
            or counts_differ(run["counts"], known_counts or {})
            or stages != first_stages
        ):
            return run, jobs
        deadline.pause(POLL_S)


def counts_differ(counts: dict[str, Any], known: dict[str, Any]) -> bool:
    """Compare counts by state; a state that is not named has no jobs."""
    states = counts.keys() | known.keys()
    return any(int(counts.get(state, 0)) != int(known.get(state, 0)) for state in states)
