"""One transaction: the rows that were read, what is to be written, and what follows from it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.states import JobState
from sqlalchemy import Connection

from ffrtmp_master.store import statements
from ffrtmp_master.store.notifications import Notification
from ffrtmp_master.store.rows import JobRow, NewResult, NewTransition


@dataclass
class Effects:
    """What a committed transaction means to those who wait, and to the metrics.

    `queued` counts new work by set of requirements; `delayed` is work that may be handed out
    from a moment on. `freed` and `taken` are nodes (taken: whether for one job alone).
    """

    queued: Counter[int] = field(default_factory=Counter)
    delayed: list[tuple[datetime, int]] = field(default_factory=list)
    freed: set[str] = field(default_factory=set)
    taken: dict[str, bool] = field(default_factory=dict)
    submitted: int = 0
    claims: int = 0
    results: int = 0
    # Jobs that became final, by that state.
    finished: Counter[JobState] = field(default_factory=Counter)
    # Attempts that ended without a result: why, and what became of the job.
    ended: list[tuple[FailureClass, JobState]] = field(default_factory=list)
    # Seconds from being queued to being claimed, of an attempt, and from birth to the end.
    queue_waits_s: list[float] = field(default_factory=list)
    run_times_s: list[float] = field(default_factory=list)
    end_to_end_s: list[float] = field(default_factory=list)

    def note_taken(self, node: str, *, is_exclusive: bool) -> None:
        """Note that a node got a job; one that is all its own leaves nothing free there."""
        self.taken[node] = is_exclusive
        if is_exclusive:
            self.freed.discard(node)


class UnitOfWork:
    """What the queue's rules read and change; `flush` writes it down in few statements."""

    def __init__(self, connection: Connection, now: datetime, origin: str) -> None:
        """Work within the transaction that is open on `connection`, at the moment `now`.

        `origin` names this master to the others.
        """
        self._origin = origin
        self.connection = connection
        self.statements = statements.statements_for(connection)
        self.now = now
        self.effects = Effects()
        self._known: dict[UUID, JobRow] = {}
        # By the number that their id is.
        self._changed: dict[int, JobRow] = {}
        self._transitions: list[NewTransition] = []
        self._results: list[NewResult] = []
        self._ended_runs: set[UUID] = set()

    def load(self, ids: Iterable[UUID]) -> None:
        """Read jobs, locked until the transaction ends; what does not exist stays unknown."""
        known = self._known
        # As numbers, ids are hashed and compared sooner; their order is PostgreSQL's too.
        missing = {job_id.int: job_id for job_id in ids if job_id not in known}
        if missing:
            wanted = [missing[number] for number in sorted(missing)]
            known.update(self.statements.jobs(wanted))

    def jobs(self, ids: Iterable[UUID]) -> dict[UUID, JobRow]:
        """Read jobs as `load` does and return them; what does not exist is missing."""
        wanted = set(ids)
        self.load(wanted)
        return {job_id: self._known[job_id] for job_id in wanted if job_id in self._known}

    def job(self, job_id: UUID) -> JobRow | None:
        """Read one job as `load` does; None when it does not exist."""
        if job_id not in self._known:
            self.load((job_id,))
        return self._known.get(job_id)

    def get_loaded(self, job_id: UUID) -> JobRow:
        """Return a job that was loaded and exists."""
        return self._known[job_id]

    def has_ended(self, job_id: UUID) -> bool:
        """Return whether a job that the database still has as held was ended here meanwhile."""
        job = self._known.get(job_id)
        return job is not None and not job.state.holds_lease

    def merge(self, rows: Iterable[JobRow]) -> list[JobRow]:
        """Return for rows that a statement read the ones that stand for these jobs here."""
        return [self._known.setdefault(row.id, row) for row in rows]

    def mark_changed(self, job: JobRow) -> None:
        """Have a job written back."""
        self._changed[job.id.int] = job

    def add_transition(self, transition: NewTransition) -> None:
        """Have a change of state written down."""
        self._transitions.append(transition)

    def add_result(self, result: NewResult) -> None:
        """Have a result stored."""
        self._results.append(result)

    def job_ended(self, run_id: UUID) -> None:
        """Have a run looked at: its last job may have become final."""
        self._ended_runs.add(run_id)

    def flush_queued(self) -> None:
        """Write everything down if a job went back into the queue, where a claim looks for it.

        What is worked on or done a claim finds here; so it need not be written down twice.
        """
        if any(job.state is JobState.QUEUED for job in self._changed.values()):
            self.flush()

    def flush(self) -> None:
        """Write everything down; the next statement sees it."""
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
        """Tell the other masters what they can hand out now, once this is committed."""
        effects = self.effects
        if effects.queued or effects.freed:
            news = Notification(
                origin=self._origin, queued=dict(effects.queued), freed=tuple(effects.freed)
            )
            self.statements.notify(news.as_text())
