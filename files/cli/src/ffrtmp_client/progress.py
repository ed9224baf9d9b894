"""Progress of a run as numbers (finished jobs, rate, remaining time) and as a line of text."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .precision import precision_text

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
    during the observation. `may_grow` states whether the run may get further jobs.
    """

    total: int
    ended: int
    failed: int
    rate_per_min: float | None
    left_s: float | None
    may_grow: bool = False

    @property
    def percent(self) -> int:
        """Percentage of jobs that have ended, rounded down, so that 100 means all jobs."""
        percent = 100 * self.ended // self.total if self.total else 100
        return min(percent, 99) if self.may_grow else percent


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

    def update(self, run: Mapping[str, Any], now_s: float) -> Progress:
        """Record the state of a run at the time `now_s`, and return the progress.

        Args:
            run: The run as the master reports it, or an object with its `counts`.
            now_s: The current time, in seconds.
        """
        counts = run["counts"]
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
            may_grow=bool(run.get("unsettled_nodes")),
        )

    def _rate_per_min(self, now_s: float) -> float | None:
        since_s, ended_before = self._changes[0]
        ended_now = self._changes[-1][1]
        if ended_now <= ended_before or now_s <= since_s:
            return None
        return (ended_now - ended_before) / (now_s - since_s) * _MINUTE_S


def answer_line(progress: Progress, answer: Mapping[str, Any], columns: int = LINE_COLUMNS) -> str:
    """Return a result of ffrtmp_run_info as one line of text.

    The line states why jobs wait if no active node can run them, or if no job is active.

    Args:
        progress: Progress of the run.
        answer: The result.
        columns: Maximum length of the line.

    Returns:
        The line without a line feed.
    """
    run, precision = answer["run"], answer.get("precision")
    active = answer["active"]
    details = [waiting_text(item) for item in waiting(run, is_idle=not active)]
    if precision is not None:
        details.insert(0, precision_text(precision))
    return progress_line(
        progress, active, columns, details=details, is_total_known=precision is None
    )


def progress_line(
    progress: Progress,
    active: Iterable[Mapping[str, Any]],
    columns: int = LINE_COLUMNS,
    *,
    details: Iterable[str] = (),
    is_total_known: bool = True,
) -> str:
    """Return the progress of a run as one line of text.

    Args:
        progress: Progress of the run.
        active: Active jobs as returned by ffrtmp_run_info. The line names as many as fit.
        columns: Maximum length of the line.
        details: Further texts, which are more important than the active jobs.
        is_total_known: Whether the number of jobs is known in advance, which is not so if a suite
            requests a precision.

    Returns:
        The line without a line feed.
    """
    if is_total_known:
        parts = [f"{progress.percent} %: {progress.ended} of {progress.total} jobs"]
    else:
        parts = [f"{progress.ended} of {progress.total} jobs so far"]
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if progress.rate_per_min is not None:
        parts.append(f"{_rate_text(progress.rate_per_min)} jobs/min")
    if progress.left_s is not None and progress.ended < progress.total and is_total_known:
        parts.append(f"about {duration_text(progress.left_s)} left")
    line = "; ".join((", ".join(parts), *details))
    if len(line) > columns:
        return f"{line[: columns - 3]}..."
    jobs = [active_text(job) for job in active]
    for index, text in enumerate(jobs):
        others = len(jobs) - index - 1
        suffix = f"; {others} more active" if others else ""
        if len(line) + 2 + len(text) + len(suffix) > columns:
            return f"{line}; {others + 1} {'more ' if index else ''}active"[:columns]
        line += f"; {text}"
    return line[:columns]


def waiting(run: Mapping[str, Any], *, is_idle: bool) -> list[Mapping[str, Any]]:
    """Return the items of `pending` that people need to know.

    These are the jobs that no active node can run, and if none of its jobs is active, all others.

    Args:
        run: The run as the master reports it. One of an earlier release has no `pending`.
        is_idle: Whether no job of the run is active.
    """
    return [item for item in run.get("pending") or () if is_idle or item["reason"] == "no_node"]


def waiting_text(item: Mapping[str, Any]) -> str:
    """Return an item of a run's `pending` as text."""
    jobs = "1 job waits" if item["jobs"] == 1 else f"{item['jobs']} jobs wait"
    return f"{jobs}: {item['message']}"


def omission_texts(run: Mapping[str, Any]) -> list[str]:
    """Return a text for each state of the nodes that get no jobs of a run.

    Args:
        run: A run or a plan as the master reports it. One of an earlier release omits no nodes.
    """
    nodes: dict[str, list[str]] = {}
    for omitted in run.get("omitted_nodes") or ():
        nodes.setdefault(omitted["state"], []).append(omitted["node"])
    return [
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {state} and "
        f"{'gets' if len(names) == 1 else 'get'} no jobs of this run"
        for state, names in sorted(nodes.items())
    ]


def run_notes(run: Mapping[str, Any]) -> list[str]:
    """Return what people need to know about a run: nodes without jobs, and jobs without nodes."""
    return omission_texts(run) + [waiting_text(item) for item in waiting(run, is_idle=False)]


def count_text(run: Mapping[str, Any]) -> str:
    """Return the number of jobs by state as text. States without jobs are omitted."""
    return ", ".join(f"{count} {state}" for state, count in run["counts"].items() if count)


def summary_lines(answer: Mapping[str, Any]) -> list[str]:
    """Return a result of ffrtmp_run_info as text, to show the state of a run once."""
    run = answer["run"]
    state = f"{run['state']} ({count_text(run)})"
    lines = [f"Run {run['id']} of suite {run['suite_name']}: {state}"]
    if answer.get("precision") is not None:
        lines.append(precision_text(answer["precision"]))
    lines += [active_text(job) for job in answer["active"]]
    lines += [waiting_text(item) for item in run.get("pending") or ()]
    return lines + omission_texts(run)


def activity_key(answer: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return a key by which a result of ffrtmp_run_info is compared with an earlier one.

    The keys are equal if no job has started or ended, and if the jobs that no node can run wait
    for the same reasons. The progress of a job does not change the key.
    """
    counts = answer["run"]["counts"]
    return (
        tuple((state, int(counts.get(state, 0))) for state in _ENDED_STATES),
        tuple(job["job_id"] for job in answer["active"]),
        tuple(item["message"] for item in waiting(answer["run"], is_idle=False)),
    )


def stages_key(answer: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the stages of the active jobs, to compare a result with an earlier one."""
    return tuple((job["job_id"], job["stage"]) for job in answer["active"])


def duration_text(duration_s: float) -> str:
    """Return a duration in seconds, in minutes, or in hours and minutes, such as `2 h 05 min`."""
    if duration_s < _MINUTE_S:
        return f"{max(1, round(duration_s))} s"
    minutes = round(duration_s / _MINUTE_S)
    if minutes < _HOUR_S // _MINUTE_S:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def active_text(job: Mapping[str, Any]) -> str:
    """Return an active job, as `runs.active_jobs` returns it, as text with its stage."""
    # Agents of earlier releases report the ratio 1 in stages whose progress is unknown.
    ratio = job.get("ratio") or 0
    percent = f" {int(100 * ratio)} %" if 0 < ratio < 1 else ""
    return f"{job['node']}: {job['scenario']} {job['stage'].replace('_', ' ')}{percent}"


def _rate_text(rate_per_min: float) -> str:
    """Return a rate as text. Lower rates have more decimals."""
    decimals = 0 if rate_per_min >= 10 else 1 if rate_per_min >= 1 else 2  # noqa: PLR2004
    return f"{rate_per_min:.{decimals}f}"
