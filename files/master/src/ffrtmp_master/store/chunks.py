"""Division of long sequences into chunks that one statement accepts."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of `size` items; the last list may be shorter.

    The iterable is consumed as the lists are: it may be larger than memory.
    """
    remaining = iter(items)
    while chunk := list(islice(remaining, size)):
        yield chunk
