"""Statements of the hot path. They are written by hand for each database and handle sets of rows.

The tables are defined only in the SQLAlchemy schema. However, the statements for claims, heartbeats
and results are written here, because executing them with SQLAlchemy would reduce the job throughput
by more than half.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Connection

from ffrtmp_master.store.rows import (
    Candidate,
    Claimants,
    ControlSpeed,
    JobRow,
    NewControlSpeed,
    NewResult,
    NewTransition,
    NodeRow,
)
from ffrtmp_master.store.statements.postgresql import PostgresqlStatements
from ffrtmp_master.store.statements.sqlite import SqliteStatements


class Statements(Protocol):
    """The statements of the queue, executed in an open transaction.

    Rows that are read in order to be changed are locked until the transaction ends. They are locked
    in a fixed order, so that several masters neither overwrite each other's changes nor deadlock.
    """

    @property
    def is_shared(self) -> bool:
        """Return whether other masters may work on the database at the same time."""

    def jobs(self, ids: Iterable[UUID]) -> dict[UUID, JobRow]:
        """Read and lock jobs, and return those that exist by id."""

    def jobs_by_key(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], UUID]:
        """Find jobs by submitter and idempotency key."""

    def insert_jobs(self, rows: Sequence[JobRow], reason: str) -> None:
        """Store up to a few thousand new jobs with their first transitions."""

    def update_jobs(self, rows: Sequence[JobRow]) -> None:
        """Write back the changeable columns of jobs."""

    def insert_transitions(self, transitions: Iterable[NewTransition]) -> None:
        """Store transitions."""

    def insert_results(self, results: Sequence[NewResult]) -> None:
        """Store results."""

    def control_speeds(self, node: str, limit: int) -> list[ControlSpeed]:
        """Read the last control encodes of a node since its registration, the newest first."""

    def insert_control_speed(self, speed: NewControlSpeed) -> None:
        """Store the speed of a control encode."""

    def sources(self, digests: Iterable[str]) -> Mapping[str, datetime]:
        """Read when the uploaded sources with these digests were last used, by digest."""

    def touch_sources(self, digests: Iterable[str], now: datetime) -> None:
        """Record that sources are used."""

    def artifacts(
        self, attempts: Iterable[tuple[UUID, int]]
    ) -> Mapping[tuple[UUID, int], Mapping[str, tuple[str, int]]]:
        """Read the digests and sizes in bytes of the artifacts of attempts, by attempt and name."""

    def nodes(self, names: Iterable[str]) -> dict[str, NodeRow]:
        """Read and lock nodes, and return those that exist by name."""

    def registrations(self, names: Iterable[str]) -> dict[str, str]:
        """Read the registrations of nodes as JSON text, by name."""

    def record_seen(self, names: Iterable[str], now: datetime, coarse_s: float) -> None:
        """Set the last-seen times of those nodes whose stored last-seen times are outdated.

        Args:
            names: The names of the nodes.
            now: The new last-seen time.
            coarse_s: The age in seconds above which a stored time is outdated.
        """

    def claimants(self, names: Sequence[str], after: int) -> Claimants:
        """Read and lock nodes, and read the jobs that they hold and the `new_requirements`."""

    def overdue_ids(self, now: datetime) -> list[UUID]:
        """Return the ids of the jobs whose lease has expired or whose deadline has passed."""

    def candidates(self, wanted: Mapping[int, int], now: datetime) -> list[Candidate]:
        """Find the first queued jobs of each requirement set, up to the wanted number.

        If masters share the database, the jobs are locked, and jobs that another master has already
        locked are left out.
        """

    def any_queued(self, requirement_ids: Iterable[int], now: datetime) -> set[int]:
        """Return those of the requirement sets that have a queued job that may be leased now."""

    def queued_requirements(self) -> list[int]:
        """Return the requirement sets that have queued jobs, with one index seek for each."""

    def new_requirements(self, after: int) -> list[tuple[int, str]]:
        """Read the ids and keys of requirement sets with an id above `after`."""

    def requirement_ids(self) -> list[int]:
        """Read the ids of all requirement sets."""

    def requirement(self, key: str, requirements: str, exclusive: bool) -> int:
        """Return the id of a requirement set; store the set if it is new.

        Args:
            key: The canonical JSON text of the set.
            requirements: The requirements as JSON text.
            exclusive: Whether jobs of the set are exclusive.

        Returns:
            The id.
        """

    def finish_runs(self, run_ids: Iterable[UUID], now: datetime) -> None:
        """Mark as finished those of the runs that have only final jobs and get no further jobs."""

    def notify(self, message: str) -> None:
        """Send a notification to the other masters. It is delivered after the commit."""


def statements_for(connection: Connection) -> Statements:
    """Return an object that executes statements for the database of `connection` on it."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        return SqliteStatements(driver)
    return PostgresqlStatements(driver)
