"""Progress of a run as numbers (finished jobs, rate, remaining time) and as a line of text."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

LINE_COLUMNS = 120
"""The maximum length of a printed line."""

WINDOW_S = 900.0
"""The period for which the rate is computed, in seconds."""

_WINDOW_LEAST_CHANGES = 4
_WINDOW_MOST_CHANGES = 256
_ENDED_STATES = ("succeeded", "failed", "canceled")
_MINUTE_S = 60
_HOUR_S = 3600


@dataclass(frozen=True)
class Progress:
    """Progress of a run.

    `rate_per_min` is the number of jobs that ended per minute in the recent past. `left_s` is the
    remaining time in seconds, estimated from this rate. Both are None until the first job ends
    during the observation.
    """

    total: int
    ended: int
    failed: int
    rate_per_min: float | None
    left_s: float | None

    @property
    def percent(self) -> int:
        """Percentage of jobs that have ended, rounded down, so that 100 means all jobs."""
        return 100 * self.ended // self.total if self.total else 100


class ProgressMeter:
    """Calculator of the progress of one run from its counts over time, in bounded memory."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        """Start without observations.

        Args:
            window_s: Period for which the rate is computed, in seconds. If few jobs have ended
                in this period, a longer period is used.
        """
        self._window_s = window_s
        self._changes: deque[tuple[float, int]] = deque(maxlen=_WINDOW_MOST_CHANGES)

    def update(self, counts: Mapping[str, Any], now_s: float) -> Progress:
        """Record the number of jobs by state at the time `now_s`, and return the progress."""
        ended = sum(int(counts.get(state, 0)) for state in _ENDED_STATES)
        if not self._changes or self._changes[-1][1] != ended:
            self._changes.append((now_s, ended))
        while (
            len(self._changes) > _WINDOW_LEAST_CHANGES
            and now_s - self._changes[0][0] > self._window_s
        ):
            self._changes.popleft()
        total = sum(int(count) for count in counts.values())
        rate = self._rate_per_min(now_s)
        return Progress(
            total=total,
            ended=ended,
            failed=int(counts.get("failed", 0)),
            rate_per_min=rate,
            left_s=(total - ended) / rate * _MINUTE_S if rate else None,
        )

    def _rate_per_min(self, now_s: float) -> float | None:
        since_s, ended_before = self._changes[0]
        ended_now = self._changes[-1][1]
        if ended_now <= ended_before or now_s <= since_s:
            return None
        return (ended_now - ended_before) / (now_s - since_s) * _MINUTE_S


def progress_line(
    progress: Progress, active: Iterable[Mapping[str, Any]], columns: int = LINE_COLUMNS
) -> str:
    """Return the progress of a run as one line of text.

    Args:
        progress: Progress of the run.
        active: Active jobs as returned by ffrtmp_run_info. The line names as many as fit.
        columns: Maximum length of the line.

    Returns:
        The line without a line feed.
    """
    parts = [f"{progress.percent} %: {progress.ended} of {progress.total} jobs"]
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if progress.rate_per_min is not None:
        parts.append(f"{_rate_text(progress.rate_per_min)} jobs/min")
    if progress.left_s is not None and progress.ended < progress.total:
        parts.append(f"about {duration_text(progress.left_s)} left")
    line = ", ".join(parts)
    jobs = [_active_text(job) for job in active]
    for index, text in enumerate(jobs):
        others = len(jobs) - index - 1
        suffix = f"; {others} more active" if others else ""
        if len(line) + 2 + len(text) + len(suffix) > columns:
            return f"{line}; {others + 1} {'more ' if index else ''}active"[:columns]
        line += f"; {text}"
    return line[:columns]


def activity_key(answer: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return a key by which a result of ffrtmp_run_info is compared with an earlier one.

    The keys are equal if the counts of jobs and the stages of the active jobs have not changed.
    Progress within a stage does not change the key.
    """
    counts = answer["run"]["counts"]
    return (
        tuple(sorted((state, int(count)) for state, count in counts.items() if int(count))),
        tuple((job["job_id"], job["stage"]) for job in answer["active"]),
    )


def duration_text(duration_s: float) -> str:
    """Return a duration in seconds, in minutes, or in hours and minutes, such as `2 h 05 min`."""
    if duration_s < _MINUTE_S:
        return f"{max(1, round(duration_s))} s"
    minutes = round(duration_s / _MINUTE_S)
    if minutes < _HOUR_S // _MINUTE_S:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _active_text(job: Mapping[str, Any]) -> str:
    percent = f" {int(100 * job['ratio'])} %" if job.get("ratio") else ""
    return f"{job['node']}: {job['scenario']} {job['stage']}{percent}"


def _rate_text(rate_per_min: float) -> str:
    """Return a rate as text. Lower rates have more decimals."""
    decimals = 0 if rate_per_min >= 10 else 1 if rate_per_min >= 1 else 2  # noqa: PLR2004
    return f"{rate_per_min:.{decimals}f}"
