"""Submission of a suite: its plan, the check and upload of its files, and the run."""

from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from ffrtmp_client import runs
from ffrtmp_client.api import Json, Master
from ffrtmp_client.errors import RefusedError
from ffrtmp_client.plan_text import waiting_refusal
from ffrtmp_client.suite_files import SuiteText, file_problems

from ffrtmp_cli.errors import CommandError


@dataclass(frozen=True)
class Submission:
    """A suite that can be queued.

    Attributes:
        suite: The suite.
        plan: The plan of the master.
        uploads: The files that the master does not have, by their digests.
    """

    suite: SuiteText
    plan: Json
    uploads: dict[str, Path]

    @property
    def upload_bytes(self) -> int:
        """The size of the files that the master does not have, in bytes."""
        return sum(path.stat().st_size for path in self.uploads.values())


def plan_suite(master: Master, path: str, *, key: str | None, seed: int | None) -> Submission:
    """Read a suite, let the master check it and check its files, without queueing anything.

    Args:
        master: Connection to the master.
        path: Path of the suite.
        key: Idempotency key, if any.
        seed: Seed of the order of the jobs, if any.

    Raises:
        CommandError: The suite or its files are not valid. The message contains all problems.
        ApiError: The suite cannot be read, or the master refused the request for another reason.
    """
    suite = SuiteText(Path(path), runs.read_suite(path))
    # With `wait`, the plan lists the scenarios that no node can run instead of failing.
    request = _request(suite, seed=seed, may_wait=True)
    try:
        plan = runs.plan(master, request, key)
    except RefusedError as error:
        if error.status != HTTPStatus.UNPROCESSABLE_ENTITY:
            raise
        message, *details = suite.located(str(error)).splitlines()
        raise CommandError(
            f"{path}: {message}", details=tuple(details), status=error.status
        ) from error
    conflict = runs.key_conflict(plan, key, "--key")
    if conflict:
        raise CommandError(conflict)
    files = plan["files"] if plan["existing"] is None else []
    wrong = file_problems(suite, files)
    if wrong:
        raise CommandError("the files of the suite cannot be used", details=tuple(wrong))
    uploads = {
        file["sha256"]: suite.resolve(file["path"]) for file in files if not file["is_stored"]
    }
    return Submission(suite, plan, uploads)


def check_nodes(plan: Json, *, may_wait: bool) -> None:
    """Raise CommandError if scenarios would wait for a node without permission.

    Args:
        plan: The plan of the run.
        may_wait: Whether the operator permits the wait.
    """
    if plan["waiting"] and not may_wait and plan["when_unmet"] != "wait":
        message, *details = waiting_refusal(plan, "--wait-for-nodes").splitlines()
        raise CommandError(message, details=tuple(details))


def queue_run(
    master: Master, submission: Submission, *, key: str | None, seed: int | None, may_wait: bool
) -> Json:
    """Upload the files that the master does not have, and queue the run.

    Args:
        master: Connection to the master.
        submission: The suite, which has been planned.
        key: Idempotency key. If there is a run with it, that run is returned.
        seed: Seed of the order of the jobs, if any.
        may_wait: Whether scenarios that no node can run may wait for one.

    Returns:
        The run as the API returns it.
    """
    for digest, path in submission.uploads.items():
        master.upload(f"/v1/sources/{digest}", path)
    request = _request(submission.suite, seed=seed, may_wait=may_wait)
    return runs.create(master, request, key)


def _request(suite: SuiteText, *, seed: int | None, may_wait: bool) -> Json:
    params: dict[str, Any] = {"seed": seed, "when_unmet": "wait" if may_wait else None}
    return runs.request_of(suite.text, params)
