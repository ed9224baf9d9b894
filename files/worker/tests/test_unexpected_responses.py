"""Responses that are not those of a master: none of them ends a thread of the agent."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ffrtmp_shared import responses
from ffrtmp_shared.agent_models import Claim, ClaimRequest, FailureReport, Heartbeat
from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.client import (
    MasterClient,
    MasterRefusedError,
    MasterUnreachableError,
    UnexpectedResponseError,
)
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_worker.agent.lease_keeper import LeaseKeeper
from ffrtmp_worker.agent.log_uploader import LogUploader
from ffrtmp_worker.agent.retry import retry_until_answered
from ffrtmp_worker.errors import AttemptFailedError
from polling import wait_until

from .conftest import claim_of, scenario
from .impostor import Impostor, Reply

_GOOD = b'{"lease_s": 60, "cancel": true}'
_PAGE = b"<html><body>Sign in to the guest network</body></html>"
UNEXPECTED: dict[str, Reply] = {
    "page": Reply(200, _PAGE, {"Content-Type": "text/html"}),
    "redirection": Reply(302, b"", {"Location": "https://guest.example/login"}),
    "redirection to nowhere": Reply(302, b"", {"Location": "http://[::1"}),
    "no content": Reply(204),
    "empty": Reply(200),
    "changed field": Reply(200, b'{"lease_s": 60, "cancelled": true}'),
    "wrong type": Reply(200, b'{"lease_s": "sixty", "cancel": true}'),
    "list": Reply(200, b"[]"),
    "null": Reply(200, b"null"),
    "not UTF-8": Reply(200, b'{"lease_s": 60, "cancel": "\xff"}'),
    "deep": Reply(200, b"[" * 100_000),
    "truncated JSON": Reply(200, b'{"lease_s": 60, "can'),
    "truncated body": Reply(200, b'{"lease', declared_bytes=1000),
    "damaged compression": Reply(200, b"not gzip", {"Content-Encoding": "gzip"}),
    "huge": Reply(200, b" " * (responses.MAX_ANSWER_BYTES + 1)),
    "not found page": Reply(404, _PAGE),
    "conflict page": Reply(409, _PAGE),
    "bad gateway page": Reply(502, _PAGE),
    "another problem": Reply(409, b'{"type": "t", "title": "t", "status": 200, "detail": "d"}'),
    "accepted": Reply(202, _GOOD),
}


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[Impostor]:
    with Impostor(tmp_path).serving() as serving:
        yield serving


@pytest.fixture
def claim(clip: Path) -> Claim:
    return claim_of(scenario(clip), heartbeat_s=0.02)


@pytest.mark.parametrize("kind", UNEXPECTED)
def test_no_response_ends_the_heartbeats(impostor: Impostor, claim: Claim, kind: str) -> None:
    """The lease is kept: only a refusal of the master itself ends it."""
    impostor.answer_with(UNEXPECTED[kind], UNEXPECTED[kind], Reply(200, _GOOD))
    loops = LoopRegistry()
    with LeaseKeeper(claim, impostor.connect, loops) as lease:
        wait_until(lambda: lease.ended, "the lease has ended", interval_s=0.01)
        status = loops.find("heartbeat")
        assert status is not None
        assert status.read().failures == 2
    assert lease.ended == "the job was canceled"
    assert not lease.is_lost
    assert len(impostor.paths) >= 3


def test_a_refusal_of_the_master_ends_the_lease(impostor: Impostor, claim: Claim) -> None:
    problem = b'{"type": "about:blank", "title": "Conflict", "status": 409, "detail": "over"}'
    impostor.answer_with(Reply(409, problem))
    with LeaseKeeper(claim, impostor.connect, LoopRegistry()) as lease:
        wait_until(lambda: lease.is_lost, "the lease is lost", interval_s=0.01)
    assert lease.ended == "the lease was lost"


@pytest.mark.parametrize("kind", UNEXPECTED)
def test_no_response_ends_the_upload_of_the_log(
    impostor: Impostor, claim: Claim, kind: str, tmp_path: Path
) -> None:
    log = tmp_path / "ffmpeg.log"
    log.write_text("line\n")
    good = Reply(200, b'{"size_bytes": 5, "repeated": false}')
    impostor.answer_with(UNEXPECTED[kind], good)
    loops = LoopRegistry()
    with LogUploader(claim, log, impostor.connect, loops):
        wait_until(lambda: len(impostor.paths) >= 2, "the upload is repeated", interval_s=0.01)
    assert all("offset=0" in path for path in impostor.paths)


_JOB = new_id()
_FAILURE = FailureReport(
    attempt=1, failure=AttemptFailedError(FailureClass.NODE, "the disk is full").failure
)
_BEAT = Heartbeat(attempt=1, progress=Progress(stage="encode"))
CALLS: dict[str, Callable[[MasterClient, Path], Any]] = {
    "claim": lambda client, _: client.claim(ClaimRequest(node="n", slot=1, wait_s=0.0)),
    "heartbeat": lambda client, _: client.heartbeat(_JOB, _BEAT),
    "report_failure": lambda client, _: client.report_failure(_JOB, _FAILURE),
    "append_log": lambda client, _: client.append_log(_JOB, 1, 0, b"text"),
    "upload_artifact": lambda client, file: client.upload_artifact(_JOB, 1, "name", file),
    "upload_source": lambda client, file: client.upload_source("0" * 64, file),
    "download_source": lambda client, _: list(client.download_source("0" * 64)),
    "is_ready": lambda client, _: client.is_ready(),
    "nodes": lambda client, _: client.nodes(),
    "result_page": lambda client, _: client.result_page(),
    "raw_result_page": lambda client, _: client.raw_result_page(),
    "results": lambda client, _: list(client.results(_JOB)),
    "jobs": lambda client, _: list(client.jobs(_JOB)),
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name in CALLS
        for kind in ("page", "redirection", "empty", "wrong type", "not found page")
        # The caller of this method verifies the digest of the content.
        if name != "download_source" or UNEXPECTED[kind].status != 200
    ],
)
def test_every_call_turns_an_unexpected_response_into_one_error(
    impostor: Impostor, name: str, kind: str, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    impostor.answer_with(UNEXPECTED[kind])
    with impostor.connect() as client, pytest.raises(UnexpectedResponseError):
        CALLS[name](client, file)


def test_a_page_that_refers_to_itself_is_unexpected(impostor: Impostor) -> None:
    impostor.answer_with(Reply(200, b'{"items": [], "next_cursor": ""}'))
    with impostor.connect() as client, pytest.raises(UnexpectedResponseError, match="itself"):
        list(client.results(new_id()))


def test_an_unexpected_response_is_retried(impostor: Impostor) -> None:
    impostor.answer_with(UNEXPECTED["page"], Reply(204))
    stopped = threading.Event()
    with impostor.connect() as client:
        request = ClaimRequest(node="n", slot=1, wait_s=0.0)
        assert retry_until_answered(stopped)(client.claim, request) is None
    assert len(impostor.paths) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 413, 431])
def test_a_refusal_of_the_http_server_is_a_refusal(impostor: Impostor, status: int) -> None:
    impostor.answer_with(Reply(status, b"Invalid HTTP request received."))
    with impostor.connect() as client, pytest.raises(MasterRefusedError) as refused:
        client.nodes()
    assert refused.value.problem.status == status
    assert not isinstance(refused.value, MasterUnreachableError)
