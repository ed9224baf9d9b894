"""The random order in which a run's jobs are done."""

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def interleave(items: Sequence[T], repeats: int, seed: int) -> Iterator[tuple[int, T]]:
    """Give each item once per repeat, with the repeat's number from 1.

    Every repeat is a block of all items in a new random order, so that what drifts on a node
    (temperature, neighbours) meets all of them alike. The same seed gives the same order.
    """
    chance = random.Random(seed)  # noqa: S311 - an order, not a secret
    for repeat in range(1, repeats + 1):
        block = list(items)
        chance.shuffle(block)
        for item in block:
            yield repeat, item
