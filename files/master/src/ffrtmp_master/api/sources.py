"""Sources: clips to encode, identified by their digest."""

from http import HTTPStatus
from typing import Any

from ffrtmp_shared.models import Role
from litestar import Response, get, head, put
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from litestar.response import Stream

from ffrtmp_master.api import downloads, problems
from ffrtmp_master.api.path_params import Sha256Part
from ffrtmp_master.api.uploads import BytesOperation, check_content_length
from ffrtmp_master.auth.authentication import Call
from ffrtmp_master.auth.authorization import require_role
from ffrtmp_master.services import Services
from ffrtmp_master.store import artifacts, nodes

InjectedServices = NamedDependency[SkipValidation[Services]]


@put(
    "/v1/sources/{sha256:str}",
    guards=[require_role(Role.SUBMITTER)],
    responses=problems.document_problems(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    ),
    # The content store counts the bytes and enforces its own limit.
    request_max_body_size=None,
    operation_class=BytesOperation,
    status_code=HTTPStatus.NO_CONTENT,
)
async def upload_source(request: Call, sha256: Sha256Part, services: InjectedServices) -> None:
    """Upload a source. If the digest of the content is not `sha256`, the response is 422."""
    check_content_length(request, services.settings.max_source_bytes)
    content = await services.sources.store(request.stream(), expected=sha256)
    await services.writer.write(
        lambda work: artifacts.add_source(work.connection, content, work.now)
    )


@head(
    "/v1/sources/{sha256:str}",
    guards=[require_role(Role.VIEWER, Role.AGENT)],
    responses=downloads.HEAD_DOCUMENTED,
)
async def has_source(sha256: Sha256Part, services: InjectedServices) -> Response[None]:
    """Check that a source exists and report its size."""
    await services.reader.read(lambda c: artifacts.source_size(c, sha256))
    return await downloads.describe_content(services.sources, sha256, sha256)


@get(
    "/v1/sources/{sha256:str}",
    guards=[require_role(Role.VIEWER, Role.AGENT)],
    responses=downloads.DOCUMENTED,
    media_type="application/octet-stream",
)
async def download_source(request: Call, sha256: Sha256Part, services: InjectedServices) -> Stream:
    """Download a source, or a part of it if the request has the header Range."""
    node = request.user.node
    if node is not None:
        await services.writer.write(lambda work: nodes.mark_seen(work.connection, node, work.now))
    await services.reader.read(lambda c: artifacts.source_size(c, sha256))
    return await downloads.stream_content(request, services.sources, sha256, sha256)


ROUTES: tuple[Any, ...] = (upload_source, has_source, download_source)
