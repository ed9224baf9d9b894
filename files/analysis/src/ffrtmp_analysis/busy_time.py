"""Time in which a node was busy, as sets of seconds, so that simultaneous encodes count once."""

from collections.abc import Iterator

S_PER_HOUR = 3600
"""The seconds of an hour."""


def busy_seconds(begin_s: int, end_s: int) -> Iterator[tuple[int, int]]:
    """Yield the seconds between two times by hours.

    Sets of the same hour are united by a bitwise or.

    Args:
        begin_s: The Unix time at which the node began to be busy, in seconds.
        end_s: The Unix time at which it was idle again, in seconds.

    Yields:
        The number of the hour since 1970, and the set of its seconds, as a number whose bit n is 1
        if the second n of the hour is in the set.
    """
    while begin_s < end_s:
        hour, offset_s = divmod(begin_s, S_PER_HOUR)
        count = min(end_s - begin_s, S_PER_HOUR - offset_s)
        yield hour, ((1 << count) - 1) << offset_s
        begin_s += count


def busy_ratio(seconds: int) -> float:
    """Return the fraction of an hour in which a node was busy.

    Args:
        seconds: The set of its seconds, as `busy_seconds` yields it.
    """
    return seconds.bit_count() / S_PER_HOUR
