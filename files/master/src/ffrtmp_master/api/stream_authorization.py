"""What answers have in common that go on as long as something is followed."""

from ffrtmp_master.auth.authentication import Call
from ffrtmp_master.services import Services

QUIET_S = 15.0
"""After so long without news it is looked whether the follower may still listen."""


async def is_still_authorized(services: Services, call: Call) -> bool:
    """Return whether the token is still good; one that was withdrawn ends what it follows."""
    return await services.authenticator.is_good(call.headers.get("authorization", ""))
