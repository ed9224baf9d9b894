"""Tests of the migration of a database that contains data from the first schema to the newest."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import factories
import msgspec
import pytest
import sqlalchemy as sa
from alembic import command
from databases import Database, only
from ffrtmp_master.queue.requirement_catalog import RequirementSet
from ffrtmp_master.store import jobs, migrate, results, runs, schema
from ffrtmp_master.store.engine import writing_engine
from ffrtmp_shared.requirements import Priority
from ffrtmp_shared.states import JobState
from sqlalchemy import Connection, Engine

_CREATED_AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def old(database: Database) -> Iterator[Engine]:
    """A database with the first schema, and with a run of two jobs, of which one has succeeded."""
    password = None
    if database.password_file is not None:
        password = database.password_file.read_text(encoding="utf-8").strip()
    engine = writing_engine(database.url, password)
    with engine.connect() as connection, connection.begin():
        config = migrate.config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        _fill(connection)
    yield engine
    engine.dispose()


def _fill(connection: Connection) -> None:
    tables = sa.MetaData()
    tables.reflect(connection)
    run_id, ids = uuid4(), [uuid4(), uuid4()]
    scenario = msgspec.to_builtins(factories.scenario())

    def stored(value: UUID) -> object:
        # On SQLite, the reflected tables have text columns instead of UUID columns.
        return value.hex if connection.dialect.name == "sqlite" else value

    def insert(table: str, **values: object) -> None:
        connection.execute(tables.tables[table].insert().values(values))

    insert(
        "runs",
        id=stored(run_id),
        suite_name="old",
        suite="name: old",
        seed=1,
        nodes=["worker1"],
        created_at=_CREATED_AT,
        created_by="operator",
    )
    for position, job_id in enumerate(ids):
        insert(
            "jobs",
            id=stored(job_id),
            run_id=stored(run_id),
            position=position,
            repeat=1,
            state="queued" if position else "succeeded",
            node="worker1" if position else None,
            attempt=1 - position,
            max_attempts=3,
            encoder="libx264",
            cancel_requested=False,
            created_at=_CREATED_AT,
            scenario=scenario,
        )
    insert(
        "transitions",
        job_id=stored(ids[0]),
        after="queued",
        attempt=0,
        at=_CREATED_AT,
        reason="old",
    )
    insert(
        "results",
        id=stored(uuid4()),
        run_id=stored(run_id),
        job_id=stored(ids[0]),
        attempt=1,
        node="worker1",
        repeat=1,
        scenario=scenario,
        measurement=msgspec.to_builtins(factories.measurement()),
        artifacts=[],
        stored_at=_CREATED_AT,
    )


def test_a_migration_preserves_the_data(old: Engine) -> None:
    assert migrate.upgrade(old).changed
    assert not migrate.upgrade(old).changed
    with old.connect() as connection:
        by_state = {
            job.state: job
            for job in (
                jobs.get_job(connection, job_id)
                for job_id in connection.execute(sa.select(schema.jobs.c.id)).scalars()
            )
        }
        done, queued = by_state[JobState.SUCCEEDED], by_state[JobState.QUEUED]
        assert (done.requirements.encoder, done.requirements.node) == ("libx264", None)
        assert (queued.requirements.encoder, queued.requirements.node) == ("libx264", "worker1")
        assert queued.priority is Priority.MEDIUM
        assert queued.exclusive
        assert [transition.reason for transition in jobs.history(connection, done.id)] == ["old"]
        (run,) = runs.page_of_runs(connection, None, 10).items
        assert (run.counts["succeeded"], run.counts["queued"]) == (1, 1)
        (result,) = results.page_of_results(connection, None, (), 10).items
        assert result.job_id == done.id
        # The keys must equal those that the queue computes, or each set would be stored twice.
        keys = connection.execute(sa.text("SELECT key FROM requirements")).scalars()
        wanted = [
            RequirementSet(requirements=job.requirements, exclusive=True) for job in (done, queued)
        ]
        assert {requirements.key for requirements in wanted} == set(keys)


def test_a_migrated_job_keeps_its_rank_and_creator(old: Engine) -> None:
    migrate.upgrade(old)
    with old.connect() as connection:
        rows = connection.execute(sa.text("SELECT rank, created_by FROM jobs")).all()
    medium = int((_CREATED_AT.timestamp() - Priority.MEDIUM.steps * 3600) * 1_000_000)
    assert {tuple(row) for row in rows} == {(medium, "operator")}


_COMPRESSED = """
SELECT attrelid::regclass || '.' || attname FROM pg_attribute
JOIN pg_class ON pg_class.oid = attrelid WHERE relkind = 'r' AND attcompression = 'l'
"""


@only("postgresql")
def test_postgresql_compresses_new_documents_with_lz4(old: Engine) -> None:
    migrate.upgrade(old)
    with old.connect() as connection:
        compressed = set(connection.execute(sa.text(_COMPRESSED)).scalars())
        assert {"results.measurement", "jobs.scenario", "job_logs.piece"} <= compressed
        # A document that was written before the migration must remain readable.
        (result,) = results.page_of_results(connection, None, (), 10).items
        assert result.measurement == factories.measurement()


def test_a_migration_removes_passwords_from_urls(old: Engine) -> None:
    secret = msgspec.to_builtins(factories.scenario())
    secret["source"]["url"] = "https://me:secret@clips.example/a@b.mp4?c=d"
    with old.connect() as connection, connection.begin():
        for table in ("jobs", "results"):
            columns = sa.table(table, sa.column("id"), sa.column("scenario", sa.JSON))
            connection.execute(sa.update(columns).values(scenario=secret))
    migrate.upgrade(old)
    with old.connect() as connection:
        texts = [
            text
            for table in ("jobs", "results")
            for text in connection.execute(
                sa.text(f"SELECT CAST(scenario AS text) FROM {table}")  # noqa: S608
            ).scalars()
        ]
        assert len(texts) == 3
        assert not any("secret" in text for text in texts)
        (result,) = results.page_of_results(connection, None, (), 10).items
        assert result.scenario.source.url == "https://clips.example/a@b.mp4?c=d"
