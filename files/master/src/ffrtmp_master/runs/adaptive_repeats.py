"""More jobs for runs that go on until their medians are known, and their control encodes."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec
from ffrtmp_shared import control_encode
from ffrtmp_shared.precision import Precision
from ffrtmp_shared.states import JobState, NodeState
from ffrtmp_shared.suite import Suite
from sqlalchemy import Connection, select

from ffrtmp_master.queue import transitions
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog
from ffrtmp_master.runs import control_encodes
from ffrtmp_master.runs.confidence_interval import repeats_needed
from ffrtmp_master.store import job_outcomes, nodes, runs
from ffrtmp_master.store.errors import NotFoundError
from ffrtmp_master.store.job_outcomes import JobOutcome
from ffrtmp_master.store.rows import JobRow
from ffrtmp_master.store.schema import jobs
from ffrtmp_master.store.schema import runs as runs_table
from ffrtmp_master.store.unit_of_work import UnitOfWork

_CONTROL = msgspec.json.encode(control_encode.SCENARIO).decode()
_UNFINISHED = [state for state in JobState if not state.is_final]


class RunDueForRepeats(NamedTuple):
    """A run whose `node` has nothing left to do in it, or is due for a control encode."""

    run_id: UUID
    suite: str
    node: str


@dataclass(frozen=True)
class RepeatPolicy:
    """What a run was asked to be, and how things are done here."""

    suite: Suite
    control_every: timedelta
    priority_step_s: float


def find_due_runs(
    connection: Connection, now: datetime, control_every: timedelta
) -> list[RunDueForRepeats]:
    """Return where something may have to be queued; most often nothing, and at little cost."""
    rows = connection.execute(
        select(runs_table.c.id, runs_table.c.suite, runs_table.c.unsettled_nodes).where(
            runs_table.c.finished_at.is_(None), runs_table.c.unsettled_nodes.is_not(None)
        )
    ).all()
    found = []
    for row in rows:
        busy = _busy(connection, row.id)
        found += [
            RunDueForRepeats(row.id, row.suite, node)
            for node, controlled_at in row.unsettled_nodes.items()
            if node not in busy or control_encodes.is_due(controlled_at, now, control_every)
        ]
    return found


def add_repeats(
    work: UnitOfWork, asked: RunDueForRepeats, rules: RepeatPolicy, catalog: RequirementCatalog
) -> None:
    """Queue what a node is still to do in a run, or settle it.

    What was true when `asked` was found may not be so any more: another master may have been
    quicker, or somebody canceled the run.
    """
    run = work.connection.execute(
        select(runs_table.c.unsettled_nodes, runs_table.c.seed)
        .where(runs_table.c.id == asked.run_id)
        .with_for_update()
    ).first()
    unsettled: runs.Unsettled = (run.unsettled_nodes or {}) if run else {}
    if run is None or asked.node not in unsettled:
        return
    last_control_at = unsettled[asked.node]
    is_busy = asked.node in _busy(work.connection, asked.run_id)
    if is_busy and not control_encodes.is_due(last_control_at, work.now, rules.control_every):
        return
    so_far = job_outcomes.outcomes_of_node(work.connection, asked.run_id, asked.node)
    if is_busy:
        made = [_control(work, so_far, rules, catalog, _first_rank(work.connection, asked) - 1)]
        reason = f"no control encode for {rules.control_every}"
    elif not so_far or _is_given_up(work.connection, asked.node, so_far):
        made, reason = [], ""
    else:
        again = _more(so_far, rules.suite.precision)
        # Another order each time, which the run's seed fixes.
        random.Random(f"{run.seed} {asked.node} {len(so_far)}").shuffle(again)  # noqa: S311
        made, reason = _repeats(work, so_far, again, rules), "the median is not known well enough"
        if not made and control_encodes.is_missing_at_end(so_far, last_control_at):
            made, reason = [_control(work, so_far, rules, catalog, None)], "last control encode"
    if made:
        transitions.enqueue(work, made, reason)
        if made[0].scenario == _CONTROL:
            runs.settle_nodes(work.connection, asked.run_id, {**unsettled, asked.node: work.now})
        return
    others = {name: at for name, at in unsettled.items() if name != asked.node}
    runs.settle_nodes(work.connection, asked.run_id, others)
    # With nothing more to come the run may be over.
    work.job_ended(asked.run_id)


def _busy(connection: Connection, run_id: UUID) -> set[str]:
    """Return the nodes that have something left to do in a run, by the index of its states."""
    found = connection.execute(
        select(jobs.c.node)
        .where(jobs.c.run_id == run_id, jobs.c.state.in_(_UNFINISHED), jobs.c.node.is_not(None))
        .distinct()
    ).scalars()
    return {str(name) for name in found}


def _first_rank(connection: Connection, asked: RunDueForRepeats) -> int:
    rank: int = connection.execute(
        select(jobs.c.rank)
        .where(
            jobs.c.run_id == asked.run_id,
            jobs.c.state.in_(_UNFINISHED),
            jobs.c.node == asked.node,
        )
        .order_by(jobs.c.rank)
        .limit(1)
    ).scalar_one()
    return rank


def _is_given_up(connection: Connection, node: str, so_far: Sequence[JobOutcome]) -> bool:
    """Whether somebody ended the node's part: its jobs were canceled, or it is not to work."""
    if any(one.state is JobState.CANCELED for one in so_far):
        return True
    try:
        return NodeState(nodes.get_node_row(connection, node).state) is not NodeState.ACTIVE
    except NotFoundError:
        return True


