"""Statements of the hot path for SQLite, executed on the connection of the driver.

The driver caches compiled statements. States are written as literals, because SQLite cannot use a
partial index with a parameter.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from typing import Any
from uuid import UUID

import msgspec
from ffrtmp_shared.states import JobState, NodeState

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

_SELECT = f"SELECT {', '.join(COLUMNS)} FROM jobs"  # noqa: S608 - names from our own schema
# A set of keys is passed as one JSON array, because a statement for each key is more expensive.
_JOBS = f"{_SELECT} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
_HELD_ON = (
    "SELECT id, leased_to, slot, requirement_id FROM jobs WHERE state IN ('leased', 'running')"
    " AND leased_to IN (SELECT value FROM json_each(?))"
)
_IS_OVERDUE = (
    "state IN ('leased', 'running') AND (lease_expires_at < ?1"
    " OR julianday(started_at) + deadline_s / 86400 < julianday(?1))"
)
_OVERDUE_IDS = f"SELECT id FROM jobs WHERE {_IS_OVERDUE}"  # noqa: S608
_INSERT_JOB = f"INSERT INTO jobs ({', '.join(NEW)}) VALUES ({', '.join('?' * len(NEW))})"  # noqa: S608
_UPDATE_JOB = f"UPDATE jobs SET {', '.join(f'{c} = ?' for c in CHANGEABLE)} WHERE id = ?"  # noqa: S608
_JOB_BY_KEY = "SELECT id FROM jobs WHERE created_by = ? AND key = ? AND key IS NOT NULL"
_INSERT_TRANSITION = (
    "INSERT INTO transitions (job_id, before, after, attempt, at, reason) VALUES (?, ?, ?, ?, ?, ?)"
)
# The number of rows per statement. For narrow rows, this is faster than one statement for each row.
_ROWS_PER_INSERT = 16
_INSERT_TRANSITIONS = _INSERT_TRANSITION + ", (?, ?, ?, ?, ?, ?)" * (_ROWS_PER_INSERT - 1)
_INSERT_RESULT = (
    "INSERT INTO results (id, run_id, job_id, attempt, node, repeat, scenario, measurement,"
    " artifacts, stored_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_CONTROL_SPEEDS = (
    "SELECT c.run_id, c.version, c.ffmpeg_sha256, c.speed, c.side, c.suspect_since,"
    " c.suspect_run_id FROM control_speeds c JOIN nodes n ON n.name = c.node"
    " WHERE c.node = ? AND c.stored_at >= n.registered_at ORDER BY c.id DESC LIMIT ?"
)
_INSERT_CONTROL_SPEED = (
    f"INSERT INTO control_speeds ({', '.join(NewControlSpeed._fields)})"  # noqa: S608
    f" VALUES ({', '.join('?' * len(NewControlSpeed._fields))})"
)
_ARTIFACTS = "SELECT name, sha256, size_bytes FROM artifacts WHERE job_id = ? AND attempt = ?"
_SOURCE = "SELECT sha256, stored_at FROM sources WHERE sha256 = ?"
_TOUCH_SOURCE = "UPDATE sources SET stored_at = ? WHERE sha256 = ?"
_NODES = (
    "SELECT id, name, state, revision, last_seen_at FROM nodes"
    " WHERE name IN (SELECT value FROM json_each(?))"
)
_RECORD_SEEN = "UPDATE nodes SET last_seen_at = ? WHERE name = ? AND last_seen_at < ?"
_READY = "requirement_id = ? AND state = 'queued' AND (not_before IS NULL OR not_before <= ?)"
_CANDIDATES = f"SELECT rank, id FROM jobs WHERE {_READY} ORDER BY rank, id LIMIT ?"  # noqa: S608
_ANY_QUEUED = f"SELECT 1 FROM jobs WHERE {_READY} LIMIT 1"  # noqa: S608
# SQLite finds the lowest id above another one by one seek, but would read all entries of the index
# for SELECT DISTINCT.
_QUEUED_REQUIREMENTS = (
    "WITH RECURSIVE queued (id) AS ("
    "SELECT (SELECT min(requirement_id) FROM jobs INDEXED BY ix_jobs_queued"
    " WHERE state = 'queued') UNION ALL "
    "SELECT (SELECT min(requirement_id) FROM jobs INDEXED BY ix_jobs_queued"
    " WHERE state = 'queued' AND requirement_id > queued.id)"
    " FROM queued WHERE queued.id IS NOT NULL)"
    " SELECT id FROM queued WHERE id IS NOT NULL"
)
_FINISH_RUN = (
    "UPDATE runs SET finished_at = ?2 WHERE id = ?1 AND finished_at IS NULL"
    " AND unsettled_nodes IS NULL AND NOT EXISTS ("
    "SELECT 1 FROM jobs WHERE run_id = ?1 AND state IN ('queued', 'leased', 'running'))"
)

_STATES = {state.value: state for state in JobState}


def _unchanged(value: Any) -> Any:
    return value


# For a value of any type other than numbers and text, the driver searches for an adapter. If there
# is none, it internally formats an error message, which took a tenth of the time of the statements.
for _kind in (type(None), bool, JobState):
    sqlite3.register_adapter(_kind, _unchanged)


class SqliteStatements:
    """Statements on the connection of the only writer, so no rows need to be locked."""

    is_shared = False

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Run statements in the open transaction of `connection`."""
        self._run = connection.execute
        self._run_many = connection.executemany

    def jobs(self, ids: Iterable[UUID]) -> dict[UUID, JobRow]:
        wanted = {job_id.hex: job_id for job_id in ids}
        rows = self._run(_JOBS, (_array(wanted),)).fetchall()
        return {wanted[row[0]]: _job(row, wanted[row[0]]) for row in rows}

    def jobs_by_key(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], UUID]:
        found = {}
        for key in keys:
            row = self._run(_JOB_BY_KEY, key).fetchone()
            if row is not None:
                found[key] = _uuid(row[0])
        return found

    def insert_jobs(self, rows: Sequence[JobRow], reason: str) -> None:
        self._run_many(_INSERT_JOB, (_values(row) for row in rows))
        self._insert_transitions(
            [
                (row.id.hex, None, row.state, row.attempt, _text(row.created_at), reason)
                for row in rows
            ]
        )

    def update_jobs(self, rows: Sequence[JobRow]) -> None:
        self._run_many(_UPDATE_JOB, [_changes(row) for row in rows])

    def insert_transitions(self, transitions: Iterable[NewTransition]) -> None:
        self._insert_transitions(
            [
                (
                    transition.job_id.hex,
                    transition.before,
                    transition.after,
                    transition.attempt,
                    _text(transition.at),
                    transition.reason,
                )
                for transition in transitions
            ]
        )

    def _insert_transitions(self, rows: Sequence[tuple[Any, ...]]) -> None:
        whole = len(rows) - len(rows) % _ROWS_PER_INSERT
        for start in range(0, whole, _ROWS_PER_INSERT):
            values = chain.from_iterable(rows[start : start + _ROWS_PER_INSERT])
            self._run(_INSERT_TRANSITIONS, tuple(values))
        self._run_many(_INSERT_TRANSITION, rows[whole:])

    def insert_results(self, results: Sequence[NewResult]) -> None:
        self._run_many(_INSERT_RESULT, [_result(result) for result in results])

    def control_speeds(self, node: str, limit: int) -> list[ControlSpeed]:
        rows = self._run(_CONTROL_SPEEDS, (node, limit)).fetchall()
        return [
            ControlSpeed(
                run_id=_uuid(run_id),
                version=version,
                ffmpeg_sha256=ffmpeg_sha256,
                speed=speed,
                side=side,
                suspect_since=None if since is None else _datetime(since),
                suspect_run_id=None if suspect_run_id is None else _uuid(suspect_run_id),
            )
            for run_id, version, ffmpeg_sha256, speed, side, since, suspect_run_id in rows
        ]

    def insert_control_speed(self, speed: NewControlSpeed) -> None:
        stored = speed._asdict() | {
            "run_id": speed.run_id.hex,
            "job_id": speed.job_id.hex,
            "stored_at": _text(speed.stored_at),
            "suspect_since": _text_or_none(speed.suspect_since),
            "suspect_run_id": _hex_or_none(speed.suspect_run_id),
        }
        self._run(_INSERT_CONTROL_SPEED, tuple(stored.values()))

    def sources(self, digests: Iterable[str]) -> Mapping[str, datetime]:
        found = (self._run(_SOURCE, (digest,)).fetchone() for digest in digests)
        return {row[0]: _datetime(row[1]) for row in found if row is not None}

    def touch_sources(self, digests: Iterable[str], now: datetime) -> None:
        self._run_many(_TOUCH_SOURCE, [(_text(now), digest) for digest in digests])

    def artifacts(
        self, attempts: Iterable[tuple[UUID, int]]
    ) -> Mapping[tuple[UUID, int], Mapping[str, tuple[str, int]]]:
        return {
            (job_id, attempt): {
                name: (sha256, size_bytes)
                for name, sha256, size_bytes in self._run(_ARTIFACTS, (job_id.hex, attempt))
            }
            for job_id, attempt in attempts
        }

    def nodes(self, names: Iterable[str]) -> dict[str, NodeRow]:
        rows = self._run(_NODES, (_array(names),))
        return {
            name: NodeRow(_uuid(node_id), name, NodeState(state), revision, _datetime(last_seen_at))
            for node_id, name, state, revision, last_seen_at in rows
        }

    def registrations(self, names: Iterable[str]) -> dict[str, str]:
        query = "SELECT name, registration FROM nodes WHERE name = ?"
        rows = [self._run(query, (name,)).fetchone() for name in names]
        return dict(row for row in rows if row is not None)

    def record_seen(self, names: Iterable[str], now: datetime, coarse_s: float) -> None:
        before = _text(now - timedelta(seconds=coarse_s))
        at = _text(now)
        self._run_many(_RECORD_SEEN, [(at, name, before) for name in names])

    def claimants(self, names: Sequence[str], after: int) -> Claimants:
        held = [
            HeldJob(_uuid(job_id), leased_to, slot, requirement_id)
            for job_id, leased_to, slot, requirement_id in self._run(_HELD_ON, (_array(names),))
        ]
        return Claimants(self.nodes(names), held, self.new_requirements(after))

    def overdue_ids(self, now: datetime) -> list[UUID]:
        return [_uuid(row[0]) for row in self._run(_OVERDUE_IDS, (_text(now),))]

    def candidates(self, wanted: Mapping[int, int], now: datetime) -> list[Candidate]:
        at = _text(now)
        return [
            Candidate(rank, _uuid(job_id), requirement_id)
            for requirement_id, count in wanted.items()
            for rank, job_id in self._run(_CANDIDATES, (requirement_id, at, count))
        ]

    def any_queued(self, requirement_ids: Iterable[int], now: datetime) -> set[int]:
        at = _text(now)
        return {
            requirement_id
            for requirement_id in requirement_ids
            if self._run(_ANY_QUEUED, (requirement_id, at)).fetchone() is not None
        }

    def queued_requirements(self) -> list[int]:
        return [row[0] for row in self._run(_QUEUED_REQUIREMENTS)]

    def new_requirements(self, after: int) -> list[tuple[int, str]]:
        return self._run("SELECT id, key FROM requirements WHERE id > ?", (after,)).fetchall()

    def requirement_ids(self) -> list[int]:
        return [row[0] for row in self._run("SELECT id FROM requirements")]

    def requirement(self, key: str, requirements: str, exclusive: bool) -> int:
        row = self._run("SELECT id FROM requirements WHERE key = ?", (key,)).fetchone()
        if row is not None:
            return int(row[0])
        cursor = self._run(
            "INSERT INTO requirements (key, requirements, exclusive) VALUES (?, ?, ?)",
            (key, requirements, exclusive),
        )
        return int(cursor.lastrowid or 0)

    def finish_runs(self, run_ids: Iterable[UUID], now: datetime) -> None:
        at = _text(now)
        for run_id in run_ids:
            self._run(_FINISH_RUN, (run_id.hex, at))

    def notify(self, message: str) -> None:
        """Do nothing, because only one master uses an SQLite database."""


