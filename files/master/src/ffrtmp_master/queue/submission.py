"""Submission of single jobs, which do not belong to a run."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec
from ffrtmp_shared.encoders import ENCODERS
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.requirements import Requirements
from ffrtmp_shared.scenario import Scenario
from ffrtmp_shared.states import JobState

from ffrtmp_master.queue import transitions
from ffrtmp_master.queue.claim_order import queue_rank
from ffrtmp_master.queue.requests import SubmitJob, SubmitOutcome
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog, RequirementSet
from ffrtmp_master.queue.uploads import missing_sources_error, missing_uploads
from ffrtmp_master.settings import Settings
from ffrtmp_master.store.errors import RequestError, UnprocessableError
from ffrtmp_master.store.rows import JobRow
from ffrtmp_master.store.unit_of_work import UnitOfWork


def required_set(
    requirements: Requirements, scenario: Scenario, *, exclusive: bool
) -> RequirementSet:
    """Return the requirement set of a job.

    The encoder of the scenario is added to the stated requirements, and also its kind unless every
    node supports that kind. If the suite provides the FFmpeg of the scenario, the node must be
    allowed to run it. Such an FFmpeg includes its software encoders, so the node must then support
    the encoder only if the encoder needs hardware.

    Args:
        requirements: The stated requirements.
        scenario: The scenario of the job.
        exclusive: Whether the job needs its node exclusively.

    Returns:
        The requirement set.
    """
    encoder = scenario.encoder
    if scenario.brings_ffmpeg and encoder in ENCODERS and not ENCODERS[encoder].needs_hardware:
        encoder = None
    wanted = msgspec.structs.replace(
        requirements,
        encoder=encoder,
        kind=scenario.required_kind,
        ffmpeg_under_test=scenario.brings_ffmpeg,
    )
    return RequirementSet(requirements=wanted, exclusive=exclusive)


def submit_jobs(
    work: UnitOfWork,
    requests: Sequence[SubmitJob],
    catalog: RequirementCatalog,
    settings: Settings,
) -> list[SubmitOutcome | RequestError]:
    """Queue each job, or return the existing job with the same idempotency key.

    Args:
        work: The transaction.
        requests: The submissions.
        catalog: The cache of requirement sets.
        settings: The settings of the master.

    Returns:
        For each submission, in the same order, its outcome, or an UnprocessableError if a source or
        an FFmpeg was not uploaded or the key was used for a different job.
    """
    by_key = _find_by_key(work, requests)
    names = {
        digest: name
        for submission in requests
        for digest, name in submission.request.scenario.uploads.items()
    }
    missing = missing_uploads(work.statements, names, work.now)
    if by_key:
        catalog.load_new(work.statements)
    new_jobs: list[JobRow] = []
    outcomes: list[SubmitOutcome | RequestError] = []
    for submission in requests:
        identity = (submission.created_by, submission.key or "")
        existing = by_key.get(identity) if submission.key is not None else None
        if existing is not None:
            outcomes.append(_existing_or_error(existing, submission, catalog, settings))
            continue
        missing_here = (
            missing.intersection(submission.request.scenario.uploads) if missing else None
        )
        if missing_here:
            outcomes.append(
                missing_sources_error(missing_here, submission.request.scenario.uploads)
            )
            continue
        try:
            job = _row(work, submission, catalog, settings)
        except RequestError as error:
            outcomes.append(error)
            continue
        new_jobs.append(job)
        if submission.key is not None:
            by_key[identity] = job
        outcomes.append(SubmitOutcome(job, existed=False))
    transitions.enqueue(work, new_jobs, "submitted")
    return outcomes


def _find_by_key(work: UnitOfWork, requests: Sequence[SubmitJob]) -> dict[tuple[str, str], JobRow]:
    keys = {(request.created_by, request.key) for request in requests if request.key is not None}
    if not keys:
        return {}
    found: Mapping[tuple[str, str], UUID] = work.statements.jobs_by_key(sorted(keys))
    rows = work.jobs(found.values())
    return {identity: rows[job_id] for identity, job_id in found.items()}


def _existing_or_error(
    existing: JobRow, submit: SubmitJob, catalog: RequirementCatalog, settings: Settings
) -> SubmitOutcome | RequestError:
    """Return the existing job, or an error if it differs from the submitted one.

    The priorities are not compared, because an operator may have changed that of the existing job.
    """
    request = submit.request
    wanted = required_set(request.requirements, request.scenario, exclusive=request.exclusive)
    is_same = (
        existing.scenario == msgspec.json.encode(request.scenario).decode()
        and catalog.set_of(existing.requirement_id).key == wanted.key
        and existing.max_attempts == (request.max_attempts or settings.max_attempts)
        and existing.deadline_s == request.deadline_s
    )
    if not is_same:
        return UnprocessableError(f"the idempotency key {submit.key!r} was used for another job")
    return SubmitOutcome(existing, existed=True)


def _row(
    work: UnitOfWork, submit: SubmitJob, catalog: RequirementCatalog, settings: Settings
) -> JobRow:
    request = submit.request
    wanted = required_set(request.requirements, request.scenario, exclusive=request.exclusive)
    return JobRow(
        id=new_id(),
        position=0,
        repeat=1,
        state=JobState.QUEUED,
        priority=request.priority.steps,
        rank=queue_rank(work.now, request.priority.steps, settings.priority_step_s),
        requirement_id=catalog.id_of(work.statements, wanted),
        node=request.requirements.node,
        attempt=0,
        max_attempts=request.max_attempts or settings.max_attempts,
        cancel_requested=False,
        deadline_s=request.deadline_s,
        created_at=work.now,
        created_by=submit.created_by,
        key=submit.key,
        scenario=msgspec.json.encode(request.scenario).decode(),
    )
