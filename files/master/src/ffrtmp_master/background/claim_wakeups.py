"""Wake-ups of parked claims and event subscribers after transactions of this or other masters."""

import asyncio

from ffrtmp_master.background.event_feed import EventFeed
from ffrtmp_master.clock import Clock
from ffrtmp_master.queue.parked_claims import ParkedClaims
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog
from ffrtmp_master.store.notifications import Notification
from ffrtmp_master.store.reader import Reader
from ffrtmp_master.store.unit_of_work import Effects


class ClaimWakeups:
    """Wakes parked claims for which a committed transaction may have made a job available."""

    def __init__(
        self,
        *,
        clock: Clock,
        reader: Reader,
        catalog: RequirementCatalog,
        parked_claims: ParkedClaims,
        event_feed: EventFeed,
        origin: str,
    ) -> None:
        """Create the object for one master.

        Args:
            clock: The clock that determines when jobs become available.
            reader: Reads the requirement sets that other masters have stored.
            catalog: The requirement sets that this master knows.
            parked_claims: The parked claims of this master.
            event_feed: The feed that reads new events after each commit.
            origin: The name of this master in notifications, so that it can ignore its own.
        """
        self._clock = clock
        self._reader = reader
        self._catalog = catalog
        self._parked_claims = parked_claims
        self._event_feed = event_feed
        self._origin = origin

    def after_commit(self, effects: Effects) -> None:
        """Wake claims and event subscribers after a transaction of this master.

        For jobs in backoff, claims are woken when the backoff ends.
        """
        self._event_feed.wake()
        for node, is_exclusive in effects.taken.items():
            self._parked_claims.note_taken(node, is_exclusive=is_exclusive)
        for node in effects.freed:
            self._parked_claims.note_freed(node)
        self._catalog.activate([*effects.queued, *(set_id for _, set_id in effects.delayed)])
        for requirement_id, jobs in effects.queued.items():
            self._parked_claims.wake(requirement_id, jobs)
        loop = asyncio.get_running_loop()
        for not_before, requirement_id in effects.delayed:
            delay_s = max((not_before - self._clock()).total_seconds(), 0.0)
            loop.call_later(delay_s, self._parked_claims.wake, requirement_id, 1)

    async def after_notification(self, notification: Notification | None) -> None:
        """Wake claims after a transaction of another master.

        Args:
            notification: The notification; None if notifications may have been lost.
        """
        if notification is not None and notification.origin == self._origin:
            return
        if notification is None or notification.much:
            self._parked_claims.wake_all()
            return
        if not all(self._catalog.knows(requirement_id) for requirement_id in notification.queued):
            await self._reader.read(self._catalog.load_from)
        self._catalog.activate(notification.queued)
        for node in notification.freed:
            self._parked_claims.note_freed(node)
        for requirement_id, jobs in notification.queued.items():
            if self._catalog.knows(requirement_id):
                self._parked_claims.wake(requirement_id, jobs)
