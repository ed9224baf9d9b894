"""Long polls: woken at once, one for a job, and never in the way."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ffrtmp_master.queue.waiting import WaitingRoom


class Jobs:
    """Jobs that claims take; counts how often somebody looked."""

    def __init__(self) -> None:
        self.ready = 0
        self.looks = 0

    async def take(self) -> str | None:
        self.looks += 1
        if not self.ready:
            return None
        self.ready -= 1
        return "a job"


def in_room(scene: Callable[[WaitingRoom, Jobs], Awaitable[None]], repoll_s: float = 60.0) -> None:
    async def play() -> None:
        await scene(WaitingRoom(repoll_s), Jobs())

    asyncio.run(play())


def park(room: WaitingRoom, jobs: Jobs, node: str, *encoders: str) -> asyncio.Task[str | None]:
    return asyncio.create_task(room.until(jobs.take, node, lambda: frozenset(encoders), 30))


def test_one_job_wakes_one_waiter_that_can_do_it() -> None:
    async def scene(room: WaitingRoom, jobs: Jobs) -> None:
        tasks = [park(room, jobs, f"n{n}", "libx264" if n else "libx265") for n in range(5)]
        await asyncio.sleep(0.01)
        assert (len(room), jobs.looks) == (5, 5)
        jobs.ready = 1
        room.wake(None, ["libx264"])
        assert await asyncio.wait_for(tasks[1], 1) == "a job"
        assert (len(room), jobs.looks) == (4, 6)
        room.close()
        assert await asyncio.gather(*tasks) == [None, "a job", None, None, None]

    in_room(scene)


def test_a_lost_hint_costs_only_until_the_next_look() -> None:
    async def scene(room: WaitingRoom, jobs: Jobs) -> None:
        task = park(room, jobs, "n1", "libx264")
        await asyncio.sleep(0.01)
        jobs.ready = 1
        assert await asyncio.wait_for(task, 1) == "a job"

    in_room(scene, repoll_s=0.05)


def test_a_hint_to_one_who_left_goes_to_another() -> None:
    async def scene(room: WaitingRoom, jobs: Jobs) -> None:
        first, second = park(room, jobs, "n1", "libx264"), park(room, jobs, "n1", "libx264")
        await asyncio.sleep(0.01)
        jobs.ready = 1
        room.wake("n1", ["libx264"])
        first.cancel()
        assert await asyncio.wait_for(second, 1) == "a job"

    in_room(scene)


def test_a_hint_during_a_look_is_not_lost() -> None:
    async def scene(room: WaitingRoom, jobs: Jobs) -> None:
        async def look() -> str | None:
            found = await jobs.take()
            if jobs.looks == 1:
                # The job is queued after this look's transaction and before the waiter sleeps.
                jobs.ready = 1
                room.wake(None, ["libx264"])
            return found

        waiting = room.until(look, "n1", lambda: frozenset({"libx264"}), 30)
        assert await asyncio.wait_for(waiting, 1) == "a job"

    in_room(scene)


def test_a_claim_ends_when_its_time_is_over(ready_house: Any) -> None:
    start = time.monotonic()
    assert ready_house.claim("worker1", wait_s=0.3) is None
    assert 0.3 <= time.monotonic() - start < 2
