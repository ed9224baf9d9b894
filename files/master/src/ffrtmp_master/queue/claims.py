"""Claims: choosing and leasing jobs for many slots in one transaction."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from ffrtmp_shared.attempt_models import Failure
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.states import JobState, NodeState

from ffrtmp_master.queue import transitions
from ffrtmp_master.queue.requests import ClaimJob, ClaimOutcome
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog
from ffrtmp_master.queue.retries import end_attempt
from ffrtmp_master.store.errors import ConflictError, RequestError
from ffrtmp_master.store.rows import Candidate, HeldJob, JobRow, NodeRow
from ffrtmp_master.store.unit_of_work import UnitOfWork


@dataclass
class _Node:
    """A node for which jobs are being chosen.

    Attributes:
        row: The row of the node.
        meets: The ids of the requirement sets that the node meets.
        working: The ids of the requirement sets of the jobs that the node holds.
    """

    row: NodeRow
    meets: frozenset[int]
    working: list[int] = field(default_factory=list)


def claim_jobs(
    work: UnitOfWork, claims: Sequence[ClaimJob], catalog: RequirementCatalog, lease_s: float
) -> list[ClaimOutcome | RequestError]:
    """Lease to each claiming slot the first queued job that its node can run.

    Jobs are leased in ascending order of rank. An exclusive job is leased only to an idle node, and
    the node gets no other job while it runs. When an exclusive job is first in the queue for a busy
    node, the node gets no further jobs until it is idle, so that shared jobs cannot starve the
    exclusive one.

    If a slot claims a job while it still holds one, its agent has restarted and lost the held job.
    The lost attempt is ended here, so that its job need not wait for the lease to expire.

    Args:
        work: The transaction.
        claims: The claims, one for each slot.
        catalog: The cache of requirement sets and of the nodes that meet them.
        lease_s: The duration of a new lease in seconds.

    Returns:
        For each claim, in the same order, its outcome, or a ConflictError if its node is not
        registered.
    """
    work.flush_queued()
    if not catalog.highest:
        catalog.load_new(work.statements)
    # Jobs that this transaction has queued can be claimed in it.
    catalog.activate([*work.effects.queued, *(set_id for _, set_id in work.effects.delayed)])
    names = sorted({claim.node for claim in claims})
    rows, held, requirements = work.statements.claimants(names, catalog.highest)
    catalog.register(requirements)
    slots = {(claim.node, claim.slot) for claim in claims}
    working: list[HeldJob] = []
    lost: list[HeldJob] = []
    for job in held:
        if not work.has_ended(job.id):
            (lost if (job.leased_to, job.slot) in slots else working).append(job)
    if lost:
        _end_lost_attempts(work, lost)
        # Their jobs are queued again and can be claimed in this transaction.
        catalog.activate(job.requirement_id for job in lost)
    met_ids = catalog.met_by(rows.values(), work.statements)
    nodes = {name: _Node(row, met_ids[name]) for name, row in rows.items()}
    for job in working:
        nodes[job.leased_to].working.append(job.requirement_id)
    chosen = _choose(work, claims, nodes, catalog)
    outcomes = _lease_chosen(work, claims, chosen, nodes, catalog=catalog, lease_s=lease_s)
    if work.statements.is_shared:
        _mark_contended(work, outcomes, claims, nodes)
    return outcomes


def _end_lost_attempts(work: UnitOfWork, lost_jobs: Iterable[HeldJob]) -> None:
    work.load(held.id for held in lost_jobs)
    for held in lost_jobs:
        job = work.get_loaded(held.id)
        if not job.state.holds_lease or (job.leased_to, job.slot) != (held.leased_to, held.slot):
            # Another master ended the attempt before the job was locked here.
            continue
        failure = Failure(
            failure_class=FailureClass.LEASE_EXPIRED,
            message=f"the agent restarted on {job.leased_to}, slot {job.slot}",
        )
        end_attempt(work, job, failure, retry_after_s=0)
    work.flush()


def _choose(
    work: UnitOfWork,
    claims: Sequence[ClaimJob],
    nodes: Mapping[str, _Node],
    catalog: RequirementCatalog,
) -> list[Candidate | None]:
    """Choose a job for each claim in turn. A claim for which there is no job gets None."""
    candidates = _find_candidates(work, claims, nodes, catalog)
    if len(candidates) < len(claims) and _activate_queued(work, nodes, catalog):
        candidates = _find_candidates(work, claims, nodes, catalog)
    queues = _CandidateQueues(candidates)
    chosen: list[Candidate | None] = []
    for claim in claims:
        node = nodes.get(claim.node)
        candidate = None if node is None else queues.first(_examined(node, catalog))
        if (
            node is None
            or candidate is None
            or (node.working and catalog.is_exclusive(candidate.requirement_id))
        ):
            chosen.append(None)
        else:
            queues.remove(candidate)
            node.working.append(candidate.requirement_id)
            chosen.append(candidate)
    return chosen


def _find_candidates(
    work: UnitOfWork,
    claims: Sequence[ClaimJob],
    nodes: Mapping[str, _Node],
    catalog: RequirementCatalog,
) -> Sequence[Candidate]:
    wanted = Counter[int]()
    for claim in claims:
        if claim.node in nodes:
            wanted.update(_examined(nodes[claim.node], catalog))
    return work.statements.candidates(wanted, work.now) if wanted else ()


def _activate_queued(
    work: UnitOfWork, nodes: Mapping[str, _Node], catalog: RequirementCatalog
) -> bool:
    """Activate the requirement sets of jobs that another master has just queued.

    The notification of the other master may arrive later than the claim.

    Returns:
        Whether the nodes may meet further sets.
    """
    if not work.statements.is_shared:
        return False
    if catalog.has_inactive:
        catalog.activate(work.statements.queued_requirements())
    # The notification may also have arrived, and have activated the sets, since the nodes were
    # matched.
    met_ids = catalog.met_by((node.row for node in nodes.values()), work.statements)
    if all(node.meets == met_ids[name] for name, node in nodes.items()):
        return False
    for name, node in nodes.items():
        node.meets = met_ids[name]
    return True


def _lease_chosen(
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
    outcomes: list[ClaimOutcome | RequestError] = []
    for claim, candidate in zip(claims, chosen, strict=True):
        node = nodes.get(claim.node)
        if node is None:
            outcomes.append(
                ConflictError(f"node {claim.node} is not registered; register it first")
            )
        elif candidate is None:
            is_idle = not node.working and node.row.state is NodeState.ACTIVE
            outcomes.append(ClaimOutcome(None, _open_to(node, catalog), is_idle))
        else:
            job = work.get_loaded(candidate.id)
            _lease(work, job, claim, lease)
            work.effects.note_taken(
                claim.node, is_exclusive=catalog.is_exclusive(candidate.requirement_id)
            )
            outcomes.append(ClaimOutcome(job))
    return outcomes


def _mark_contended(
    work: UnitOfWork,
    outcomes: list[ClaimOutcome | RequestError],
    claims: Sequence[ClaimJob],
    nodes: Mapping[str, _Node],
) -> None:
    """Mark the claims that may have found no job only because another master had locked one."""
    empty = {
        index: outcome
        for index, outcome in enumerate(outcomes)
        if isinstance(outcome, ClaimOutcome)
        and outcome.job is None
        and not nodes[claims[index].node].working
    }
    open_to = frozenset[int]().union(*(outcome.open_to for outcome in empty.values()))
    if not open_to:
        return
    # Jobs that were leased in this transaction must not count as queued.
    work.flush()
    queued = work.statements.any_queued(sorted(open_to), work.now)
    for index, outcome in empty.items():
        if not outcome.open_to.isdisjoint(queued):
            outcomes[index] = replace(outcome, is_contended=True)


def _lease(work: UnitOfWork, job: JobRow, claim: ClaimJob, lease: timedelta) -> None:
    work.effects.claims += 1
    ready_at = job.not_before or job.created_at
    work.effects.queue_waits_s.append(max((work.now - ready_at).total_seconds(), 0.0))
    job.attempt += 1
    job.leased_to = claim.node
    job.slot = claim.slot
    job.lease_expires_at = work.now + lease
    job.started_at = work.now
    job.not_before = None
    job.progress = None
    reason = f"claimed by {claim.node}, slot {claim.slot}"
    transitions.transition(work, job, JobState.LEASED, reason)


def _examined(node: _Node, catalog: RequirementCatalog) -> frozenset[int]:
    """Return the ids of the requirement sets whose jobs are considered for a node.

    If the node holds shared jobs, exclusive jobs are considered as well, to find out whether one of
    them is first in the queue.
    """
    if node.row.state is not NodeState.ACTIVE:
        return frozenset()
    if any(catalog.is_exclusive(requirement_id) for requirement_id in node.working):
        return frozenset()
    return node.meets


def _open_to(node: _Node, catalog: RequirementCatalog) -> frozenset[int]:
    """Return the ids of the requirement sets whose jobs could be leased to a node now."""
    examined = _examined(node, catalog)
    if not node.working:
        return examined
    return frozenset(
        requirement_id for requirement_id in examined if not catalog.is_exclusive(requirement_id)
    )


class _CandidateQueues:
    """The candidates of each requirement set, ordered by rank."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        queues: dict[int, list[Candidate]] = defaultdict(list)
        for candidate in candidates:
            queues[candidate.requirement_id].append(candidate)
        self._queues = queues
        for queue in queues.values():
            queue.sort(reverse=True)

    def first(self, requirement_ids: Collection[int]) -> Candidate | None:
        """Return the candidate with the lowest rank in the given requirement sets, or None."""
        heads = [
            queue[-1]
            for requirement_id, queue in self._queues.items()
            if queue and requirement_id in requirement_ids
        ]
        return min(heads, default=None)

    def remove(self, candidate: Candidate) -> None:
        """Remove a candidate, which must be the first one of its requirement set."""
        self._queues[candidate.requirement_id].pop()
