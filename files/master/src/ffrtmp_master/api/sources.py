"""Sources: clips to encode, identified by their digest."""

from http import HTTPStatus
from typing import Any

from ffrtmp_shared.models import Role, SourcePage
from litestar import Response, delete, get, head, put
from litestar.di import NamedDependency
from litestar.exceptions import PermissionDeniedException
from litestar.params import SkipValidation
from litestar.response import Stream
from sqlalchemy import Connection

from ffrtmp_master.api import downloads, problems
from ffrtmp_master.api.pagination import PAGE, Cursor, Limit
from ffrtmp_master.api.path_params import Sha256Part
from ffrtmp_master.api.request_validation import GROWING
from ffrtmp_master.api.stream_authorization import watch_of, while_valid
from ffrtmp_master.api.uploads import BytesOperation, announced_bytes, check_content_length
from ffrtmp_master.auth import permissions
from ffrtmp_master.auth.authentication import Call
from ffrtmp_master.auth.authorization import require_role
from ffrtmp_master.services import Services
from ffrtmp_master.store import nodes, sources
from ffrtmp_master.store.sources import TokenUse

InjectedServices = NamedDependency[SkipValidation[Services]]


@put(
    "/v1/sources/{sha256:str}",
    guards=[require_role(*permissions.UPLOAD_SOURCE)],
    responses=problems.document_problems(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    ),
    opt=GROWING,
    # The content store counts the bytes and enforces its own limit.
    request_max_body_size=None,
    operation_class=BytesOperation,
    status_code=HTTPStatus.NO_CONTENT,
)
async def upload_source(request: Call, sha256: Sha256Part, services: InjectedServices) -> None:
    """Upload a source.

    If the digest of the content is not `sha256`, the response is 422. If the sources of the token
    would exceed their limits, it is 413.
    """
    check_content_length(request, services.settings.max_source_bytes)
    token, limits = request.user.name, services.uploads

    def used(connection: Connection) -> TokenUse:
        use = sources.token_use(connection, token)
        if not sources.is_stored(connection, sha256):
            limits.source_quota.check(use, announced_bytes(request))
            return use
        # The content is already stored, so another upload needs no further space.
        return TokenUse(0, 0)

    use = await services.reader.read(used)
    body = while_valid(watch_of(services, request), request.stream())
    stream = limits.of_token(body, token, use, services.space)
    content = await services.sources.store(stream, expected=sha256)
    await services.writer.write(
        lambda work: sources.add_source(
            work.connection, content, token=token, now=work.now, quota=limits.source_quota
        )
    )


@get(
    "/v1/sources",
    guards=[require_role(*permissions.LIST_SOURCES)],
    responses=problems.document_problems(),
)
async def list_sources(
    services: InjectedServices, cursor: Cursor = "", limit: Limit = PAGE
) -> SourcePage:
    """List the uploaded sources, sorted by digest."""
    return await services.reader.read(lambda c: sources.page_of_sources(c, cursor, limit))


@delete(
    "/v1/sources/{sha256:str}",
    guards=[require_role(*permissions.REMOVE_SOURCE)],
    responses=problems.document_problems(
        HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS
    ),
)
async def remove_source(request: Call, sha256: Sha256Part, services: InjectedServices) -> None:
    """Remove a source.

    If an unfinished run or job names the source, the response is 409. While another source is being
    removed, it is 429. A submitter can remove only the sources that were uploaded with the same
    token.
    """
    user = request.user

    def check(owner: str | None) -> None:
        if owner != user.name and user.role is not Role.ADMIN:
            raise PermissionDeniedException(
                f"the source was uploaded by {owner or 'another token'}; only an admin can "
                "remove it"
            )

    await services.source_removal.remove(sha256, user.name, check)


@head(
    "/v1/sources/{sha256:str}",
    guards=[require_role(*permissions.HAS_SOURCE)],
    responses=downloads.HEAD_DOCUMENTED,
)
async def has_source(sha256: Sha256Part, services: InjectedServices) -> Response[None]:
    """Check that a source exists and report its size."""
    await services.reader.read(lambda c: sources.source_size(c, sha256))
    return await downloads.describe_content(services.sources, sha256, sha256)


@get(
    "/v1/sources/{sha256:str}",
    guards=[require_role(*permissions.DOWNLOAD_SOURCE)],
    responses=downloads.DOCUMENTED,
    media_type="application/octet-stream",
)
async def download_source(request: Call, sha256: Sha256Part, services: InjectedServices) -> Stream:
    """Download a source, or a part of it if the request has the header Range."""
    node = request.user.node
    if node is not None:
        await services.writer.write(lambda work: nodes.mark_seen(work.connection, node, work.now))
    await services.reader.read(lambda c: sources.source_size(c, sha256))
    return await downloads.stream_content(request, services, services.sources, sha256, sha256)


ROUTES: tuple[Any, ...] = (
    upload_source,
    list_sources,
    has_source,
    download_source,
    remove_source,
)
