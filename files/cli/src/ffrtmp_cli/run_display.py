"""Progress of a run on standard error: a live display on a terminal, otherwise lines."""

import os
import sys
from types import TracebackType
from typing import Any, Protocol, Self

import click
from ffrtmp_client.api import Json
from ffrtmp_client.precision import precision_text
from ffrtmp_client.progress import (
    LINE_COLUMNS,
    Progress,
    active_text,
    activity_key,
    answer_line,
    duration_text,
    waiting,
    waiting_text,
)

_HEARTBEAT_S = 60.0
_ACTIVE_MAX = 20
_TEN = 10


class RunDisplay(Protocol):
    """A display of the progress of a run."""

    def __enter__(self) -> Self:
        """Begin to display."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the display."""

    def update(self, progress: Progress, answer: Json, now_s: float) -> None:
        """Show the state of the run.

        Args:
            progress: The progress of the run.
            answer: The run, its active jobs and its precision, as ffrtmp_run_info returns them.
            now_s: The current time, in seconds.
        """

    def message(self, text: str) -> None:
        """Show a message."""


def open_display() -> RunDisplay:
    """Return the display for standard error."""
    is_terminal = sys.stderr.isatty() and os.environ.get("TERM") not in {None, "", "dumb"}
    return LiveDisplay() if is_terminal else LineDisplay()


class LineDisplay:
    """Progress as lines, of which one is printed for each change of the jobs."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._shown_at_s = 0.0

    def __enter__(self) -> Self:
        """Return the display."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def update(self, progress: Progress, answer: Json, now_s: float) -> None:
        """Print a line if a job has started or ended, or if the last line is old."""
        key = activity_key(answer)
        if key == self._key and now_s - self._shown_at_s < _HEARTBEAT_S:
            return
        line = answer_line(progress, answer)
        if self._key is None or key[-1] != self._key[-1]:
            for text in map(waiting_text, waiting(answer["run"], is_idle=False)):
                if text not in line:
                    self.message(text)
        self.message(line)
        self._key, self._shown_at_s = key, now_s

    def message(self, text: str) -> None:
        """Print a message."""
        click.echo(text, err=True)


class LiveDisplay:
    """A bar with the rate and the remaining time, and a line for each active job."""

    def __init__(self) -> None:
        # The library takes a while to import, which only this display needs.
        from rich.console import Console  # noqa: PLC0415
        from rich.live import Live  # noqa: PLC0415

        self._console = Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        """Begin to display."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the display."""
        self._live.stop()

    def update(self, progress: Progress, answer: Json, now_s: float) -> None:  # noqa: ARG002
        """Show the state of the run."""
        from rich.console import Group  # noqa: PLC0415
        from rich.progress_bar import ProgressBar  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        state = state_text(progress, is_total_known=answer["precision"] is None)
        head = Table.grid(padding=(0, 1))
        head.add_row(
            ProgressBar(total=max(1, progress.total), completed=progress.ended, width=30),
            Text(state, no_wrap=True, overflow="ellipsis"),
        )
        lines = [Text(text, no_wrap=True, overflow="ellipsis") for text in detail_lines(answer)]
        self._live.update(Group(head, *lines))

    def message(self, text: str) -> None:
        """Show a message above the bar."""
        self._console.print(text, markup=False)


def state_text(progress: Progress, *, is_total_known: bool) -> str:
    """Return the number of jobs, the rate and the remaining time as text.

    Args:
        progress: The progress of the run.
        is_total_known: Whether the number of jobs is known in advance, which is not so if the suite
            requests a precision.
    """
    suffix = "" if is_total_known else " so far"
    parts = [f"{progress.ended}/{progress.total} jobs{suffix}"]
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if progress.rate_per_min is not None:
        decimals = 0 if progress.rate_per_min >= _TEN else 1
        parts.append(f"{progress.rate_per_min:.{decimals}f} jobs/min")
    if progress.left_s is not None and progress.ended < progress.total and is_total_known:
        parts.append(f"about {duration_text(progress.left_s)} left")
    return ", ".join(parts)


def detail_lines(answer: Json) -> list[str]:
    """Return the progress towards the precision, the active jobs and the reasons for waiting.

    Args:
        answer: The run, its active jobs and its precision.
    """
    active, precision = answer["active"], answer["precision"]
    lines = [] if precision is None else [precision_text(precision)]
    lines += [active_text(job) for job in active[:_ACTIVE_MAX]]
    if len(active) > _ACTIVE_MAX:
        lines.append(f"{len(active) - _ACTIVE_MAX} more jobs are active")
    lines += [waiting_text(item) for item in waiting(answer["run"], is_idle=not active)]
    return [line[:LINE_COLUMNS] for line in lines]
