"""Interleaving: the random order of the jobs of a run."""

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def interleave(items: Sequence[T], repeats: int, seed: int) -> Iterator[tuple[int, T]]:
    """Yield each item once per repeat, with the number of the repeat.

    Every repeat is a block of all items in a new random order. If the speed of a node drifts during
    the run, for example because of its temperature or other load, all items are affected equally.
    The same seed results in the same order.

    Args:
        items: The items.
        repeats: The number of repeats.
        seed: The seed of the random order.

    Yields:
        The number of the repeat, from 1, and an item.
    """
    generator = random.Random(seed)  # noqa: S311 - an order, not a secret
    for repeat in range(1, repeats + 1):
        block = list(items)
        generator.shuffle(block)
        for item in block:
            yield repeat, item
