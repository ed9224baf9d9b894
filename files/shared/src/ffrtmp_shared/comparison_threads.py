"""Number of threads that compare an output with its source."""

MAX_THREADS = 16
"""Maximum number of threads if the operator sets none.

At 2160p, each thread of libvmaf needs about 450 MiB (FFmpeg 7, `n_threads` of 1, 2 and 8: 0.9, 1.4
and 3.9 GiB in total). One thread for each CPU of a large host would exceed the memory of its slot,
and the kernel would end the comparison.
"""

_SHARED_THREADS = 2


def count_threads(
    configured: int | None, slots: int | None, *, is_exclusive: bool, usable_cpus: int, cpus: int
) -> int:
    """Return the number of threads of a comparison.

    Args:
        configured: The number that the operator set. For an exclusive job, it is the maximum.
        slots: The number of slots that share `cpus`, if it is known.
        is_exclusive: Whether no other job runs on the node, so that the comparison may use all CPUs
            of its slot. Otherwise it leaves CPUs to the other slots.
        usable_cpus: The number of CPUs that the slot can keep busy: `cpus`, within its quota.
        cpus: The number of CPUs on which the slot may run.
    """
    if is_exclusive:
        return min(usable_cpus, MAX_THREADS if configured is None else configured)
    if configured is not None:
        return configured
    share = _SHARED_THREADS if slots is None else max(1, cpus // slots)
    return min(usable_cpus, share, MAX_THREADS)
