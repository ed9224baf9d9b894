"""Who is asking, and what they may do."""

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from ffrtmp_shared import logs
from ffrtmp_shared.credentials import token_sha256
from ffrtmp_shared.models import Role
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import (
    NotAuthorizedException,
    PermissionDeniedException,
    TooManyRequestsException,
)
from litestar.handlers import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.types import Guard
from sqlalchemy.exc import SQLAlchemyError

from ffrtmp_master.auth.rate_limiting import BucketCache, TokenBucket, client_network, retry_after
from ffrtmp_master.clock import Clock
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import credentials
from ffrtmp_master.store.credentials import Credential
from ffrtmp_master.store.reader import Reader
from ffrtmp_master.store.unit_of_work import UnitOfWork
from ffrtmp_master.store.writer import Writer

_log = logging.getLogger(__name__)

Call = Request[Credential, None, State]
"""A request whose caller is known."""

_Connection = ASGIConnection[BaseRouteHandler, Credential, None, State]

# What a role is, with those that it includes.
_INCLUDED = {
    Role.VIEWER: frozenset({Role.VIEWER}),
    Role.SUBMITTER: frozenset({Role.VIEWER, Role.SUBMITTER}),
    Role.ADMIN: frozenset({Role.VIEWER, Role.SUBMITTER, Role.ADMIN}),
    Role.AGENT: frozenset({Role.AGENT}),
}

OPEN = {"exclude_from_auth": True}
"""Marks a route that needs no token."""


# How long a token is believed after it was looked up: so long may one be used that another
# master, or the operator's file, revoked.
_BELIEVED_S = 2.0
_MOST_BELIEVED = 50_000
_MOST_ORIGINS = 10_000
# When it was last used is kept exact to a minute.
_NOTE_EVERY_S = 30.0
_NOTED_AT_ONCE = 500


class _CachedCredential:
    """A token that was looked up, and how often its holder may still ask."""

    __slots__ = ("bucket", "found_at_s", "generation", "holder")

    def __init__(self, holder: Credential, bucket: TokenBucket) -> None:
        self.holder = holder
        self.bucket = bucket
        self.found_at_s = -_BELIEVED_S
        self.generation = -1


