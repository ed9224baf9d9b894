"""Applying a batch of requests in one transaction, with few statements for all of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ffrtmp_master.queue import claiming, completion, leases, submission
from ffrtmp_master.queue.liveness import Hearing
from ffrtmp_master.queue.matching import Catalog
from ffrtmp_master.queue.requests import (
    Claim,
    Claimed,
    HandedIn,
    Renew,
    Report,
    Requests,
    Submit,
    TakeFailure,
    TakeResult,
)
from ffrtmp_master.queue.uploads import Uploads
from ffrtmp_master.settings import Settings
from ffrtmp_master.store.errors import RefusedError
from ffrtmp_master.store.unit_of_work import Work


@dataclass(frozen=True)
class Memory:
    """What a master remembers from batch to batch, so that it need not be read again."""

    catalog: Catalog
    hearing: Hearing
    uploads: Uploads


def apply(work: Work, requests: Requests, memory: Memory, settings: Settings) -> list[Any]:
    """Apply requests and return the answer to each, or the RefusedError that its caller is to see.

    What agents report comes first and what is submitted second, so that the claims of the same
    batch find the nodes that became free and the jobs that are new.
    """
    answers: list[Any] = [None] * len(requests)
    submits: list[tuple[int, Submit]] = []
    reports: list[tuple[int, Report]] = []
    claims: list[tuple[int, Claim]] = []
    for place, one in enumerate(requests):
        if isinstance(one, Submit):
            submits.append((place, one))
        elif isinstance(one, Claim):
            claims.append((place, one))
        else:
            reports.append((place, one))
    memory.hearing.note(work, {one.node for _, one in (*reports, *claims)})
    if reports:
        _take_reports(work, reports, answers, settings)
        claims += _following(reports, answers)
    if submits:
        found = submission.submit(
            work, [one for _, one in submits], memory.catalog, memory.uploads, settings
        )
        for (place, _), answer in zip(submits, found, strict=True):
            answers[place] = answer
    if claims:
        _claim(work, claims, answers, memory.catalog, settings)
    return answers


def _take_reports(
    work: Work, reports: Sequence[tuple[int, Report]], answers: list[Any], settings: Settings
) -> None:
    work.load(one.job_id for _, one in reports)
    listed = {
        (one.job_id, one.report.attempt)
        for _, one in reports
        if not isinstance(one, Renew) and one.report.artifacts
    }
    uploaded = work.statements.artifacts(listed) if listed else {}

    def take(one: Report) -> bool | HandedIn:
        match one:
            case Renew():
                return leases.renew(work, one, settings.lease_s)
            case TakeResult():
                return completion.take_result(work, one, uploaded)
            case TakeFailure():
                return completion.take_failure(work, one, uploaded, settings.retry_backoff_s)

    for place, one in reports:
        answers[place] = _answer_or_refusal(take, one)


def _answer_or_refusal(take: Callable[[Report], Any], one: Report) -> Any:
    """Return what is refused as an answer: a refusal changes nothing, so the batch goes on."""
    try:
        return take(one)
    except RefusedError as refusal:
        return refusal


def _following(
    reports: Sequence[tuple[int, Report]], answers: Sequence[Any]
) -> Iterator[tuple[int, Claim]]:
    """Return the claims that came with results which were taken."""
    for place, one in reports:
        if isinstance(one, TakeResult) and one.report.next and isinstance(answers[place], HandedIn):
            yield place, Claim(one.node, one.report.next.slot)


def _claim(
    work: Work,
    claims: Sequence[tuple[int, Claim]],
    answers: list[Any],
    catalog: Catalog,
    settings: Settings,
) -> None:
    found = claiming.claim(work, [one for _, one in claims], catalog, settings.lease_s)
    for (place, _), answer in zip(claims, found, strict=True):
        handed_in = answers[place]
        if not isinstance(handed_in, HandedIn):
            answers[place] = answer
        elif isinstance(answer, Claimed):
            answers[place] = HandedIn(handed_in.state, handed_in.repeated, answer)
