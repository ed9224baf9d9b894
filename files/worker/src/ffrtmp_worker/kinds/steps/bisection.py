"""Search for the greatest number that passes a test, using few trials."""

from collections.abc import Callable


def bisect_max(holds: Callable[[int], bool], verifies: Callable[[int], bool], most: int) -> int:
    """Return the greatest number from 0 to `most` that passes both tests.

    Starting at 1, the number is doubled until `holds` fails. Then the interval is bisected. Finally
    the result is decremented until `verifies` passes. Neither test is called twice for the same
    number.

    Args:
        holds: The test of the search; it is expected to fail for all numbers above some limit.
        verifies: The final, stricter test.
        most: The greatest number to test.

    Returns:
        The greatest number that passes, or 0 if none does.
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
