"""Limits of the values in a suite, and of the runs that follow from it."""

MAX_JOBS = 100_000
"""The maximum number of jobs of a run."""

MAX_ITEMS = 1000
"""The maximum number of sources, encodes, rate points or FFmpegs in a list of a suite."""

MAX_REPEATS = 1000
"""The maximum number of repeats of a scenario on a node."""

MAX_DEADLINE_S = 31_536_000
"""The maximum deadline of a job in seconds: one year."""

MIN_INTERVAL = 1e-4
"""The narrowest interval that a suite may request, as a fraction of the median.

No benchmark is that steady, and the number of repeats grows with the square of its reciprocal.
"""

MAX_BUDGET_S = 31_536_000.0
"""The longest time for repeats, in seconds: one year."""

MIN_SPEED = 1e-4
"""The lowest `slowest_speed`. Deadlines are durations divided by it, so it must not be tiny."""

MAX_THREADS = 256
"""The maximum number of encoder threads."""

MAX_GOP_FRAMES = 1_000_000
"""The maximum distance between key frames, in frames."""

MIN_LIVE_S = 10
"""The minimum duration of a live stream, in seconds. Lags of shorter streams are not meaningful."""

MAX_LIVE_S = 14_400
"""The maximum duration of a live stream, in seconds. It limits the memory for packet times."""

MIN_VMAF, MAX_VMAF = 1, 99
"""The bounds of a requested VMAF. At 100, a score no longer depends on the setting."""

MIN_VMAF_TOLERANCE, MAX_VMAF_TOLERANCE = 0.1, 10
"""The bounds of the permitted deviation from a requested VMAF."""

MAX_MEMORY_BYTES = 2**62
"""The largest amount of memory that a job may require, in bytes."""

MAX_CPU_COUNT = 65_536
"""The largest number of CPUs that a job may require."""
