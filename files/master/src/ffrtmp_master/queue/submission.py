"""Jobs of their own: queued as they are asked for, outside of any run."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec
from ffrtmp_shared.encoders import ENCODERS
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.requirements import Requirements
from ffrtmp_shared.scenario import KINDS_OF_EVERY_NODE, Scenario
from ffrtmp_shared.states import JobState

from ffrtmp_master.queue import transitions
from ffrtmp_master.queue.requests import SubmitJob, SubmitOutcome
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog, RequirementSet
from ffrtmp_master.queue.uploads import KnownUploads, missing_sources_error
from ffrtmp_master.settings import Settings
from ffrtmp_master.store.errors import RequestError, UnprocessableError
from ffrtmp_master.store.rows import JobRow
from ffrtmp_master.store.unit_of_work import UnitOfWork


def required_set(
    requirements: Requirements, scenario: Scenario, *, exclusive: bool
) -> RequirementSet:
    """Return what a job asks of its node: what was said, and always its encoder and its kind.

    A job with an FFmpeg of its own asks for a node that may run it. That FFmpeg brings its
    software encoders along; a GPU it does not bring.
    """
    kind = None if scenario.kind in KINDS_OF_EVERY_NODE else scenario.kind
    encoder = scenario.encoder
    if scenario.brings_ffmpeg and encoder in ENCODERS and not ENCODERS[encoder].needs_hardware:
        encoder = None
    wanted = msgspec.structs.replace(
        requirements, encoder=encoder, kind=kind, ffmpeg_under_test=scenario.brings_ffmpeg
    )
    return RequirementSet(requirements=wanted, exclusive=exclusive)


def submit_jobs(
    work: UnitOfWork,
    requests: Sequence[SubmitJob],
    catalog: RequirementCatalog,
    uploads: KnownUploads,
    settings: Settings,
) -> list[SubmitOutcome | RequestError]:
    """Queue each job, or return the one that was queued with the same key before.

    A job whose source, or given FFmpeg, was never uploaded is refused.
    """
    earlier = _find_by_key(work, requests)
    names = {
        digest: name
        for asked in requests
        for digest, name in asked.request.scenario.uploads.items()
    }
    missing = uploads.missing(work.statements, names)
    if earlier:
        catalog.load_new(work.statements)
    new: list[JobRow] = []
    answers: list[SubmitOutcome | RequestError] = []
    for asked in requests:
        identity = (asked.created_by, asked.key or "")
        before = earlier.get(identity) if asked.key is not None else None
        if before is not None:
            answers.append(_is_same_job(before, asked, catalog, settings))
            continue
        lacking = missing.intersection(asked.request.scenario.uploads) if missing else None
        if lacking:
            answers.append(missing_sources_error(lacking, asked.request.scenario.uploads))
            continue
        job = _row(work, asked, catalog, settings)
        new.append(job)
        if asked.key is not None:
            earlier[identity] = job
        answers.append(SubmitOutcome(job, existed=False))
    transitions.enqueue(work, new, "submitted")
    return answers


def _find_by_key(work: UnitOfWork, requests: Sequence[SubmitJob]) -> dict[tuple[str, str], JobRow]:
    keys = {(asked.created_by, asked.key) for asked in requests if asked.key is not None}
    if not keys:
        return {}
    found: Mapping[tuple[str, str], UUID] = work.statements.jobs_by_key(sorted(keys))
    rows = work.jobs(found.values())
    return {identity: rows[job_id] for identity, job_id in found.items()}


def _is_same_job(
    before: JobRow, asked: SubmitJob, catalog: RequirementCatalog, settings: Settings
) -> SubmitOutcome | RequestError:
    """Return the job that was made before, if it is what is asked for now.

    Its priority is not compared: an operator may have changed it since.
    """
    request = asked.request
    wanted = required_set(request.requirements, request.scenario, exclusive=request.exclusive)
    is_same = (
        before.scenario == msgspec.json.encode(request.scenario).decode()
        and catalog.set_of(before.requirement_id).key == wanted.key
        and before.max_attempts == (request.max_attempts or settings.max_attempts)
        and before.deadline_s == request.deadline_s
    )
    if not is_same:
        return UnprocessableError(f"the idempotency key {asked.key!r} was used for another job")
    return SubmitOutcome(before, existed=True)


def _row(
    work: UnitOfWork, asked: SubmitJob, catalog: RequirementCatalog, settings: Settings
) -> JobRow:
    request = asked.request
    wanted = required_set(request.requirements, request.scenario, exclusive=request.exclusive)
    return JobRow(
        id=new_id(),
        position=0,
        repeat=1,
        state=JobState.QUEUED,
        priority=request.priority.steps,
        rank=transitions.rank(work.now, request.priority.steps, settings.priority_step_s),
        requirement_id=catalog.id_of(work.statements, wanted),
        node=request.requirements.node,
        attempt=0,
        max_attempts=request.max_attempts or settings.max_attempts,
        cancel_requested=False,
        deadline_s=request.deadline_s,
        created_at=work.now,
        created_by=asked.created_by,
        key=asked.key,
        scenario=msgspec.json.encode(request.scenario).decode(),
    )