def _uuid(text: Any) -> UUID:
    """Convert text to an id. This is several times faster than the constructor of UUID."""
    return msgspec.convert(text, UUID)


def _array(values: Iterable[str]) -> str:
    return msgspec.json.encode(list(values)).decode()


def _job(row: tuple[Any, ...], job_id: UUID) -> JobRow:
    job = JobRow(*row)
    job.id = job_id
    job.state = _STATES[job.state]
    job.cancel_requested = bool(job.cancel_requested)
    job.created_at = _datetime(job.created_at)
    # This is not a loop, because most values are None and a function call for each would cost more
    # than the check.
    if job.run_id is not None:
        job.run_id = _uuid(job.run_id)
    if job.retry_of is not None:
        job.retry_of = _uuid(job.retry_of)
    if job.superseded_by is not None:
        job.superseded_by = _uuid(job.superseded_by)
    if job.not_before is not None:
        job.not_before = _datetime(job.not_before)
    if job.lease_expires_at is not None:
        job.lease_expires_at = _datetime(job.lease_expires_at)
    if job.started_at is not None:
        job.started_at = _datetime(job.started_at)
    if job.finished_at is not None:
        job.finished_at = _datetime(job.finished_at)
    return job


def _values(job: JobRow) -> tuple[Any, ...]:
    """Return the values of a new job in the order of NEW."""
    return (
        job.id.hex,
        job.position,
        job.repeat,
        job.state,
        job.priority,
        job.rank,
        job.requirement_id,
        job.attempt,
        job.max_attempts,
        job.cancel_requested,
        _text(job.created_at),
        job.created_by,
        job.scenario,
        _hex_or_none(job.run_id),
        job.node,
        job.deadline_s,
        job.key,
        _hex_or_none(job.retry_of),
    )


