"""From a suite to queued jobs, in one transaction."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from uuid import UUID

import msgspec
from ffrtmp_shared import control_encode
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.models import Run, RunPlan
from ffrtmp_shared.states import JobState
from ffrtmp_shared.suite import Suite
from sqlalchemy import Connection, insert

from ffrtmp_master.queue import transitions
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog
from ffrtmp_master.queue.uploads import missing_sources_error
from ffrtmp_master.runs import control_encodes
from ffrtmp_master.runs.interleaving import interleave
from ffrtmp_master.runs.placement import PlacedScenario, Placement, place_suite
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import nodes, runs
from ffrtmp_master.store.errors import UnprocessableError
from ffrtmp_master.store.rows import JobRow
from ffrtmp_master.store.schema import runs as runs_table
from ffrtmp_master.store.unit_of_work import UnitOfWork

_SEED_BITS = 31


@dataclass(frozen=True)
class NewRun:
    """A run that somebody asks for: the suite as text and as read, and who asks."""

    text: str
    suite: Suite
    seed: int | None
    key: str | None
    created_by: str


@dataclass(frozen=True)
class CreatedRun:
    """The run, and whether it was there before under the same key."""

    run: Run
    existed: bool


def plan_run(connection: Connection, suite: Suite, heard_since: datetime) -> RunPlan:
    """Say what a suite would queue now; raises what `create` raises, but for missing sources."""
    known = nodes.list_all(connection, heard_since)
    placement = place_suite(suite, known)
    controlled = control_encodes.nodes_with(known, placement.nodes) if suite.control else []
    return RunPlan(
        suite_name=suite.name,
        jobs=len(placement.items) * suite.repeats + len(controlled),
        scenarios=tuple(scenario.name for scenario in suite.scenarios()),
        nodes=placement.nodes,
    )


def create_run(
    work: UnitOfWork,
    asked: NewRun,
    catalog: RequirementCatalog,
    settings: Settings,
    heard_since: datetime,
) -> CreatedRun:
    """Queue the jobs of a suite, or return the run that was made with the same key before.

    Raises UnacceptableError when the farm cannot do the suite as it is.
    """
    connection = work.connection
    if asked.key is not None:
        earlier = runs.by_key(connection, asked.created_by, asked.key)
        if earlier is not None:
            if earlier.suite != asked.text or asked.seed not in (None, earlier.seed):
                raise UnprocessableError(
                    f"the idempotency key {asked.key!r} was used for another suite or seed"
                )
            return CreatedRun(runs.get_run(connection, earlier.id), existed=True)
    _check_sources(work, asked.suite)
    known = nodes.list_all(connection, heard_since)
    placement = place_suite(asked.suite, known)
    controlled = control_encodes.nodes_with(known, placement.nodes) if asked.suite.control else []
    run_id = new_id()
    seed = secrets.randbits(_SEED_BITS) if asked.seed is None else asked.seed
    connection.execute(
        insert(runs_table).values(
            id=run_id,
            suite_name=asked.suite.name,
            suite=asked.text,
            seed=seed,
            nodes=placement.nodes,
            created_at=work.now,
            created_by=asked.created_by,
            key=asked.key,
            priority=asked.suite.priority.steps,
            unsettled_nodes=_unsettled(asked.suite, placement.nodes, controlled, work.now),
        )
    )
    first = [
        PlacedScenario(
            control_encode.SCENARIO,
            control_encodes.required_set_for(name, exclusive=asked.suite.exclusive),
        )
        for name in controlled
    ]
    ids = {
        placed.wanted.key: catalog.id_of(work.statements, placed.wanted)
        for placed in (*first, *placement.items)
    }
    made = _jobs(work, asked, first, placement, ids, run_id=run_id, seed=seed, settings=settings)
    transitions.enqueue(work, made, "run created")
    return CreatedRun(runs.get_run(connection, run_id), existed=False)


def _unsettled(
    suite: Suite, taking_part: Sequence[str], controlled: Sequence[str], now: datetime
) -> runs.Unsettled | None:
    """Say where more may follow: everywhere for the sake of medians, else for control encodes."""
    names = taking_part if suite.precision is not None else controlled
    return {name: now if name in controlled else None for name in names} or None


def _check_sources(work: UnitOfWork, suite: Suite) -> None:
    names = {
        one.sha256: f"{what} {one.name}"
        for what, inputs in (("FFmpeg", suite.ffmpegs), ("source", suite.sources))
        for one in inputs
        if one.file is not None and one.sha256 is not None
    }
    missing = names.keys() - work.statements.sources(names)
    if missing:
        raise missing_sources_error(missing, names)


def _jobs(
    work: UnitOfWork,
    asked: NewRun,
    first: Sequence[PlacedScenario],
    placement: Placement,
    requirement_ids: dict[str, int],
    *,
    run_id: UUID,
    seed: int,
    settings: Settings,
) -> Iterator[JobRow]:
    """Make the jobs one after another: a run may have more than should be in memory."""
    suite = asked.suite
    steps = suite.priority.steps
    rank = transitions.rank(work.now, steps, settings.priority_step_s)

    def ready(placed: PlacedScenario) -> tuple[PlacedScenario, int, str]:
        scenario = msgspec.json.encode(placed.scenario).decode()
        return placed, requirement_ids[placed.wanted.key], scenario

    in_order = chain(
        ((1, ready(placed)) for placed in first),
        interleave([ready(placed) for placed in placement.items], suite.repeats, seed),
    )
    for position, (repeat, (placed, requirement_id, scenario)) in enumerate(in_order):
        yield JobRow(
            id=new_id(),
            run_id=run_id,
            position=position,
            repeat=repeat,
            state=JobState.QUEUED,
            priority=steps,
            rank=rank,
            requirement_id=requirement_id,
            node=placed.wanted.requirements.node,
            attempt=0,
            max_attempts=settings.max_attempts,
            cancel_requested=False,
            deadline_s=suite.deadline_s,
            created_at=work.now,
            created_by=asked.created_by,
            scenario=scenario,
        )
