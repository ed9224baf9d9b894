"""Tests of request ids and the log lines of requests."""

import logging
from typing import Any

import msgspec
import pytest
from databases import only
from ffrtmp_shared import logs

pytestmark = only("sqlite")

MISSING = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    """The log lines that the master would write to the journal, as parsed JSON."""
    found: list[Any] = []
    formatter = logs.JsonFormatter()

    class Collecting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            # The line is formatted in the context of the log call, as the real handler does.
            found.append(msgspec.json.decode(formatter.format(record)))

    caplog.set_level(logging.INFO, "ffrtmp_master")
    handler = Collecting()
    logging.getLogger("ffrtmp_master").addHandler(handler)
    yield found
    logging.getLogger("ffrtmp_master").removeHandler(handler)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/healthz"), ("POST", "/v1/claims"), ("GET", "/v1/nothing")]
)
def test_every_answer_has_an_id(harness: Any, method: str, path: str) -> None:
    first, second = (harness.call("viewer", method, path).headers["x-request-id"] for _ in range(2))
    assert first != second
    request_id = {"X-Request-Id": "load-balancer/7:a_b+c="}
    answer = harness.call("viewer", method, path, headers=request_id)
    assert answer.headers.get_list("x-request-id") == ["load-balancer/7:a_b+c="]


@pytest.mark.parametrize(
    "request_id", ["", "a b", "x" * 129, 'a"b', "a\tb", "ä", "${HOME}", "a\\n"]
)
def test_an_invalid_id_is_replaced(harness: Any, request_id: str) -> None:
    answer = harness.call(
        "viewer", "GET", "/healthz", headers={"X-Request-Id": request_id.encode()}
    )
    assert answer.headers["x-request-id"] != request_id
    assert len(answer.headers["x-request-id"]) == 32


def test_a_refused_action_is_logged_with_caller_target_and_request_id(
    harness: Any, lines: Any
) -> None:
    answer = harness.call("viewer", "PATCH", "/v1/nodes/worker1", {"state": "draining"})
    (line,) = lines
    del line["time"]
    assert line == {
        "level": "warning",
        "logger": "ffrtmp_master.api.problems",
        "message": f"a request was refused: {answer.json()['detail']}",
        "request_id": answer.headers["x-request-id"],
        "who": "viewer",
        "node": "worker1",
        "method": "PATCH",
        "path": "/v1/nodes/worker1",
        "status": 403,
    }


def test_a_refused_report_names_the_job_and_the_node(ready_harness: Any, lines: Any) -> None:
    answer = ready_harness.call(
        "worker1",
        "POST",
        f"/v1/jobs/{MISSING}/heartbeat",
        {"attempt": 1, "progress": {"stage": "encode"}},
    )
    assert answer.status_code == 404
    (line,) = lines
    assert (line["level"], line["job_id"], line["node"]) == ("info", MISSING, "worker1")


def test_a_request_with_an_unknown_token_is_logged_without_the_token(
    harness: Any, lines: Any
) -> None:
    harness.call("stranger", "POST", f"/v1/runs/{MISSING}/cancel")
    (line,) = lines
    assert (line["level"], line["status"], line["run_id"]) == ("warning", 401, MISSING)
    assert "token-stranger" not in str(line)


def test_successful_and_not_found_requests_are_not_logged(ready_harness: Any, lines: Any) -> None:
    ready_harness.submit()
    claim = ready_harness.claim("worker1")
    ready_harness.heartbeat(claim)
    ready_harness.result(claim)
    ready_harness.claim("worker1")
    ready_harness.call("viewer", "GET", f"/v1/jobs/{MISSING}")
    assert lines == []


def test_an_unexpected_error_is_logged_once_with_its_trace(
    harness: Any, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(harness.services, "clock", broken)
    answer = harness.call("viewer", "GET", "/v1/nodes")
    assert answer.status_code == 500
    (line,) = lines
    assert line["level"] == "error"
    assert line["request_id"] == answer.headers["x-request-id"]
    assert "out of order" in line["exception"]


def test_log_lines_of_a_reader_thread_have_the_request_id(harness: Any, lines: Any) -> None:
    def query(_connection: Any) -> None:
        logging.getLogger("ffrtmp_master.tests").warning("in a thread")

    async def read() -> None:
        logs.begin_context(request_id="r1")
        await harness.services.reader.read(query)

    with harness.client.portal() as portal:
        portal.call(read)
    assert [line["request_id"] for line in lines] == ["r1"]
