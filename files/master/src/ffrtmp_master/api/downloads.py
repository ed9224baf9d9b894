"""File downloads: byte ranges, entity tags and file names."""

import re
from http import HTTPStatus

from litestar import Response
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from litestar.response import Stream

from ffrtmp_master.api import problems
from ffrtmp_master.api.stream_authorization import watch_of, while_valid
from ffrtmp_master.auth.authentication import Call
from ffrtmp_master.services import Services
from ffrtmp_master.store.content.base import ContentStore

_MEDIA_TYPE = "application/octet-stream"
_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))", re.IGNORECASE)

DOCUMENTED: dict[int, ResponseSpec] = {
    **problems.document_problems(HTTPStatus.NOT_FOUND, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE),
    int(HTTPStatus.PARTIAL_CONTENT): ResponseSpec(
        bytes, description="The part that the header Range requests", media_type=_MEDIA_TYPE
    ),
}
"""The OpenAPI responses of a download, except the response with status 200."""

HEAD_DOCUMENTED: dict[int, ResponseSpec] = {
    **problems.document_problems(HTTPStatus.NOT_FOUND),
    int(HTTPStatus.OK): ResponseSpec(
        None, description="The file exists; the headers are those of a download"
    ),
}
"""The OpenAPI responses of a HEAD request for a file."""


async def stream_content(
    request: Call, services: Services, store: ContentStore, sha256: str, name: str
) -> Stream:
    """Return a response that contains stored content or the requested range of it.

    If the header Range does not specify a single range of bytes, it is ignored, as RFC 9110 allows.

    Args:
        request: The request, whose headers Range and If-Range select the range.
        services: The services of the master.
        store: The store that holds the content.
        sha256: The digest of the content, in hexadecimal.
        name: The file name for the header Content-Disposition.

    Returns:
        The response, with status 200 or 206.

    Raises:
        NotFoundError: The store does not have the content.
        HTTPException: The range contains no byte of the content (status 416).
    """
    size_bytes = await store.size_bytes(sha256)
    headers = _headers(sha256, name)
    requested = request.headers.get("range")
    if requested is None or request.headers.get("if-range", headers["ETag"]) != headers["ETag"]:
        requested = ""
    part = _part(requested, size_bytes)
    watch = watch_of(services, request)
    if part is None:
        headers["Content-Length"] = str(size_bytes)
        pieces = while_valid(watch, store.read(sha256, 0, size_bytes))
        return Stream(pieces, headers=headers, media_type=_MEDIA_TYPE)
    start, end = part
    headers["Content-Length"] = str(end - start)
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{size_bytes}"
    return Stream(
        while_valid(watch, store.read(sha256, start, end)),
        headers=headers,
        media_type=_MEDIA_TYPE,
        status_code=HTTPStatus.PARTIAL_CONTENT,
    )


async def describe_content(store: ContentStore, sha256: str, name: str) -> Response[None]:
    """Return a response with the headers that `stream_content` sends for the whole content.

    Args:
        store: The store that holds the content.
        sha256: The digest of the content, in hexadecimal.
        name: The file name for the header Content-Disposition.

    Returns:
        The response, without a body.

    Raises:
        NotFoundError: The store does not have the content.
    """
    size_bytes = await store.size_bytes(sha256)
    headers = {"Content-Length": str(size_bytes), "Content-Type": _MEDIA_TYPE}
    return Response(None, headers=_headers(sha256, name) | headers)


def _headers(sha256: str, name: str) -> dict[str, str]:
    return {
        "Accept-Ranges": "bytes",
        "ETag": f'"{sha256}"',
        "Content-Disposition": f'attachment; filename="{name}"',
    }


def _part(requested: str, size_bytes: int) -> tuple[int, int] | None:
    """Return the start and the exclusive end of the requested range, or None for all content."""
    match = _RANGE.fullmatch(requested.strip())
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        start, end = max(size_bytes - int(suffix), 0), size_bytes
    else:
        start = int(first)
        end = min(int(last) + 1, size_bytes) if last else size_bytes
        if last and int(last) < start:
            return None
    if start >= end:
        raise HTTPException(
            f"the range {requested} contains none of the {size_bytes} bytes",
            status_code=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            headers={"Content-Range": f"bytes */{size_bytes}"},
        )
    return start, end
