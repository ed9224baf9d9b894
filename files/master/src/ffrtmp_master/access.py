"""Who is asking, and what they may do."""

import time

from ffrtmp_shared.credentials import token_sha256
from ffrtmp_shared.models import Role
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.types import Guard

from ffrtmp_master.clock import Clock
from ffrtmp_master.store import credentials
from ffrtmp_master.store.credentials import Credential
from ffrtmp_master.store.reader import Reader

Call = Request[Credential, None, State]
"""A request whose caller is known."""

_Connection = ASGIConnection[BaseRouteHandler, Credential, None, State]

_INCLUDED = {
    Role.VIEWER: frozenset({Role.VIEWER, Role.SUBMITTER, Role.ADMIN}),
    Role.SUBMITTER: frozenset({Role.SUBMITTER, Role.ADMIN}),
    Role.ADMIN: frozenset({Role.ADMIN}),
    Role.AGENT: frozenset({Role.AGENT}),
}

OPEN = {"exclude_from_auth": True}
"""Marks a route that needs no token."""


# How long a token is believed after it was looked up: so long may a revoked one still be used.
_BELIEVED_S = 2.0
_MOST_BELIEVED = 50_000


class Gate:
    """Finds the holder of a token, and remembers it for a moment.

    A token is looked up by its digest: nothing about it can be learnt from how long that takes.
    """

    def __init__(self, reader: Reader, clock: Clock) -> None:
        """Look tokens up through `reader`."""
        self._reader = reader
        self._clock = clock
        self._believed: dict[str, tuple[float, Credential]] = {}

    async def holder(self, authorization: str) -> Credential:
        """Return who sent this Authorization header; raises NotAuthorizedException."""
        known = self._believed.get(authorization)
        now_s = time.monotonic()
        if known is not None and now_s - known[0] < _BELIEVED_S:
            return known[1]
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unauthorized("this needs a token: Authorization: Bearer TOKEN")
        digest = token_sha256(token.strip())
        holder = await self._reader.read(lambda c: credentials.holder(c, digest))
        if holder is None:
            self._believed.pop(authorization, None)
            raise _unauthorized("the token is not known")
        if len(self._believed) >= _MOST_BELIEVED:
            self._believed.clear()
        self._believed[authorization] = (now_s, holder)
        return holder

    def forget(self) -> None:
        """Look every token up anew: something was changed."""
        self._believed.clear()


class BearerAuthentication(AbstractAuthenticationMiddleware):
    """Lets in who shows a token that is known."""

    async def authenticate_request(
        self, connection: ASGIConnection[BaseRouteHandler, Credential, None, State]
    ) -> AuthenticationResult:
        """Return who is asking; raises NotAuthorizedException."""
        gate: Gate = connection.app.state.farm.gate
        holder = await gate.holder(connection.headers.get("authorization", ""))
        return AuthenticationResult(user=holder, auth=None)


def check_role(holder: Credential, *roles: Role) -> None:
    """Raise PermissionDeniedException unless the role is, or includes, one of `roles`."""
    if not any(holder.role in _INCLUDED[role] for role in roles):
        raise PermissionDeniedException(
            f"{holder.name} has the role {holder.role}; this needs {' or '.join(roles)}"
        )


def node_of(holder: Credential) -> str:
    """Return the node whose agent is asking; raises PermissionDeniedException."""
    if holder.node is None:
        raise PermissionDeniedException(f"{holder.name} is no agent")
    return holder.node


def needs(*roles: Role) -> Guard:
    """Return a guard that lets in whose role is, or includes, one of `roles`."""

    def guard(connection: _Connection, _handler: BaseRouteHandler) -> None:
        check_role(connection.user, *roles)

    return guard


def agent_node(call: Call) -> str:
    """Return the node whose agent is asking; raises PermissionDeniedException."""
    return node_of(call.user)


def check_own_node(call: Call, name: str) -> None:
    """Raise PermissionDeniedException unless the agent speaks for its own node."""
    check_node(call.user, name)


def check_node(holder: Credential, name: str) -> None:
    """Raise PermissionDeniedException unless `holder` is the agent of node `name`."""
    if node_of(holder) != name:
        raise PermissionDeniedException(
            f"the token of {holder.name} is for node {holder.node}, not for {name}"
        )


def _unauthorized(detail: str) -> NotAuthorizedException:
    return NotAuthorizedException(detail, headers={"WWW-Authenticate": "Bearer"})
