"""Limits of running uploads: bytes per attempt and per token, and the space on the disk.

The records in the database show only complete uploads. This module counts the bytes of the others,
so that many uploads at the same time, or repeated uploads of changing content, do not exceed the
limits either.
"""

from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from uuid import UUID

from ffrtmp_master.settings import Settings
from ffrtmp_master.store.errors import TooLargeError
from ffrtmp_master.store.sources import SourceQuota, TokenUse
from ffrtmp_master.store.space import SpaceGuard

_TRACKED_ATTEMPTS_MAX = 10_000


class UploadLimits:
    """Counts the bytes that are being uploaded to this master."""

    def __init__(self, settings: Settings) -> None:
        """Use the limits in `settings`."""
        self._attempt_bytes_max = settings.max_attempt_bytes
        self.source_quota = SourceQuota(settings.max_token_files, settings.max_token_bytes)
        self._of_tokens: Counter[str] = Counter()
        self._of_attempts: OrderedDict[tuple[UUID, int], int] = OrderedDict()

    async def of_token(
        self, stream: AsyncIterator[bytes], token: str, use: TokenUse, space: SpaceGuard
    ) -> AsyncIterator[bytes]:
        """Yield the pieces of a source, unless it exceeds the limits of its token.

        Args:
            stream: The pieces.
            token: The name of the token.
            use: The sources that the token uploaded before.
            space: The guard of the disk.

        Yields:
            The pieces.

        Raises:
            TooLargeError: The uploads of the token exceed its limits.
            InsufficientSpaceError: The upload would use the reserved space.
        """
        received_bytes = 0
        try:
            async for data in _within_space(stream, space):
                received_bytes += len(data)
                self._of_tokens[token] += len(data)
                self.source_quota.check(use, self._of_tokens[token])
                yield data
        finally:
            self._of_tokens[token] -= received_bytes
            if not self._of_tokens[token]:
                del self._of_tokens[token]

    async def of_attempt(
        self,
        stream: AsyncIterator[bytes],
        attempt: tuple[UUID, int],
        left_bytes: int,
        space: SpaceGuard,
    ) -> AsyncIterator[bytes]:
        """Yield the pieces of an artifact, unless it exceeds the limits of its attempt.

        An agent that was interrupted uploads its artifacts again. The bytes that are received for
        an attempt are therefore limited to twice the bytes that it may store.

        Args:
            stream: The pieces.
            attempt: The job and the number of the attempt.
            left_bytes: The number of bytes that the attempt may still store.
            space: The guard of the disk.

        Yields:
            The pieces.

        Raises:
            TooLargeError: The artifacts of the attempt exceed its limits.
            InsufficientSpaceError: The upload would use the reserved space.
        """
        received_bytes = 0
        async for data in _within_space(stream, space):
            received_bytes += len(data)
            if received_bytes > left_bytes:
                raise TooLargeError(
                    f"the artifacts of the attempt have more than {self._attempt_bytes_max} bytes "
                    "(master_max_attempt_bytes)"
                )
            if self._count(attempt, len(data)) > 2 * self._attempt_bytes_max:
                raise TooLargeError(
                    f"more than {2 * self._attempt_bytes_max} bytes were uploaded for the attempt, "
                    "twice the size of its artifacts (master_max_attempt_bytes)"
                )
            yield data

    def _count(self, attempt: tuple[UUID, int], size_bytes: int) -> int:
        total_bytes = self._of_attempts.pop(attempt, 0) + size_bytes
        self._of_attempts[attempt] = total_bytes
        if len(self._of_attempts) > _TRACKED_ATTEMPTS_MAX:
            self._of_attempts.popitem(last=False)
        return total_bytes


async def _within_space(stream: AsyncIterator[bytes], space: SpaceGuard) -> AsyncIterator[bytes]:
    """Yield the pieces of an upload as long as there is space for them."""
    async for data in stream:
        await space.receive(len(data))
        yield data