def _changes(job: JobRow) -> tuple[Any, ...]:
    """Return the changeable values of a job in the order of CHANGEABLE, and its id."""
    return (
        job.state,
        job.priority,
        job.rank,
        job.attempt,
        job.cancel_requested,
        job.leased_to,
        job.slot,
        _text_or_none(job.not_before),
        _text_or_none(job.lease_expires_at),
        _text_or_none(job.started_at),
        _text_or_none(job.finished_at),
        _hex_or_none(job.superseded_by),
        job.progress,
        job.failure,
        job.id.hex,
    )


def _result(result: NewResult) -> tuple[Any, ...]:
    job = result.job
    return (
        result.id.hex,
        None if job.run_id is None else job.run_id.hex,
        job.id.hex,
        job.attempt,
        result.node,
        job.repeat,
        job.scenario,
        result.measurement,
        msgspec.json.encode(result.artifacts).decode(),
        _text(result.stored_at),
    )


def _hex_or_none(value: UUID | None) -> str | None:
    """Format an id as SQLAlchemy does for databases without a UUID type."""
    return None if value is None else value.hex


_TEXT_LENGTH = len("2026-01-01 00:00:00.000000")


@lru_cache(maxsize=256)
def _text(moment: datetime) -> str:
    """Format a time in UTC as SQLAlchemy does, without its timezone.

    The results of this function and of `_datetime` are cached, because a batch contains many times,
    but few different ones.
    """
    return moment.isoformat(" ", "microseconds")[:_TEXT_LENGTH]


def _text_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else _text(moment)


@lru_cache(maxsize=256)
def _datetime(text: Any) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
