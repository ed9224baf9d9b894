"""Progress of a run: a bar on a terminal, or a line for each tenth of the jobs."""

import time
from typing import Any

from ffrtmp_client import runs
from ffrtmp_client.deadline import Deadline, persist
from ffrtmp_client.progress import ProgressMeter, count_text, duration_text
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ffrtmp_cli.local.local_farm import LocalFarm

_POLL_S = 2.0
_RETRY_S = 30.0
# Drawing costs CPU time, which the encodes would lack.
_DRAWINGS_PER_S = 1
_LEAST_ENDED = 4
_LINES = 10


class RunProgress:
    """The progress of one run. `run` is the run as the master last reported it.

    Args:
        run: The run.
        expected_s: The expected duration of the whole run in seconds, or None if it is unknown.
    """

    def __init__(self, run: dict[str, Any], expected_s: float | None) -> None:
        self.run = run
        self._expected_s = expected_s
        self._meter = ProgressMeter()
        self._ended_before = self._meter.update(run, time.monotonic()).ended
        self._started_s = time.monotonic()

    @property
    def ended_text(self) -> str:
        """The number of jobs that have ended, such as `20 of 48 jobs`."""
        progress = self._meter.update(self.run, time.monotonic())
        return f"{progress.ended} of {progress.total} jobs"

    def follow(self, farm: LocalFarm, console: Console) -> None:
        """Show the progress until the run has ended.

        Args:
            farm: The farm.
            console: The console for the progress, on standard error.

        Raises:
            CommandError: A program of the farm has ended.
            ApiError: The master cannot report the run.
        """
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[left]}"),
            console=console,
            refresh_per_second=_DRAWINGS_PER_S,
            disable=not console.is_terminal,
            transient=True,
        )
        shown = -1
        with bar:
            task = bar.add_task("Measuring", total=runs.job_count(self.run), left="")
            while not runs.is_final(self.run):
                time.sleep(_POLL_S)
                farm.check()
                self.run = persist(
                    lambda: farm.master.get(f"/v1/runs/{self.run['id']}"), Deadline(_RETRY_S)
                )
                progress = self._meter.update(self.run, time.monotonic())
                left_s = self._left_s(progress.ended, progress.total, progress.left_s)
                left = "" if left_s is None else f"about {duration_text(left_s)} left"
                bar.update(task, completed=progress.ended, total=progress.total, left=left)
                step = progress.ended * _LINES // max(progress.total, 1)
                if step != shown and not console.is_terminal:
                    shown = step
                    text = f"{progress.ended} of {progress.total} jobs"
                    console.print(", ".join(filter(None, (text, left))), highlight=False)
        if self.run["counts"].get("failed"):
            console.print(f"Jobs: {count_text(self.run)}", highlight=False)

    def _left_s(self, ended: int, total: int, rated_s: float | None) -> float | None:
        """Return the remaining time: as planned at first, and then from the rate of the jobs."""
        if ended == total:
            return None
        if rated_s is not None and ended - self._ended_before >= _LEAST_ENDED:
            return rated_s
        if self._expected_s is None or total == 0:
            return rated_s
        planned_s = self._expected_s * (total - self._ended_before) / total
        return max(planned_s - (time.monotonic() - self._started_s), 1.0)
