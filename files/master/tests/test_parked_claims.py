"""Tests of parked claims, of which one is woken immediately for each job, without further polls."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from ffrtmp_master.queue.parked_claims import ParkedClaim, ParkedClaims
from ffrtmp_master.queue.requests import ClaimOutcome
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog, RequirementSet
from ffrtmp_master.store.rows import JobRow
from ffrtmp_shared.requirements import Requirements

# The ids of three sets of requirements.
ALONE, SHARED, OTHER = 1, 2, 3

JOB = cast(JobRow, object())


class RequirementStore:
    """A store that contains three sets of requirements, all of which have queued jobs."""

    def queued_requirements(self) -> list[int]:
        return [ALONE, SHARED, OTHER]

    def new_requirements(self, after: int) -> list[tuple[int, str]]:
        rows = (
            (ALONE, Requirements(encoder="libx264"), True),
            (SHARED, Requirements(encoder="libx264"), False),
            (OTHER, Requirements(encoder="libx265"), False),
        )
        return [
            (number, RequirementSet(requirements=wanted, exclusive=exclusive).key)
            for number, wanted, exclusive in rows
            if number > after
        ]


WAIT_S = 120
"""The wait time of claims: a claim that is not woken ends without a job after it."""

WAKEUP_TIMEOUT_S = 60


class Jobs:
    """A queue with a number of ready jobs, which counts the polls."""

    def __init__(self) -> None:
        self.ready = 0
        self.polls = 0

    async def claim(self, *open_to: int) -> ClaimOutcome:
        self.polls += 1
        if not self.ready:
            return ClaimOutcome(None, frozenset(open_to or (SHARED,)), is_idle=True)
        self.ready -= 1
        return ClaimOutcome(JOB)


def run_with_claims(exercise: Callable[[ParkedClaims, Jobs], Awaitable[None]]) -> None:
    catalog = RequirementCatalog()
    catalog.load_new(cast(Any, RequirementStore()))

    async def run() -> None:
        await exercise(ParkedClaims(catalog), Jobs())

    asyncio.run(run())


def park(parked: ParkedClaims, jobs: Jobs, node: str, *open_to: int) -> asyncio.Task[JobRow | None]:
    return asyncio.create_task(
        parked.wait_for_job(ParkedClaim(node), lambda: jobs.claim(*open_to), WAIT_S)
    )


def test_one_job_wakes_one_matching_claim() -> None:
    async def exercise(parked: ParkedClaims, jobs: Jobs) -> None:
        tasks = [park(parked, jobs, f"n{n}", SHARED if n else OTHER) for n in range(5)]
        await asyncio.sleep(0.01)
        assert (len(parked), jobs.polls) == (5, 5)
        jobs.ready = 1
        parked.wake(SHARED, 1)
        assert await asyncio.wait_for(tasks[1], WAKEUP_TIMEOUT_S) is JOB
        assert (len(parked), jobs.polls) == (4, 6)
        parked.close()
        assert await asyncio.gather(*tasks) == [None, JOB, None, None, None]

    run_with_claims(exercise)


def test_several_jobs_wake_as_many_claims() -> None:
    async def exercise(parked: ParkedClaims, jobs: Jobs) -> None:
        tasks = [park(parked, jobs, f"n{n}", SHARED) for n in range(5)]
        await asyncio.sleep(0.01)
        jobs.ready = 3
        parked.wake(SHARED, 3)
        await asyncio.sleep(0.01)
        assert [task.done() for task in tasks].count(True) == 3
        assert jobs.polls == 8
        parked.close()
        await asyncio.gather(*tasks)

    run_with_claims(exercise)


def test_exclusive_jobs_wake_one_slot_of_each_node() -> None:
    async def exercise(parked: ParkedClaims, jobs: Jobs) -> None:
        tasks = [park(parked, jobs, node, ALONE) for node in ("n1", "n1", "n2", "n2")]
        await asyncio.sleep(0.01)
        jobs.ready = 2
        parked.wake(ALONE, 2)
        await asyncio.sleep(0.01)
        assert [task.done() for task in tasks] == [True, False, True, False]
        assert jobs.polls == 6, "the other slots of a busy node are not woken"
        parked.close()
        await asyncio.gather(*tasks)

    run_with_claims(exercise)


def test_a_claim_of_a_freed_node_polls_again() -> None:
    async def exercise(parked: ParkedClaims, jobs: Jobs) -> None:
        here, there = park(parked, jobs, "n1", ALONE), park(parked, jobs, "n2", ALONE)
        await asyncio.sleep(0.01)
        parked.note_taken("n1", is_exclusive=True)
        jobs.ready = 1
        parked.note_freed("n1")
        assert await asyncio.wait_for(here, WAKEUP_TIMEOUT_S) is JOB
        assert not there.done()
        parked.close()
        assert await there is None

    run_with_claims(exercise)


def test_the_wakeup_of_a_canceled_claim_passes_to_another() -> None:
    async def exercise(parked: ParkedClaims, jobs: Jobs) -> None:
        first, second = park(parked, jobs, "n1", SHARED), park(parked, jobs, "n1", SHARED)
        await asyncio.sleep(0.01)
        jobs.ready = 1
        parked.wake(SHARED, 1)
        first.cancel()
        assert await asyncio.wait_for(second, WAKEUP_TIMEOUT_S) is JOB

    run_with_claims(exercise)


def test_the_wakeup_of_a_disconnected_client_passes_to_the_next_slot() -> None:
    async def exercise(parked: ParkedClaims, jobs: Jobs) -> None:
        async def poll_if_connected() -> ClaimOutcome:
            return ClaimOutcome(None) if is_disconnected else await jobs.claim(ALONE)

        is_disconnected = False
        waiter = ParkedClaim("n1")
        first = asyncio.create_task(
            parked.wait_for_job(waiter, poll_if_connected, WAIT_S, lambda: is_disconnected)
        )
        await asyncio.sleep(0.01)
        second = park(parked, jobs, "n1", ALONE)
        await asyncio.sleep(0.01)
        jobs.ready = 1
        parked.wake(ALONE, 1)
        is_disconnected = True
        assert await first is None
        assert await asyncio.wait_for(second, WAKEUP_TIMEOUT_S) is JOB

    run_with_claims(exercise)


def test_a_wakeup_during_a_poll_is_not_lost() -> None:
    async def exercise(parked: ParkedClaims, jobs: Jobs) -> None:
        async def poll() -> ClaimOutcome:
            found = await jobs.claim(SHARED)
            if jobs.polls == 1:
                # A job is queued after the transaction of this poll, but before the claim is
                # parked.
                jobs.ready = 1
                parked.wake(SHARED, 1)
            return found

        assert (
            await asyncio.wait_for(
                parked.wait_for_job(ParkedClaim("n1"), poll, WAIT_S), WAKEUP_TIMEOUT_S
            )
            is JOB
        )

    run_with_claims(exercise)


def test_a_job_locked_by_another_master_is_polled_for_soon() -> None:
    async def exercise(parked: ParkedClaims, jobs: Jobs) -> None:
        async def poll() -> ClaimOutcome:
            jobs.polls += 1
            if jobs.polls == 1:
                return ClaimOutcome(None, frozenset({SHARED}), is_idle=True, is_contended=True)
            return ClaimOutcome(JOB)

        assert (
            await asyncio.wait_for(
                parked.wait_for_job(ParkedClaim("n1"), poll, WAIT_S), WAKEUP_TIMEOUT_S
            )
            is JOB
        )

    run_with_claims(exercise)


def test_a_claim_ends_after_its_wait_time(ready_harness: Any) -> None:
    start = time.monotonic()
    assert ready_harness.claim("worker1", wait_s=0.3) is None
    assert 0.3 <= time.monotonic() - start < 2
