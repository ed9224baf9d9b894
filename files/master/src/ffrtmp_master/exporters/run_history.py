"""The unfinished runs of a farm, and the numbers of runs that ended, from pages of the API."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Protocol
from uuid import UUID

from ffrtmp_shared.client import MasterRefusedError
from ffrtmp_shared.models import Run, RunPage
from ffrtmp_shared.states import RunState


class RunApi(Protocol):
    """The calls of the master's API that return runs."""

    def run(self, run_id: UUID) -> Run:
        """Return a run."""

    def run_page(self, cursor: str = "", *, only_unfinished: bool = False) -> RunPage:
        """Return a page of runs, newest first."""


class RunHistory:
    """Reads all unfinished runs, and counts runs that end between two reads."""

    def __init__(self) -> None:
        """Create a history that has not been read."""
        self.unfinished: dict[UUID, Run] = {}
        self.ended: Counter[RunState] = Counter()
        self._newest: UUID | None = None

    def update(self, api: RunApi) -> None:
        """Read the runs. Raises the errors of the client; then nothing has changed."""
        # In this order, each run that is created meanwhile is found by this or by the next update.
        begun = {run.id: run for run in self._runs_since(api)}
        unfinished = {run.id: run for run in _all_runs(_unfinished_pages(api))}
        known = self.unfinished.keys() | (begun.keys() if self._newest is not None else set())
        states = [_final_state(api, run_id, begun) for run_id in known - unfinished.keys()]
        self.ended.update(state for state in states if state is not None)
        self.unfinished = unfinished
        if begun:
            self._newest = max(begun)

    def _runs_since(self, api: RunApi) -> list[Run]:
        """Return the runs that were created after the last update; at first, a page of runs."""
        if self._newest is None:
            return list(api.run_page().items)
        found = []
        for run in _all_runs(api.run_page):
            if run.id <= self._newest:
                break
            found.append(run)
        return found


def _unfinished_pages(api: RunApi) -> Callable[[str], RunPage]:
    return lambda cursor: api.run_page(cursor, only_unfinished=True)


def _all_runs(page_after: Callable[[str], RunPage]) -> Iterator[Run]:
    cursor: str | None = ""
    while cursor is not None:
        page = page_after(cursor)
        yield from page.items
        cursor = page.next_cursor


def _final_state(api: RunApi, run_id: UUID, fetched: Mapping[UUID, Run]) -> RunState | None:
    """Return the final state of a run, or None if it was removed or has been retried already."""
    run = fetched.get(run_id)
    if run is not None and run.state.is_final:
        return run.state
    try:
        state = api.run(run_id).state
    except MasterRefusedError as error:
        if error.problem.status == HTTPStatus.NOT_FOUND:
            return None
        raise
    return state if state.is_final else None
