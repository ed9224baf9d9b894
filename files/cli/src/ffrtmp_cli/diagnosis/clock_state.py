"""State of the system clock according to the kernel."""

import ctypes

_TIME_ERROR = 5
"""Value that adjtimex returns if the clock is not synchronized (see adjtimex(2))."""

_BUFFER_BYTES = 512
"""More than the size of struct timex on any platform. Zeros mean that nothing is changed."""


def is_synchronized() -> bool | None:
    """Return whether the kernel's clock is synchronized, or None if the kernel does not report it.

    Every service for time synchronization (chrony, ntpd, systemd-timesyncd) sets this state.
    """
    try:
        library = ctypes.CDLL(None, use_errno=True)
        state = library.adjtimex(ctypes.create_string_buffer(_BUFFER_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR
