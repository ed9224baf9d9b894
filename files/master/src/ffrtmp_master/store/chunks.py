"""Division of long sequences into chunks that are small enough for one statement."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of `size` items; the last list may be shorter.

    The iterable is consumed lazily, so it may yield more items than fit in memory.
    """
    remaining = iter(items)
    while chunk := list(islice(remaining, size)):
        yield chunk
