"""Progress of a run: how much is done, how fast, how long it takes, and a line that says so."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

LINE_COLUMNS = 120
"""The longest line that is printed."""

WINDOW_S = 900.0
"""The rate is that of the jobs which ended within this time."""

_WINDOW_LEAST_CHANGES = 4
_WINDOW_MOST_CHANGES = 256
_ENDED_STATES = ("succeeded", "failed", "canceled")
_MINUTE_S = 60
_HOUR_S = 3600


@dataclass(frozen=True)
class Progress:
    """How a run stands.

    `rate_per_min` is the number of jobs that ended per minute in the recent past, `left_s` an
    estimate from it; both are None as long as no job has ended since the observation began.
    """

    total: int
    ended: int
    failed: int
    rate_per_min: float | None
    left_s: float | None

    @property
    def percent(self) -> int:
        """The part of the jobs that have ended, rounded down: 100 means all."""
        return 100 * self.ended // self.total if self.total else 100


class ProgressMeter:
    """Computes the progress of one run from its counts over time, in bounded memory."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        """Observe nothing yet.

        Args:
            window_s: how far back the rate looks; further where few jobs have ended within.
        """
        self._window_s = window_s
        self._changes: deque[tuple[float, int]] = deque(maxlen=_WINDOW_MOST_CHANGES)

    def update(self, counts: Mapping[str, Any], now_s: float) -> Progress:
        """Return the progress, given the number of jobs by state and the time in seconds."""
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
    """Return one line about a run.

    Args:
        progress: how the run stands.
        active: what nodes work on, as ffrtmp_run_info returns it; as much of it as fits is named.
        columns: the longest line.
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
    """Return what two answers of ffrtmp_run_info have in common when nothing has changed.

    The part of a stage that is done is not a change.
    """
    counts = answer["run"]["counts"]
    return (
        tuple(sorted((state, int(count)) for state, count in counts.items() if int(count))),
        tuple((job["job_id"], job["stage"]) for job in answer["active"]),
    )


def duration_text(duration_s: float) -> str:
    """Return a duration in its two largest units, such as `2 h 05 min`."""
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
    """Return a rate, with the more decimals the smaller it is."""
    decimals = 0 if rate_per_min >= 10 else 1 if rate_per_min >= 1 else 2  # noqa: PLR2004
    return f"{rate_per_min:.{decimals}f}"
