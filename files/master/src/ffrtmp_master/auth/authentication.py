"""Authentication of clients by bearer token."""

import hmac
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from ffrtmp_shared import logs
from ffrtmp_shared.credentials import token_sha256
from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import AsyncLoop, Pacing
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import (
    NotAuthorizedException,
    ServiceUnavailableException,
    TooManyRequestsException,
)
from litestar.handlers import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult

from ffrtmp_master.auth.rate_limiting import BucketCache, TokenBucket, client_network, retry_after
from ffrtmp_master.auth.token_lookup import LookupQueueFullError, TokenLookup
from ffrtmp_master.auth.trusted_proxies import TrustedProxies
from ffrtmp_master.clock import Clock
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import credentials
from ffrtmp_master.store.availability import UNAVAILABLE
from ffrtmp_master.store.chunks import chunks
from ffrtmp_master.store.credentials import Credential
from ffrtmp_master.store.reader import Reader
from ffrtmp_master.store.unit_of_work import UnitOfWork
from ffrtmp_master.store.writer import Writer

_log = logging.getLogger(__name__)

Call = Request[Credential, None, State]
"""An authenticated request."""

OPEN = {"exclude_from_auth": True}
"""The option `opt` of routes that do not require a token."""

# The time in seconds for which the result of a token lookup is cached. If a token is revoked by
# another master or by the credentials file, this master may accept it for this time.
_CACHE_TTL_S = 2.0
_CACHED_TOKENS_MAX = 50_000
_TRACKED_NETWORKS_MAX = 10_000
# The recorded time of a token's last use is accurate to one minute.
_RECORD_USES_INTERVAL_S = 30.0
_STALE_AFTER_S = 300.0
# The pause in seconds until a client repeats a request whose token could not be looked up.
_QUEUE_FULL_RETRY_S = 2.0
_RECORDED_TOKENS_PER_WRITE = 500


class _CachedCredential:
    """The cached result of a token lookup, with the token bucket that limits the request rate."""

    __slots__ = ("bucket", "found_at_s", "generation", "holder")

    def __init__(self, holder: Credential, bucket: TokenBucket) -> None:
        self.holder = holder
        self.bucket = bucket
        self.found_at_s = -_CACHE_TTL_S
        self.generation = -1


