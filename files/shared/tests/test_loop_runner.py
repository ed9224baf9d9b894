"""The runner of periodic loops: what a failing step does, and how a loop stops and wakes up."""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable

import pytest
from ffrtmp_shared.loop_metrics import LoopCollector
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import AfterPass, AsyncLoop, Pacing, ThreadLoop
from polling import TIMEOUT_S
from prometheus_client import CollectorRegistry

QUICK = Pacing(interval_s=0.001, retry_pause_s=0.001, retry_pause_max_s=0.002)
RARE = Pacing(interval_s=3600.0)


class Step:
    """A step that raises the given exceptions first, and ends the loop after `passes` calls."""

    def __init__(self, *errors: Exception, passes: int = 5) -> None:
        self.errors = list(errors)
        self.passes = passes
        self.calls = 0

    def __call__(self) -> AfterPass:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return AfterPass.END if self.calls >= self.passes else AfterPass.PAUSE

    async def as_async(self) -> AfterPass:
        return self()


def run_in_thread(registry: LoopRegistry, step: Step, pacing: Pacing = QUICK) -> None:
    ThreadLoop(registry.add("work", stale_after_s=60.0), step, pacing).run()


def run_in_asyncio(registry: LoopRegistry, step: Step, pacing: Pacing = QUICK) -> None:
    async def run() -> None:
        loop = AsyncLoop(registry.add("work", stale_after_s=60.0), step.as_async, pacing)
        loop.start()
        while loop.is_running:
            await asyncio.sleep(0)

    asyncio.run(run())


FORMS = pytest.mark.parametrize("run", [run_in_thread, run_in_asyncio])
Run = Callable[..., None]


