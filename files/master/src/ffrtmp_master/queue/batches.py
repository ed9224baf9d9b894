"""Batches of requests, each applied in one transaction with few statements."""

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
from ffrtmp_master.settings import Settings
from ffrtmp_master.store.errors import RequestError
from ffrtmp_master.store.unit_of_work import UnitOfWork


@dataclass(frozen=True)
class BatchCaches:
    """Caches that a master keeps from one batch to the next, to avoid repeated reads."""

    catalog: RequirementCatalog
    last_seen: LastSeenThrottle


class BatchExecutor:
    """Applies batches of requests. The writer calls it in the transaction of each batch."""

    def __init__(self, caches: BatchCaches, settings: Settings) -> None:
        """Create an executor for one master."""
        self._caches = caches
        self._settings = settings

    def apply(self, work: UnitOfWork, requests: Requests) -> list[Any]:
        """Apply the requests of a batch.

        Reports from agents are applied first and submissions second, so that the claims in the same
        batch find the freed nodes and the new jobs.

        Args:
            work: The transaction.
            requests: The requests, of any kind and in any order.

        Returns:
            For each request, in the same order, its response or the RequestError that its caller
            receives.
        """
        caches, settings = self._caches, self._settings
        responses: list[Any] = [None] * len(requests)
        submissions: list[tuple[int, SubmitJob]] = []
        reports: list[tuple[int, Report]] = []
        claims: list[tuple[int, ClaimJob]] = []
        for index, request in enumerate(requests):
            if isinstance(request, SubmitJob):
                submissions.append((index, request))
            elif isinstance(request, ClaimJob):
                claims.append((index, request))
            else:
                reports.append((index, request))
        caches.last_seen.record_seen(work, {request.node for _, request in (*reports, *claims)})
        if reports:
            _apply_reports(work, reports, responses, settings)
            claims += _claims_with_results(reports, responses)
        if submissions:
            outcomes = submission.submit_jobs(
                work,
                [request for _, request in submissions],
                caches.catalog,
                settings,
            )
            for (index, _), response in zip(submissions, outcomes, strict=True):
                responses[index] = response
        if claims:
            _claim(work, claims, responses, caches.catalog, settings)
        return responses


def _apply_reports(
    work: UnitOfWork,
    reports: Sequence[tuple[int, Report]],
    responses: list[Any],
    settings: Settings,
) -> None:
    work.load(report.job_id for _, report in reports)
    attempts = {
        (report.job_id, report.report.attempt)
        for _, report in reports
        if not isinstance(report, RenewLease) and report.report.artifacts
    }
    uploaded = work.statements.artifacts(attempts) if attempts else {}

    def apply_report(report: Report) -> bool | ReportOutcome:
        match report:
            case RenewLease():
                return leases.renew_lease(work, report, settings.lease_s)
            case RecordResult():
                return completion.record_result(work, report, uploaded)
            case RecordFailure():
                return completion.record_failure(work, report, uploaded, settings.retry_backoff_s)

    for index, report in reports:
        responses[index] = _response_or_error(apply_report, report)


def _response_or_error(apply_report: Callable[[Report], Any], report: Report) -> Any:
    """Apply a report and return its response, or the RequestError that it raises.

    A report that raises a RequestError has changed nothing, so the batch can continue.
    """
    try:
        return apply_report(report)
    except RequestError as error:
        return error


def _claims_with_results(
    reports: Sequence[tuple[int, Report]], responses: Sequence[Any]
) -> Iterator[tuple[int, ClaimJob]]:
    """Yield the claims that were sent together with results, if the results were accepted."""
    for index, report in reports:
        if (
            isinstance(report, RecordResult)
            and report.report.next
            and isinstance(responses[index], ReportOutcome)
        ):
            yield index, ClaimJob(report.node, report.report.next.slot)


def _claim(
    work: UnitOfWork,
    claims: Sequence[tuple[int, ClaimJob]],
    responses: list[Any],
    catalog: RequirementCatalog,
    settings: Settings,
) -> None:
    outcomes = claim_jobs(work, [claim for _, claim in claims], catalog, settings.lease_s)
    for (index, _), outcome in zip(claims, outcomes, strict=True):
        reported = responses[index]
        if not isinstance(reported, ReportOutcome):
            responses[index] = outcome
        elif isinstance(outcome, ClaimOutcome):
            responses[index] = ReportOutcome(reported.state, reported.repeated, outcome)
