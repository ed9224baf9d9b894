"""Choosing jobs for the slots that ask for one, many slots at a time."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.models import Failure
from ffrtmp_shared.states import JobState, NodeState

from ffrtmp_master.queue import transitions
from ffrtmp_master.queue.failures import end_attempt
from ffrtmp_master.queue.requests import ClaimJob, ClaimOutcome
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog
from ffrtmp_master.store.errors import ConflictError, RequestError
from ffrtmp_master.store.rows import Candidate, HeldJob, JobRow, NodeRow
from ffrtmp_master.store.unit_of_work import UnitOfWork


@dataclass
class _Node:
    """A node while its slots choose: what it could do, and the sets of what it does."""

    row: NodeRow
    meets: frozenset[int]
    working: list[int] = field(default_factory=list)


def claim_jobs(
    work: UnitOfWork, claims: Sequence[ClaimJob], catalog: RequirementCatalog, lease_s: float
) -> list[ClaimOutcome | RequestError]:
    """Lease to each slot the first job that its node can do.

    A job goes before another when its rank is lower. An exclusive job owns its node: it is handed
    out only where nothing is worked on, and nothing beside it; while one is first in line, its
    node takes no other, so that shared jobs do not keep it waiting for ever. A slot that claims
    while it holds a job has started anew and lost it: that attempt is ended here, so that a killed
    agent costs no waiting for its lease. A claim of a node that is not registered is refused.
    """
    work.flush_queued()
    names = sorted({asked.node for asked in claims})
    rows, held, requirements = work.statements.claimants(names, catalog.highest)
    catalog.register(requirements)
    met = catalog.met_by(rows.values(), work.statements)
    nodes = {name: _Node(row, met[name]) for name, row in rows.items()}
    slots = {(asked.node, asked.slot) for asked in claims}
    lost = []
    for one in held:
        if work.has_ended(one.id):
            continue
        if (one.leased_to, one.slot) in slots:
            lost.append(one)
        else:
            nodes[one.leased_to].working.append(one.requirement_id)
    if lost:
        _end_lost_attempts(work, lost)
    chosen = _choose(work, claims, nodes, catalog)
    answers = _answers(work, claims, chosen, nodes, catalog=catalog, lease_s=lease_s)
    if work.statements.is_shared:
        _recheck(work, answers, claims, nodes)
    return answers


def _end_lost_attempts(work: UnitOfWork, lost: Iterable[HeldJob]) -> None:
    work.load(one.id for one in lost)
    for one in lost:
        job = work.get_loaded(one.id)
        if not job.state.holds_lease or (job.leased_to, job.slot) != (one.leased_to, one.slot):
            # Another master ended it before it was locked.
            continue
        failure = Failure(
            failure_class=FailureClass.LEASE_EXPIRED,
            message=f"agent started anew on {job.leased_to}, slot {job.slot}",
        )
        end_attempt(work, job, failure, retry_after_s=0)
    work.flush()


def _choose(
    work: UnitOfWork,
    claims: Sequence[ClaimJob],
    nodes: Mapping[str, _Node],
    catalog: RequirementCatalog,
) -> list[Candidate | None]:
    """Pick a job for each claim in turn, or None."""
    wanted = Counter[int]()
    for asked in claims:
        if asked.node in nodes:
            wanted.update(_examined(nodes[asked.node], catalog))
    lines = _CandidateQueues(work.statements.candidates(wanted, work.now) if wanted else ())
    chosen: list[Candidate | None] = []
    for asked in claims:
        node = nodes.get(asked.node)
        taken = None if node is None else lines.first(_examined(node, catalog))
        if (
            node is None
            or taken is None
            or (node.working and catalog.is_exclusive(taken.requirement_id))
        ):
            chosen.append(None)
        else:
            lines.remove(taken)
            node.working.append(taken.requirement_id)
            chosen.append(taken)
    return chosen


def _answers(
    work: UnitOfWork,
    claims: Sequence[ClaimJob],
    chosen: Sequence[Candidate | None],
    nodes: Mapping[str, _Node],
    *,
    catalog: RequirementCatalog,
    lease_s: float,
) -> list[ClaimOutcome | RequestError]:
    lease = timedelta(seconds=lease_s)
    work.load(candidate.id for candidate in chosen if candidate is not None)
    answers: list[ClaimOutcome | RequestError] = []
    for asked, candidate in zip(claims, chosen, strict=True):
        node = nodes.get(asked.node)
        if node is None:
            answers.append(ConflictError(f"node {asked.node} is not registered; register it first"))
        elif candidate is None:
            is_idle = not node.working and node.row.state is NodeState.ACTIVE
            answers.append(ClaimOutcome(None, _open_to(node, catalog), is_idle))
        else:
            job = work.get_loaded(candidate.id)
            _lease(work, job, asked, lease)
            work.effects.note_taken(
                asked.node, is_exclusive=catalog.is_exclusive(candidate.requirement_id)
            )
            answers.append(ClaimOutcome(job))
    return answers


def _recheck(
    work: UnitOfWork,
    answers: list[ClaimOutcome | RequestError],
    claims: Sequence[ClaimJob],
    nodes: Mapping[str, _Node],
) -> None:
    """Mark who found nothing although something is queued: another master had it locked."""
    empty = {
        place: answer
        for place, answer in enumerate(answers)
        if isinstance(answer, ClaimOutcome)
        and answer.job is None
        and not nodes[claims[place].node].working
    }
    open_to = frozenset[int]().union(*(answer.open_to for answer in empty.values()))
    if not open_to:
        return
    # What was leased just now is queued no more.
    work.flush()
    queued = work.statements.any_queued(sorted(open_to), work.now)
    for place, answer in empty.items():
        if not answer.open_to.isdisjoint(queued):
            answers[place] = replace(answer, is_contended=True)


def _lease(work: UnitOfWork, job: JobRow, asked: ClaimJob, lease: timedelta) -> None:
    work.effects.claims += 1
    ready_at = job.not_before or job.created_at
    work.effects.queue_waits_s.append(max((work.now - ready_at).total_seconds(), 0.0))
    job.attempt += 1
    job.leased_to = asked.node
    job.slot = asked.slot
    job.lease_expires_at = work.now + lease
    job.started_at = work.now
    job.not_before = None
    job.progress = None
    reason = f"claimed by {asked.node}, slot {asked.slot}"
    transitions.transition(work, job, JobState.LEASED, reason)


def _examined(node: _Node, catalog: RequirementCatalog) -> frozenset[int]:
    """Return the sets whose jobs matter to a node: those it could do were it free.

    A node that shares looks at exclusive jobs as well, to know whether one is first in line.
    """
    if node.row.state is not NodeState.ACTIVE:
        return frozenset()
    if any(catalog.is_exclusive(one) for one in node.working):
        return frozenset()
    return node.meets


def _open_to(node: _Node, catalog: RequirementCatalog) -> frozenset[int]:
    """Return the sets whose jobs the node could be handed as it is now."""
    looked_at = _examined(node, catalog)
    if not node.working:
        return looked_at
    return frozenset(one for one in looked_at if not catalog.is_exclusive(one))


class _CandidateQueues:
    """The first jobs of each set of requirements, in their order."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        lines: dict[int, list[Candidate]] = defaultdict(list)
        for candidate in candidates:
            lines[candidate.requirement_id].append(candidate)
        self._lines = lines
        for line in lines.values():
            line.sort(reverse=True)

    def first(self, requirement_ids: Collection[int]) -> Candidate | None:
        """Return the job that goes first among those of some sets."""
        heads = [line[-1] for one, line in self._lines.items() if line and one in requirement_ids]
        return min(heads, default=None)

    def remove(self, candidate: Candidate) -> None:
        """Remove a job that was the first of its set."""
        self._lines[candidate.requirement_id].pop()