@FORMS
@pytest.mark.parametrize(
    "error", [ZeroDivisionError("division by zero"), RuntimeError(""), RecursionError()]
)
def test_a_loop_survives_any_exception_of_its_step(
    run: Run, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    registry, step = LoopRegistry(), Step(error, error)
    run(registry, step)
    assert step.calls == 5
    status = registry.find("work")
    assert status is not None
    assert status.read().failures == 2
    assert "loop work failed" in caplog.text
    assert type(error).__name__ in caplog.text


@FORMS
def test_the_first_pass_is_immediate(run: Run) -> None:
    step = Step(passes=1)
    run(LoopRegistry(), step, Pacing(interval_s=3600.0))
    assert step.calls == 1


def test_the_pause_after_failures_grows_up_to_a_limit() -> None:
    pacing = Pacing(interval_s=1.0, retry_pause_max_s=5.0)
    pauses_s = [pacing.pause_after_failures_s(failures) for failures in (1, 2, 3, 4, 10_000)]
    assert pauses_s == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert Pacing(interval_s=300.0).pause_after_failures_s(7) == 300.0


def test_stopping_a_thread_does_not_wait_for_the_pause() -> None:
    passed = threading.Event()

    def set_passed() -> None:
        passed.set()

    loop = ThreadLoop(LoopRegistry().add("work", stale_after_s=1.0), set_passed, RARE)
    loop.start()
    assert passed.wait(TIMEOUT_S)
    start_s = time.monotonic()
    loop.stop()
    assert time.monotonic() - start_s < 5


def test_a_wakeup_ends_the_pause_of_a_thread() -> None:
    passes = queue.Queue[None]()

    def step() -> None:
        passes.put(None)

    loop = ThreadLoop(LoopRegistry().add("work", stale_after_s=1.0), step, RARE)
    loop.start()
    passes.get(timeout=TIMEOUT_S)
    loop.wake()
    passes.get(timeout=TIMEOUT_S)
    loop.stop()
    assert passes.empty()


def test_wakeups_do_not_shorten_the_least_pause() -> None:
    times_s: list[float] = []
    pacing = Pacing(interval_s=3600.0, wakeup_pause_s=0.1)

    def step() -> AfterPass:
        times_s.append(time.monotonic())
        loop.wake()
        return AfterPass.END if len(times_s) == 4 else AfterPass.PAUSE

    loop = ThreadLoop(LoopRegistry().add("work", stale_after_s=1.0), step, pacing)
    loop.run()
    assert times_s[-1] - times_s[0] >= 3 * 0.1


def test_a_loop_with_an_event_of_the_caller_has_no_wakeups() -> None:
    status = LoopRegistry().add("work", stale_after_s=1.0)
    loop = ThreadLoop(status, Step(), RARE, stopped=threading.Event())
    with pytest.raises(RuntimeError, match="no wake-ups"):
        loop.wake()


def test_an_event_of_the_caller_ends_the_thread() -> None:
    stopped, step = threading.Event(), Step(passes=100)
    stopped.set()
    status = LoopRegistry().add("work", stale_after_s=1.0)
    ThreadLoop(status, step, RARE, stopped=stopped).run()
    assert step.calls == 0
    assert not status.is_running


def test_a_wakeup_ends_the_pause() -> None:
    async def run() -> int:
        passes = asyncio.Queue[None]()

        async def step() -> None:
            passes.put_nowait(None)

        status = LoopRegistry().add("work", stale_after_s=1.0)
        loop = AsyncLoop(status, step, RARE)
        async with loop.running(), asyncio.timeout(TIMEOUT_S):
            await passes.get()
            loop.wake()
            await passes.get()
        return passes.qsize()

    assert asyncio.run(run()) == 0


def test_a_loop_that_is_started_after_its_last_pass_runs_again() -> None:
    async def run() -> int:
        step = Step(passes=1)
        loop = AsyncLoop(LoopRegistry().add("work", stale_after_s=1.0), step.as_async, RARE)
        loop.start()
        async with asyncio.timeout(TIMEOUT_S):
            while step.calls < 1:
                await asyncio.sleep(0)
            loop.start()
            while loop.is_running:
                await asyncio.sleep(0)
        return step.calls

    assert asyncio.run(run()) == 2


def test_stopping_a_task_cancels_its_pass_and_its_pause() -> None:
    async def run() -> bool:
        status = LoopRegistry().add("work", stale_after_s=1.0)

        async def never() -> None:
            await asyncio.Event().wait()

        async with asyncio.timeout(TIMEOUT_S):
            async with AsyncLoop(status, never, RARE).running():
                await asyncio.sleep(0)
                assert status.is_running
        return status.is_running

    assert asyncio.run(run()) is False


def test_an_expected_error_is_logged_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    status = LoopRegistry().add("work", stale_after_s=1.0)
    step = Step(ConnectionError("unreachable"))
    ThreadLoop(status, step, QUICK, expected=(ConnectionError,)).run()
    failed = [record for record in caplog.records if "unreachable" in record.getMessage()]
    assert [(record.levelno, record.exc_info) for record in failed] == [(logging.WARNING, None)]


def test_a_long_series_of_failures_does_not_flood_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    status = LoopRegistry().add("work", stale_after_s=1.0)
    errors = [ConnectionError("unreachable") for _ in range(100)]
    ThreadLoop(status, Step(*errors, passes=101), QUICK).run()
    assert status.read().failures == 100
    assert sum("unreachable" in record.getMessage() for record in caplog.records) == 7


def test_a_loop_is_stale_only_while_it_runs() -> None:
    registry = LoopRegistry()
    status = registry.add("work", stale_after_s=-1.0, is_essential=True)
    assert registry.stalled_essentials() == ()
    status.begin()
    assert registry.stalled_essentials() == (status,)
    status.end()
    assert registry.stalled_essentials() == ()


def test_a_registry_keeps_the_counts_of_a_loop_that_is_started_again() -> None:
    registry = LoopRegistry()
    run_in_thread(registry, Step(ValueError("first")))
    run_in_thread(registry, Step(ValueError("second")))
    status = registry.find("work")
    assert status is not None
    assert status.read().failures == 2
    assert registry.names() == ("work",)


def test_metrics_of_running_loops_are_exported() -> None:
    loops = LoopRegistry()
    loops.add("idle", stale_after_s=5.0)
    status = loops.add("work", stale_after_s=60.0)
    before_s = time.time()
    status.begin()
    status.fail()
    registry = CollectorRegistry()
    registry.register(LoopCollector("ffrtmp_test", loops.read))

    def value(name: str, loop: str) -> float | None:
        return registry.get_sample_value(f"ffrtmp_test_loop_{name}", {"loop": loop})

    last_success = value("last_success_timestamp_seconds", "work")
    assert last_success is not None
    assert before_s <= last_success <= time.time()
    assert value("failures_total", "work") == 1
    assert value("items_set_aside", "work") == 0
    assert value("stale_after_seconds", "work") == 60
    assert value("failures_total", "idle") is None


def test_a_registry_is_thread_safe() -> None:
    registry = LoopRegistry()

    def add_and_fail() -> None:
        for number in range(200):
            status = registry.add(f"loop-{number}", stale_after_s=1.0)
            status.begin()
            status.fail()
            registry.read()

    threads = [threading.Thread(target=add_and_fail) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {reading.failures for reading in registry.read()} == {4}
