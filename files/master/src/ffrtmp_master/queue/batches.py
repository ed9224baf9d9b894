"""Applying a batch of requests in one transaction, with few statements for all of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ffrtmp_master.queue import completion, leases, submission
from ffrtmp_master.queue.claims import claim_jobs
from ffrtmp_master.queue.liveness import LastSeenThrottle
from ffrtmp_master.queue.requests import (
    ClaimJob,
    ClaimOutcome,
    RecordFailure,
    RecordResult,
    RenewLease,
    Report,
    ReportOutcome,
    Requests,
    SubmitJob,
)
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog
from ffrtmp_master.queue.uploads import KnownUploads
from ffrtmp_master.settings import Settings
from ffrtmp_master.store.errors import RequestError
from ffrtmp_master.store.unit_of_work import UnitOfWork


@dataclass(frozen=True)
class BatchCaches:
    """What a master remembers from batch to batch, so that it need not be read again."""

    catalog: RequirementCatalog
    last_seen: LastSeenThrottle
    uploads: KnownUploads


class BatchExecutor:
    """Executes requests that share a transaction; the writer calls it."""

    def __init__(self, caches: BatchCaches, settings: Settings) -> None:
        """Create an executor for one master."""
        self._caches = caches
        self._settings = settings

    def apply(self, work: UnitOfWork, requests: Requests) -> list[Any]:
        """Apply requests.

        Reports of agents come first and submissions second, so that the claims of the same batch
        find the nodes that became free and the new jobs.

        Args:
            work: The transaction.
            requests: The requests, of any kinds.

        Returns:
            For each request its response, or the RequestError that its caller receives.
        """
        caches, settings = self._caches, self._settings
        answers: list[Any] = [None] * len(requests)
        submits: list[tuple[int, SubmitJob]] = []
        reports: list[tuple[int, Report]] = []
        claims: list[tuple[int, ClaimJob]] = []
        for place, one in enumerate(requests):
            if isinstance(one, SubmitJob):
                submits.append((place, one))
            elif isinstance(one, ClaimJob):
                claims.append((place, one))
            else:
                reports.append((place, one))
        caches.last_seen.record_seen(work, {one.node for _, one in (*reports, *claims)})
        if reports:
            _apply_reports(work, reports, answers, settings)
            claims += _claims_after(reports, answers)
        if submits:
            found = submission.submit_jobs(
                work, [one for _, one in submits], caches.catalog, caches.uploads, settings
            )
            for (place, _), answer in zip(submits, found, strict=True):
                answers[place] = answer
        if claims:
            _claim(work, claims, answers, caches.catalog, settings)
        return answers


def _apply_reports(
    work: UnitOfWork, reports: Sequence[tuple[int, Report]], answers: list[Any], settings: Settings
) -> None:
    work.load(one.job_id for _, one in reports)
    listed = {
        (one.job_id, one.report.attempt)
        for _, one in reports
        if not isinstance(one, RenewLease) and one.report.artifacts
    }
    uploaded = work.statements.artifacts(listed) if listed else {}

    def take(one: Report) -> bool | ReportOutcome:
        match one:
            case RenewLease():
                return leases.renew_lease(work, one, settings.lease_s)
            case RecordResult():
                return completion.record_result(work, one, uploaded)
            case RecordFailure():
                return completion.record_failure(work, one, uploaded, settings.retry_backoff_s)

    for place, one in reports:
        answers[place] = _answer_or_refusal(take, one)


def _answer_or_refusal(take: Callable[[Report], Any], one: Report) -> Any:
    """Return what is refused as an answer: a refusal changes nothing, so the batch goes on."""
    try:
        return take(one)
    except RequestError as refusal:
        return refusal


def _claims_after(
    reports: Sequence[tuple[int, Report]], answers: Sequence[Any]
) -> Iterator[tuple[int, ClaimJob]]:
    """Return the claims that came with results which were taken."""
    for place, one in reports:
        if (
            isinstance(one, RecordResult)
            and one.report.next
            and isinstance(answers[place], ReportOutcome)
        ):
            yield place, ClaimJob(one.node, one.report.next.slot)


def _claim(
    work: UnitOfWork,
    claims: Sequence[tuple[int, ClaimJob]],
    answers: list[Any],
    catalog: RequirementCatalog,
    settings: Settings,
) -> None:
    found = claim_jobs(work, [one for _, one in claims], catalog, settings.lease_s)
    for (place, _), answer in zip(claims, found, strict=True):
        handed_in = answers[place]
        if not isinstance(handed_in, ReportOutcome):
            answers[place] = answer
        elif isinstance(answer, ClaimOutcome):
            answers[place] = ReportOutcome(handed_in.state, handed_in.repeated, answer)
