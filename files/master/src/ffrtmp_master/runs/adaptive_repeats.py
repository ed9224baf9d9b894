"""Adaptive repeats: adding jobs to runs until their medians are precise, and control encodes."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec
from ffrtmp_shared import control_encode
from ffrtmp_shared.states import JobState, NodeState
from ffrtmp_shared.suite_pairs import PairedNames
from sqlalchemy import Connection, select

from ffrtmp_master.queue import transitions
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog
from ffrtmp_master.runs import control_encodes, interim_looks
from ffrtmp_master.runs.confidence_interval import repeats_needed
from ffrtmp_master.runs.interleaving import shuffle_groups
from ffrtmp_master.runs.suite_outline import SuiteOutline
from ffrtmp_master.store import control_speeds, job_outcomes, nodes, runs
from ffrtmp_master.store.errors import NotFoundError
from ffrtmp_master.store.job_outcomes import JobOutcome
from ffrtmp_master.store.rows import JobRow
from ffrtmp_master.store.schema import jobs
from ffrtmp_master.store.schema import runs as runs_table
from ffrtmp_master.store.unit_of_work import UnitOfWork

_CONTROL = msgspec.json.encode(control_encode.SCENARIO).decode()
_UNFINISHED = [state for state in JobState if not state.is_final]


class RunDueForRepeats(NamedTuple):
    """A run in which `node` has no unfinished jobs or is due for a control encode."""

    run_id: UUID
    suite: str
    node: str


@dataclass(frozen=True)
class RepeatPolicy:
    """The outline of a run's suite, and the master's settings for further jobs of the run."""

    suite: SuiteOutline
    control_every: timedelta
    priority_step_s: float


def find_due_runs(
    connection: Connection, now: datetime, control_every: timedelta
) -> list[RunDueForRepeats]:
    """Return the runs that may need further jobs, each with the node that may need them.

    The query runs often and usually finds nothing. It uses an index, so it is cheap.

    Args:
        connection: A connection to the database.
        now: The current time.
        control_every: The time after which a node is due for another control encode.

    Returns:
        One entry for each run and node.
    """
    rows = connection.execute(
        select(runs_table.c.id, runs_table.c.suite, runs_table.c.unsettled_nodes).where(
            runs_table.c.finished_at.is_(None), runs_table.c.unsettled_nodes.is_not(None)
        )
    ).all()
    due_runs = []
    for row in rows:
        busy = _busy_nodes(connection, row.id)
        due_runs += [
            RunDueForRepeats(row.id, row.suite, node)
            for node, controlled_at in row.unsettled_nodes.items()
            if node not in busy or control_encodes.is_due(controlled_at, now, control_every)
        ]
    return due_runs


def add_repeats(
    work: UnitOfWork, due: RunDueForRepeats, policy: RepeatPolicy, catalog: RequirementCatalog
) -> None:
    """Queue further jobs of a run on a node. If none are needed, settle the node.

    A settled node gets no further jobs of the run. The state of the run is checked again, because
    another master may have added the jobs or the run may have been canceled since `due` was found.

    Args:
        work: The transaction.
        due: The run and the node, as found by `find_due_runs`.
        policy: The suite and the settings.
        catalog: The cache of requirement sets.
    """
    run = work.connection.execute(
        select(runs_table.c.unsettled_nodes, runs_table.c.seed)
        .where(runs_table.c.id == due.run_id)
        .with_for_update()
    ).first()
    unsettled: runs.Unsettled = (run.unsettled_nodes or {}) if run else {}
    if run is None or due.node not in unsettled:
        return
    last_control_at = unsettled[due.node]
    is_busy = due.node in _busy_nodes(work.connection, due.run_id)
    if is_busy and not control_encodes.is_due(last_control_at, work.now, policy.control_every):
        return
    outcomes = job_outcomes.outcomes_of_node(work.connection, due.run_id, due.node)
    if is_busy:
        new_jobs = [
            _control(work, outcomes, policy, catalog, _first_rank(work.connection, due) - 1)
        ]
        reason = f"control encode due after {policy.control_every}"
    elif not any(job.is_stored for job in outcomes) or _is_excluded(
        work.connection, due.node, outcomes
    ):
        new_jobs, reason = [], ""
    else:
        to_repeat = _jobs_to_repeat(outcomes, policy.suite)
        # Each round of repeats has a different order, which is derived from the seed of the run.
        generator = random.Random(f"{run.seed} {due.node} {len(outcomes)}")  # noqa: S311
        to_repeat = _in_random_order(to_repeat, policy.suite, generator)
        new_jobs = _repeats(work, outcomes, to_repeat, policy)
        reason = "the median is not precise enough"
        if not new_jobs:
            reason = _reason_for_control(work.connection, due, outcomes, last_control_at)
            new_jobs = [_control(work, outcomes, policy, catalog, None)] if reason else []
    if new_jobs:
        transitions.enqueue(work, new_jobs, reason)
        if new_jobs[0].scenario == _CONTROL:
            runs.settle_nodes(work.connection, due.run_id, {**unsettled, due.node: work.now})
        return
    still_unsettled = {name: at for name, at in unsettled.items() if name != due.node}
    runs.settle_nodes(work.connection, due.run_id, still_unsettled)
    # Because it gets no further jobs on this node, the run may be finished.
    work.job_ended(due.run_id)


def _in_random_order(
    to_repeat: Sequence[JobOutcome], suite: SuiteOutline, generator: random.Random
) -> list[JobOutcome]:
    """Return jobs in a random order, with the repeats of paired FFmpeg builds as neighbors."""
    if not suite.compare:
        in_order = list(to_repeat)
        generator.shuffle(in_order)
        return in_order
    paired = PairedNames(suite.compare)
    seen: Counter[str] = Counter()
    numbered = []
    for job in to_repeat:
        numbered.append((job, seen[job.scenario]))
        seen[job.scenario] += 1

    def group_of(item: tuple[JobOutcome, int]) -> tuple[object, ...]:
        return *paired.group(item[0].scenario, item[0].node), item[1]

    return [job for job, _ in shuffle_groups(numbered, group_of, generator)]


def _reason_for_control(
    connection: Connection,
    due: RunDueForRepeats,
    outcomes: Sequence[JobOutcome],
    last_at: datetime | None,
) -> str:
    """Return why a node needs another control encode at its end of a run; empty if it does not."""
    if control_encodes.is_missing_at_end(outcomes, last_at):
        return "last control encode"
    if last_at is None:
        return ""
    sides = control_speeds.sides_of_run(connection, due.run_id, due.node)
    if control_encodes.is_unconfirmed(outcomes, sides):
        return "the speed of the last control encode is unusual for the node"
    return ""


def _busy_nodes(connection: Connection, run_id: UUID) -> set[str]:
    """Return the nodes that have unfinished jobs in a run. This uses the index of run and state."""
    found = connection.execute(
        select(jobs.c.node)
        .where(jobs.c.run_id == run_id, jobs.c.state.in_(_UNFINISHED), jobs.c.node.is_not(None))
        .distinct()
    ).scalars()
    return {str(name) for name in found}


def _first_rank(connection: Connection, due: RunDueForRepeats) -> int:
    rank: int = connection.execute(
        select(jobs.c.rank)
        .where(
            jobs.c.run_id == due.run_id,
            jobs.c.state.in_(_UNFINISHED),
            jobs.c.node == due.node,
        )
        .order_by(jobs.c.rank)
        .limit(1)
    ).scalar_one()
    return rank


def _is_excluded(connection: Connection, node: str, outcomes: Sequence[JobOutcome]) -> bool:
    """Return whether a node gets no further jobs of a run.

    This is so if one of its jobs was canceled, or if the node is not active or was removed.
    """
    if any(job.state is JobState.CANCELED for job in outcomes):
        return True
    try:
        return NodeState(nodes.get_node_row(connection, node).state) is not NodeState.ACTIVE
    except NotFoundError:
        return True


def _jobs_to_repeat(outcomes: Sequence[JobOutcome], suite: SuiteOutline) -> list[JobOutcome]:
    """Return the jobs to repeat. A job that is to be repeated n times occurs n times."""
    precision, planned = suite.precision, interim_looks.looks_of(suite)
    if precision is None:
        return []
    budget_left_s = None
    if precision.budget_s is not None:
        budget_left_s = precision.budget_s - sum(job.duration_s for job in outcomes)
        if budget_left_s <= 0:
            return []
    wanted = {
        jobs_of_scenario[-1]: repeats_needed(
            [job.speed for job in jobs_of_scenario if job.speed is not None],
            precision.interval,
            planned,
            most=precision.max_repeats - len(jobs_of_scenario),
        )
        for jobs_of_scenario in _by_scenario(outcomes).values()
        # Scenarios with a failed job are left out, because the job would fail again. The last job
        # is copied, so it must still exist.
        if all(job.state is JobState.SUCCEEDED for job in jobs_of_scenario)
        and jobs_of_scenario[-1].is_stored
    }
    if (
        budget_left_s is not None
        and sum(job.duration_s * count for job, count in wanted.items()) > budget_left_s
    ):
        # If the budget does not suffice for all repeats, each scenario gets at most one per round.
        wanted = {job: min(count, 1) for job, count in wanted.items()}
    return [job for job, count in wanted.items() for _ in range(count)]


def _by_scenario(outcomes: Sequence[JobOutcome]) -> Mapping[str, list[JobOutcome]]:
    groups: dict[str, list[JobOutcome]] = {}
    for job in outcomes:
        if job.can_be_repeated and not control_encodes.is_control(job):
            groups.setdefault(job.scenario, []).append(job)
    return groups


def _repeats(
    work: UnitOfWork,
    outcomes: Sequence[JobOutcome],
    to_repeat: Sequence[JobOutcome],
    policy: RepeatPolicy,
) -> list[JobRow]:
    old_rows = work.jobs({job.job_id for job in to_repeat})
    done = {name: len(members) for name, members in _by_scenario(outcomes).items()}
    position = max(job.position for job in outcomes)
    rows = []
    for job in to_repeat:
        done[job.scenario] += 1
        position += 1
        row = transitions.clone_queued(old_rows[job.job_id], work.now, policy.priority_step_s)
        row.position, row.repeat = position, done[job.scenario]
        rows.append(row)
    return rows


def _control(
    work: UnitOfWork,
    outcomes: Sequence[JobOutcome],
    policy: RepeatPolicy,
    catalog: RequirementCatalog,
    rank: int | None,
) -> JobRow:
    """Return a job for another control encode. If `rank` is None, it follows all existing jobs."""
    stored_id = next(outcome.job_id for outcome in outcomes if outcome.is_stored)
    template = work.jobs([stored_id])[stored_id]
    job = transitions.clone_queued(template, work.now, policy.priority_step_s)
    wanted = control_encodes.required_set_for(outcomes[0].node, exclusive=policy.suite.exclusive)
    job.node = outcomes[0].node
    job.position = max(outcome.position for outcome in outcomes) + 1
    job.repeat = control_encodes.count_controls(outcomes) + 1
    job.rank = job.rank if rank is None else rank
    job.requirement_id = catalog.id_of(work.statements, wanted)
    job.scenario = _CONTROL
    return job
