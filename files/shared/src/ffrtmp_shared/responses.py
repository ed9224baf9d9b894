"""Responses of the master: their limits, their decoding, and the errors for all other responses.

This is the only place where the agent, the exporters and the importer decide whether a response is
one of the master. Anything else, such as a page of a proxy, is an UnexpectedResponseError.
"""

import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import NamedTuple, Protocol, TypeVar

import httpx
import msgspec

from ffrtmp_shared.models import Problem

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# A response may take longer than the timeout if it arrives at least at this rate.
_MIN_BYTES_PER_S = 64 * 1024
MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""The largest response to an agent."""

MAX_PAGE_BYTES = 256 * 1024 * 1024
"""The largest page or artifact that a client reads."""

# The longest text of a refusal, which is logged and stored.
_MAX_LINES = 100
_MAX_TEXT = 16_384

# Statuses below 500 with which the HTTP server of the master refuses a request that it does not
# pass on to the API. All other refusals of the master have a problem document.
_REFUSED_BY_SERVER = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.REQUEST_URI_TOO_LONG,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
)

_UNDECODABLE = (msgspec.DecodeError, RecursionError, ValueError, OverflowError)


class MasterUnreachableError(Exception):
    """The master did not respond because of a network, TLS or server problem. A retry may help."""


class UnexpectedResponseError(MasterUnreachableError):
    """The response is not one of the master, for example a page of a proxy. A retry may help."""


class MasterRefusedError(Exception):
    """The master answered with a problem document."""

    def __init__(self, problem: Problem) -> None:
        """Use the detail of the problem document as the message."""
        lines = [problem.detail or problem.title, *problem.errors[:_MAX_LINES]]
        super().__init__("\n".join(lines)[:_MAX_TEXT])
        self.problem = problem

    @property
    def is_temporary(self) -> bool:
        """Return whether a retry may succeed (5xx, 429)."""
        return (
            self.problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            or self.problem.status == HTTPStatus.TOO_MANY_REQUESTS
        )


class Answer(NamedTuple):
    """A complete response, and a description of the request for messages."""

    request: str
    status: int
    reason: str
    content: bytes


class Page(Protocol[T_co]):
    """A page of a list."""

    @property
    def items(self) -> tuple[T_co, ...]:
        """The items of the page."""

    @property
    def next_cursor(self) -> str | None:
        """The cursor of the next page, or None after the last one."""


def items_of_pages(page_after: Callable[[str], Page[T]]) -> Iterator[T]:
    """Yield the items of all pages of a list; `page_after` returns the page after a cursor.

    Raises UnexpectedResponseError if a page refers to itself as the next one.
    """
    cursor: str | None = ""
    while cursor is not None:
        page = page_after(cursor)
        yield from page.items
        if page.next_cursor == cursor:
            raise UnexpectedResponseError(f"the page after {cursor!r} refers to itself")
        cursor = page.next_cursor


def read_answer(response: httpx.Response, timeout_s: float, max_bytes: int) -> Answer:
    """Read a response; raises UnexpectedResponseError if it is too large or too slow."""
    request = f"{response.request.method} {response.request.url.path}"
    started_s = time.monotonic()
    content = bytearray()
    for piece in response.iter_bytes():
        content += piece
        if len(content) > max_bytes:
            raise UnexpectedResponseError(
                f"{request}: the response is larger than {max_bytes} bytes"
            )
        if time.monotonic() - started_s > timeout_s + len(content) / _MIN_BYTES_PER_S:
            raise UnexpectedResponseError(
                f"{request}: the response was not complete after {timeout_s:g} s"
            )
    return Answer(request, response.status_code, response.reason_phrase, bytes(content))


def decode_answer(answer: Answer, answer_type: type[T]) -> T:
    """Decode the content of a response; raises UnexpectedResponseError."""
    try:
        return msgspec.json.decode(answer.content, type=answer_type)
    except _UNDECODABLE as error:
        raise UnexpectedResponseError(
            f"{answer.request}: the response {answer.status} is not {answer_type.__name__}:"
            f" {str(error) or type(error).__name__}"
        ) from error


def refuse_answer(answer: Answer) -> None:
    """Raise MasterRefusedError if the response is a refusal of the master.

    Otherwise, raise UnexpectedResponseError: a redirection, a page of a proxy, or a success that
    the request cannot have.
    """
    text = f"{answer.request}: {answer.status} {answer.reason}"
    try:
        problem = msgspec.json.decode(answer.content, type=Problem)
    except _UNDECODABLE:
        problem = Problem(
            type="about:blank", title=answer.reason, status=answer.status, detail=text
        )
        is_server_error = answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if is_server_error or answer.status in _REFUSED_BY_SERVER:
            raise MasterRefusedError(problem) from None
    else:
        if problem.status == answer.status >= HTTPStatus.BAD_REQUEST:
            raise MasterRefusedError(problem)
    raise UnexpectedResponseError(f"{text}, which is not a response of a master")
