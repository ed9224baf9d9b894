"""Request bodies other than JSON: size limits and OpenAPI descriptions."""

from dataclasses import dataclass

from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat

from ffrtmp_master.auth.authentication import Call
from ffrtmp_master.store.errors import TooLargeError


@dataclass
class BytesOperation(Operation):
    """An OpenAPI operation whose body is a file."""

    def __post_init__(self) -> None:
        """Set the request body, which Litestar cannot derive from the handler."""
        self.request_body = _body("application/octet-stream")


@dataclass
class TextOperation(Operation):
    """An OpenAPI operation whose body is text."""

    def __post_init__(self) -> None:
        """Set the request body, which Litestar cannot derive from the handler."""
        self.request_body = _body("text/plain")


def check_content_length(request: Call, max_bytes: int) -> None:
    """Raise TooLargeError if the header Content-Length exceeds `max_bytes`."""
    announced = announced_bytes(request)
    if announced > max_bytes:
        raise TooLargeError(f"the body has {announced} bytes; at most {max_bytes} are allowed")


def announced_bytes(request: Call) -> int:
    """Return the size of the body as the header Content-Length states it, or 0."""
    announced = request.headers.get("content-length", "")
    return int(announced) if announced.isdigit() else 0


async def small_body(request: Call, max_bytes: int) -> bytes:
    """Read the request body; raises TooLargeError if it has more than `max_bytes` bytes."""
    check_content_length(request, max_bytes)
    body = bytearray()
    async for data in request.stream():
        body += data
        if len(body) > max_bytes:
            raise TooLargeError(f"the body is too large; at most {max_bytes} bytes are allowed")
    return bytes(body)


def _body(media_type: str) -> RequestBody:
    binary = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
    return RequestBody(content={media_type: OpenAPIMediaType(schema=binary)}, required=True)
