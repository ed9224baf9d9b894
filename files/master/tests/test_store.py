"""Tests of the store: the writer, engines, migrations, time zones, and final states."""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from databases import only, reading, writing
from ffrtmp_master.queue import transitions
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import migrate
from ffrtmp_master.store.availability import WriterClosedError
from ffrtmp_master.store.engine import close_connections
from ffrtmp_master.store.errors import ConflictError, RequestError
from ffrtmp_master.store.rows import JobRow
from ffrtmp_master.store.schema import metadata, nodes, sources
from ffrtmp_master.store.transactions import Hooks
from ffrtmp_master.store.unit_of_work import UnitOfWork
from ffrtmp_master.store.writer import Request, Writer
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.states import IllegalTransitionError, JobState
from postgresql import Cluster
from sqlalchemy import Connection, func, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Add(Request[int]):
    """Stores a row.

    A duplicate number makes the transaction fail, and a negative number is refused.
    """

    number: int


@dataclass(frozen=True)
class Blind(Request[int]):
    """Stores a row without waiting for the answer of the database server."""

    number: int


@dataclass(frozen=True)
class Poison(Request[int]):
    """Makes its batch fail after the preceding requests have written their rows."""


def apply(work: UnitOfWork, requests: Sequence[Any]) -> list[Any]:
    return [_apply(work.connection, request) for request in requests]


def _apply(connection: Connection, request: Add | Blind | Poison) -> int | RequestError:
    match request:
        case Poison():
            raise RuntimeError("poison")
        case Blind():
            driver: Any = connection.connection.driver_connection
            row = (f"{request.number:064x}", 1, NOW)
            driver.execute("INSERT INTO sources VALUES (%s, %s, %s)", row)
            return 1
    if request.number < 0:
        return ConflictError("negative")
    row = {"sha256": f"{request.number:064x}", "size_bytes": 1, "stored_at": NOW}
    connection.execute(insert(sources).values(row))
    return 1


@contextmanager
def writer_of(settings: Settings, batches: list[int] | None = None) -> Iterator[Writer]:
    sizes: list[int] = [] if batches is None else batches
    watch = Hooks(batch=lambda operations, _duration_s: sizes.append(operations))
    with writing(settings) as engine:
        yield Writer(engine, lambda: NOW, apply, watch, loops=LoopRegistry())


def count(settings: Settings) -> int:
    with reading(settings) as engine, engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(sources)).scalar_one()


def outcomes_of_one_batch(writer: Writer, requests: Sequence[Request[int]]) -> list[Any]:
    async def work() -> list[Any]:
        async with writer.running():
            # All requests are queued in one iteration of the event loop, so they share a batch.
            futures = [writer.apply_request(request) for request in requests]
            return await asyncio.gather(*futures, return_exceptions=True)

    return asyncio.run(work())


def test_a_failing_request_does_not_affect_others_of_its_batch(migrated: Settings) -> None:
    requests: list[Request[int]] = [Add(number) for number in range(10)]
    # There are two kinds of failures: an exception, and a second row with the same key.
    requests[5:5] = [Poison(), Add(3)]
    with writer_of(migrated) as writer:
        outcomes = outcomes_of_one_batch(writer, requests)
    assert isinstance(outcomes[5], RuntimeError)
    assert isinstance(outcomes[6], IntegrityError)
    assert outcomes[:5] + outcomes[7:] == [1] * 10
    assert count(migrated) == 10


def test_a_refused_request_does_not_repeat_the_transaction(
    migrated: Settings,
) -> None:
    batches: list[int] = []
    with writer_of(migrated, batches) as writer:
        outcomes = outcomes_of_one_batch(writer, [Add(1), Add(-1), Add(2)])
    assert [type(outcome) for outcome in outcomes] == [int, ConflictError, int]
    assert batches == [3]
    assert count(migrated) == 2


def test_requests_share_commits_and_are_all_stored(migrated: Settings) -> None:
    batches: list[int] = []

    async def work(writer: Writer) -> None:
        async with writer.running():
            await asyncio.gather(*(writer.apply_request(Add(number)) for number in range(300)))
            assert count(migrated) == 300

    with writer_of(migrated, batches) as writer:
        asyncio.run(work(writer))
    assert sum(batches) == 300
    assert len(batches) < 100
    assert max(batches) <= 128


def test_a_canceled_request_is_not_applied(migrated: Settings) -> None:
    async def work(writer: Writer) -> None:
        async with writer.running():
            canceled, applied = writer.apply_request(Add(1)), writer.apply_request(Add(2))
            canceled.cancel()
            await applied

    with writer_of(migrated) as writer:
        asyncio.run(work(writer))
    assert count(migrated) == 1


@pytest.mark.parametrize(
    "call_writer",
    [
        lambda writer: writer.apply_request(Add(1)),
        lambda writer: writer.write(lambda work: _apply(work.connection, Add(1))),
    ],
    ids=["request", "operation"],
)
def test_a_closed_writer_refuses(
    migrated: Settings, call_writer: Callable[[Writer], Awaitable[int]]
) -> None:
    async def work(writer: Writer) -> None:
        async with writer.running():
            pass
        await call_writer(writer)

    with writer_of(migrated) as writer, pytest.raises(WriterClosedError):
        asyncio.run(work(writer))


def test_queued_requests_are_applied_before_the_writer_ends(migrated: Settings) -> None:
    async def work(writer: Writer) -> list[int]:
        async with writer.running():
            futures = [writer.apply_request(Add(number)) for number in range(300)]
        return await asyncio.gather(*futures)

    with writer_of(migrated) as writer:
        assert asyncio.run(work(writer)) == [1] * 300
    assert count(migrated) == 300


