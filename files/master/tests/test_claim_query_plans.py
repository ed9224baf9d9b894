"""Tests of the query plans of a claim.

A claim must need only one index seek for each set of requirements, however long the queue is. In
the queue, the only job that the agent can run follows ten thousand jobs that it cannot run, which
have many different sets of requirements.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from databases import only, writing
from ffrtmp_master.queue import batches, requests
from ffrtmp_master.queue.liveness import LastSeenThrottle
from ffrtmp_master.queue.requests import ClaimOutcome
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog
from ffrtmp_master.settings import Settings
from ffrtmp_master.store.unit_of_work import UnitOfWork
from postgresql import Cluster
from sqlalchemy import Connection, text

SETS = 50
# The maximum number of rows of `jobs` that a claim may read: one for each matching set of
# requirements, and the claimed one.
MOST_ROWS = 8


@pytest.fixture
def crowded(ready_harness: Any) -> Any:
    """A master whose queue has one job for worker1 after all other jobs."""
    crowd(ready_harness, runs=1, rates=100, repeats=99, sets=100)
    return ready_harness


def crowd(harness: Any, *, runs: int, rates: int, repeats: int, sets: int) -> None:
    for _ in range(runs):
        harness.run(
            harness.suite(
                encoders=("libx265",),
                rates=rates,
                repeats=repeats,
                placement="any",
                more="priority: live\nwhen_unmet: wait\n",
            )
        )
    for number in range(sets):
        wanted = {"labels": {"rack": str(number)}}
        harness.submit(requirements=wanted, priority="live", exclusive=bool(number % 2))
    harness.submit(priority="batch")


def claim(
    connection: Connection,
    settings: Settings,
    clock: Callable[[], Any],
    catalog: RequirementCatalog | None = None,
) -> ClaimOutcome:
    """Claim as the writer does, with empty caches, as for an agent that is new to the master."""
    work = UnitOfWork(connection, clock(), "test")
    memory = batches.BatchCaches(
        catalog or RequirementCatalog(), LastSeenThrottle(settings.node_offline_s)
    )
    (answer,) = batches.BatchExecutor(memory, settings).apply(
        work, [requests.ClaimJob("worker1", 1)]
    )
    assert isinstance(answer, ClaimOutcome)
    work.flush()
    return answer


@only("sqlite")
def test_a_claim_seeks_on_sqlite(crowded: Any, migrated: Settings, clock: Any) -> None:
    statements: list[str] = []
    with writing(migrated) as engine, engine.connect() as connection, connection.begin() as change:
        driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
        driver.set_trace_callback(statements.append)
        assert claim(connection, migrated, clock).job is not None
        driver.set_trace_callback(None)
        change.rollback()
    reading = [sql for sql in statements if " jobs" in sql and not sql.startswith("INSERT")]
    assert any("ORDER BY rank" in sql for sql in reading), statements
    with writing(migrated) as engine, engine.connect() as connection:
        plans = [
            row.detail
            for statement in reading
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")
        ]
    touching = [plan for plan in plans if " jobs" in plan]
    assert touching
    assert all(plan.startswith("SEARCH") and "USING" in plan for plan in touching), plans
    assert not any("TEMP B-TREE" in plan for plan in plans), plans


@pytest.mark.slow
@only("sqlite")
def test_the_cost_of_a_claim_does_not_depend_on_the_queue_length(
    ready_harness: Any, migrated: Settings, clock: Any
) -> None:
    def steps() -> int:
        counted = 0

        def count() -> int:
            nonlocal counted
            counted += 1
            return 0

        with (
            writing(migrated) as engine,
            engine.connect() as connection,
            connection.begin() as change,
        ):
            driver: Any = connection.connection.driver_connection
            driver.set_progress_handler(count, 1)
            assert claim(connection, migrated, clock).job is not None
            driver.set_progress_handler(None, 0)
            change.rollback()
        return counted

    crowd(ready_harness, runs=1, rates=1, repeats=1, sets=SETS)
    few = steps()
    crowd(ready_harness, runs=1, rates=100, repeats=100, sets=0)
    many = steps()
    assert few > 50, "the steps of SQLite's virtual machine were counted"
    assert many <= few * 1.1, f"{few} steps with {SETS} jobs ahead, {many} with 10,000 more"


@pytest.mark.slow
@only("postgresql")
def test_a_claim_seeks_on_postgresql(
    crowded: Any, migrated: Settings, cluster: Cluster, clock: Any
) -> None:
    # A master finds the requirement sets of queued jobs before its first claim.
    catalog = RequirementCatalog()
    with writing(migrated) as engine, engine.connect() as connection:
        catalog.load_from(connection)
    with explained(cluster, migrated) as (connection, plans):
        assert claim(connection, migrated, clock, catalog).job is not None
    nodes = [node for plan in plans for node in every_node(plan["Plan"])]
    touching = [node for node in nodes if node.get("Relation Name") == "jobs"]
    assert touching
    for node in touching:
        assert node["Node Type"] in ("Index Scan", "Index Only Scan", "ModifyTable"), node
        rows = node["Actual Rows"] * node["Actual Loops"]
        removed = node.get("Rows Removed by Filter", 0) * node["Actual Loops"]
        assert rows + removed <= MOST_ROWS, node
    assert any(node.get("Index Name") == "ix_jobs_queued" for node in touching), touching


@pytest.mark.slow
@only("postgresql")
def test_the_sets_of_queued_jobs_are_found_by_seeks_on_postgresql(
    crowded: Any, migrated: Settings, cluster: Cluster
) -> None:
    with explained(cluster, migrated) as (connection, plans):
        found = UnitOfWork(connection, crowded.clock(), "test").statements.queued_requirements()
    assert len(found) == len(set(found)) == 102
    touching = [
        node
        for plan in plans
        for node in every_node(plan["Plan"])
        if node.get("Relation Name") == "jobs"
    ]
    # One job is read for each set, although there are 10,000 jobs.
    rows = sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in touching
    )
    assert touching
    assert rows <= len(found) + MOST_ROWS
    assert {node["Index Name"] for node in touching} == {"ix_jobs_queued"}


@pytest.mark.slow
@only("postgresql")
def test_repeated_claims_use_a_generic_plan(crowded: Any, migrated: Settings, clock: Any) -> None:
    slots = 20
    with writing(migrated) as engine, engine.connect() as connection:
        memory = batches.BatchCaches(
            RequirementCatalog(), LastSeenThrottle(migrated.node_offline_s)
        )
        for count in range(1, slots):
            # The transaction is committed although it has no changes, because psycopg drops
            # prepared statements after a rollback.
            with connection.begin():
                work = UnitOfWork(connection, clock(), "test")
                batch = [requests.ClaimJob("worker1", slot) for slot in range(count)]
                batches.BatchExecutor(memory, migrated).apply(work, batch)
        plans = connection.execute(
            text("SELECT statement, custom_plans, generic_plans FROM pg_prepared_statements")
        ).all()
    claiming = [plan for plan in plans if "SKIP LOCKED" in plan.statement]
    assert claiming, plans
    # PostgreSQL uses five custom plans before it compares their cost with that of a generic plan.
    assert all(plan.custom_plans <= 5 < plan.generic_plans for plan in claiming), claiming


@contextmanager
def explained(
    cluster: Cluster, settings: Settings
) -> Iterator[tuple[Connection, list[dict[str, Any]]]]:
    """Yield a connection in a transaction, and the list of the plans of its executed statements."""
    name = settings.database_url.rpartition("/")[2].partition("?")[0]
    with cluster.connect(name) as admin:
        for setting, value in (
            ("session_preload_libraries", "auto_explain"),
            ("auto_explain.log_min_duration", "0"),
            ("auto_explain.log_analyze", "on"),
            ("auto_explain.log_format", "json"),
            ("auto_explain.log_level", "notice"),
        ):
            admin.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")  # type: ignore[arg-type]
        admin.execute("ANALYZE")
    plans: list[dict[str, Any]] = []

    def record(notice: Any) -> None:
        _, _, plan = notice.message_primary.partition("plan:\n")
        if plan:
            plans.append(json.loads(plan))

    with writing(settings) as engine, engine.connect() as connection, connection.begin() as change:
        connection.execute(text("SELECT 1"))
        driver: Any = connection.connection.driver_connection
        driver.add_notice_handler(record)
        yield connection, plans
        change.rollback()


def every_node(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield all nodes of a plan, starting with the root."""
    yield plan
    for child in plan.get("Plans", []):
        yield from every_node(child)
