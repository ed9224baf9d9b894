"""All results of a farm, read from the API page by page and summarized."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from functools import partial
from http import HTTPStatus
from typing import Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID

from ffrtmp_shared.client import MasterClient, MasterRefusedError
from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.loop_runner import AfterPass
from ffrtmp_shared.models import Result
from ffrtmp_shared.result_pages import ReadablePage, UnreadableResult, readable_page

_UNKNOWN_CURSOR = (HTTPStatus.CONFLICT, HTTPStatus.GONE, HTTPStatus.UNPROCESSABLE_ENTITY)

PAGES_PER_REFRESH = 50
"""The number of pages of a pass that a refresh reads, so that it does not take too long."""

MIN_RECOUNT_S = 600.0
"""The minimum time in seconds between two passes if drifts of nodes cause the second one."""

PageAfter = Callable[[str], ReadablePage]
"""Returns the page of results after a cursor."""


def pages_of(client: MasterClient, guard: ItemGuard) -> PageAfter:
    """Return a function that reads pages from the API.

    Args:
        client: The client of the master.
        guard: The guard that reports results that cannot be decoded.
    """
    return lambda cursor: readable_page(client.raw_result_page(cursor), guard)


class ResultSummary(Protocol):
    """Summary of results that are added in the order in which they were stored."""

    def add(self, result: Result) -> None:
        """Add a result."""

    def forget_old(self, now_s: float) -> None:
        """Remove what is too old at the Unix time `now_s`. It is also called before a pass."""


S = TypeVar("S", bound=ResultSummary)


class NewResults(NamedTuple):
    """The new results of a page, and what is known of those that cannot be decoded."""

    readable: list[Result]
    unreadable: list[UnreadableResult]


class PageReader:
    """Selects the results of a page that were not on the same page when it was fetched before.

    The last page is fetched again and again, because it may have grown.
    """

    def __init__(self) -> None:
        """Begin with the first page."""
        self.cursor = ""
        self._seen: set[UUID | str] = set()

    def new_results(self, page: ReadablePage) -> NewResults:
        """Return the new results of the page at `cursor`, and continue at its next cursor."""
        found = NewResults([], [])
        for result in page.items:
            if result.id not in self._seen:
                self._seen.add(result.id)
                found.readable.append(result)
        for unreadable in page.unreadable:
            if unreadable.key not in self._seen:
                self._seen.add(unreadable.key)
                found.unreadable.append(unreadable)
        next_cursor = page.next_cursor
        if next_cursor not in (None, self.cursor):
            self.cursor = next_cursor
            self._seen.clear()
        return found


class _Pass(Generic[S]):
    """A pass over all results of one epoch of the master's database."""

    def __init__(self, summary: S, begun_at_s: float) -> None:
        self.summary = summary
        self.begun_at_s = begun_at_s
        self.reader = PageReader()
        self.epoch: str | None = None
        # The number of drifts when the pass began, and whether it has changed since then.
        self.drifts: int | None = None
        self.has_other_verdicts = False


class _Reading(Enum):
    """The outcome of reading some pages of a pass."""

    LAST_PAGE = auto()
    MORE_PAGES = auto()
    OTHER_EPOCH = auto()


