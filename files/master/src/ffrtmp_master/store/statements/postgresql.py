"""Statements of the hot path for PostgreSQL, executed with psycopg.

A round trip costs more than a row, so one statement handles a whole batch: sets of keys are passed
as arrays, and sets of rows as JSON. Rows that will change are locked in the order of their keys.
Candidates that another master has locked are skipped.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec
from ffrtmp_shared.states import JobState, NodeState

from ffrtmp_master.store.chunks import chunks
from ffrtmp_master.store.rows import (
    CHANGEABLE,
    COLUMNS,
    NEW,
    Candidate,
    Claimants,
    ControlSpeed,
    HeldJob,
    JobRow,
    NewControlSpeed,
    NewResult,
    NewTransition,
    NodeRow,
)

CHANNEL = "ffrtmp"
"""The channel of the notifications between masters."""

_TYPES = {
    "id": "uuid",
    "run_id": "uuid",
    "position": "int",
    "repeat": "int",
    "state": "text",
    "priority": "smallint",
    "rank": "bigint",
    "requirement_id": "int",
    "node": "text",
    "leased_to": "text",
    "slot": "int",
    "attempt": "int",
    "max_attempts": "int",
    "not_before": "timestamptz",
    "lease_expires_at": "timestamptz",
    "cancel_requested": "bool",
    "deadline_s": "float8",
    "created_at": "timestamptz",
    "created_by": "text",
    "started_at": "timestamptz",
    "finished_at": "timestamptz",
    "key": "text",
    "retry_of": "uuid",
    "superseded_by": "uuid",
    "scenario": "text",
    "progress": "text",
    "failure": "text",
}
_STATES = {state.value: state for state in JobState}
_JSON = frozenset({"scenario", "progress", "failure"})
_ROWS_AT_ONCE = 2000


def _as_stored(column: str) -> str:
    return f"new.{column}::json" if column in _JSON else f"new.{column}"


def _records(types: Mapping[str, str], name: str = "new") -> str:
    """Return a table expression for a parameter that is a JSON array of objects.

    The parameter is encoded by one call of msgspec, whereas arrays would require a Python operation
    for each value.
    """
    return (
        f"json_to_recordset(%s::json) AS {name} ({', '.join(f'{c} {t}' for c, t in types.items())})"
    )


_READ = ", ".join(f"{c}::text" if c in _JSON else c for c in COLUMNS)
_SELECT = f"SELECT {_READ} FROM jobs"  # noqa: S608 - names from our own schema
_JOBS = f"{_SELECT} WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
_HELD_ON = (
    "SELECT id, leased_to, slot, requirement_id FROM jobs"
    " WHERE state IN ('leased', 'running') AND leased_to = ANY(%s)"
)
_IS_OVERDUE = (
    "state IN ('leased', 'running') AND (lease_expires_at < %s"
    " OR started_at + deadline_s * interval '1 s' < %s)"
)
_OVERDUE_IDS = f"SELECT id FROM jobs WHERE {_IS_OVERDUE}"  # noqa: S608
_INSERT_JOBS = (
    f"WITH new AS MATERIALIZED (SELECT * FROM {_records({c: _TYPES[c] for c in NEW})}), stored AS ("  # noqa: S608
    f"INSERT INTO jobs ({', '.join(NEW)})"
    f" SELECT {', '.join(_as_stored(c) for c in NEW)} FROM new)"
    " INSERT INTO transitions (job_id, after, attempt, at, reason)"
    " SELECT id, state, attempt, created_at, %s FROM new"
)
_CHANGES = {column: _TYPES[column] for column in ("id", *CHANGEABLE)}
_Change = msgspec.defstruct(
    "_Change", [(column, Any, None) for column in _CHANGES], omit_defaults=True, gc=False
)
_of_change = attrgetter(*_CHANGES)
_UPDATE_JOBS = (
    f"UPDATE jobs SET {', '.join(f'{c} = {_as_stored(c)}' for c in CHANGEABLE)}"  # noqa: S608
    f" FROM {_records(_CHANGES)} WHERE jobs.id = new.id"
)
_JOBS_BY_KEY = (
    "SELECT j.created_by, j.key, j.id FROM unnest(%s::text[], %s::text[]) AS k (created_by, key)"
    " JOIN jobs j ON j.created_by = k.created_by AND j.key = k.key"
)
_TRANSITION = {
    "job_id": "uuid",
    "before": "text",
    "after": "text",
    "attempt": "int",
    "at": "timestamptz",
    "reason": "text",
}
_INSERT_TRANSITIONS = (
    f"INSERT INTO transitions ({', '.join(_TRANSITION)})"  # noqa: S608
    f" SELECT {', '.join(_TRANSITION)} FROM {_records(_TRANSITION)}"
)
_RESULT = {
    "id": "uuid",
    "run_id": "uuid",
    "job_id": "uuid",
    "attempt": "int",
    "node": "text",
    "repeat": "int",
    "scenario": "json",
    "measurement": "json",
    "artifacts": "json",
    "stored_at": "timestamptz",
}
_INSERT_RESULTS = (
    f"INSERT INTO results ({', '.join(_RESULT)})"  # noqa: S608
    f" SELECT {', '.join(_RESULT)} FROM {_records(_RESULT)}"
)
_CONTROL_SPEEDS = (
    "SELECT c.run_id, c.version, c.ffmpeg_sha256, c.speed, c.side, c.suspect_since,"
    " c.suspect_run_id FROM control_speeds c JOIN nodes n ON n.name = c.node"
    " WHERE c.node = %s AND c.stored_at >= n.registered_at ORDER BY c.id DESC LIMIT %s"
)
_INSERT_CONTROL_SPEED = (
    f"INSERT INTO control_speeds ({', '.join(NewControlSpeed._fields)})"  # noqa: S608
    f" VALUES ({', '.join(['%s'] * len(NewControlSpeed._fields))})"
)
_ARTIFACTS = (
    "SELECT a.job_id, a.attempt, a.name, a.sha256, a.size_bytes"
    " FROM unnest(%s::uuid[], %s::int[]) AS k (job_id, attempt)"
    " JOIN artifacts a ON a.job_id = k.job_id AND a.attempt = k.attempt"
)
# A concurrent removal of a source waits for the transaction that names it, and the reverse.
_SOURCES = (
    "SELECT sha256, stored_at FROM sources WHERE sha256 = ANY(%s) ORDER BY sha256 FOR KEY SHARE"
)
_TOUCH_SOURCES = (
    "UPDATE sources SET stored_at = %s WHERE sha256 IN (SELECT sha256 FROM sources"
    " WHERE sha256 = ANY(%s) ORDER BY sha256 FOR NO KEY UPDATE)"
)
_NODES = (
    "SELECT id, name, state, revision, last_seen_at FROM nodes WHERE name = ANY(%s)"
    " ORDER BY name FOR UPDATE"
)
_RECORD_SEEN = (
    "UPDATE nodes SET last_seen_at = %s WHERE name IN (SELECT name FROM nodes"
    " WHERE name = ANY(%s) AND last_seen_at < %s ORDER BY name FOR UPDATE SKIP LOCKED)"
)
_READY = (
    "j.requirement_id = k.id AND j.state = 'queued'"
    " AND (j.not_before IS NULL OR j.not_before <= %s)"
)
_CANDIDATES = (
    f"SELECT f.rank, f.id, k.id FROM {_records({'id': 'int', 'wanted': 'int'}, 'k')}"  # noqa: S608
    f" CROSS JOIN LATERAL (SELECT j.rank, j.id FROM jobs j WHERE {_READY}"
    " ORDER BY j.rank, j.id LIMIT k.wanted FOR UPDATE SKIP LOCKED) AS f"
)
_ANY_QUEUED = (
    "SELECT k.id FROM unnest(%s::int[]) AS k (id)"  # noqa: S608
    f" WHERE EXISTS (SELECT 1 FROM jobs j WHERE {_READY})"
)
# PostgreSQL finds the lowest id above another one by one seek, but would read all entries of the
# index for SELECT DISTINCT. It can use only the index of queued jobs, because of the order by rank.
_QUEUED_REQUIREMENTS = (
    "WITH RECURSIVE queued (id) AS ("
    "(SELECT requirement_id FROM jobs WHERE state = 'queued'"
    " ORDER BY requirement_id, rank LIMIT 1) UNION ALL"
    " SELECT (SELECT requirement_id FROM jobs WHERE state = 'queued' AND requirement_id > queued.id"
    " ORDER BY requirement_id, rank LIMIT 1)"
    " FROM queued WHERE queued.id IS NOT NULL)"
    " SELECT id FROM queued WHERE id IS NOT NULL"
)
_NEW_REQUIREMENTS = "SELECT id, key FROM requirements WHERE id > %s ORDER BY id"
_NEW_REQUIREMENT = (
    "INSERT INTO requirements (key, requirements, exclusive) VALUES (%s, %s::json, %s)"
    " ON CONFLICT (key) DO NOTHING RETURNING id"
)
# Masters read new requirement sets from the highest id that they know, so sets must be committed in
# the order of their ids. The lock is released at the end of the transaction.
_LOCK_REQUIREMENTS = "SELECT pg_advisory_xact_lock(hashtext('ffrtmp requirements'))"
_FINISH_RUNS = (
    "UPDATE runs SET finished_at = %s WHERE id = ANY(%s) AND finished_at IS NULL"
    " AND unsettled_nodes IS NULL AND NOT EXISTS ("
    "SELECT 1 FROM jobs WHERE run_id = runs.id AND state IN ('queued', 'leased', 'running'))"
)


class PostgresqlStatements:
    """Statements on a connection of psycopg, executed in its open transaction."""

    is_shared = True

    def __init__(self, connection: Any) -> None:
        """Run statements on `connection`."""
        self._run = connection.execute

    def jobs(self, ids: Iterable[UUID]) -> dict[UUID, JobRow]:
        return {row[0]: _job(row) for row in self._run(_JOBS, (list(ids),))}

    def jobs_by_key(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], UUID]:
        names = list(keys)
        rows = self._run(_JOBS_BY_KEY, ([by for by, _ in names], [key for _, key in names]))
        return {(created_by, key): job_id for created_by, key, job_id in rows}

    def insert_jobs(self, rows: Sequence[JobRow], reason: str) -> None:
        self._run(_INSERT_JOBS, (_json(rows), reason))

    def update_jobs(self, rows: Sequence[JobRow]) -> None:
        self._run(_UPDATE_JOBS, (_json([_change(row) for row in rows]),))

    def insert_transitions(self, transitions: Iterable[NewTransition]) -> None:
        for batch in chunks(transitions, _ROWS_AT_ONCE):
            self._run(_INSERT_TRANSITIONS, (_json(batch),))

    def insert_results(self, results: Sequence[NewResult]) -> None:
        rows = [
            {
                "id": result.id,
                "run_id": result.job.run_id,
                "job_id": result.job.id,
                "attempt": result.job.attempt,
                "node": result.node,
                "repeat": result.job.repeat,
                "scenario": msgspec.Raw(result.job.scenario.encode()),
                "measurement": msgspec.Raw(result.measurement.encode()),
                "artifacts": result.artifacts,
                "stored_at": result.stored_at,
            }
            for result in results
        ]
        self._run(_INSERT_RESULTS, (_json(rows),))

    def control_speeds(self, node: str, limit: int) -> list[ControlSpeed]:
        return [ControlSpeed(*row) for row in self._run(_CONTROL_SPEEDS, (node, limit))]

    def insert_control_speed(self, speed: NewControlSpeed) -> None:
        self._run(_INSERT_CONTROL_SPEED, tuple(speed))

    def sources(self, digests: Iterable[str]) -> Mapping[str, datetime]:
        return dict(self._run(_SOURCES, (list(digests),)))

    def touch_sources(self, digests: Iterable[str], now: datetime) -> None:
        self._run(_TOUCH_SOURCES, (now, list(digests)))

    def artifacts(
        self, attempts: Iterable[tuple[UUID, int]]
    ) -> Mapping[tuple[UUID, int], Mapping[str, tuple[str, int]]]:
        found: dict[tuple[UUID, int], dict[str, tuple[str, int]]] = {key: {} for key in attempts}
        arrays = ([job_id for job_id, _ in found], [attempt for _, attempt in found])
        for job_id, attempt, name, sha256, size_bytes in self._run(_ARTIFACTS, arrays):
            found[job_id, attempt][name] = (sha256, size_bytes)
        return found

    def nodes(self, names: Iterable[str]) -> dict[str, NodeRow]:
        return _nodes(self._run(_NODES, (list(names),)))

    def registrations(self, names: Iterable[str]) -> dict[str, str]:
        query = "SELECT name, registration::text FROM nodes WHERE name = ANY(%s)"
        return dict(self._run(query, (list(names),)).fetchall())

    def record_seen(self, names: Iterable[str], now: datetime, coarse_s: float) -> None:
        self._run(_RECORD_SEEN, (now, list(names), now - timedelta(seconds=coarse_s)))

    def claimants(self, names: Sequence[str], after: int) -> Claimants:
        # All statements are sent before the first result is read, in one round trip.
        node_names = list(names)
        nodes = self._run(_NODES, (node_names,))
        # These jobs are not locked, because another master may have locked one of them and be
        # waiting for the node.
        held = self._run(_HELD_ON, (node_names,))
        requirements = self._run(_NEW_REQUIREMENTS, (after,))
        return Claimants(_nodes(nodes), [HeldJob(*row) for row in held], list(requirements))

    def overdue_ids(self, now: datetime) -> list[UUID]:
        return [row[0] for row in self._run(_OVERDUE_IDS, (now, now))]

    def candidates(self, wanted: Mapping[int, int], now: datetime) -> list[Candidate]:
        # JSON is used instead of arrays, because PostgreSQL would plan the statement again for the
        # length of the arrays at each call.
        parameter = _json(
            [{"id": requirement_id, "wanted": count} for requirement_id, count in wanted.items()]
        )
        return [Candidate(*row) for row in self._run(_CANDIDATES, (parameter, now))]

    def any_queued(self, requirement_ids: Iterable[int], now: datetime) -> set[int]:
        return {row[0] for row in self._run(_ANY_QUEUED, (list(requirement_ids), now))}

    def queued_requirements(self) -> list[int]:
        return [row[0] for row in self._run(_QUEUED_REQUIREMENTS)]

    def new_requirements(self, after: int) -> list[tuple[int, str]]:
        return list(self._run(_NEW_REQUIREMENTS, (after,)))

    def requirement_ids(self) -> list[int]:
        return [row[0] for row in self._run("SELECT id FROM requirements")]

    def requirement(self, key: str, requirements: str, exclusive: bool) -> int:
        find = "SELECT id FROM requirements WHERE key = %s"
        row = self._run(find, (key,)).fetchone()
        if row is None:
            self._run(_LOCK_REQUIREMENTS)
            row = self._run(_NEW_REQUIREMENT, (key, requirements, exclusive)).fetchone()
            row = row or self._run(find, (key,)).fetchone()
        return int(row[0])

    def finish_runs(self, run_ids: Iterable[UUID], now: datetime) -> None:
        self._run(_FINISH_RUNS, (now, list(run_ids)))

    def notify(self, message: str) -> None:
        self._run("SELECT pg_notify(%s, %s)", (CHANNEL, message))


def _json(rows: Sequence[Any]) -> str:
    return msgspec.json.encode(rows).decode()


def _change(job: JobRow) -> Any:
    """Return the columns of a job that are written back. Most columns never change."""
    return _Change(*_of_change(job))


def _nodes(rows: Iterable[Any]) -> dict[str, NodeRow]:
    return {
        name: NodeRow(node_id, name, NodeState(state), revision, last_seen_at)
        for node_id, name, state, revision, last_seen_at in rows
    }


def _job(row: Sequence[Any]) -> JobRow:
    job = JobRow(*row)
    job.state = _STATES[job.state]
    return job
