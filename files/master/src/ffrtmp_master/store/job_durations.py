"""Durations of the jobs of earlier runs."""

from collections import defaultdict
from collections.abc import Mapping

from ffrtmp_shared.states import JobState
from sqlalchemy import Connection, Text, cast, select

from ffrtmp_master.store.schema import jobs, runs

_MAX_RUNS = 5
_MAX_JOBS = 20_000


def mean_durations(connection: Connection, suite_name: str) -> Mapping[tuple[str, str], float]:
    """Return the mean durations of the succeeded jobs in the last finished runs of a suite.

    The duration of a job is the time from the start to the end of its last attempt. At most the
    jobs of five runs are read, so that the query stays fast on a farm with many runs.

    Args:
        connection: A connection to the database.
        suite_name: The name of the suite.

    Returns:
        The mean durations in seconds, by the node and the JSON text of the scenario.
    """
    last_runs = (
        select(runs.c.id)
        .where(runs.c.suite_name == suite_name, runs.c.finished_at.is_not(None))
        .order_by(runs.c.id.desc())
        .limit(_MAX_RUNS)
    )
    run_ids = connection.execute(last_runs).scalars().all()
    rows = connection.execute(
        select(
            jobs.c.leased_to,
            cast(jobs.c.scenario, Text).label("scenario"),
            jobs.c.started_at,
            jobs.c.finished_at,
        )
        .where(jobs.c.run_id.in_(run_ids), jobs.c.state == JobState.SUCCEEDED)
        .order_by(jobs.c.id.desc())
        .limit(_MAX_JOBS)
    )
    durations_s: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for node, scenario, started_at, finished_at in rows:
        if node is not None and started_at is not None and finished_at is not None:
            durations_s[node, scenario].append((finished_at - started_at).total_seconds())
    return {key: sum(found) / len(found) for key, found in durations_s.items()}
