"""Tests of batches, in which several requests affect each other within one transaction."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from uuid import UUID

import factories
import msgspec
from databases import only, writing
from ffrtmp_master.queue import batches, requests
from ffrtmp_master.queue.liveness import LastSeenThrottle
from ffrtmp_master.queue.requests import AnyRequest, ClaimOutcome, ReportOutcome
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog
from ffrtmp_master.settings import Settings
from ffrtmp_master.store.unit_of_work import Effects, UnitOfWork
from ffrtmp_shared.agent_models import FailureReport, NextClaim, ResultReport
from ffrtmp_shared.attempt_models import Failure
from ffrtmp_shared.failure_classes import FailureClass
from polling import wait_until
from postgresql import Cluster

NEXT = NextClaim(slot=1)


def apply(
    settings: Settings, clock: Callable[[], datetime], batch: Sequence[AnyRequest]
) -> tuple[list[Any], Effects]:
    """Apply requests in one transaction, as the writer does; return the answers and the effects."""
    with writing(settings) as engine, engine.connect() as connection, connection.begin():
        work = UnitOfWork(connection, clock(), "test")
        memory = batches.BatchCaches(
            RequirementCatalog(), LastSeenThrottle(settings.node_offline_s)
        )
        answers = batches.BatchExecutor(memory, settings).apply(work, batch)
        work.flush()
        return answers, work.effects


def result(claim: Any, following: NextClaim | None = NEXT) -> requests.RecordResult:
    measurement = factories.measurement()
    report = ResultReport(attempt=claim["attempt"], measurement=measurement, next=following)
    as_sent = msgspec.json.encode(measurement).decode()
    return requests.RecordResult(UUID(claim["job"]["id"]), "worker1", report, as_sent)


def test_a_node_that_gets_the_next_job_is_not_announced_as_free(
    ready_harness: Any, migrated: Settings, clock: Any
) -> None:
    for _ in range(2):
        ready_harness.submit()
    claim = ready_harness.claim("worker1")
    ((outcome,), effects) = apply(migrated, clock, [result(claim)])
    assert isinstance(outcome, ReportOutcome)
    assert outcome.claimed is not None
    assert outcome.claimed.job is not None
    assert (effects.freed, effects.taken) == (set(), {"worker1": True})
    following = {"attempt": 1, "job": {"id": str(outcome.claimed.job.id)}}
    ((outcome,), effects) = apply(migrated, clock, [result(following)])
    assert outcome.claimed.job is None
    assert (effects.freed, effects.taken) == ({"worker1"}, {})


def test_a_node_that_gets_a_shared_job_next_is_announced_as_free(
    ready_harness: Any, migrated: Settings, clock: Any
) -> None:
    ready_harness.submit()
    ready_harness.submit(exclusive=False)
    claim = ready_harness.claim("worker1")
    _, effects = apply(migrated, clock, [result(claim)])
    assert (effects.freed, effects.taken) == ({"worker1"}, {"worker1": False})


def test_a_claim_finds_the_job_that_failed_in_the_same_batch(
    ready_harness: Any, migrated: Settings, clock: Any
) -> None:
    ready_harness.submit()
    claim = ready_harness.claim("worker1")
    job_id = UUID(claim["job"]["id"])
    failure = Failure(failure_class=FailureClass.NETWORK, message="cut")
    failed = requests.RecordFailure(job_id, "worker1", FailureReport(attempt=1, failure=failure))
    without_backoff = msgspec.structs.replace(migrated, retry_backoff_s=0.0)
    _, claimed = apply(without_backoff, clock, [failed, requests.ClaimJob("worker1", 1)])[0]
    assert isinstance(claimed, ClaimOutcome)
    assert claimed.job is not None
    assert (claimed.job.id, claimed.job.attempt) == (job_id, 2)
    assert ready_harness.history(str(job_id))[1:] == [
        ("queued", "leased", 1),
        ("leased", "queued", 1),
        ("queued", "leased", 2),
    ]


@only("postgresql")
def test_a_result_at_another_master_ends_the_job_before_its_slot_claims_again(
    ready_harness: Any, migrated: Settings, clock: Any, cluster: Cluster
) -> None:
    job_id = ready_harness.submit()["id"]
    claim = ready_harness.claim("worker1")
    with (
        ThreadPoolExecutor() as pool,
        writing(migrated) as engine,
        engine.connect() as connection,
        connection.begin() as change,
    ):
        work = UnitOfWork(connection, clock(), "another")
        memory = batches.BatchCaches(
            RequirementCatalog(), LastSeenThrottle(migrated.node_offline_s)
        )
        batches.BatchExecutor(memory, migrated).apply(work, [result(claim, following=None)])
        work.flush()
        claiming = pool.submit(apply, migrated, clock, [requests.ClaimJob("worker1", 1)])
        wait_for_a_lock(cluster)
        change.commit()
        ((claimed,), effects) = claiming.result()
    assert (claimed.job, effects.ended) == (None, [])
    assert ready_harness.job(job_id)["state"] == "succeeded"


def wait_for_a_lock(cluster: Cluster) -> None:
    """Wait until a database session waits for a lock that another session holds."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with cluster.connect() as admin:
        wait_until(
            lambda: admin.execute(waiting).fetchone(), "a session waits for a lock", interval_s=0.02
        )
