"""What taking bodies has in common that are no JSON."""

from dataclasses import dataclass

from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat

from ffrtmp_master.auth.authentication import Call
from ffrtmp_master.store.errors import TooLargeError


@dataclass
class BytesOperation(Operation):
    """Describes for OpenAPI an operation whose body is a file's bytes."""

    def __post_init__(self) -> None:
        """Say what the body is, which no type of a parameter says."""
        self.request_body = _body("application/octet-stream")


@dataclass
class TextOperation(Operation):
    """Describes for OpenAPI an operation whose body is text."""

    def __post_init__(self) -> None:
        """Say what the body is, which no type of a parameter says."""
        self.request_body = _body("text/plain")


def check_content_length(request: Call, max_bytes: int) -> None:
    """Raise TooLargeError at once when the client says that it will send too much."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > max_bytes:
        raise TooLargeError(f"{announced} bytes are more than the {max_bytes} that are allowed")


async def small_body(request: Call, max_bytes: int) -> bytes:
    """Return a body that fits into memory; raises TooLargeError when it has more bytes."""
    check_content_length(request, max_bytes)
    body = bytearray()
    async for data in request.stream():
        body += data
        if len(body) > max_bytes:
            raise TooLargeError(f"more than the {max_bytes} bytes that are allowed")
    return bytes(body)


def _body(media_type: str) -> RequestBody:
    anything = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
    return RequestBody(content={media_type: OpenAPIMediaType(schema=anything)}, required=True)