class TokenAuthenticator:
    """Finds the credential of a token, caches it for a short time, and enforces rate limits.

    Tokens are looked up by digest, so the duration of a lookup reveals nothing about the tokens. If
    a token is used for too many requests, its requests are rejected for a while. If an address
    sends too many unknown tokens, it gets 429 instead of 401 for a while; its requests with valid
    tokens are still accepted. This limit does not apply to load balancers, because all agents
    connect from their addresses.
    """

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        clock: Clock,
        settings: Settings,
        loops: LoopRegistry,
    ) -> None:
        """Create the authenticator; `running` starts the recording of token uses.

        Args:
            reader: Reads the tokens.
            writer: Records when tokens were last used.
            clock: The clock that determines when tokens expire.
            settings: The settings that contain the rate limits.
            loops: The registry of the master's loops.
        """
        self._writer = writer
        self._clock = clock
        self._requests_per_s_max = settings.requests_per_s_max
        failures = settings.failed_logins_per_minute_max
        self._failure_buckets = BucketCache[str](_TRACKED_NETWORKS_MAX, failures, failures / 60)
        self._lookup = TokenLookup(reader)
        self._proxies = TrustedProxies(settings.trusted_proxies)
        self._cache: dict[str, _CachedCredential] = {}
        # Incremented when this master revokes a token; older cache entries are then ignored.
        self._generation = 0
        self._used: set[str] = set()
        status = loops.add("token_uses", stale_after_s=_STALE_AFTER_S)
        self._tokens = ItemGuard(status, passed_on=UNAVAILABLE)
        self._recording = AsyncLoop(
            status,
            self.record_uses,
            Pacing(interval_s=_RECORD_USES_INTERVAL_S, is_first_delayed=True),
            expected=UNAVAILABLE,
        )

    async def authenticate(self, authorization: str, client: tuple[str, int] | None) -> Credential:
        """Return the credential of a request, and count the request for the rate limit.

        `authorization` is the value of the header Authorization, and `client` is the address and
        port of the client. Raises NotAuthorizedException if the token is missing, unknown or
        expired, TooManyRequestsException if a rate limit is exceeded, and
        ServiceUnavailableException if too many other tokens are being looked up.
        """
        cached, now_s = await self._cached(authorization, client)
        holder = cached.holder
        wait_s = cached.bucket.consume(now_s)
        if wait_s:
            raise TooManyRequestsException(
                f"{holder.name} makes more than {self._requests_per_s_max:g} requests a second",
                headers=retry_after(wait_s),
            )
        self._used.add(holder.name)
        return holder

    async def is_good(self, authorization: str) -> bool:
        """Return whether an Authorization header has a valid token. Does not count a request."""
        try:
            await self._cached(authorization, None)
        except (NotAuthorizedException, TooManyRequestsException):
            return False
        return True

    def evict_all(self) -> None:
        """Invalidate the cache. Called after a token has been revoked."""
        self._generation += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Record the uses of tokens periodically for the duration of the context."""
        async with self._recording.running():
            yield
        try:
            await self.record_uses()
        except UNAVAILABLE as error:
            _log.warning("could not record the use of tokens: %s", error)

    async def record_uses(self) -> None:
        """Record the current time as the last use of each token used since the previous call.

        If that fails for several tokens together, each is recorded alone.
        """

        async def record(batch: Sequence[str]) -> None:
            await self._writer.write(partial(_record_use_of, batch))

        names = sorted(self._used)
        self._used.clear()
        recorded = 0
        try:
            for batch in chunks(names, _RECORDED_TOKENS_PER_WRITE):
                await self._tokens.run_together(batch, record)
                recorded += len(batch)
        finally:
            self._used.update(names[recorded:])

    async def _cached(
        self, authorization: str, client: tuple[str, int] | None
    ) -> tuple[_CachedCredential, float]:
        """Return the cache entry of a valid token and the monotonic time.

        If the entry is missing or outdated, the token is looked up in the database.
        """
        digest = token_sha256(_token_of(authorization))
        now_s = time.monotonic()
        cached = self._cache.get(digest)
        if (
            cached is None
            or cached.generation != self._generation
            or now_s - cached.found_at_s >= _CACHE_TTL_S
        ):
            cached = await self._look_up(digest, client)
            now_s = cached.found_at_s
        holder = cached.holder
        if holder.expires_at is not None and holder.expires_at <= self._clock():
            raise _unauthorized(f"the token of {holder.name} expired at {holder.expires_at}")
        return cached, now_s

    async def _look_up(self, digest: str, client: tuple[str, int] | None) -> _CachedCredential:
        generation = self._generation
        if digest in self._cache:
            # This token was valid a moment ago, so it is looked up again without further checks.
            holder, wait_s = await self._lookup.find(digest), 0.0
        else:
            holder, wait_s = await self._look_up_limited(digest, client)
        now_s = time.monotonic()
        if holder is None or not hmac.compare_digest(holder.sha256, digest):
            self._cache.pop(digest, None)
            if wait_s:
                raise _too_many_unknown(wait_s)
            raise _unauthorized("the token is not known")
        cached = self._cache.get(digest)
        if cached is None:
            cached = self._add_to_cache(digest, holder, now_s)
        cached.holder = holder
        cached.found_at_s = now_s
        cached.generation = generation
        return cached

    async def _look_up_limited(
        self, digest: str, client: tuple[str, int] | None
    ) -> tuple[Credential | None, float]:
        """Look up a token that is not cached, within the limit of unknown tokens of a network.

        The limit is applied before the query. Beyond it, all networks share one lookup per second.
        Load balancers use only the shared lookup.

        Args:
            digest: The digest of the token.
            client: The address and port of the client.

        Returns:
            The credential, if there is one, and the time in seconds until the network may send
            another unknown token, or 0 if the limit is not exceeded.
        """
        if client is not None and self._proxies.contain(client[0]):
            return await self._find_shared(digest), 0.0
        network = client_network(client)
        wait_s = self._failure_buckets.consume(network, time.monotonic())
        if wait_s:
            return await self._find_shared(digest), wait_s
        is_unknown = False
        try:
            holder = await self._lookup.find(digest)
            is_unknown = holder is None
        finally:
            if not is_unknown:
                self._failure_buckets.give_back(network)
        return holder, 0.0

    async def _find_shared(self, digest: str) -> Credential | None:
        try:
            return await self._lookup.find_shared(digest)
        except LookupQueueFullError as error:
            raise ServiceUnavailableException(
                "too many tokens are being looked up; repeat the request later",
                headers=retry_after(_QUEUE_FULL_RETRY_S),
            ) from error

    def _add_to_cache(self, digest: str, holder: Credential, now_s: float) -> _CachedCredential:
        if len(self._cache) >= _CACHED_TOKENS_MAX:
            del self._cache[next(iter(self._cache))]
        per_s = self._requests_per_s_max
        cached = self._cache[digest] = _CachedCredential(holder, TokenBucket(per_s, per_s, now_s))
        return cached


def _token_of(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise _unauthorized("a token is required: send the header Authorization: Bearer TOKEN")
    return token.strip()


def _record_use_of(names: Sequence[str], work: UnitOfWork) -> None:
    credentials.record_use(work.connection, names, work.now)


class BearerAuthentication(AbstractAuthenticationMiddleware):
    """Authenticates the requests to the framework by bearer token."""

    async def authenticate_request(
        self, connection: ASGIConnection[BaseRouteHandler, Credential, None, State]
    ) -> AuthenticationResult:
        """Return the credential of a request; see `TokenAuthenticator.authenticate`.

        Raises NotAuthorizedException or TooManyRequestsException.
        """
        authenticator: TokenAuthenticator = connection.app.state.services.authenticator
        authorization = connection.headers.get("authorization", "")
        holder = await authenticator.authenticate(authorization, connection.scope.get("client"))
        logs.add_context(who=holder.name)
        return AuthenticationResult(user=holder, auth=None)


def _too_many_unknown(wait_s: float) -> TooManyRequestsException:
    return TooManyRequestsException(
        "too many unknown tokens from this address", headers=retry_after(wait_s)
    )


def _unauthorized(detail: str) -> NotAuthorizedException:
    return NotAuthorizedException(detail, headers={"WWW-Authenticate": "Bearer"})
