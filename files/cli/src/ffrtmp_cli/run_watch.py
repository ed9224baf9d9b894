"""Observation of a run until it ends, which an interrupt detaches from or cancels."""

import time
from http import HTTPStatus

from ffrtmp_client import runs
from ffrtmp_client.api import Json, Master
from ffrtmp_client.deadline import Deadline
from ffrtmp_client.errors import ApiError, RefusedError
from ffrtmp_client.progress import ProgressMeter

from ffrtmp_cli.run_display import RunDisplay

POLL_S = 1.0
"""Interval at which a run is polled, in seconds."""

LONGEST_PAUSE_S = 15.0
"""Maximum pause before an unavailable master is polled again, in seconds."""

CANCEL_WINDOW_S = 3.0
"""Time after the first interrupt in which another one cancels the run, in seconds."""


def watch_run(master: Master, run_id: str, display: RunDisplay) -> Json:
    """Show the progress of a run until it ends. The master may be unavailable in between.

    Args:
        master: Connection to the master.
        run_id: Id of the run.
        display: The display.

    Returns:
        The run as the API returns it.

    Raises:
        ApiError: A request failed for a reason that a retry does not remove.
        KeyboardInterrupt: The user pressed Ctrl-C.
    """
    meter = ProgressMeter()
    pause_s, is_away = POLL_S, False
    while True:
        try:
            answer = _observe(master, run_id)
        except ApiError as error:
            if not error.is_temporary:
                raise
            if not is_away:
                display.message(f"{error}. The run continues; retrying.")
            is_away, pause_s = True, min(2 * pause_s, LONGEST_PAUSE_S)
        else:
            if is_away:
                display.message("The master responds again.")
            is_away, pause_s = False, POLL_S
            now_s = time.monotonic()
            display.update(meter.update(answer["run"], now_s), answer, now_s)
            if runs.is_final(answer["run"]):
                run: Json = answer["run"]
                return run
        time.sleep(pause_s)


def _observe(master: Master, run_id: str) -> Json:
    """Return a run with its active jobs and its precision, without the jobs that have ended."""
    run = master.get(f"/v1/runs/{run_id}")
    jobs = [
        job
        for state in ("leased", "running")
        if run["counts"].get(state)
        for job in master.pages("/v1/jobs", {"run": run_id, "state": state})
    ]
    return {
        "run": run,
        "active": runs.active_jobs(jobs),
        "precision": runs.precision_of(master, run, Deadline(0)),
    }


def cancel_if_interrupted_again(master: Master, run_id: str) -> bool:
    """Wait a few seconds, and cancel the run if the user presses Ctrl-C again.

    Args:
        master: Connection to the master.
        run_id: Id of the run.

    Returns:
        Whether the run was canceled. A run that has ended in the meantime was not.
    """
    try:
        time.sleep(CANCEL_WINDOW_S)
    except KeyboardInterrupt:
        try:
            run = master.send("POST", f"/v1/runs/{run_id}/cancel")
        except RefusedError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            return False
        # The master also accepts the request for a run that has ended.
        return not runs.is_final(run) or bool(run["counts"].get("canceled"))
    return False
