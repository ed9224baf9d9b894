"""Tests of log lines, which are JSON objects with the fields of the current request or job."""

import io
import json
import logging
import threading
from collections.abc import Iterator
from contextvars import Context, copy_context
from typing import Any

import pytest
from ffrtmp_shared import logs


class Lines:
    """A logger, and the lines that it has written."""

    def __init__(self) -> None:
        self._stream = io.StringIO()
        self.handler = logging.StreamHandler(self._stream)
        self.handler.setFormatter(logs.JsonFormatter())
        self.logger = logging.getLogger("tests.logs")

    def __call__(self) -> list[Any]:
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    found = Lines()
    found.logger.addHandler(found.handler)
    found.logger.propagate = False
    found.logger.setLevel(logging.INFO)
    yield found
    found.logger.removeHandler(found.handler)
    found.logger.propagate = True


def test_a_line_has_the_fields_of_the_context_and_of_extra(lines: Lines) -> None:
    def work() -> None:
        lines.logger.info("before")
        logs.begin_context(request_id="r1", node=None)
        logs.add_context(job_id="j1")
        lines.logger.warning("after %d", 1, extra={"status": 409})

    Context().run(work)
    lines.logger.info("elsewhere")
    before, after, elsewhere = lines()
    assert "request_id" not in before
    assert after.pop("time").endswith("+00:00")
    assert after == {
        "level": "warning",
        "logger": "tests.logs",
        "message": "after 1",
        "request_id": "r1",
        "job_id": "j1",
        "status": 409,
    }
    assert "request_id" not in elsewhere


def test_threads_of_a_context_log_fields_that_are_added_later(lines: Lines) -> None:
    def work() -> None:
        logs.begin_context(request_id="r1")
        context = copy_context()
        logs.add_context(who="admin")
        thread = threading.Thread(target=context.run, args=(lines.logger.info, "in a thread"))
        thread.start()
        thread.join()

    Context().run(work)
    (line,) = lines()
    assert (line["request_id"], line["who"]) == ("r1", "admin")


def test_adding_fields_without_a_context_has_no_effect(lines: Lines) -> None:
    def work() -> None:
        logs.add_context(job_id="j1")
        lines.logger.info("logged")

    Context().run(work)
    assert "job_id" not in lines()[0]


def test_fields_do_not_replace_those_of_the_line(lines: Lines) -> None:
    def work() -> None:
        logs.begin_context(level="none", time="never", logger="x")
        lines.logger.info("logged")

    Context().run(work)
    (line,) = lines()
    assert (line["level"], line["logger"]) == ("info", "tests.logs")
    assert line["time"] != "never"


@pytest.mark.parametrize("odd", ["\udcff", {("a", "b"): 1}, object(), float("nan"), b"\xff"])
def test_values_that_cannot_be_encoded_lose_no_line(lines: Lines, odd: object) -> None:
    lines.logger.info("odd", extra={"value": odd})
    (line,) = lines()
    assert line["message"] == "odd"


def test_a_traceback_does_not_split_a_line(lines: Lines) -> None:
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        lines.logger.exception("it broke\nbadly")
    (line,) = lines()
    assert line["message"] == "it broke\nbadly"
    assert "Traceback" in line["exception"]
    assert line["exception"].endswith("ZeroDivisionError: division by zero")
