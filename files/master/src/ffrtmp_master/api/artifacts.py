"""Artifacts: files that belong to attempts."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from ffrtmp_shared.attempt_models import Artifact
from litestar import Response, get, head, put
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation
from litestar.response import Stream

from ffrtmp_master.api import downloads, problems
from ffrtmp_master.api.path_params import (
    AttemptPart,
    AttemptQuery,
    FileNamePart,
    Sha256Query,
)
from ffrtmp_master.api.request_validation import GROWING
from ffrtmp_master.api.stream_authorization import watch_of, while_valid
from ffrtmp_master.api.uploads import BytesOperation, check_content_length
from ffrtmp_master.auth import permissions
from ffrtmp_master.auth.authentication import Call
from ffrtmp_master.auth.authorization import agent_node, require_role
from ffrtmp_master.queue import completion
from ffrtmp_master.services import Services
from ffrtmp_master.store import artifacts
from ffrtmp_master.store.unit_of_work import UnitOfWork

InjectedServices = NamedDependency[SkipValidation[Services]]


@put(
    "/v1/jobs/{job_id:uuid}/artifacts/{name:str}",
    guards=[require_role(*permissions.UPLOAD_ARTIFACT)],
    responses=problems.document_problems(
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    ),
    opt=GROWING,
    # The content store counts the bytes and enforces its own limit.
    request_max_body_size=None,
    operation_class=BytesOperation,
)
async def upload_artifact(
    request: Call,
    job_id: FromPath[UUID],
    name: FileNamePart,
    *,
    attempt: AttemptQuery,
    services: InjectedServices,
    sha256: Sha256Query = None,
) -> Artifact:
    """Store a file of the attempt. Uploading the same content again succeeds.

    If `sha256` is given and the content has another digest, the response is 422. If the file is too
    large, or the attempt has too many files or bytes, it is 413.
    """
    node = agent_node(request)
    check_content_length(request, services.settings.max_artifact_bytes)
    quota = completion.AttemptQuota.of(services.settings)

    def check(work: UnitOfWork) -> int:
        completion.check_upload(work, job_id, attempt, node)
        return quota.left_bytes(work, job_id, attempt, name)

    left_bytes = await services.writer.write(check)
    body = while_valid(watch_of(services, request), request.stream())
    stream = services.uploads.of_attempt(body, (job_id, attempt), left_bytes, services.space)
    content = await services.artifacts.store(stream, expected=sha256)
    await services.writer.write(
        lambda work: completion.record_artifact(
            work, job_id, attempt, node=node, name=name, content=content, quota=quota
        )
    )
    return Artifact(name=name, sha256=content.sha256, size_bytes=content.size_bytes)


_ARTIFACT_PATH = "/v1/jobs/{job_id:uuid}/attempts/{attempt:int}/artifacts/{name:str}"


@head(
    _ARTIFACT_PATH,
    guards=[require_role(*permissions.HAS_ARTIFACT)],
    responses=downloads.HEAD_DOCUMENTED,
)
async def has_artifact(
    job_id: FromPath[UUID], attempt: AttemptPart, name: FileNamePart, services: InjectedServices
) -> Response[None]:
    """Check that an artifact exists and report its size."""
    found = await services.reader.read(lambda c: artifacts.get_artifact(c, job_id, attempt, name))
    return await downloads.describe_content(services.artifacts, found.sha256, name)


@get(
    _ARTIFACT_PATH,
    guards=[require_role(*permissions.DOWNLOAD_ARTIFACT)],
    responses=downloads.DOCUMENTED,
    media_type="application/octet-stream",
)
async def download_artifact(
    request: Call,
    job_id: FromPath[UUID],
    attempt: AttemptPart,
    name: FileNamePart,
    services: InjectedServices,
) -> Stream:
    """Download an artifact, or a part of it if the request has the header Range."""
    found = await services.reader.read(lambda c: artifacts.get_artifact(c, job_id, attempt, name))
    return await downloads.stream_content(request, services, services.artifacts, found.sha256, name)


ROUTES: tuple[Any, ...] = (upload_artifact, has_artifact, download_artifact)
