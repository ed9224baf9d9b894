"""Unit of work: the rows, pending writes and effects of one transaction."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.states import JobState
from sqlalchemy import Connection

from ffrtmp_master.store import statements
from ffrtmp_master.store.notifications import Notification
from ffrtmp_master.store.rows import JobRow, NewResult, NewTransition


@dataclass
class Effects:
    """The effects of a committed transaction on parked claims and metrics.

    Attributes:
        queued: The number of newly queued jobs of each requirement set, by the id of the set.
        delayed: For each job in backoff, the end of the backoff and the id of its requirement set.
        freed: The names of the nodes on which a job ended.
        taken: The names of the nodes that got a job, each with whether that job is exclusive.
        submitted: The number of new jobs.
        claims: The number of claims that got a job.
        results: The number of stored results.
        finished: The number of jobs that became final in each state.
        ended: For each failed attempt, the class of the failure and the new state of the job.
        queue_waits_s: For each newly leased job, the time that it waited after it became ready.
        run_times_s: For each attempt that ended, its duration.
        end_to_end_s: For each job that became final, the time since its creation.
    """

    queued: Counter[int] = field(default_factory=Counter)
    delayed: list[tuple[datetime, int]] = field(default_factory=list)
    freed: set[str] = field(default_factory=set)
    taken: dict[str, bool] = field(default_factory=dict)
    submitted: int = 0
    claims: int = 0
    results: int = 0
    finished: Counter[JobState] = field(default_factory=Counter)
    ended: list[tuple[FailureClass, JobState]] = field(default_factory=list)
    queue_waits_s: list[float] = field(default_factory=list)
    run_times_s: list[float] = field(default_factory=list)
    end_to_end_s: list[float] = field(default_factory=list)

    def note_taken(self, node: str, *, is_exclusive: bool) -> None:
        """Record that a node got a job. An exclusive job leaves no slot of the node free."""
        self.taken[node] = is_exclusive
        if is_exclusive:
            self.freed.discard(node)


class UnitOfWork:
    """Caches the rows that one transaction reads and changes; `flush` writes the changes."""

    def __init__(self, connection: Connection, now: datetime, origin: str) -> None:
        """Create a unit of work for the open transaction of a connection.

        Args:
            connection: A connection with an open transaction.
            now: The time of the transaction.
            origin: The name of this master in notifications.
        """
        self._origin = origin
        self.connection = connection
        self.statements = statements.statements_for(connection)
        self.now = now
        self.effects = Effects()
        self._known: dict[UUID, JobRow] = {}
        # The changed jobs, by the integer values of their ids.
        self._changed: dict[int, JobRow] = {}
        self._transitions: list[NewTransition] = []
        self._results: list[NewResult] = []
        self._ended_runs: set[UUID] = set()

    def load(self, ids: Iterable[UUID]) -> None:
        """Read jobs and lock them until the transaction ends. Unknown ids are ignored."""
        known = self._known
        # Integers are hashed and compared faster than UUIDs, and PostgreSQL orders UUIDs like their
        # integer values.
        missing = {job_id.int: job_id for job_id in ids if job_id not in known}
        if missing:
            wanted = [missing[number] for number in sorted(missing)]
            known.update(self.statements.jobs(wanted))

    def jobs(self, ids: Iterable[UUID]) -> dict[UUID, JobRow]:
        """Read jobs as `load` does and return those that exist, by id."""
        wanted = set(ids)
        self.load(wanted)
        return {job_id: self._known[job_id] for job_id in wanted if job_id in self._known}

    def job(self, job_id: UUID) -> JobRow | None:
        """Read one job as `load` does. Return None if it does not exist."""
        if job_id not in self._known:
            self.load((job_id,))
        return self._known.get(job_id)

    def get_loaded(self, job_id: UUID) -> JobRow:
        """Return a job that was loaded. Raises KeyError."""
        return self._known[job_id]

    def has_ended(self, job_id: UUID) -> bool:
        """Return whether this unit of work ended a job that is still held in the database."""
        job = self._known.get(job_id)
        return job is not None and not job.state.holds_lease

    def merge(self, rows: Iterable[JobRow]) -> list[JobRow]:
        """Cache rows that a statement read and return them. Rows that were cached before are kept.

        For a job that was cached before, the earlier row is returned.
        """
        return [self._known.setdefault(row.id, row) for row in rows]

    def mark_changed(self, job: JobRow) -> None:
        """Schedule a job to be written back."""
        self._changed[job.id.int] = job

    def add_transition(self, transition: NewTransition) -> None:
        """Schedule a transition to be stored."""
        self._transitions.append(transition)

    def add_result(self, result: NewResult) -> None:
        """Schedule a result to be stored."""
        self._results.append(result)

    def job_ended(self, run_id: UUID) -> None:
        """Schedule a check of whether a run is finished, because one of its jobs became final."""
        self._ended_runs.add(run_id)

    def flush_queued(self) -> None:
        """Write all changes if a job was queued again, because claims query the queued jobs.

        Claims look up other changed jobs in this cache, so there is no need to write those early.
        """
        if any(job.state is JobState.QUEUED for job in self._changed.values()):
            self.flush()

    def flush(self) -> None:
        """Write all changes, so that the following statements read them."""
        if self._changed:
            changed = self._changed
            self.statements.update_jobs([changed[number] for number in sorted(changed)])
            self._changed = {}
        if self._transitions:
            self.statements.insert_transitions(self._transitions)
            self._transitions = []
        if self._results:
            self.statements.insert_results(self._results)
            self._results = []
        if self._ended_runs:
            self.statements.finish_runs(sorted(self._ended_runs), self.now)
            self._ended_runs = set()

    def notify_peers(self) -> None:
        """Notify the other masters of queued jobs and freed nodes. It is sent after the commit."""
        effects = self.effects
        if effects.queued or effects.freed:
            notification = Notification(
                origin=self._origin, queued=dict(effects.queued), freed=tuple(effects.freed)
            )
            self.statements.notify(notification.as_text())
