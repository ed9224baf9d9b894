"""The writer, the schema and its migrations, the clock's zone, the one way of a transition."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from ffrtmp_master.queue import transitions
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import migrate
from ffrtmp_master.store.engine import reading_engine, writing_engine
from ffrtmp_master.store.schema import metadata, nodes, sources
from ffrtmp_master.store.writer import Writer, WriterClosedError
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.states import IllegalTransitionError, JobState
from sqlalchemy import Connection, func, insert, select
from sqlalchemy.exc import IntegrityError, OperationalError, StatementError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def add(number: int) -> Any:
    row = {"sha256": f"{number:064x}", "size_bytes": 1, "stored_at": NOW}
    return lambda connection: connection.execute(insert(sources).values(row)).rowcount


def count(settings: Settings) -> int:
    with reading_engine(settings.database_url).connect() as connection:
        return connection.execute(select(func.count()).select_from(sources)).scalar_one()


def test_a_poisoned_operation_leaves_its_neighbours_committed(migrated: Settings) -> None:
    batches: list[int] = []
    writer = Writer(writing_engine(migrated.database_url), batches.append)

    def poison(connection: Connection) -> None:
        add(500)(connection)
        raise RuntimeError("poison")

    async def work() -> list[Any]:
        writes = [writer.write(add(n)) for n in range(10)]
        # The poison, and a second row with a key that is taken: two kinds of failing.
        writes[5:5] = [writer.write(poison), writer.write(add(3))]
        tasks = [asyncio.ensure_future(write) for write in writes]
        await asyncio.sleep(0)
        # All are queued before the writer starts, so that they share one batch.
        writer.start()
        return await asyncio.gather(*tasks, return_exceptions=True)

    outcomes = asyncio.run(work())
    writer.close()
    assert batches == [12]
    assert isinstance(outcomes[5], RuntimeError)
    assert isinstance(outcomes[6], IntegrityError)
    assert outcomes[:5] + outcomes[7:] == [1] * 10
    assert count(migrated) == 10


def test_operations_share_commits_and_are_all_there(migrated: Settings) -> None:
    batches: list[int] = []
    writer = Writer(writing_engine(migrated.database_url), batches.append)
    writer.start()

    async def work() -> None:
        await asyncio.gather(*(writer.write(add(n)) for n in range(300)))
        assert count(migrated) == 300

    asyncio.run(work())
    writer.close()
    assert sum(batches) == 300
    assert len(batches) < 100
    assert max(batches) <= 128


def test_a_closed_writer_refuses(migrated: Settings) -> None:
    writer = Writer(writing_engine(migrated.database_url))
    writer.start()
    writer.close()
    with pytest.raises(WriterClosedError):
        asyncio.run(writer.write(add(1)))


def test_a_reader_cannot_write(migrated: Settings) -> None:
    with (
        reading_engine(migrated.database_url).connect() as connection,
        pytest.raises(OperationalError, match="readonly"),
    ):
        add(1)(connection)


def test_the_database_is_set_up_to_be_durable(migrated: Settings) -> None:
    with writing_engine(migrated.database_url).connect() as connection:
        values = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert values == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_the_migrations_make_the_schema(settings: Settings) -> None:
    engine = writing_engine(settings.database_url)
    assert migrate.upgrade(engine).changed
    assert not migrate.upgrade(engine).changed
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_times_come_back_in_utc_and_naive_ones_are_refused(migrated: Settings) -> None:
    engine = writing_engine(migrated.database_url)
    local = NOW.astimezone(timezone(timedelta(hours=5)))
    with engine.connect() as connection, connection.begin():
        connection.execute(insert(sources).values(sha256="a", size_bytes=1, stored_at=local))
        found = connection.execute(select(sources.c.stored_at)).scalar_one()
        assert (found, found.tzinfo) == (NOW, UTC)
        with pytest.raises(StatementError, match="without a zone"):
            connection.execute(insert(nodes).values(id=new_id(), last_seen_at=datetime(2026, 1, 1)))


def test_an_illegal_transition_raises(migrated: Settings) -> None:
    job = transitions.JobAt(id=new_id(), run_id=new_id(), state=JobState.SUCCEEDED, attempt=1)
    with (
        writing_engine(migrated.database_url).connect() as connection,
        pytest.raises(IllegalTransitionError, match="from succeeded to queued"),
    ):
        transitions.move(connection, [job], JobState.QUEUED, "why not", NOW)


def test_a_transition_from_a_state_that_is_gone_raises(migrated: Settings) -> None:
    job = transitions.JobAt(id=new_id(), run_id=new_id(), state=JobState.QUEUED, attempt=1)
    with (
        writing_engine(migrated.database_url).connect() as connection,
        pytest.raises(transitions.LostJobError),
    ):
        transitions.move(connection, [job], JobState.CANCELED, "gone", NOW)