class TokenAuthenticator:
    """Finds the holder of a token, and remembers it for a moment.

    A token is looked up by its digest: nothing about it can be learnt from how long that takes.
    Whoever asks too often is refused for a while, and so is an address from which too many
    unknown tokens come; a token that is good is let in from there nevertheless.
    """

    def __init__(self, reader: Reader, writer: Writer, clock: Clock, settings: Settings) -> None:
        """Look tokens up through `reader`; note through `writer` when they were used."""
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._requests_per_s_max = settings.requests_per_s_max
        failures = settings.failed_logins_per_minute_max
        self._failures = BucketCache[str](_MOST_ORIGINS, failures, failures / 60)
        self._known: dict[str, _CachedCredential] = {}
        # Counts up when a token was revoked here: what was found before is looked up anew.
        self._generation = 0
        self._used: set[str] = set()

    async def authenticate(self, authorization: str, client: tuple[str, int] | None) -> Credential:
        """Return who sent this Authorization header from the address `client`.

        Raises NotAuthorizedException, or TooManyRequestsException.
        """
        known, now_s = await self._cached(authorization, client)
        holder = known.holder
        wait_s = known.bucket.consume(now_s)
        if wait_s:
            raise TooManyRequestsException(
                f"{holder.name} makes more than {self._requests_per_s_max:g} requests a second",
                headers=retry_after(wait_s),
            )
        self._used.add(holder.name)
        return holder

    async def is_good(self, authorization: str) -> bool:
        """Return whether who sent this header a while ago may go on; it counts as no request."""
        try:
            await self._cached(authorization, None)
        except (NotAuthorizedException, TooManyRequestsException):
            return False
        return True

    def evict_all(self) -> None:
        """Look every token up anew: one was revoked."""
        self._generation += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Note from time to time, while the context lasts, which tokens were used."""
        task = asyncio.create_task(self._record_uses())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            await self.record_uses()

    async def record_uses(self) -> None:
        """Note for all tokens that were used since the last time that they were used now."""
        names = sorted(self._used)
        self._used.clear()
        for start in range(0, len(names), _NOTED_AT_ONCE):
            piece = names[start : start + _NOTED_AT_ONCE]
            try:
                await self._writer.write(partial(_record_use_of, piece))
            except SQLAlchemyError as error:
                self._used.update(names[start:])
                _log.warning("when tokens were used could not be noted: %s", error)
                return

    async def _record_uses(self) -> None:
        while True:
            await asyncio.sleep(_NOTE_EVERY_S)
            await self.record_uses()

    async def _cached(
        self, authorization: str, client: tuple[str, int] | None
    ) -> tuple[_CachedCredential, float]:
        """Return a token that is known and has not expired, and the monotonic time now."""
        digest = token_sha256(_token_of(authorization))
        now_s = time.monotonic()
        known = self._known.get(digest)
        if (
            known is None
            or known.generation != self._generation
            or now_s - known.found_at_s >= _BELIEVED_S
        ):
            known = await self._look_up(digest, client)
            now_s = known.found_at_s
        holder = known.holder
        if holder.expires_at is not None and holder.expires_at <= self._clock():
            raise _unauthorized(f"the token of {holder.name} has expired at {holder.expires_at}")
        return known, now_s

    async def _look_up(self, digest: str, client: tuple[str, int] | None) -> _CachedCredential:
        generation = self._generation
        holder = await self._reader.read(lambda c: credentials.find_by_digest(c, digest))
        now_s = time.monotonic()
        if holder is None or not hmac.compare_digest(holder.sha256, digest):
            self._known.pop(digest, None)
            wait_s = self._failures.consume(client_network(client), now_s)
            if wait_s:
                raise TooManyRequestsException(
                    "too many unknown tokens come from this address", headers=retry_after(wait_s)
                )
            raise _unauthorized("the token is not known")
        known = self._known.get(digest)
        if known is None:
            known = self._remember(digest, holder, now_s)
        known.holder = holder
        known.found_at_s = now_s
        known.generation = generation
        return known

    def _remember(self, digest: str, holder: Credential, now_s: float) -> _CachedCredential:
        if len(self._known) >= _MOST_BELIEVED:
            del self._known[next(iter(self._known))]
        per_s = self._requests_per_s_max
        known = self._known[digest] = _CachedCredential(holder, TokenBucket(per_s, per_s, now_s))
        return known


def _token_of(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise _unauthorized("this needs a token: Authorization: Bearer TOKEN")
    return token.strip()


def _record_use_of(names: Sequence[str], work: UnitOfWork) -> None:
    credentials.record_use(work.connection, names, work.now)


class BearerAuthentication(AbstractAuthenticationMiddleware):
    """Lets in who shows a token that is known."""

    async def authenticate_request(
        self, connection: ASGIConnection[BaseRouteHandler, Credential, None, State]
    ) -> AuthenticationResult:
        """Return who is asking; raises NotAuthorizedException."""
        authenticator: TokenAuthenticator = connection.app.state.services.authenticator
        authorization = connection.headers.get("authorization", "")
        holder = await authenticator.authenticate(authorization, connection.scope.get("client"))
        logs.add_context(who=holder.name)
        return AuthenticationResult(user=holder, auth=None)


def check_role(holder: Credential, *roles: Role) -> None:
    """Raise PermissionDeniedException unless the role is, or includes, one of `roles`."""
    if _INCLUDED[holder.role].isdisjoint(roles):
        raise PermissionDeniedException(
            f"{holder.name} has the role {holder.role}; this needs {' or '.join(roles)}"
        )


def node_of(holder: Credential) -> str:
    """Return the node whose agent is asking; raises PermissionDeniedException."""
    if holder.node is None:
        raise PermissionDeniedException(f"{holder.name} is no agent")
    return holder.node


def require_role(*roles: Role) -> Guard:
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
