"""Expansion of a suite into the queued jobs of a run, in one transaction."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from uuid import UUID

import msgspec
from ffrtmp_shared import control_encode
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.models import Run
from ffrtmp_shared.requirements import WhenUnmet
from ffrtmp_shared.states import JobState
from ffrtmp_shared.suite import Suite
from sqlalchemy import insert

from ffrtmp_master.queue import transitions
from ffrtmp_master.queue.claim_order import queue_rank
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog
from ffrtmp_master.queue.uploads import missing_sources_error, missing_uploads
from ffrtmp_master.runs import control_encodes
from ffrtmp_master.runs.interleaving import interleave
from ffrtmp_master.runs.placement import PlacedScenario, Placement, place_suite
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import nodes, runs
from ffrtmp_master.store.errors import UnprocessableError
from ffrtmp_master.store.rows import JobRow
from ffrtmp_master.store.runs import RunRow
from ffrtmp_master.store.schema import runs as runs_table
from ffrtmp_master.store.unit_of_work import UnitOfWork

_SEED_BITS = 31


@dataclass(frozen=True)
class NewRun:
    """A request for a run.

    Attributes:
        text: The suite as it was submitted.
        suite: The decoded suite.
        seed: The seed for the order of the jobs, or None for a random one.
        key: The idempotency key, or None.
        created_by: The name of the submitter.
        when_unmet: The setting that replaces the one of the suite, or None.
        repeats_min: The minimum number of repeats that the farm requires.
    """

    text: str
    suite: Suite
    seed: int | None
    key: str | None
    created_by: str
    when_unmet: WhenUnmet | None = None
    repeats_min: int = 1

    @property
    def placed_suite(self) -> Suite:
        """The suite with the setting that replaces its own."""
        if self.when_unmet is None:
            return self.suite
        return msgspec.structs.replace(self.suite, when_unmet=self.when_unmet)

    def is_same(self, existing: RunRow) -> bool:
        """Return whether an existing run has the suite and the seed of this request."""
        return bool(existing.suite == self.text and self.seed in (None, existing.seed))


@dataclass(frozen=True)
class CreatedRun:
    """A run, and whether it already existed under the same idempotency key."""

    run: Run
    existed: bool


def create_run(
    work: UnitOfWork,
    request: NewRun,
    catalog: RequirementCatalog,
    settings: Settings,
    seen_since: datetime,
) -> CreatedRun:
    """Create a run and queue its jobs, or return the existing run with the same key.

    Args:
        work: The transaction.
        request: The requested run.
        catalog: The cache of requirement sets.
        settings: The settings of the master.
        seen_since: The earliest last-seen time with which a node counts as online.

    Returns:
        The run.

    Raises:
        UnprocessableError: The farm cannot run the suite, a source or an FFmpeg was not uploaded,
            or the key was used for a different suite or seed.
    """
    connection = work.connection
    if request.key is not None:
        existing = runs.by_key(connection, request.created_by, request.key)
        if existing is not None:
            if not request.is_same(existing):
                raise UnprocessableError(
                    f"the Idempotency-Key {request.key!r} was used for run {existing.id} of suite "
                    f"{existing.suite_name}, which has another text or seed; use another key, or "
                    "repeat that request unchanged"
                )
            return CreatedRun(runs.get_run(connection, existing.id), existed=True)
    _check_sources(work, request.suite)
    known = nodes.list_all(connection, seen_since)
    placement = place_suite(request.placed_suite, known, request.repeats_min)
    with_controls = (
        control_encodes.nodes_with(known, placement.nodes) if request.suite.control else []
    )
    run_id = new_id()
    seed = secrets.randbits(_SEED_BITS) if request.seed is None else request.seed
    connection.execute(
        insert(runs_table).values(
            id=run_id,
            suite_name=request.suite.name,
            suite=request.text,
            seed=seed,
            nodes=placement.nodes,
            created_at=work.now,
            created_by=request.created_by,
            key=request.key,
            priority=request.suite.priority.steps,
            unsettled_nodes=_unsettled(request.suite, placement.nodes, with_controls, work.now),
            omitted_nodes=placement.omitted or None,
        )
    )
    first_items = [
        PlacedScenario(
            control_encode.SCENARIO,
            control_encodes.required_set_for(name, exclusive=request.suite.exclusive),
        )
        for name in with_controls
    ]
    ids = {
        placed.wanted.key: catalog.id_of(work.statements, placed.wanted)
        for placed in (*first_items, *placement.items)
    }
    new_jobs = _jobs(
        work, request, first_items, placement, ids, run_id=run_id, seed=seed, settings=settings
    )
    transitions.enqueue(work, new_jobs, "run created")
    return CreatedRun(runs.get_run(connection, run_id), existed=False)


def _unsettled(
    suite: Suite, participating: Sequence[str], with_controls: Sequence[str], now: datetime
) -> runs.Unsettled | None:
    """Return the nodes that may get further jobs, with the times of their control encodes.

    If the suite requests a precision, these are all nodes of the run. Otherwise they are the nodes
    that run control encodes.
    """
    names = participating if suite.precision is not None else with_controls
    return {name: now if name in with_controls else None for name in names} or None


def _check_sources(work: UnitOfWork, suite: Suite) -> None:
    names = {file.sha256: file.label for file in suite.files}
    missing = missing_uploads(work.statements, names, work.now)
    if missing:
        raise missing_sources_error(missing, names)


def _jobs(
    work: UnitOfWork,
    request: NewRun,
    first_items: Sequence[PlacedScenario],
    placement: Placement,
    requirement_ids: dict[str, int],
    *,
    run_id: UUID,
    seed: int,
    settings: Settings,
) -> Iterator[JobRow]:
    """Generate the jobs of a run lazily, because a run may have too many to keep in memory."""
    suite = request.suite
    steps = suite.priority.steps
    rank = queue_rank(work.now, steps, settings.priority_step_s)

    def prepare(placed: PlacedScenario) -> tuple[PlacedScenario, int, str]:
        scenario = msgspec.json.encode(placed.scenario).decode()
        return placed, requirement_ids[placed.wanted.key], scenario

    in_order = chain(
        ((1, prepare(placed)) for placed in first_items),
        interleave([prepare(placed) for placed in placement.items], suite.repeats, seed),
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
            created_by=request.created_by,
            scenario=scenario,
        )
