"""Limits of requests, which the listener enforces before a request is authenticated."""

from typing import NamedTuple

from ffrtmp_master.settings import Settings

MAX_BODY_BYTES = 8 * 1024 * 1024
"""The maximum size of a JSON body, for example of a suite."""

PIPELINED_MAX = 16
"""The maximum number of requests of a connection that wait for the response to an earlier one."""

PIPELINED_BODY_MAX_BYTES = 64 * 1024
"""The maximum size of the body of a request that waits for the response to an earlier one."""

STALLED_RESPONSE_S = 60.0
"""The time in seconds after which a client that does not read its response is disconnected."""

UNREAD_BODY_S = 10.0
"""The time in seconds that a client may continue to send a body after its request was answered."""


class RequestBounds(NamedTuple):
    """The limits of a request.

    Attributes:
        request_line_max_bytes: The maximum size of the target in the request line.
        headers_max: The maximum number of headers.
        headers_max_bytes: The maximum size of all headers.
        body_max_bytes: The maximum size of a body, except that of an upload.
        upload_max_bytes: The maximum size of an upload, which uses the method PUT.
        head_timeout_s: The maximum time until the head of a request is complete.
        idle_timeout_s: The maximum time between two requests.
        body_rate_min_bytes_per_s: The minimum rate at which a body must be received.
        body_window_s: The time over which the rate of a body is measured.
        stalled_response_s: The time after which a client that does not read its response is
            disconnected.
        unread_body_s: The time that a client may continue to send a body after its request was
            answered.
    """

    request_line_max_bytes: int
    headers_max: int
    headers_max_bytes: int
    body_max_bytes: int
    upload_max_bytes: int
    head_timeout_s: float
    idle_timeout_s: float
    body_rate_min_bytes_per_s: float
    body_window_s: float
    stalled_response_s: float = STALLED_RESPONSE_S
    unread_body_s: float = UNREAD_BODY_S

    @property
    def body_window_min_bytes(self) -> float:
        """The minimum number of bytes of a body that must be received in each window."""
        return self.body_rate_min_bytes_per_s * self.body_window_s


def bounds_of(settings: Settings) -> RequestBounds:
    """Return the limits of requests to a master with these settings."""
    return RequestBounds(
        request_line_max_bytes=settings.request_line_max_bytes,
        headers_max=settings.headers_max,
        headers_max_bytes=settings.headers_max_bytes,
        body_max_bytes=max(MAX_BODY_BYTES, settings.max_log_bytes),
        upload_max_bytes=max(
            MAX_BODY_BYTES, settings.max_source_bytes, settings.max_artifact_bytes
        ),
        head_timeout_s=settings.head_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
        body_rate_min_bytes_per_s=settings.body_rate_min_bytes_per_s,
        body_window_s=settings.body_window_s,
    )
