"""Tests of reading all results in parts: the first time, and again from time to time."""

from collections.abc import Callable
from http import HTTPStatus

import pytest
import result_collectors
from ffrtmp_master.exporters import result_history
from ffrtmp_master.exporters.polling import PollingCollector
from ffrtmp_master.exporters.result_history import ResultHistory
from ffrtmp_shared.client import MasterRefusedError, MasterUnreachableError
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import AfterPass
from ffrtmp_shared.models import Problem, Result
from ffrtmp_shared.result_pages import ReadablePage

RECOUNT_S = 1000.0


class Names:
    """A summary: the nodes of the results, in the order in which they were added."""

    def __init__(self) -> None:
        self.nodes: list[str] = []

    def add(self, result: Result) -> None:
        self.nodes.append(result.node)

    def forget_old(self, now_s: float) -> None:
        pass


class Stored:
    """The stored results, of which each page contains one."""

    def __init__(self, count: int) -> None:
        self.results = [result_collectors.result(node=f"n{number}") for number in range(count)]
        self.epoch = "a"
        self.drifts = 0
        self.error: Exception | None = None

    def page_after(self, cursor: str) -> ReadablePage:
        if self.error is not None and cursor:
            raise self.error
        place = int(cursor or 0)
        items = tuple(self.results[place : place + 1])
        return ReadablePage(
            items=items,
            next_cursor=str(place + 1) if items else None,
            epoch=self.epoch,
            drifts=self.drifts,
        )


def nodes(history: ResultHistory[Names]) -> list[str]:
    with history.locked_summary() as summary:
        return list(summary.nodes)


@pytest.fixture(autouse=True)
def two_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_history, "PAGES_PER_REFRESH", 2)


def new_history(clock: Callable[[], float]) -> ResultHistory[Names]:
    return ResultHistory(Names, result_collectors.guard(), RECOUNT_S, clock)


def complete(history: ResultHistory[Names], stored: Stored) -> None:
    for _ in range(10):
        if history.refresh(stored.page_after) is AfterPass.PAUSE:
            return
    pytest.fail("the first pass does not end")


def test_the_first_pass_consists_of_refreshes_without_a_pause() -> None:
    stored, history = Stored(4), new_history(lambda: 0.0)
    for known in (["n0", "n1"], ["n0", "n1", "n2", "n3"]):
        assert history.refresh(stored.page_after) is AfterPass.REPEAT
        assert nodes(history) == known
        assert not history.is_complete()
    assert history.refresh(stored.page_after) is AfterPass.PAUSE
    assert history.is_complete()


def test_new_results_are_added_while_all_are_read_again() -> None:
    now_s = [0.0]
    stored, history = Stored(4), new_history(lambda: now_s[0])
    complete(history, stored)
    now_s[0] = RECOUNT_S
    del stored.results[0]
    stored.results += Stored(6).results[4:]
    shown = []
    for _ in range(3):
        assert history.refresh(stored.page_after) is AfterPass.PAUSE
        shown.append(nodes(history))
    # The master has removed n0 and moved the others forward, so n4 is not on a new page.
    assert shown[0] == shown[1] == ["n0", "n1", "n2", "n3", "n5"]
    assert shown[2] == ["n1", "n2", "n3", "n4", "n5"]
    now_s[0] += RECOUNT_S - 1
    history.refresh(stored.page_after)
    assert nodes(history) == shown[2]


def test_an_interrupted_pass_continues() -> None:
    now_s = [0.0]
    stored, history = Stored(3), new_history(lambda: now_s[0])
    complete(history, stored)
    now_s[0] = RECOUNT_S
    del stored.results[2]
    history.refresh(stored.page_after)
    stored.error = MasterUnreachableError("gone")
    with pytest.raises(MasterUnreachableError):
        history.refresh(stored.page_after)
    stored.error = None
    history.refresh(stored.page_after)
    assert nodes(history) == ["n0", "n1"]


@pytest.mark.parametrize("status", [HTTPStatus.CONFLICT, HTTPStatus.GONE])
def test_a_pass_whose_cursor_became_unknown_begins_again(status: HTTPStatus) -> None:
    stored, history = Stored(4), new_history(lambda: 0.0)
    complete(history, stored)
    problem = Problem(type="about:blank", title="unknown", status=status, detail="")
    stored.error = MasterRefusedError(problem)
    stored.results = Stored(3).results
    for _ in range(2):
        with pytest.raises(MasterRefusedError):
            history.refresh(stored.page_after)
        assert nodes(history) == ["n0", "n1", "n2", "n3"]
    stored.error = None
    # The present summary is obsolete, so the new pass has no pauses either.
    assert history.refresh(stored.page_after) is AfterPass.REPEAT
    assert nodes(history) == ["n0", "n1", "n2", "n3"]
    assert history.refresh(stored.page_after) is AfterPass.PAUSE
    assert nodes(history) == ["n0", "n1", "n2"]


def test_another_epoch_begins_a_new_pass() -> None:
    stored, history = Stored(1), new_history(lambda: 0.0)
    complete(history, stored)
    stored.epoch, stored.results = "b", Stored(3).results
    assert history.refresh(stored.page_after) is AfterPass.REPEAT
    assert nodes(history) == ["n0"]
    # If each response is of another epoch, there is a pause between the attempts.
    stored.epoch = "c"
    assert history.refresh(stored.page_after) is AfterPass.PAUSE
    assert nodes(history) == ["n0"]
    complete(history, stored)
    assert nodes(history) == ["n0", "n1", "n2"]


def test_the_source_is_up_after_a_complete_read() -> None:
    answers = [AfterPass.REPEAT, AfterPass.PAUSE]
    poll = PollingCollector(lambda: answers.pop(0), 15, LoopRegistry(), lambda: 5.0)
    assert poll.poll_once() is AfterPass.REPEAT
    assert samples(poll) == {"ffrtmp_exporter_source_up": 0.0}
    assert poll.poll_once() is AfterPass.PAUSE
    assert samples(poll) == {
        "ffrtmp_exporter_source_up": 1.0,
        "ffrtmp_exporter_source_last_success_timestamp_seconds": 5.0,
    }


def samples(poll: PollingCollector) -> dict[str, float]:
    return {sample.name: sample.value for metric in poll.collect() for sample in metric.samples}


def test_a_drift_of_a_node_begins_a_new_pass_because_verdicts_have_changed() -> None:
    now_s = [0.0]
    stored, history = Stored(3), new_history(lambda: now_s[0])
    complete(history, stored)
    stored.results[0] = result_collectors.result(node="changed")
    history.refresh(stored.page_after)
    assert nodes(history) == ["n0", "n1", "n2"]
    stored.drifts = 1
    now_s[0] = result_history.MIN_RECOUNT_S - 1
    for _ in range(5):
        history.refresh(stored.page_after)
    assert nodes(history)[0] == "n0", "several drifts cause one pass"
    now_s[0] = result_history.MIN_RECOUNT_S
    for _ in range(5):
        assert nodes(history)[1:] == ["n1", "n2"], "the earlier summary stays until then"
        history.refresh(stored.page_after)
    assert nodes(history) == ["changed", "n1", "n2"]
    stored.results[0] = result_collectors.result(node="later")
    for _ in range(5):
        history.refresh(stored.page_after)
    assert nodes(history) == ["changed", "n1", "n2"], "one drift begins one pass"
