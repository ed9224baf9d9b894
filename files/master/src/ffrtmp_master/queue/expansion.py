"""From a suite to queued jobs, in one transaction."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ffrtmp_shared.ids import new_id
from ffrtmp_shared.models import Run, RunPlan
from ffrtmp_shared.states import JobState
from ffrtmp_shared.suite import Suite
from sqlalchemy import Connection, insert

from ffrtmp_master.queue import transitions
from ffrtmp_master.queue.ordering import interleaved
from ffrtmp_master.queue.placement import Placement, place
from ffrtmp_master.store import artifacts, nodes, runs
from ffrtmp_master.store.refusals import UnacceptableError
from ffrtmp_master.store.schema import jobs
from ffrtmp_master.store.schema import runs as runs_table

_SEED_BITS = 31


@dataclass(frozen=True)
class Asked:
    """A run that somebody asks for: the suite as text and as read, and who asks."""

    text: str
    suite: Suite
    seed: int | None
    key: str | None
    created_by: str


@dataclass(frozen=True)
class Created:
    """The run, and whether it was there before under the same key."""

    run: Run
    existed: bool


def plan(connection: Connection, suite: Suite, now: datetime, offline_s: float) -> RunPlan:
    """Say what a suite would queue now; raises what `create` raises, but for missing sources."""
    placement = place(suite, nodes.every(connection, now, offline_s))
    return RunPlan(
        suite_name=suite.name,
        jobs=len(placement.items) * suite.repeats,
        scenarios=tuple(scenario.name for scenario in suite.scenarios()),
        nodes=placement.nodes,
    )


def create(
    connection: Connection, asked: Asked, now: datetime, offline_s: float, max_attempts: int
) -> Created:
    """Queue the jobs of a suite, or return the run that was made with the same key before.

    Raises UnacceptableError or ConflictError when the farm cannot do the suite as it is.
    """
    if asked.key is not None:
        earlier = runs.by_key(connection, asked.created_by, asked.key)
        if earlier is not None:
            if earlier.suite != asked.text or asked.seed not in (None, earlier.seed):
                raise UnacceptableError(
                    f"the idempotency key {asked.key!r} was used for another suite or seed"
                )
            return Created(runs.find(connection, earlier.id), existed=True)
    _check_sources(connection, asked.suite)
    placement = place(asked.suite, nodes.every(connection, now, offline_s))
    run_id = new_id()
    seed = secrets.randbits(_SEED_BITS) if asked.seed is None else asked.seed
    connection.execute(
        insert(runs_table).values(
            id=run_id,
            suite_name=asked.suite.name,
            suite=asked.text,
            seed=seed,
            nodes=placement.nodes,
            created_at=now,
            created_by=asked.created_by,
            key=asked.key,
        )
    )
    rows = [
        row | {"run_id": run_id, "created_at": now, "max_attempts": max_attempts}
        for row in _job_rows(placement, asked.suite.repeats, seed)
    ]
    connection.execute(insert(jobs), rows)
    transitions.begin(connection, [row["id"] for row in rows], "run created", now)
    return Created(runs.find(connection, run_id), existed=False)


def _check_sources(connection: Connection, suite: Suite) -> None:
    names = {source.sha256: source.name for source in suite.sources}
    missing = artifacts.missing_sources(connection, names)
    if missing:
        raise UnacceptableError(
            "the master lacks sources; upload them first",
            [f"source {names[digest]} (SHA-256 {digest}) is not uploaded" for digest in missing],
        )


def _job_rows(placement: Placement, repeats: int, seed: int) -> list[dict[str, Any]]:
    return [
        {
            "id": new_id(),
            "position": position,
            "repeat": repeat,
            "state": JobState.QUEUED,
            "node": placed.node,
            "attempt": 0,
            "encoder": placed.scenario.encode.encoder,
            "cancel_requested": False,
            "scenario": placed.scenario,
        }
        for position, (repeat, placed) in enumerate(interleaved(placement.items, repeats, seed))
    ]
