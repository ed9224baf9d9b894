"""Claims: an agent asks for a job and waits for it."""

import asyncio
from http import HTTPStatus
from typing import Any

from ffrtmp_shared.models import Claim, ClaimRequest, Job, Role
from litestar import Response, post
from litestar.di import NamedDependency
from litestar.exceptions import ServiceUnavailableException
from litestar.params import JSONBody, SkipValidation

from ffrtmp_master import problems
from ffrtmp_master.access import Call, check_own_node, needs
from ffrtmp_master.farm import Farm
from ffrtmp_master.queue import claiming


@post(
    "/v1/claims",
    guards=[needs(Role.AGENT)],
    responses=problems.documented(HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE),
    status_code=HTTPStatus.OK,
)
async def claim(
    request: Call, data: JSONBody[ClaimRequest], farm: NamedDependency[SkipValidation[Farm]]
) -> Response[Claim | None]:
    """Lease a job to a slot; 204 when there was none within `wait_s` seconds."""
    check_own_node(request, data.node)
    encoders: frozenset[str] = frozenset()

    async def attempt() -> Job | None:
        nonlocal encoders
        now, lease_s = farm.clock(), farm.settings.lease_s
        claimed = await farm.writer.write(
            lambda c: claiming.claim(c, data.node, data.slot, now, lease_s)
        )
        encoders = claimed.encoders
        farm.metrics.expiries.inc(len(claimed.ended))
        farm.attempts_ended(claimed.ended)
        return claimed.job

    job = await _unless_gone(
        request,
        farm.waiting.until(attempt, data.node, lambda: encoders, data.wait_s),
    )
    if job is None:
        if farm.waiting.is_closed:
            raise ServiceUnavailableException(
                "the master is stopping", headers={"Retry-After": "5"}
            )
        return Response(None, status_code=HTTPStatus.NO_CONTENT)
    farm.metrics.claims.inc()
    return Response(
        Claim(
            job=job,
            attempt=job.attempt,
            lease_s=farm.settings.lease_s,
            heartbeat_s=farm.settings.heartbeat_s,
        )
    )


async def _unless_gone(request: Call, waiting: Any) -> Job | None:
    """Await a job, but give up when the client hangs up: nobody would work on it.

    Should the client go while its claim is being committed, the lease runs out, or ends when the
    same slot claims again.
    """
    found: asyncio.Task[Job | None] = asyncio.create_task(waiting)
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((found, gone), return_when=asyncio.FIRST_COMPLETED)
        if found.done():
            return found.result()
        return None
    finally:
        for task in (found, gone):
            task.cancel()
        await asyncio.wait((found, gone))


async def _disconnected(request: Call) -> None:
    """Return when the client has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


ROUTES: tuple[Any, ...] = (claim,)
