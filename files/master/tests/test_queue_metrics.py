"""Tests of the metrics of queued jobs, nodes and parked claims, which are read at each scrape."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from ffrtmp_master.queue.parked_claims import ParkedClaim
from ffrtmp_master.queue.pending_reasons import explain, read_occupancy
from ffrtmp_master.queue.requests import ClaimOutcome
from ffrtmp_master.queue.requirement_catalog import RequirementSet
from ffrtmp_master.store.schema import jobs
from ffrtmp_master.telemetry import snapshot
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.models import Job
from ffrtmp_shared.states import JobState, PendingReason
from sqlalchemy import Engine, event, insert, select, text

from .scrapes import Scrape, portal_call


def test_queued_jobs_are_counted_by_priority_and_reason(ready_harness: Any) -> None:
    ready_harness.submit(priority="live")
    ready_harness.submit(priority="low")
    ready_harness.submit(priority="low", exclusive=False)
    ready_harness.submit("libx265", priority="high")
    assert queued_by_reason(ready_harness) == {
        ("live", "ready"): 1,
        ("low", "ready"): 2,
        ("high", "no_node"): 1,
    }
    claim = ready_harness.claim("worker1")
    value = Scrape(ready_harness)
    assert value("jobs_held", state="leased") == 1
    assert queued_by_reason(ready_harness) == {("low", "busy"): 2, ("high", "no_node"): 1}
    ready_harness.heartbeat(claim)
    assert Scrape(ready_harness)("jobs_held", state="running") == 1
    ready_harness.fail(claim, "network")
    ready_harness.register("worker2", "libx265")
    assert queued_by_reason(ready_harness) == {
        ("live", "backoff"): 1,
        ("low", "ready"): 2,
        ("high", "ready"): 1,
    }
    ready_harness.clock.advance(30)
    assert queued_by_reason(ready_harness)["live", "ready"] == 1


def test_while_a_shared_job_runs_only_shared_jobs_are_ready(ready_harness: Any) -> None:
    ready_harness.submit(exclusive=False)
    ready_harness.claim("worker1")
    ready_harness.submit(exclusive=False, priority="high")
    ready_harness.submit(exclusive=True, priority="low")
    assert queued_by_reason(ready_harness) == {("high", "ready"): 1, ("low", "busy"): 1}


def test_the_reason_follows_changes_of_the_node(ready_harness: Any) -> None:
    def reason() -> str:
        ((_, found),) = queued_by_reason(ready_harness)
        return found

    ready_harness.submit()
    assert reason() == "ready"
    ready_harness.register("worker1", "libx265")
    assert reason() == "no_node"
    ready_harness.register("worker1", "libx264")
    assert reason() == "ready"
    ready_harness.ok("admin", "PATCH", "/v1/nodes/worker1", {"state": "draining"})
    assert reason() == "no_node"
    ready_harness.ok("admin", "PATCH", "/v1/nodes/worker1", {"state": "active"})
    assert reason() == "ready"
    ready_harness.clock.advance(61)
    assert reason() == "no_node"
    ready_harness.register("worker1")
    assert reason() == "ready"
    ready_harness.ok("admin", "DELETE", "/v1/nodes/worker1")
    assert reason() == "no_node"


def queued_by_reason(harness: Any) -> dict[tuple[str, str], float]:
    """Return the number of queued jobs for each reason in the metrics.

    The numbers must agree with the jobs that the API returns.
    """
    now = harness.clock()
    heard_since = harness.services.liveness.heard_since(now)
    expected: Counter[tuple[str, str]] = Counter()

    async def load_occupancy(services: Any) -> Any:
        return await services.reader.read(lambda c: read_occupancy(c, heard_since))

    occupancy = portal_call(harness, load_occupancy)
    for item in harness.every("/v1/jobs", state="queued"):
        job = msgspec.convert(item, Job)
        if job.state is JobState.QUEUED:
            wanted = RequirementSet(requirements=job.requirements, exclusive=job.exclusive)
            may_start = job.not_before is None or job.not_before <= now
            reason = explain(wanted, occupancy).reason if may_start else PendingReason.BACKOFF
            expected[job.priority, reason] += 1
    found = Scrape(harness).queued()
    assert found == expected
    return found


def test_nodes_are_counted_by_state(ready_harness: Any) -> None:
    ready_harness.register("worker2")
    ready_harness.register("worker3")
    ready_harness.ok("admin", "PATCH", "/v1/nodes/worker3", {"state": "draining"})
    value = Scrape(ready_harness)
    assert value("nodes", state="active") == 2
    assert value("nodes", state="draining") == 1
    ready_harness.clock.advance(61)
    ready_harness.register("worker2")
    value = Scrape(ready_harness)
    assert value("nodes", state="active") == 1
    assert value("nodes", state="offline") == 2


def test_a_scrape_does_not_read_finished_jobs(ready_harness: Any, engine: str) -> None:
    ready_harness.submit()
    ready_harness.result(ready_harness.claim("worker1"))
    ready_harness.submit()
    ready_harness.submit("libx265")
    ready_harness.submit()
    assert ready_harness.claim("worker1")
    portal_call(ready_harness, copy_finished)
    with statements_of_readers() as statements:
        assert Scrape(ready_harness).queued() == {
            ("medium", "busy"): 1,
            ("medium", "no_node"): 1,
        }
    of_jobs = [statement for statement in statements if "jobs" in statement[0]]
    assert len(of_jobs) == 2
    assert not [sql for sql, _ in statements if "transitions" in sql or "results" in sql]
    indexes = {"ix_jobs_queued": False, "ix_jobs_held": False}
    for statement, parameters in of_jobs:
        plan = portal_call(ready_harness, explained, engine, statement, parameters)
        used = [index for index in indexes if index in plan]
        assert len(used) == 1, plan
        assert "Seq Scan on jobs" not in plan
        indexes[used[0]] = True
    assert all(indexes.values())


async def copy_finished(services: Any) -> None:
    """Insert many finished jobs and update the statistics of the query planner."""

    def copy(work: Any) -> None:
        finished = work.connection.execute(select(jobs).where(jobs.c.state == "succeeded")).one()
        rows = [{**finished._mapping, "id": new_id(), "key": None} for _ in range(3000)]
        work.connection.execute(insert(jobs), rows)

    await services.writer.write(copy)
    await services.writer.write(lambda work: work.connection.execute(text("ANALYZE jobs")))


async def explained(services: Any, engine: str, statement: str, parameters: Any) -> str:
    explain = "EXPLAIN QUERY PLAN" if engine == "sqlite" else "EXPLAIN"

    def read_plan(connection: Any) -> str:
        rows = connection.exec_driver_sql(f"{explain} {statement}", parameters)
        return "\n".join(str(row) for row in rows)

    return await services.reader.read(read_plan)


@contextmanager
def statements_of_readers() -> Iterator[list[tuple[str, Any]]]:
    """Record the statements that are sent to databases within the context."""
    found: list[tuple[str, Any]] = []

    def record(
        _connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any
    ) -> None:
        found.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", record)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", record)


def test_parked_claims_and_their_wakes_are_counted(ready_harness: Any) -> None:
    async def exercise(services: Any) -> tuple[Any, Any]:
        answers: list[ClaimOutcome] = [
            ClaimOutcome(None),
            ClaimOutcome(None),
            ClaimOutcome(None),
            ClaimOutcome(None),
        ]

        async def attempt() -> ClaimOutcome:
            return answers.pop()

        async def parked(wait_s: float) -> asyncio.Task[Any]:
            task = asyncio.create_task(
                services.parked_claims.wait_for_job(ParkedClaim("worker1"), attempt, wait_s)
            )
            while not len(services.parked_claims):
                await asyncio.sleep(0)
            return task

        # The first claim ends without being woken. The second claim is woken although there is no
        # job for it, and waits again.
        await (await parked(0.01))
        task = await parked(60)
        services.parked_claims.note_freed("worker1")
        while answers:
            await asyncio.sleep(0)
        waiting = await asyncio.to_thread(snapshot.take_snapshot, services.snapshot_sources)
        task.cancel()
        await asyncio.wait([task])
        return waiting, await asyncio.to_thread(snapshot.take_snapshot, services.snapshot_sources)

    during, after = portal_call(ready_harness, exercise)
    assert (during.parked, during.wakeups, during.spurious_wakeups) == (1, 1, 1)
    assert (after.parked, after.wakeups, after.spurious_wakeups) == (0, 1, 1)
