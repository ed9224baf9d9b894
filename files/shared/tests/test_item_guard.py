"""The guard of items: a failing item is named, counted and set aside, and the others are run."""

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest
from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.loop_registry import LoopRegistry, LoopStatus


class Clock:
    """A monotonic clock that only the test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Items:
    """Items of which some always fail, and the record of those that were handled."""

    def __init__(self, *failing: str) -> None:
        self.failing = set(failing)
        self.clock = Clock()
        self.status: LoopStatus = LoopRegistry().add("work", stale_after_s=60.0)
        self.guard = ItemGuard(
            self.status,
            passed_on=(ConnectionError,),
            tries=3,
            retry_pause_s=60.0,
            retry_pause_max_s=240.0,
            clock=self.clock,
        )
        self.handled: list[str] = []
        self.tried: list[str] = []

    def handle(self, item: str) -> None:
        self.tried.append(item)
        if item in self.failing:
            raise OverflowError(f"the number of {item} is too large")
        self.handled.append(item)

    def run_pass(self, *items: str) -> None:
        for item in items:
            self.guard.run(item, partial(self.handle, item))


def test_a_failing_item_is_named_and_the_others_are_handled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    items = Items("b")
    items.run_pass("a", "b", "c")
    assert items.handled == ["a", "c"]
    assert items.status.read().failures == 1
    assert "work: item b failed" in caplog.text
    assert "OverflowError" in caplog.text


def test_an_item_that_fails_repeatedly_is_set_aside_and_recovers() -> None:
    items = Items("b")
    for _ in range(10):
        items.run_pass("a", "b", "c")
    assert items.tried.count("b") == 3
    assert items.handled == ["a", "c"] * 10
    assert items.status.read().items_set_aside == 1

    items.clock.now_s += 60.0
    items.run_pass("b")
    assert items.tried.count("b") == 4
    # The pause has doubled.
    items.clock.now_s += 60.0
    items.run_pass("b")
    assert items.tried.count("b") == 4
    items.clock.now_s += 60.0
    items.failing.clear()
    items.run_pass("b")
    assert items.handled[-1] == "b"
    assert items.status.read().items_set_aside == 0


def test_the_pause_of_an_item_is_limited() -> None:
    items = Items("b")
    for _ in range(2000):
        items.run_pass("b")
        items.clock.now_s += 240.0
    assert items.tried.count("b") == 2000


def test_an_error_of_the_dependency_is_not_counted_against_the_item() -> None:
    items = Items()

    def unreachable() -> None:
        raise ConnectionError

    for _ in range(5):
        with pytest.raises(ConnectionError):
            items.guard.run("a", unreachable)
    items.run_pass("a")
    assert items.handled == ["a"]


def test_items_that_no_longer_occur_are_forgotten() -> None:
    items = Items("b")
    for _ in range(5):
        items.run_pass("b")
    assert items.guard.count_set_aside() == 1
    items.clock.now_s += 241.0
    assert items.guard.count_set_aside() == 0


def test_the_number_of_remembered_items_is_limited() -> None:
    names = [f"item-{number}" for number in range(2000)]
    items = Items(*names)
    for _ in range(3):
        for name in names[-1000:]:
            items.run_pass(name)
    for _ in range(3):
        items.run_pass(*names[:500])
    assert items.guard.count_set_aside() == 1000


def test_coroutines_are_guarded_likewise() -> None:
    items = Items("b")

    async def handle(item: str) -> None:
        items.handle(item)

    async def run() -> list[bool]:
        done = []
        for _ in range(4):
            for item in ("a", "b"):
                done.append(await items.guard.run_async(item, partial(handle, item)))
        return done

    assert asyncio.run(run()) == [True, False] * 4
    assert items.tried.count("b") == 3


def test_items_are_handled_together_unless_one_of_them_fails() -> None:
    items = Items("b")
    batches: list[list[str]] = []

    async def handle(names: Sequence[str]) -> None:
        batches.append(list(names))
        if items.failing & set(names):
            raise OverflowError

    async def run() -> None:
        for _ in range(5):
            await items.guard.run_together(["a", "b", "c"], handle)
        items.failing.clear()
        items.clock.now_s += 60.0
        for _ in range(2):
            await items.guard.run_together(["a", "b", "c"], handle)

    asyncio.run(run())
    assert batches[:4] == [["a", "b", "c"], ["a"], ["b"], ["c"]]
    alone = [["a", "c"], ["b"]]
    assert batches[4:10] == [*alone, *alone, ["a", "c"], ["a", "c"]]
    assert batches[10:] == [*alone, ["a", "b", "c"]]