def test_requests_and_operations_alternate(migrated: Settings) -> None:
    async def work(writer: Writer) -> None:
        async with writer.running():
            queued = [writer.apply_request(Add(number)) for number in range(300)]
            alone = [
                asyncio.ensure_future(writer.write(partial(_add, number)))
                for number in range(300, 302)
            ]
            await asyncio.gather(*queued, *alone)

    batches: list[int] = []
    with writer_of(migrated, batches) as writer:
        asyncio.run(work(writer))
    assert batches == [128, 1, 128, 1, 44]


def _add(number: int, work: UnitOfWork) -> int | RequestError:
    return _apply(work.connection, Add(number))


@only("postgresql")
def test_a_connection_closed_by_the_server_is_reopened(
    migrated: Settings, cluster: Cluster
) -> None:
    async def work(writer: Writer) -> None:
        async with writer.running():
            await writer.apply_request(Add(1))
            name = migrated.database_url.partition("?")[0].rpartition("/")[2]
            with cluster.connect() as connection:
                ended = connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE datname = %s",
                    (name,),
                ).fetchall()
            assert ended == [(True,)]
            # The connection was idle when it was closed, so the request can use a new connection.
            await writer.apply_request(Blind(2))

    with writer_of(migrated) as writer:
        asyncio.run(work(writer))
    assert count(migrated) == 2


@pytest.mark.slow
@only("sqlite")
def test_a_writing_process_does_not_block_the_event_loop(
    migrated: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    path = migrated.database_url.removeprefix("sqlite:///")
    longest_s = 0.0

    async def work(writer: Writer) -> None:
        nonlocal longest_s
        async with writer.running():
            await writer.apply_request(Add(1))
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                waiting = asyncio.gather(
                    *(writer.apply_request(Add(number)) for number in range(2, 9))
                )
                end = time.monotonic() + 2
                while (before := time.monotonic()) < end:
                    await asyncio.sleep(0.01)
                    longest_s = max(longest_s, time.monotonic() - before)
                assert not waiting.done()
                other.execute("ROLLBACK")
            await waiting

    batches: list[int] = []
    with writer_of(migrated, batches) as writer:
        asyncio.run(work(writer))
    assert longest_s < 1, "the event loop waited for the lock"
    assert count(migrated) == 8
    assert batches == [1, 7]
    assert not caplog.records, "waiting is not a failure"


def test_a_reader_cannot_write(migrated: Settings) -> None:
    with (
        reading(migrated) as engine,
        engine.connect() as connection,
        pytest.raises(DBAPIError, match=r"readonly|read-only"),
    ):
        _apply(connection, Add(1))


def test_connections_in_use_are_closed_when_they_are_returned(migrated: Settings) -> None:
    with writing(migrated) as engine:
        with engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            close_connections(engine)
            # The connections are replaced again before the first ones are returned.
            close_connections(engine)
            with engine.connect() as other:
                assert other.connection.driver_connection is not driver
                kept = other.connection.driver_connection
            connection.exec_driver_sql("SELECT 1")
        with pytest.raises((sqlite3.ProgrammingError, psycopg.OperationalError), match="closed"):
            driver.execute("SELECT 1")
        with engine.connect() as again:
            assert again.connection.driver_connection is kept


@only("sqlite")
def test_sqlite_is_set_up_to_be_durable(migrated: Settings) -> None:
    with writing(migrated) as engine, engine.connect() as connection:
        values = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert values == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


@only("postgresql")
def test_a_commit_on_postgresql_waits_for_the_disk(migrated: Settings) -> None:
    with writing(migrated) as engine, engine.connect() as connection:
        shown = connection.exec_driver_sql("SHOW synchronous_commit").scalar()
    assert shown == "on"


def test_the_migrations_create_the_schema(settings: Settings) -> None:
    with writing(settings) as engine:
        assert migrate.upgrade(engine).changed
        assert not migrate.upgrade(engine).changed
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, metadata) == []


def test_times_are_read_in_utc_and_naive_ones_are_refused(migrated: Settings) -> None:
    local = NOW.astimezone(timezone(timedelta(hours=5)))
    with writing(migrated) as engine, engine.connect() as connection, connection.begin():
        connection.execute(insert(sources).values(sha256="a", size_bytes=1, stored_at=local))
        found = connection.execute(select(sources.c.stored_at)).scalar_one()
        assert (found, found.tzinfo) == (NOW, UTC)
        with pytest.raises(StatementError, match="without a timezone"):
            connection.execute(insert(nodes).values(id=new_id(), last_seen_at=datetime(2026, 1, 1)))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (before, after)
        for before in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED)
        for after in (JobState.QUEUED, JobState.LEASED)
    ],
)
def test_a_final_state_is_final(
    ready_harness: Any, migrated: Settings, before: JobState, after: JobState
) -> None:
    ready_harness.run()
    with writing(migrated) as engine, engine.connect() as connection, connection.begin():
        work = UnitOfWork(connection, NOW, "test")
        job = only_job(work, ready_harness)
        job.state = before
        with pytest.raises(IllegalTransitionError, match=f"from {before} to {after}"):
            transitions.transition(work, job, after, "why not")


def only_job(work: UnitOfWork, harness: Any) -> JobRow:
    (sent,) = harness.every("/v1/jobs")
    return work.jobs([UUID(sent["id"])])[UUID(sent["id"])]