def _more(so_far: Sequence[JobOutcome], precision: Precision | None) -> list[JobOutcome]:
    """Return the jobs to do again, each as often as it stands there."""
    if precision is None:
        return []
    left_s = None
    if precision.budget_s is not None:
        left_s = precision.budget_s - sum(one.duration_s for one in so_far)
        if left_s <= 0:
            return []
    wanted = {
        members[-1]: repeats_needed(
            [one.speed for one in members if one.speed is not None],
            precision.interval,
            most=precision.max_repeats - len(members),
        )
        for members in _by_scenario(so_far).values()
        # What failed for good would fail again.
        if all(one.state is JobState.SUCCEEDED for one in members)
    }
    if left_s is not None and sum(one.duration_s * n for one, n in wanted.items()) > left_s:
        # What is left goes to all alike, one repeat at a time.
        wanted = {one: min(number, 1) for one, number in wanted.items()}
    return [one for one, number in wanted.items() for _ in range(number)]


def _by_scenario(so_far: Sequence[JobOutcome]) -> Mapping[str, list[JobOutcome]]:
    found: dict[str, list[JobOutcome]] = {}
    for one in so_far:
        if one.can_be_repeated and not control_encodes.is_control(one):
            found.setdefault(one.scenario, []).append(one)
    return found


def _repeats(
    work: UnitOfWork, so_far: Sequence[JobOutcome], again: Sequence[JobOutcome], rules: RepeatPolicy
) -> list[JobRow]:
    rows = work.jobs({one.job_id for one in again})
    done = {name: len(members) for name, members in _by_scenario(so_far).items()}
    position = max(one.position for one in so_far)
    made = []
    for one in again:
        done[one.scenario] += 1
        position += 1
        job = transitions.clone_queued(rows[one.job_id], work.now, rules.priority_step_s)
        job.position, job.repeat = position, done[one.scenario]
        made.append(job)
    return made


def _control(
    work: UnitOfWork,
    so_far: Sequence[JobOutcome],
    rules: RepeatPolicy,
    catalog: RequirementCatalog,
    rank: int | None,
) -> JobRow:
    """Return another control encode; without a rank it goes after what is queued."""
    like = work.jobs([so_far[0].job_id])[so_far[0].job_id]
    job = transitions.clone_queued(like, work.now, rules.priority_step_s)
    wanted = control_encodes.required_set_for(so_far[0].node, exclusive=rules.suite.exclusive)
    job.node = so_far[0].node
    job.position = max(one.position for one in so_far) + 1
    job.repeat = control_encodes.count_controls(so_far) + 1
    job.rank = job.rank if rank is None else rank
    job.requirement_id = catalog.id_of(work.statements, wanted)
    job.scenario = _CONTROL
    return job
