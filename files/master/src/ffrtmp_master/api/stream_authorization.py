"""Authorization of streaming responses, whose tokens may become invalid while they are sent."""

from ffrtmp_master.auth.authentication import Call
from ffrtmp_master.services import Services

QUIET_S = 15.0
"""The idle time in seconds after which a stream checks that its token is still valid."""


async def is_still_authorized(services: Services, call: Call) -> bool:
    """Return whether the token of a stream is still valid. If not, the stream must be ended."""
    return await services.authenticator.is_good(call.headers.get("authorization", ""))
