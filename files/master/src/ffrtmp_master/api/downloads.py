"""What fetching whole files has in common: parts of them, and names that never mean another."""

import re
from http import HTTPStatus

from litestar import Response
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from litestar.response import Stream

from ffrtmp_master.api import problems
from ffrtmp_master.auth.authentication import Call
from ffrtmp_master.store.content.base import ContentStore

_MEDIA_TYPE = "application/octet-stream"
_ONE_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))", re.IGNORECASE)

DOCUMENTED: dict[int, ResponseSpec] = {
    **problems.document_problems(HTTPStatus.NOT_FOUND, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE),
    int(HTTPStatus.PARTIAL_CONTENT): ResponseSpec(
        bytes, description="The part that the header Range asks for", media_type=_MEDIA_TYPE
    ),
}
"""What a download answers besides 200."""

HEAD_DOCUMENTED: dict[int, ResponseSpec] = {
    **problems.document_problems(HTTPStatus.NOT_FOUND),
    int(HTTPStatus.OK): ResponseSpec(
        None, description="It is here; the headers are those of a download"
    ),
}
"""What asking for a file's headers answers."""


async def stream_content(request: Call, store: ContentStore, sha256: str, name: str) -> Stream:
    """Answer with content's bytes, to be saved as `name`, or with the one range that is asked for.

    Raises NotFoundError, and 416 when the range begins after the end. What is no single range of
    bytes is answered whole, as RFC 9110 has it.
    """
    size_bytes = await store.size_bytes(sha256)
    headers = _headers(sha256, name)
    asked = request.headers.get("range")
    if asked is None or request.headers.get("if-range", headers["ETag"]) != headers["ETag"]:
        asked = ""
    part = _part(asked, size_bytes)
    if part is None:
        headers["Content-Length"] = str(size_bytes)
        return Stream(store.read(sha256, 0, size_bytes), headers=headers, media_type=_MEDIA_TYPE)
    start, end = part
    headers["Content-Length"] = str(end - start)
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{size_bytes}"
    return Stream(
        store.read(sha256, start, end),
        headers=headers,
        media_type=_MEDIA_TYPE,
        status_code=HTTPStatus.PARTIAL_CONTENT,
    )


async def describe_content(store: ContentStore, sha256: str, name: str) -> Response[None]:
    """Say what `answer` would give; raises NotFoundError."""
    size_bytes = await store.size_bytes(sha256)
    headers = {"Content-Length": str(size_bytes), "Content-Type": _MEDIA_TYPE}
    return Response(None, headers=_headers(sha256, name) | headers)


def _headers(sha256: str, name: str) -> dict[str, str]:
    return {
        "Accept-Ranges": "bytes",
        "ETag": f'"{sha256}"',
        "Content-Disposition": f'attachment; filename="{name}"',
    }


def _part(asked: str, size_bytes: int) -> tuple[int, int] | None:
    """Return where the range that is asked for begins and ends; None when all is wanted."""
    match = _ONE_RANGE.fullmatch(asked.strip())
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
            f"there are {size_bytes} bytes; the range {asked} has none of them",
            status_code=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            headers={"Content-Range": f"bytes */{size_bytes}"},
        )
    return start, end
