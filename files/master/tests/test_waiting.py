"""Long polls: woken at once, one for a job, and never in the way."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from ffrtmp_master.queue.parked_claims import ParkedClaim, ParkedClaims
from ffrtmp_master.queue.requests import ClaimOutcome
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog, RequirementSet
from ffrtmp_master.store.rows import JobRow
from ffrtmp_shared.requirements import Requirements

# Sets of requirements by their ids in the database.
ALONE, SHARED, OTHER = 1, 2, 3

A_JOB = cast(JobRow, object())


class Stored:
    """The sets of requirements that the database has."""

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


class Jobs:
    """Jobs that claims take; counts how often somebody looked."""

    def __init__(self) -> None:
        self.ready = 0
        self.looks = 0

    async def take(self, *open_to: int) -> ClaimOutcome:
        self.looks += 1
        if not self.ready:
            return ClaimOutcome(None, frozenset(open_to or (SHARED,)), is_idle=True)
        self.ready -= 1
        return ClaimOutcome(A_JOB)


def in_room(scene: Callable[[ParkedClaims, Jobs], Awaitable[None]]) -> None:
    catalog = RequirementCatalog()
    catalog.load_new(cast(Any, Stored()))

    async def play() -> None:
        await scene(ParkedClaims(catalog), Jobs())

    asyncio.run(play())


def park(room: ParkedClaims, jobs: Jobs, node: str, *open_to: int) -> asyncio.Task[JobRow | None]:
    return asyncio.create_task(
        room.wait_for_job(ParkedClaim(node), lambda: jobs.take(*open_to), 30)
    )


def test_one_job_wakes_one_waiter_that_can_do_it() -> None:
    async def scene(room: ParkedClaims, jobs: Jobs) -> None:
        tasks = [park(room, jobs, f"n{n}", SHARED if n else OTHER) for n in range(5)]
        await asyncio.sleep(0.01)
        assert (len(room), jobs.looks) == (5, 5)
        jobs.ready = 1
        room.wake(SHARED, 1)
        assert await asyncio.wait_for(tasks[1], 1) is A_JOB
        assert (len(room), jobs.looks) == (4, 6)
        room.close()
        assert await asyncio.gather(*tasks) == [None, A_JOB, None, None, None]

    in_room(scene)


def test_as_many_jobs_wake_as_many_waiters() -> None:
    async def scene(room: ParkedClaims, jobs: Jobs) -> None:
        tasks = [park(room, jobs, f"n{n}", SHARED) for n in range(5)]
        await asyncio.sleep(0.01)
        jobs.ready = 3
        room.wake(SHARED, 3)
        await asyncio.sleep(0.01)
        assert [task.done() for task in tasks].count(True) == 3
        assert jobs.looks == 8
        room.close()
        await asyncio.gather(*tasks)

    in_room(scene)


def test_exclusive_jobs_wake_one_slot_of_each_node() -> None:
    async def scene(room: ParkedClaims, jobs: Jobs) -> None:
        tasks = [park(room, jobs, node, ALONE) for node in ("n1", "n1", "n2", "n2")]
        await asyncio.sleep(0.01)
        jobs.ready = 2
        room.wake(ALONE, 2)
        await asyncio.sleep(0.01)
        assert [task.done() for task in tasks] == [True, False, True, False]
        assert jobs.looks == 6, "the other slots of a node that will be busy need not look"
        room.close()
        await asyncio.gather(*tasks)

    in_room(scene)


def test_a_node_that_is_free_again_looks_anew() -> None:
    async def scene(room: ParkedClaims, jobs: Jobs) -> None:
        here, there = park(room, jobs, "n1", ALONE), park(room, jobs, "n2", ALONE)
        await asyncio.sleep(0.01)
        room.note_taken("n1", is_exclusive=True)
        jobs.ready = 1
        room.note_freed("n1")
        assert await asyncio.wait_for(here, 1) is A_JOB
        assert not there.done()
        room.close()
        assert await there is None

    in_room(scene)


def test_a_hint_to_one_who_left_goes_to_another() -> None:
    async def scene(room: ParkedClaims, jobs: Jobs) -> None:
        first, second = park(room, jobs, "n1", SHARED), park(room, jobs, "n1", SHARED)
        await asyncio.sleep(0.01)
        jobs.ready = 1
        room.wake(SHARED, 1)
        first.cancel()
        assert await asyncio.wait_for(second, 1) is A_JOB

    in_room(scene)


def test_a_hint_to_one_whose_client_hung_up_goes_to_the_next_slot() -> None:
    async def scene(room: ParkedClaims, jobs: Jobs) -> None:
        async def look_unless_gone() -> ClaimOutcome:
            return ClaimOutcome(None) if is_gone else await jobs.take(ALONE)

        is_gone = False
        waiter = ParkedClaim("n1")
        first = asyncio.create_task(
            room.wait_for_job(waiter, look_unless_gone, 30, lambda: is_gone)
        )
        await asyncio.sleep(0.01)
        second = park(room, jobs, "n1", ALONE)
        await asyncio.sleep(0.01)
        jobs.ready = 1
        room.wake(ALONE, 1)
        is_gone = True
        assert await first is None
        assert await asyncio.wait_for(second, 1) is A_JOB

    in_room(scene)


def test_a_hint_during_a_look_is_not_lost() -> None:
    async def scene(room: ParkedClaims, jobs: Jobs) -> None:
        async def look() -> ClaimOutcome:
            found = await jobs.take(SHARED)
            if jobs.looks == 1:
                # The job is queued after this look's transaction and before the waiter sleeps.
                jobs.ready = 1
                room.wake(SHARED, 1)
            return found

        assert await asyncio.wait_for(room.wait_for_job(ParkedClaim("n1"), look, 30), 1) is A_JOB

    in_room(scene)


def test_what_another_master_holds_for_a_moment_is_looked_for_soon() -> None:
    async def scene(room: ParkedClaims, jobs: Jobs) -> None:
        async def look() -> ClaimOutcome:
            jobs.looks += 1
            if jobs.looks == 1:
                return ClaimOutcome(None, frozenset({SHARED}), is_idle=True, is_contended=True)
            return ClaimOutcome(A_JOB)

        assert await asyncio.wait_for(room.wait_for_job(ParkedClaim("n1"), look, 30), 1) is A_JOB

    in_room(scene)


def test_a_claim_ends_when_its_time_is_over(ready_harness: Any) -> None:
    start = time.monotonic()
    assert ready_harness.claim("worker1", wait_s=0.3) is None
    assert 0.3 <= time.monotonic() - start < 2
