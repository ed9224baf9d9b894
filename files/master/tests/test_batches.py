"""What requests that share a transaction mean to each other."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import specimens
from databases import only, writing
from ffrtmp_master.queue import batches, requests
from ffrtmp_master.queue.liveness import Hearing
from ffrtmp_master.queue.matching import Catalog
from ffrtmp_master.queue.requests import AnyRequest, Claimed, HandedIn
from ffrtmp_master.queue.uploads import Uploads
from ffrtmp_master.settings import Settings
from ffrtmp_master.store.unit_of_work import Effects, Work
from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.models import Failure, FailureReport, NextClaim, ResultReport
from postgresql import Cluster

NEXT = NextClaim(slot=1)


def apply(
    settings: Settings, clock: Callable[[], datetime], asked: Sequence[AnyRequest]
) -> tuple[list[Any], Effects]:
    """Apply requests in a transaction as the writer does; return answers and what follows."""
    with writing(settings) as engine, engine.connect() as connection, connection.begin():
        work = Work(connection, clock(), "test")
        memory = batches.Memory(Catalog(), Hearing(settings.node_offline_s), Uploads())
        answers = batches.apply(work, asked, memory, settings)
        work.flush()
        return answers, work.effects


def result(claim: Any, following: NextClaim | None = NEXT) -> requests.TakeResult:
    measurement = specimens.measurement()
    report = ResultReport(attempt=claim["attempt"], measurement=measurement, next=following)
    as_sent = msgspec.json.encode(measurement).decode()
    return requests.TakeResult(UUID(claim["job"]["id"]), "worker1", report, as_sent)


def test_a_node_that_goes_on_at_once_is_not_announced_as_free(
    ready_house: Any, migrated: Settings, clock: Any
) -> None:
    for _ in range(2):
        ready_house.submit()
    claim = ready_house.claim("worker1")
    ((handed_in,), effects) = apply(migrated, clock, [result(claim)])
    assert isinstance(handed_in, HandedIn)
    assert handed_in.claimed is not None
    assert handed_in.claimed.job is not None
    assert (effects.freed, effects.taken) == (set(), {"worker1": True})
    following = {"attempt": 1, "job": {"id": str(handed_in.claimed.job.id)}}
    ((handed_in,), effects) = apply(migrated, clock, [result(following)])
    assert handed_in.claimed.job is None
    assert (effects.freed, effects.taken) == ({"worker1"}, {})


def test_a_node_that_goes_on_with_a_job_that_shares_is_announced(
    ready_house: Any, migrated: Settings, clock: Any
) -> None:
    ready_house.submit()
    ready_house.submit(exclusive=False)
    claim = ready_house.claim("worker1")
    _, effects = apply(migrated, clock, [result(claim)])
    assert (effects.freed, effects.taken) == ({"worker1"}, {"worker1": False})


def test_a_claim_finds_the_job_that_failed_in_the_same_batch(
    ready_house: Any, migrated: Settings, clock: Any
) -> None:
    ready_house.submit()
    claim = ready_house.claim("worker1")
    job_id = UUID(claim["job"]["id"])
    failure = Failure(failure_class=FailureClass.NETWORK, message="cut")
    failed = requests.TakeFailure(job_id, "worker1", FailureReport(attempt=1, failure=failure))
    at_once = msgspec.structs.replace(migrated, retry_backoff_s=0.0)
    _, claimed = apply(at_once, clock, [failed, requests.Claim("worker1", 1)])[0]
    assert isinstance(claimed, Claimed)
    assert claimed.job is not None
    assert (claimed.job.id, claimed.job.attempt) == (job_id, 2)
    assert ready_house.history(str(job_id))[1:] == [
        ("queued", "leased", 1),
        ("leased", "queued", 1),
        ("queued", "leased", 2),
    ]


@only("postgresql")
def test_a_result_that_another_master_takes_ends_the_job_before_its_slot_claims_anew(
    ready_house: Any, migrated: Settings, clock: Any, cluster: Cluster
) -> None:
    job_id = ready_house.submit()["id"]
    claim = ready_house.claim("worker1")
    with (
        ThreadPoolExecutor() as pool,
        writing(migrated) as engine,
        engine.connect() as connection,
        connection.begin() as change,
    ):
        work = Work(connection, clock(), "another")
        memory = batches.Memory(Catalog(), Hearing(migrated.node_offline_s), Uploads())
        batches.apply(work, [result(claim, following=None)], memory, migrated)
        work.flush()
        claiming = pool.submit(apply, migrated, clock, [requests.Claim("worker1", 1)])
        wait_for_a_lock(cluster)
        change.commit()
        ((claimed,), effects) = claiming.result()
    assert (claimed.job, effects.ended) == (None, [])
    assert ready_house.job(job_id)["state"] == "succeeded"


def wait_for_a_lock(cluster: Cluster) -> None:
    """Wait until a session waits for what another has locked."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    deadline = time.monotonic() + 10
    with cluster.connect() as admin:
        while admin.execute(waiting).fetchone() is None:
            assert time.monotonic() < deadline, "nobody waits for a lock"
            time.sleep(0.02)
