"""The statements of the hot path: whole sets of rows at once, written by hand for each database.

SQLAlchemy's schema is the one definition of the tables; its `execute()` costs more than half of
the rate at which jobs go through, so what every claim, heartbeat and result runs stands here.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Connection

from ffrtmp_master.store.rows import Candidate, Claimants, JobRow, NewResult, NewTransition, NodeRow
from ffrtmp_master.store.statements.postgresql import PostgresqlStatements
from ffrtmp_master.store.statements.sqlite import SqliteStatements


class Statements(Protocol):
    """What the queue's rules ask of a database, within a transaction that is open.

    Rows that are read to be changed are locked until the transaction ends, in one order, so that
    several masters neither overwrite each other nor wait in a ring.
    """

    @property
    def is_shared(self) -> bool:
        """Whether other masters may work on the database at the same time."""

    def jobs(self, ids: Iterable[UUID]) -> dict[UUID, JobRow]:
        """Read and lock jobs by id; what does not exist is missing."""

    def jobs_by_key(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], UUID]:
        """Find jobs by who made them and the key that they gave."""

    def insert_jobs(self, rows: Sequence[JobRow], reason: str) -> None:
        """Store new jobs, a few thousand at most, and write down why they came to be."""

    def update_jobs(self, rows: Sequence[JobRow]) -> None:
        """Write back what can change of jobs."""

    def insert_transitions(self, transitions: Iterable[NewTransition]) -> None:
        """Write down changes of state."""

    def insert_results(self, results: Sequence[NewResult]) -> None:
        """Store results."""

    def sources(self, digests: Iterable[str]) -> set[str]:
        """Return those of some digests that an uploaded source has."""

    def artifacts(
        self, attempts: Iterable[tuple[UUID, int]]
    ) -> Mapping[tuple[UUID, int], Mapping[str, tuple[str, int]]]:
        """Read the artifacts of attempts: digest and size in bytes by name."""

    def nodes(self, names: Iterable[str]) -> dict[str, NodeRow]:
        """Read and lock nodes by name; what does not exist is missing."""

    def registrations(self, names: Iterable[str]) -> dict[str, str]:
        """Read what agents said of their nodes, as JSON text by name."""

    def record_seen(self, names: Iterable[str], now: datetime, coarse_s: float) -> None:
        """Note that agents of nodes were heard, where the last note is older than `coarse_s`."""

    def claimants(self, names: Sequence[str], after: int) -> Claimants:
        """Read and lock nodes, and read what they work on and `new_requirements`."""

    def overdue(self, now: datetime) -> list[JobRow]:
        """Read and lock the jobs whose lease has run out or whose deadline has passed."""

    def any_overdue(self, now: datetime) -> bool:
        """Return whether `overdue` would find any."""

    def candidates(self, wanted: Mapping[int, int], now: datetime) -> list[Candidate]:
        """Find for each set of requirements its first queued jobs, at most as many as wanted.

        They are locked where masters work side by side; what another has locked is left out.
        """

    def any_queued(self, requirement_ids: Iterable[int], now: datetime) -> set[int]:
        """Return those sets of requirements for which a job could be handed out now."""

    def new_requirements(self, after: int) -> list[tuple[int, str]]:
        """Read sets of requirements with an id above `after`: id and key."""

    def requirement(self, key: str, requirements: str, exclusive: bool) -> int:
        """Return the id of a set of requirements, storing it when it is new."""

    def finish_runs(self, run_ids: Iterable[UUID], now: datetime) -> None:
        """Mark those runs as finished whose jobs are all final."""

    def notify(self, message: str) -> None:
        """Tell the other masters, once the transaction is committed."""


def statements_for(connection: Connection) -> Statements:
    """Return the statements for the database of `connection`, to run on it."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        return SqliteStatements(driver)
    return PostgresqlStatements(driver)
