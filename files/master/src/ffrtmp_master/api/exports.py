"""Exports of results as files, which are produced one page at a time to limit memory usage."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any, NamedTuple
from uuid import UUID

from ffrtmp_shared.models import Result
from ffrtmp_shared.prices import PriceBook
from litestar import get
from litestar.di import NamedDependency
from litestar.openapi.spec import (
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Schema,
)
from litestar.openapi.spec.enums import OpenAPIFormat
from litestar.params import FromQuery, QueryParameter, SkipValidation
from litestar.response import Stream
from sqlalchemy import Connection

from ffrtmp_master.api import problems
from ffrtmp_master.api.stream_authorization import watch_of, while_valid
from ffrtmp_master.auth import permissions
from ffrtmp_master.auth.authentication import Call
from ffrtmp_master.auth.authorization import require_role
from ffrtmp_master.exports import formats
from ffrtmp_master.exports.exported_result import ExportedResult, RunOutline, cost_of_result
from ffrtmp_master.exports.formats import TableFormat
from ffrtmp_master.services import Services
from ffrtmp_master.store import results, runs, schema
from ffrtmp_master.store.epochs import History, read_history
from ffrtmp_master.store.positions import START, Position, latest_position
from ffrtmp_master.store.priorities import priority_of

# Each page becomes one row group of a Parquet file.
_RESULTS_AT_ONCE = 1000


class DatabaseReplacedError(Exception):
    """A backup of the database was restored while results were exported."""


class _End(NamedTuple):
    """The epochs of the database when an export began, and the position of its last result."""

    history: History
    place: Position


class _Selection(NamedTuple):
    """Content of an export: the results of a run or all, and the prices for their costs.

    `book` is None if the format contains neither runs nor costs.
    """

    run: UUID | None
    end: _End
    book: PriceBook | None


class _Page(NamedTuple):
    """Some results with the outlines of their runs, and the position after them."""

    results: Sequence[Result]
    runs: Mapping[UUID, RunOutline]
    after: Position


class Format(StrEnum):
    """File formats of an export."""

    JSON_LINES = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


@dataclass
class _ExportOperation(Operation):
    """The OpenAPI operation of an export, with one media type per format."""

    def __post_init__(self) -> None:
        binary = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        kinds = [table.media_type for table in formats.FORMATS.values()]
        response = OpenAPIResponse(
            description="The results as a file",
            content={kind: OpenAPIMediaType(schema=binary) for kind in kinds},
        )
        self.responses = {**(self.responses or {}), str(int(HTTPStatus.OK)): response}


@get(
    "/v1/results/export",
    guards=[require_role(*permissions.EXPORT_RESULTS)],
    responses=problems.document_problems(HTTPStatus.NOT_FOUND),
    operation_class=_ExportOperation,
)
async def export_results(
    request: Call,
    services: NamedDependency[SkipValidation[Services]],
    kind: Annotated[Format, QueryParameter(name="format")],
    run: FromQuery[UUID | None] = None,
) -> Stream:
    """Export all results or those of one run, in the order in which they were stored.

    Results that are stored after the request are not included. The format JSON Lines contains
    complete results. CSV and Parquet have one column per value; the column name includes the unit,
    and unavailable values are empty. They also contain properties of the run, and costs by the
    present price book.
    """

    def until(connection: Connection) -> _End:
        if run is not None:
            runs.get_run(connection, run)
        history = read_history(connection, schema.results)
        return _End(history, latest_position(connection, schema.results))

    end = await services.reader.read(until)
    has_context = formats.FORMATS[kind].has_context
    # Reading a file that has changed may take a while.
    book = await asyncio.to_thread(services.prices.book) if has_context else None
    table = await asyncio.to_thread(formats.FORMATS[kind])
    name = f"results-{run or 'all'}.{kind}"
    return Stream(
        while_valid(
            watch_of(services, request), _parts(services, table, _Selection(run, end, book))
        ),
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
        media_type=table.media_type,
    )


async def _parts(
    services: Services, table: TableFormat, selection: _Selection
) -> AsyncIterator[bytes]:
    """Yield the file in parts; each page is read in a separate transaction.

    Raises DatabaseReplacedError, so that the file is seen to be incomplete.
    """
    yield table.head()
    run, end, book = selection
    after, has_more = START, True
    while has_more:

        def page(connection: Connection, after: Position = after) -> _Page:
            history = read_history(connection, schema.results)
            # A restart of the database begins an epoch too, but the same results are still there.
            if not history.continues(end.history, end.place):
                raise DatabaseReplacedError("the database was replaced during the export")
            found, after = results.between_positions(
                connection, run, after, end.place, _RESULTS_AT_ONCE
            )
            outlines = {} if book is None else _outlines(connection, found)
            return _Page(found, outlines, after)

        def encode(found: _Page) -> bytes:
            if book is None:
                return table.part([ExportedResult(result) for result in found.results])
            return table.part(
                [
                    ExportedResult(
                        result=result,
                        run=None if result.run_id is None else found.runs.get(result.run_id),
                        cost=cost_of_result(result, book),
                    )
                    for result in found.results
                ]
            )

        found = await services.reader.read(page)
        after, has_more = found.after, len(found.results) == _RESULTS_AT_ONCE
        yield await asyncio.to_thread(encode, found)
    yield await asyncio.to_thread(table.tail)


def _outlines(connection: Connection, found: Sequence[Result]) -> Mapping[UUID, RunOutline]:
    """Return the outlines of the runs of results."""
    run_ids = {result.run_id for result in found if result.run_id is not None}
    return {
        run_id: RunOutline(
            suite_name=row.suite_name,
            key=row.key,
            seed=row.seed,
            priority=priority_of(row.priority),
            created_at=row.created_at,
            created_by=row.created_by,
            finished_at=row.finished_at,
        )
        for run_id, row in runs.submissions(connection, run_ids).items()
    }


ROUTES: tuple[Any, ...] = (export_results,)
