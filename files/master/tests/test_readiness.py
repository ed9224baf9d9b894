"""Readiness: the master is ready while it can write to its database, and checks this cheaply."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import factories
import pytest
from databases import only
from ffrtmp_master.background.readiness import NotReadyError
from in_process_master import MasterHarness
from polling import wait_until
from postgresql import Cluster
from psycopg import sql
from sqlalchemy import event, make_url


@contextmanager
def read_only_file(harness: MasterHarness) -> Iterator[None]:
    """Refuse writes as SQLite does when its file system has become read-only."""
    engine = harness.services._engines[0]

    def refuse_writes(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA query_only = ON")

    event.listen(engine, "connect", refuse_writes)
    harness.services.writer._transactions.close()
    engine.dispose()
    yield
    event.remove(engine, "connect", refuse_writes)


@contextmanager
def read_only_server(harness: MasterHarness, cluster: Cluster) -> Iterator[None]:
    """Refuse writes as a server does that has been a primary before a failover."""
    name = sql.Identifier(make_url(harness.services.settings.database_url).database or "")
    alter = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name)
    cluster.execute(alter)
    disconnect(cluster, harness)
    try:
        yield
    finally:
        cluster.execute(
            sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(name)
        )


def disconnect(cluster: Cluster, harness: MasterHarness) -> None:
    name = make_url(harness.services.settings.database_url).database
    with cluster.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )


@pytest.fixture
def read_only(engine: str, harness: MasterHarness, request: pytest.FixtureRequest) -> Any:
    """A function that returns a context in which the database is read-only."""
    if engine == "sqlite":
        return lambda: read_only_file(harness)
    cluster: Cluster = request.getfixturevalue("cluster")
    return lambda: read_only_server(harness, cluster)


def wait_for_readiness(harness: MasterHarness, status: int) -> str:
    def text() -> str | None:
        answer = harness.call(None, "GET", "/readyz")
        return answer.text if answer.status_code == status else None

    return wait_until(text, f"/readyz answers {status}")


@pytest.mark.slow
def test_a_master_with_a_read_only_database_is_not_ready(
    ready_harness: MasterHarness, read_only: Any
) -> None:
    assert ready_harness.call(None, "GET", "/readyz").status_code == 200
    with read_only():
        assert "read-only" in wait_for_readiness(ready_harness, 503)
        refused = ready_harness.call("submitter", "POST", "/v1/jobs", factories.job())
        assert refused.status_code == 503
        assert refused.headers["content-type"] == "application/problem+json"
        assert int(refused.headers["retry-after"]) > 0
        assert "read-only" in refused.json()["detail"]
        # An upload to PostgreSQL uses connections of its own.
        source = ready_harness.call(
            "submitter", "PUT", f"/v1/sources/{factories.CLIP_SHA256}", content=factories.CLIP
        )
        assert source.status_code == 503, source.text
        assert ready_harness.call("viewer", "GET", "/v1/jobs").status_code == 200
        assert ready_harness.call(None, "GET", "/healthz").status_code == 200
    # No connection to the read-only server is kept, so the master recovers without a restart.
    wait_for_readiness(ready_harness, 200)
    assert ready_harness.call("submitter", "POST", "/v1/jobs", factories.job()).status_code == 201


def test_many_requests_share_one_check(ready_harness: MasterHarness) -> None:
    """The route needs no token, so the database is not queried for every request."""
    services = ready_harness.services
    statements = 0

    def count(*_: Any) -> None:
        nonlocal statements
        statements += 1

    for engine in services._engines:
        event.listen(engine, "begin", count)

    async def check_often() -> None:
        await asyncio.gather(*(services.readiness.check() for _ in range(200)))

    with ready_harness.client.portal() as portal:
        portal.call(check_often)
    assert statements <= 2
    for _ in range(20):
        assert ready_harness.call(None, "GET", "/readyz").status_code == 200
    assert statements <= 2 * 3


@pytest.mark.slow
@only("sqlite")
def test_a_check_that_hangs_ends_after_a_time(
    ready_harness: MasterHarness, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ffrtmp_master.background.readiness._CHECK_TIMEOUT_S", 0.2)
    services = ready_harness.services

    def block(_work: Any) -> None:
        time.sleep(1.0)

    async def check() -> str:
        blocked = asyncio.ensure_future(services.writer.write(block))
        await asyncio.sleep(0)
        try:
            await services.readiness.check()
        except NotReadyError as error:
            return str(error)
        finally:
            await blocked
        return ""

    with ready_harness.client.portal() as portal:
        assert "did not complete" in portal.call(check)
