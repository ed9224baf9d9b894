"""The order in which queued jobs are claimed, which depends on creation time and priority."""

from datetime import datetime


def queue_rank(created_at: datetime, priority_steps: int, step_s: float) -> int:
    """Return the rank of a job in the queue. The job with the lowest rank is leased first.

    The rank is the creation time, reduced by `step_s` for each priority step. A job is therefore
    leased before a job whose priority is one step lower, unless that job was created more than
    `step_s` seconds earlier. In this way, no job starves. The rank does not depend on the current
    time, so it can be stored in an index.

    Args:
        created_at: The creation time of the job.
        priority_steps: The number of priorities below that of the job.
        step_s: The waiting time in seconds that is equivalent to one priority step.

    Returns:
        The rank in microseconds since the epoch.
    """
    return int((created_at.timestamp() - priority_steps * step_s) * 1_000_000)
