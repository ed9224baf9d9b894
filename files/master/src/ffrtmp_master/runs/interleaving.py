"""Interleaving: the random order of the jobs of a run."""

import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def interleave(
    items: Sequence[T], repeats: int, seed: int, group_of: Callable[[T], Hashable] | None = None
) -> Iterator[tuple[int, T]]:
    """Yield each item once per repeat, with the number of the repeat.

    Every repeat is a block of all items in a new random order. If the speed of a node drifts during
    the run, for example because of its temperature or other load, all items are affected equally.
    The same seed results in the same order.

    Args:
        items: The items.
        repeats: The number of repeats.
        seed: The seed of the random order.
        group_of: A function that returns the group of an item. The items of a group are neighbors
            in every repeat. By default, each item is a group of its own.

    Yields:
        The number of the repeat, from 1, and an item.
    """
    generator = random.Random(seed)  # noqa: S311 - an order, not a secret
    for repeat in range(1, repeats + 1):
        if group_of is None:
            block = list(items)
            generator.shuffle(block)
        else:
            block = shuffle_groups(items, group_of, generator)
        for item in block:
            yield repeat, item


def shuffle_groups(
    items: Sequence[T], group_of: Callable[[T], Hashable], generator: random.Random
) -> list[T]:
    """Return the items in a random order in which the items of each group are neighbors.

    Both the order of the groups and the order of the items within each of them are random.

    Args:
        items: The items.
        group_of: A function that returns the group of an item.
        generator: The generator of random numbers.
    """
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        groups.setdefault(group_of(item), []).append(item)
    in_order = list(groups.values())
    generator.shuffle(in_order)
    for group in in_order:
        generator.shuffle(group)
    return [item for group in in_order for item in group]
