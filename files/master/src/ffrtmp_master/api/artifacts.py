"""Artifacts: files that belong to attempts."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from ffrtmp_shared.models import Artifact, Role
from litestar import get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation
from litestar.response import File

from ffrtmp_master import problems
from ffrtmp_master.access import Call, agent_node, needs
from ffrtmp_master.api.addresses import AttemptPart, AttemptQuery, FileNamePart
from ffrtmp_master.api.uploads import check_announced, stored_file
from ffrtmp_master.farm import Farm
from ffrtmp_master.queue import completion
from ffrtmp_master.store import artifacts

FarmHere = NamedDependency[SkipValidation[Farm]]


@put(
    "/v1/jobs/{job_id:uuid}/artifacts/{name:str}",
    guards=[needs(Role.AGENT)],
    responses=problems.documented(
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ),
    # The file store counts what comes and has a limit of its own.
    request_max_body_size=None,
)
async def upload_artifact(
    request: Call,
    job_id: FromPath[UUID],
    name: FileNamePart,
    attempt: AttemptQuery,
    farm: FarmHere,
) -> Artifact:
    """Keep a file that belongs to the attempt; the same again is fine."""
    node = agent_node(request)
    check_announced(request, farm.settings.max_artifact_bytes)
    await farm.writer.write(lambda work: completion.check_upload(work, job_id, attempt, node))
    content = await farm.artifacts.keep(request.stream())
    await farm.writer.write(
        lambda work: completion.take_artifact(
            work, job_id, attempt, node=node, name=name, content=content
        )
    )
    return Artifact(name=name, sha256=content.sha256, size_bytes=content.size_bytes)


@get(
    "/v1/jobs/{job_id:uuid}/attempts/{attempt:int}/artifacts/{name:str}",
    guards=[needs(Role.VIEWER)],
    responses=problems.documented(HTTPStatus.NOT_FOUND),
    media_type="application/octet-stream",
)
async def download_artifact(
    job_id: FromPath[UUID], attempt: AttemptPart, name: FileNamePart, farm: FarmHere
) -> File:
    """Give an artifact's bytes."""
    found = await farm.reader.read(lambda c: artifacts.find(c, job_id, attempt, name))
    return stored_file(farm.artifacts.path(found.sha256), name)


ROUTES: tuple[Any, ...] = (upload_artifact, download_artifact)