class ResultHistory(Generic[S]):
    """Reads each result once, and all of them again from time to time or after a drift of a node.

    Until a new pass over all results is complete, the summary of the earlier one stays available,
    and new results are added to it. Each refresh reads a limited number of pages of each pass.
    """

    def __init__(
        self,
        new_summary: Callable[[], S],
        guard: ItemGuard,
        recount_s: float,
        clock: Callable[[], float] = time.time,
        add_unreadable: Callable[[S, UnreadableResult], None] | None = None,
    ) -> None:
        """Create the history without results.

        Args:
            new_summary: Creates an empty summary.
            guard: The guard that reports results that cannot be added.
            recount_s: The time in seconds after which all results are read again, because
                retention may have removed some.
            clock: Returns the Unix time in seconds.
            add_unreadable: Adds a result that cannot be decoded to a summary. By default, such
                results are ignored.
        """
        self._new_summary = new_summary
        self._add_unreadable = add_unreadable
        self._guard = guard
        self._recount_s = recount_s
        self._clock = clock
        self._lock = threading.Lock()
        self._pass = self._new_pass()
        self._next: _Pass[S] | None = None
        self._is_complete = False
        # Whether the present pass cannot be continued.
        self._is_obsolete = False

    def is_complete(self) -> bool:
        """Return whether all results have been read once."""
        return self._is_complete

    def refresh(self, page_after: PageAfter) -> AfterPass:
        """Add new results. Raises the errors of `page_after`.

        Args:
            page_after: Returns the page of results after a cursor.

        Returns:
            Whether another refresh should follow immediately, because the summary does not contain
            all results yet, or follow a pause.
        """
        has_more = not self._is_obsolete and self._continue(page_after)
        if self._next is None and (self._is_obsolete or self._is_recount_due()):
            self._next = self._new_pass()
        if self._next is not None:
            has_more |= self._recount(page_after, self._next)
        with self._lock:
            self._pass.summary.forget_old(self._clock())
        return AfterPass.REPEAT if has_more else AfterPass.PAUSE

    @contextmanager
    def locked_summary(self) -> Iterator[S]:
        """Yield the summary, which does not change within the context."""
        with self._lock:
            yield self._pass.summary

    def _is_recount_due(self) -> bool:
        wait_s = self._recount_s
        if self._pass.has_other_verdicts:
            wait_s = min(wait_s, MIN_RECOUNT_S)
        return self._is_complete and self._clock() - self._pass.begun_at_s >= wait_s

    def _new_pass(self) -> _Pass[S]:
        summary, now_s = self._new_summary(), self._clock()
        # The summary can then ignore what is already too old when it is read.
        summary.forget_old(now_s)
        return _Pass(summary, now_s)

    def _continue(self, page_after: PageAfter) -> bool:
        """Add new results to the present summary; return whether there are more."""
        try:
            reading = self._read_pages(page_after, self._pass)
        except MasterRefusedError as error:
            self._is_obsolete = error.problem.status in _UNKNOWN_CURSOR
            raise
        self._is_obsolete = reading is _Reading.OTHER_EPOCH
        if reading is _Reading.LAST_PAGE:
            self._is_complete = True
        return reading is _Reading.MORE_PAGES

    def _recount(self, page_after: PageAfter, begun: _Pass[S]) -> bool:
        """Continue to read all results again; replace the present summary when it is complete.

        Return whether there are more, and the present summary cannot be used until they are read.
        """
        try:
            reading = self._read_pages(page_after, begun)
        except MasterRefusedError as error:
            if error.problem.status in _UNKNOWN_CURSOR:
                self._next = None
            raise
        if reading is _Reading.MORE_PAGES:
            return self._is_obsolete
        self._next = None
        if reading is _Reading.LAST_PAGE:
            with self._lock:
                self._pass = begun
            self._is_obsolete = False
            self._is_complete = True
        return False

    def _read_pages(self, page_after: PageAfter, into: _Pass[S]) -> _Reading:
        """Read pages until the last one, until the epoch changes, or until there were too many."""
        for _ in range(PAGES_PER_REFRESH):
            cursor = into.reader.cursor
            page = page_after(cursor)
            if into.epoch not in (None, page.epoch):
                return _Reading.OTHER_EPOCH
            into.epoch = page.epoch
            if into.drifts is None:
                into.drifts = page.drifts
            into.has_other_verdicts |= page.drifts != into.drifts
            with self._lock:
                found = into.reader.new_results(page)
                for result in found.readable:
                    self._guard.run(f"result {result.id}", partial(into.summary.add, result))
                if self._add_unreadable is not None:
                    for unreadable in found.unreadable:
                        self._add_unreadable(into.summary, unreadable)
            # A page that refers to itself would otherwise be read without end.
            if page.next_cursor in (None, cursor):
                return _Reading.LAST_PAGE
        return _Reading.MORE_PAGES
