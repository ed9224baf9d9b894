"""Finding the greatest number that holds with few trials."""

from collections.abc import Callable


def bisect_max(holds: Callable[[int], bool], verifies: Callable[[int], bool], most: int) -> int:
    """Return the greatest number from 0 to `most` that holds and is verified.

    Numbers are doubled until one does not hold, then the interval is halved. The answer has to
    be verified, and is lowered by one until it is. `holds` and `verifies` are asked for no
    number twice.
    """
    low, high = 0, 1
    while high <= most and holds(high):
        low, high = high, high * 2
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            low = middle
        else:
            high = middle
    while low and not verifies(low):
        low -= 1
    return low
