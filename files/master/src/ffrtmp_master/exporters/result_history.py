"""All results of a farm, read from the API page by page and summarized."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from ffrtmp_shared.client import MasterClient, MasterRefusedError
from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.models import Result, ResultPage
from ffrtmp_shared.result_pages import readable_page

_UNKNOWN_CURSOR = (HTTPStatus.CONFLICT, HTTPStatus.GONE, HTTPStatus.UNPROCESSABLE_ENTITY)

PageAfter = Callable[[str], ResultPage]
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


class PageReader:
    """Selects the results of a page that were not on the same page when it was fetched before.

    The last page is fetched again and again, because it may have grown.
    """

    def __init__(self) -> None:
        """Begin with the first page."""
        self.cursor = ""
        self._seen: set[UUID] = set()

    def new_results(self, items: Iterable[Result], next_cursor: str | None) -> Iterable[Result]:
        """Yield the new results of the page at `cursor`, and continue at `next_cursor`."""
        for result in items:
            if result.id not in self._seen:
                self._seen.add(result.id)
                yield result
        if next_cursor not in (None, self.cursor):
            self.cursor = next_cursor
            self._seen.clear()


class _Pass(Generic[S]):
    """A pass over all results of one epoch of the master's database."""

    def __init__(self, summary: S) -> None:
        self.summary = summary
        self.reader = PageReader()
        self.epoch: str | None = None


class ResultHistory(Generic[S]):
    """Reads each result once, and all of them again from time to time.

    Until a new pass over all results is complete, the summary of the earlier one stays available.
    """

    def __init__(
        self,
        new_summary: Callable[[], S],
        guard: ItemGuard,
        recount_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Create the history without results.

        Args:
            new_summary: Creates an empty summary.
            guard: The guard that reports results that cannot be added.
            recount_s: The time in seconds after which all results are read again, because
                retention may have removed some.
            clock: Returns the Unix time in seconds.
        """
        self._new_summary = new_summary
        self._guard = guard
        self._recount_s = recount_s
        self._clock = clock
        self._lock = threading.Lock()
        self._begun_at_s = clock()
        self._pass = self._new_pass(self._begun_at_s)
        self._is_complete = False
        self._must_recount = False

    def is_complete(self) -> bool:
        """Return whether all results have been read once."""
        return self._is_complete

    def recount(self) -> None:
        """Read all results again at the next refresh."""
        self._must_recount = True

    def refresh(self, page_after: PageAfter) -> None:
        """Add all new results. Raises the errors of `page_after`."""
        now_s = self._clock()
        if (
            self._must_recount
            or now_s - self._begun_at_s >= self._recount_s
            or not self._continue(page_after)
        ):
            self._read_again(page_after, now_s)
        with self._lock:
            self._pass.summary.forget_old(now_s)

    @contextmanager
    def locked_summary(self) -> Iterator[S]:
        """Yield the summary, which does not change within the context."""
        with self._lock:
            yield self._pass.summary

    def _read_again(self, page_after: PageAfter, now_s: float) -> None:
        """Read all results, and replace the present summary when that is complete."""
        self._must_recount = True
        begun = self._new_pass(now_s)
        if self._read_all(page_after, begun):
            begun.summary.forget_old(now_s)
            with self._lock:
                self._pass, self._begun_at_s = begun, now_s
            self._must_recount = False
            self._is_complete = True

    def _new_pass(self, now_s: float) -> _Pass[S]:
        summary = self._new_summary()
        # The summary can then ignore what is already too old when it is read.
        summary.forget_old(now_s)
        return _Pass(summary)

    def _continue(self, page_after: PageAfter) -> bool:
        """Read the new results; return whether their epoch is that of the earlier ones."""
        try:
            is_same_epoch = self._read_all(page_after, self._pass)
        except MasterRefusedError as error:
            self._must_recount = error.problem.status in _UNKNOWN_CURSOR
            raise
        if is_same_epoch:
            self._is_complete = True
        return is_same_epoch

    def _read_all(self, page_after: PageAfter, into: _Pass[S]) -> bool:
        """Read pages until the last one or until the epoch changes; return whether it was kept."""
        has_more = True
        while has_more:
            cursor = into.reader.cursor
            page = page_after(cursor)
            if into.epoch not in (None, page.epoch):
                return False
            into.epoch = page.epoch
            with self._lock:
                for result in into.reader.new_results(page.items, page.next_cursor):
                    self._guard.run(f"result {result.id}", partial(into.summary.add, result))
            # A page that refers to itself would otherwise be read without end.
            has_more = page.next_cursor not in (None, cursor)
        return True
