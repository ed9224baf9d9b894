"""The calls that an agent makes all the time, outside of the framework.

A job costs four of them, so they are plain functions on the same types as everything else; see
`answering` for who calls them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
from ffrtmp_shared.models import (
    Claim,
    ClaimRequest,
    FailureReport,
    Heartbeat,
    HeartbeatAnswer,
    Job,
    JobRequest,
    ReportStored,
    ResultReport,
    Role,
)
from litestar.exceptions import ClientException

from ffrtmp_master.api.job_view import render_job
from ffrtmp_master.auth.authentication import check_node, node_of
from ffrtmp_master.queue import requests
from ffrtmp_master.queue.parked_claims import ParkedClaim
from ffrtmp_master.queue.requests import ClaimOutcome
from ffrtmp_master.services import Services
from ffrtmp_master.store.credentials import Credential
from ffrtmp_master.store.errors import UnprocessableError
from ffrtmp_master.store.rows import JobRow
from ffrtmp_master.store.writer import WriterClosedError

B = TypeVar("B")

KEY_MAX = 255


@dataclass
class AgentCall(Generic[B]):
    """A request: who asks, of which job where its path names one, and what its body says.

    `content` is the body as it came; `hung_up` ends once the caller is gone.
    """

    holder: Credential
    job_id: UUID
    body: B
    content: bytes
    headers: dict[bytes, bytes]
    hung_up: Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class AgentResponse:
    """What is sent back; `body` is encoded as JSON."""

    status: HTTPStatus
    body: msgspec.Struct | None
    location: str | None = None


@dataclass(frozen=True)
class Endpoint(Generic[B]):
    """One hot call: where it is, what it takes and gives, who may make it, and what it does."""

    route: str
    summary: str
    body: type[B]
    answers: dict[HTTPStatus, type[msgspec.Struct] | None]
    problems: tuple[HTTPStatus, ...]
    role: Role
    handler: Callable[[Services, AgentCall[B]], Awaitable[AgentResponse]]
    # Whether it heeds the header Idempotency-Key.
    takes_key: bool = False


async def _submit(services: Services, call: AgentCall[JobRequest]) -> AgentResponse:
    key = call.headers.get(b"idempotency-key")
    if key is not None and not 0 < len(key) <= KEY_MAX:
        raise ClientException(f"Idempotency-Key: from 1 to {KEY_MAX} characters")
    problems_found = call.body.scenario.problems()
    if problems_found:
        raise UnprocessableError("the scenario cannot be measured", problems_found)
    request = requests.SubmitJob(
        call.body, call.holder.name, None if key is None else key.decode("latin-1")
    )
    submitted = await services.writer.apply_request(request)
    status = HTTPStatus.OK if submitted.existed else HTTPStatus.CREATED
    job = submitted.job
    return AgentResponse(status, render_job(job, services.catalog), f"/v1/jobs/{job.id}")


async def _claim(services: Services, call: AgentCall[ClaimRequest]) -> AgentResponse:
    check_node(call.holder, call.body.node)
    request = requests.ClaimJob(call.body.node, call.body.slot)
    job = await _wait_for_job(services, call, request, call.body.wait_s, None)
    if job is None:
        if services.parked_claims.is_closed:
            raise WriterClosedError
        return AgentResponse(HTTPStatus.NO_CONTENT, None)
    return AgentResponse(HTTPStatus.OK, _as_claim(services, job))


async def _heartbeat(services: Services, call: AgentCall[Heartbeat]) -> AgentResponse:
    request = requests.RenewLease(call.job_id, node_of(call.holder), call.body)
    cancel = await services.writer.apply_request(request)
    return AgentResponse(
        HTTPStatus.OK, HeartbeatAnswer(lease_s=services.settings.lease_s, cancel=cancel)
    )


async def _result(services: Services, call: AgentCall[ResultReport]) -> AgentResponse:
    node = node_of(call.holder)
    # Checked against its type, and stored as it came: to write it anew would change nothing.
    measurement = bytes(_as_sent(call.content).measurement).decode()
    request = requests.RecordResult(call.job_id, node, call.body, measurement)
    handed_in = await services.writer.apply_request(request)
    job = None
    if call.body.next is not None and handed_in.claimed is not None:
        again = requests.ClaimJob(node, call.body.next.slot)
        job = await _wait_for_job(services, call, again, call.body.next.wait_s, handed_in.claimed)
    return AgentResponse(
        HTTPStatus.OK,
        ReportStored(
            job_id=call.job_id,
            state=handed_in.state,
            repeated=handed_in.repeated,
            next=None if job is None else _as_claim(services, job),
        ),
    )


async def _failure(services: Services, call: AgentCall[FailureReport]) -> AgentResponse:
    request = requests.RecordFailure(call.job_id, node_of(call.holder), call.body)
    handed_in = await services.writer.apply_request(request)
    return AgentResponse(
        HTTPStatus.OK, ReportStored(job_id=call.job_id, state=handed_in.state, repeated=False)
    )


class _Measured(msgspec.Struct):
    """What matters of a result that was checked: its measurement as it came."""

    measurement: msgspec.Raw


_as_sent = msgspec.json.Decoder(_Measured).decode


def _as_claim(services: Services, job: JobRow) -> Claim:
    return Claim(
        job=render_job(job, services.catalog),
        attempt=job.attempt,
        lease_s=services.settings.lease_s,
        heartbeat_s=services.settings.heartbeat_s,
    )


async def _wait_for_job(
    services: Services,
    call: AgentCall[Any],
    request: requests.ClaimJob,
    wait_s: float,
    first: ClaimOutcome | None,
) -> JobRow | None:
    """Claim until there is a job, the time is over, or the client has hung up.

    Should the client go while its claim is being committed, the lease runs out, or ends when the
    same slot claims again.
    """
    if first is not None and (first.job is not None or not wait_s):
        return first.job
    if not wait_s:
        return (await services.writer.apply_request(request)).job
    waiter = ParkedClaim(request.node)
    gone = asyncio.ensure_future(call.hung_up())
    gone.add_done_callback(lambda _: waiter.time_out())

    async def attempt() -> ClaimOutcome:
        # Nobody would work on a job that is claimed for a client that is not there.
        return ClaimOutcome(None) if gone.done() else await services.writer.apply_request(request)

    try:
        return await services.parked_claims.wait_for_job(waiter, attempt, wait_s, gone.done)
    finally:
        gone.cancel()


_OK = HTTPStatus.OK
_REPORT = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)

ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint(
        "/v1/jobs",
        "Queue a job of its own. The same Idempotency-Key again gives the job made before (200).",
        JobRequest,
        {HTTPStatus.CREATED: Job, _OK: Job},
        (HTTPStatus.UNPROCESSABLE_ENTITY,),
        Role.SUBMITTER,
        _submit,
        takes_key=True,
    ),
    Endpoint(
        "/v1/claims",
        "Lease a job to a slot; 204 when there was none within `wait_s` seconds.",
        ClaimRequest,
        {_OK: Claim, HTTPStatus.NO_CONTENT: None},
        (HTTPStatus.CONFLICT,),
        Role.AGENT,
        _claim,
    ),
    Endpoint(
        "/v1/jobs/{job_id}/heartbeat",
        "Renew a lease. 409 when the attempt is over: the agent should give it up.",
        Heartbeat,
        {_OK: HeartbeatAnswer},
        _REPORT,
        Role.AGENT,
        _heartbeat,
    ),
    Endpoint(
        "/v1/jobs/{job_id}/result",
        "Store what an attempt measured, durably; with `next`, claim the slot's next job as well.",
        ResultReport,
        {_OK: ReportStored},
        _REPORT,
        Role.AGENT,
        _result,
    ),
    Endpoint(
        "/v1/jobs/{job_id}/failure",
        "Take an attempt that failed: the job is queued again, failed, or canceled.",
        FailureReport,
        {_OK: ReportStored},
        _REPORT,
        Role.AGENT,
        _failure,
    ),
)
"""The hot calls; all are POST."""
