"""The fast-path endpoints: the most frequent requests, served without the web framework.

Each job causes about four of these requests. The endpoints are plain functions that use the same
types as all other endpoints; `ffrtmp_master.server.fast_path` calls them.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
from ffrtmp_shared import value_rules
from ffrtmp_shared.agent_models import (
    Claim,
    ClaimRequest,
    FailureReport,
    Heartbeat,
    HeartbeatAnswer,
    ReportStored,
    ResultReport,
)
from ffrtmp_shared.models import Job, JobRequest, Role
from litestar.exceptions import NotAuthorizedException

from ffrtmp_master.api.job_view import render_job
from ffrtmp_master.api.stream_authorization import TokenWatch
from ffrtmp_master.auth import permissions
from ffrtmp_master.auth.authorization import check_node, node_of
from ffrtmp_master.queue import requests
from ffrtmp_master.queue.parked_claims import ParkedClaim
from ffrtmp_master.queue.requests import ClaimOutcome
from ffrtmp_master.services import Services
from ffrtmp_master.store.availability import WriterClosedError
from ffrtmp_master.store.credentials import Credential
from ffrtmp_master.store.errors import UnprocessableError
from ffrtmp_master.store.rows import JobRow

B = TypeVar("B")

_KEY = re.compile(value_rules.KEY)


@dataclass
class AgentCall(Generic[B]):
    """A request to a fast-path endpoint.

    Attributes:
        holder: The credential of the caller.
        job_id: The id of the job in the path; the nil UUID if the path contains no job id.
        body: The decoded body.
        content: The body as received.
        headers: The request headers, with names in lower case.
        hung_up: An asynchronous function that returns when the client has disconnected.
    """

    holder: Credential
    job_id: UUID
    body: B
    content: bytes
    headers: dict[bytes, bytes]
    hung_up: Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class AgentResponse:
    """The response of a fast-path endpoint; `body` is encoded as JSON when it is sent."""

    status: HTTPStatus
    body: msgspec.Struct | None
    location: str | None = None


@dataclass(frozen=True)
class Endpoint(Generic[B]):
    """A fast-path endpoint: its route, types, permitted roles and handler.

    Attributes:
        route: The path template.
        summary: The description in the OpenAPI document.
        body: The type of the request body.
        answers: The type of the response body for each success status; None if there is no body.
        problems: The error statuses that are specific to this endpoint.
        roles: The roles of which the caller needs one.
        handler: The function that serves the request.
        takes_key: Whether the endpoint honors the header Idempotency-Key.
        cleans_texts: Whether characters that are not accepted are replaced. Agents of release 0.1.0
            do this only in part, and discard a report that is refused.
    """

    route: str
    summary: str
    body: type[B]
    answers: dict[HTTPStatus, type[msgspec.Struct] | None]
    problems: tuple[HTTPStatus, ...]
    roles: Sequence[Role]
    handler: Callable[[Services, AgentCall[B]], Awaitable[AgentResponse]]
    takes_key: bool = False
    cleans_texts: bool = False


async def _submit(services: Services, call: AgentCall[JobRequest]) -> AgentResponse:
    key = _idempotency_key(call.headers)
    problems_found = call.body.scenario.problems()
    if problems_found:
        raise UnprocessableError("the scenario cannot be measured", problems_found)
    await services.space.check()
    request = requests.SubmitJob(call.body, call.holder.name, key)
    submitted = await services.writer.apply_request(request)
    status = HTTPStatus.OK if submitted.existed else HTTPStatus.CREATED
    job = submitted.job
    return AgentResponse(status, render_job(job, services.catalog), f"/v1/jobs/{job.id}")


def _idempotency_key(headers: dict[bytes, bytes]) -> str | None:
    sent = headers.get(b"idempotency-key")
    if sent is None:
        return None
    key = sent.decode("latin-1")
    if not _KEY.search(key):
        raise value_rules.TextFaultError(
            [f"Idempotency-Key: must be {value_rules.RULES[value_rules.KEY]}"]
        )
    return key


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
    # The received bytes of the measurement are stored. They have been validated, so encoding the
    # measurement again would only cost time.
    measurement = bytes(_decode_raw(call.content).measurement).decode()
    request = requests.RecordResult(call.job_id, node, call.body, measurement)
    recorded = await services.writer.apply_request(request)
    job = None
    if call.body.next is not None and recorded.claimed is not None:
        next_claim = requests.ClaimJob(node, call.body.next.slot)
        job = await _wait_for_job(
            services, call, next_claim, call.body.next.wait_s, recorded.claimed
        )
    return AgentResponse(
        HTTPStatus.OK,
        ReportStored(
            job_id=call.job_id,
            state=recorded.state,
            repeated=recorded.repeated,
            next=None if job is None else _as_claim(services, job),
        ),
    )


async def _failure(services: Services, call: AgentCall[FailureReport]) -> AgentResponse:
    request = requests.RecordFailure(call.job_id, node_of(call.holder), call.body)
    recorded = await services.writer.apply_request(request)
    return AgentResponse(
        HTTPStatus.OK, ReportStored(job_id=call.job_id, state=recorded.state, repeated=False)
    )


class _RawResult(msgspec.Struct):
    """The measurement of a result that has been validated, still as raw JSON."""

    measurement: msgspec.Raw


_decode_raw = msgspec.json.Decoder(_RawResult).decode


def _as_claim(services: Services, job: JobRow) -> Claim:
    return Claim(
        job=render_job(job, services.catalog),
        attempt=job.attempt,
        lease_s=services.settings.lease_s,
        heartbeat_s=services.settings.heartbeat_s,
        artifact_bytes_max=services.settings.max_artifact_bytes,
    )


async def _wait_for_job(
    services: Services,
    call: AgentCall[Any],
    request: requests.ClaimJob,
    wait_s: float,
    first: ClaimOutcome | None,
) -> JobRow | None:
    """Claim until a job is leased, `wait_s` has elapsed, or the client has disconnected.

    `first` is the outcome of a first attempt to claim, if the caller has already made one. If the
    client disconnects while its claim is being committed, no agent runs the leased job. The lease
    then ends when it expires or when the same slot claims again.
    """
    if first is not None and (first.job is not None or not wait_s):
        return first.job
    if not wait_s:
        return (await services.writer.apply_request(request)).job
    waiter = ParkedClaim(request.node)
    disconnected = asyncio.ensure_future(call.hung_up())
    disconnected.add_done_callback(lambda _: waiter.time_out())

    watch = TokenWatch(services, call.headers.get(b"authorization", b"").decode("latin-1"))

    async def attempt() -> ClaimOutcome:
        if not await watch.is_valid():
            raise NotAuthorizedException("the token has become invalid")
        # A job leased to a disconnected client would not run until its lease expires.
        if disconnected.done():
            return ClaimOutcome(None)
        return await services.writer.apply_request(request)

    try:
        return await services.parked_claims.wait_for_job(waiter, attempt, wait_s, disconnected.done)
    finally:
        disconnected.cancel()


_OK = HTTPStatus.OK
_REPORT = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)

ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint(
        "/v1/jobs",
        "Queue a single job. Repeating an Idempotency-Key returns the existing job with 200.",
        JobRequest,
        {HTTPStatus.CREATED: Job, _OK: Job},
        (HTTPStatus.UNPROCESSABLE_ENTITY,),
        permissions.SUBMIT_JOB,
        _submit,
        takes_key=True,
    ),
    Endpoint(
        "/v1/claims",
        "Lease a job to a slot; 204 if none becomes available within `wait_s` seconds.",
        ClaimRequest,
        {_OK: Claim, HTTPStatus.NO_CONTENT: None},
        (HTTPStatus.CONFLICT,),
        permissions.CLAIM_JOB,
        _claim,
    ),
    Endpoint(
        "/v1/jobs/{job_id}/heartbeat",
        "Renew a lease; 409 if the attempt has ended: the agent must then abandon it.",
        Heartbeat,
        {_OK: HeartbeatAnswer},
        _REPORT,
        permissions.RENEW_LEASE,
        _heartbeat,
    ),
    Endpoint(
        "/v1/jobs/{job_id}/result",
        "Store the result of an attempt durably; with `next`, also claim the slot's next job.",
        ResultReport,
        {_OK: ReportStored},
        _REPORT,
        permissions.REPORT_RESULT,
        _result,
        cleans_texts=True,
    ),
    Endpoint(
        "/v1/jobs/{job_id}/failure",
        "Record the failure of an attempt: the job is queued again, failed, or canceled.",
        FailureReport,
        {_OK: ReportStored},
        _REPORT,
        permissions.REPORT_FAILURE,
        _failure,
        cleans_texts=True,
    ),
)
"""The fast-path endpoints. All of them use the method POST."""
