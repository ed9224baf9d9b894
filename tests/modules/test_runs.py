"""Tests of the summaries of runs, and of retries while the master is unreachable."""

import hashlib
from pathlib import Path

import pytest
from ansible.module_utils.ffrtmp import runs
from ansible.module_utils.ffrtmp.api import problem_message
from ansible.module_utils.ffrtmp.deadline import Deadline, persist
from ansible.module_utils.ffrtmp.errors import RefusedError, SettingsError, UnreachableError
from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.states import JobState, RunState

from .documents import failure, job, run


def _deadline(seconds: float) -> Deadline:
    """Return a deadline whose clock is advanced by its sleep function."""
    now = [0.0]

    def sleep(pause_s: float) -> None:
        # The clock advances even if the pause is zero, so that the test does not hang.
        now[0] += max(pause_s, 0.01)

    return Deadline(seconds, clock=lambda: now[0], sleep=sleep)


def test_active_jobs_are_held_by_a_node() -> None:
    active = runs.active_jobs(
        [
            job(JobState.QUEUED),
            job(JobState.LEASED),
            job(JobState.RUNNING, Progress(stage="encode", ratio=0.4, speed=2.1)),
            job(JobState.SUCCEEDED, Progress(stage="report", ratio=1.0)),
        ]
    )

    assert [(a["stage"], a["ratio"], a["speed"]) for a in active] == [
        ("start", 0.0, 0.0),
        ("encode", 0.4, 2.1),
    ]
    assert {a["node"] for a in active} == {"worker1"}


def test_failures_contain_the_end_of_the_log() -> None:
    log = "\n".join(f"line {number}" for number in range(100))
    found = runs.failures(
        [
            job(JobState.FAILED, failure=failure(log)),
            job(JobState.QUEUED, failure=failure("")),
            job(JobState.SUCCEEDED, failure=failure("of an earlier attempt")),
            job(JobState.RUNNING),
            {**job(JobState.FAILED, failure=failure("retried")), "superseded_by": "another job"},
        ]
    )

    assert [f["state"] for f in found] == ["failed", "queued"]
    assert found[0]["log_tail"].splitlines()[0] == "line 80"
    assert found[0]["log_tail"].splitlines()[-1] == "line 99"
    assert found[0]["failure_class"] == "encode_failed"


@pytest.mark.parametrize(
    ("counts", "known", "differ"),
    [
        ({"queued": 1}, {"queued": 1}, False),
        ({"queued": 1, "failed": 0}, {"queued": 1}, False),
        ({"queued": 1}, {"queued": "1"}, False),
        ({"queued": 1}, {"queued": 2}, True),
        ({"queued": 1}, {}, True),
    ],
)
def test_counts_differ(counts: dict[str, int], known: dict[str, object], differ: bool) -> None:
    assert runs.counts_differ(counts, known) is differ


@pytest.mark.parametrize(
    ("state", "final"),
    [
        (RunState.QUEUED, False),
        (RunState.RUNNING, False),
        (RunState.SUCCEEDED, True),
        (RunState.FAILED, True),
        (RunState.CANCELED, True),
    ],
)
def test_is_final_equals_the_shared_type(state: RunState, final: bool) -> None:
    assert runs.is_final(run(state, queued=1)) is final is state.is_final


def test_a_failed_run_is_reported_with_counts_and_a_hint() -> None:
    with pytest.raises(runs.RunError, match="3 succeeded, 1 failed; ffrtmp_run_info") as raised:
        runs.check_succeeded(run(RunState.FAILED, succeeded=3, failed=1))
    assert raised.value.returned["jobs"] == 4
    runs.check_succeeded(run(RunState.SUCCEEDED, succeeded=4))


def test_a_source_that_the_suite_does_not_name_is_refused(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"clip")
    digest = hashlib.sha256(b"clip").hexdigest()

    assert runs.source_digests(f"sha256: {digest}", [str(clip)]) == {digest: clip}
    with pytest.raises(SettingsError, match="which the suite does not contain"):
        runs.source_digests("sha256: " + "0" * 64, [str(clip)])
    with pytest.raises(SettingsError, match="cannot be read"):
        runs.source_digests("", [str(tmp_path / "none.mp4")])


def test_persist_outlasts_a_restart() -> None:
    answers = iter([UnreachableError("away"), RefusedError(503, "starting"), "here"])

    def call() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert persist(call, _deadline(10)) == "here"


def test_persist_ends_with_its_deadline() -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise UnreachableError("away")

    with pytest.raises(UnreachableError):
        persist(call, _deadline(10))
    assert len(calls) > 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_persist_does_not_repeat_a_refused_call(status: int) -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise RefusedError(status, "no")

    with pytest.raises(RefusedError):
        persist(call, _deadline(10))
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b'{"type":"x","title":"bad suite","status":422,"detail":"the suite is refused",'
            b'"errors":["line 3: a","line 5: b"]}',
            "the suite is refused\nline 3: a\nline 5: b",
        ),
        (b'{"title":"not found","detail":""}', "not found"),
        (b"<html>", "GET /v1/x: the master answered 422 Unprocessable Entity"),
        (b"[]", "GET /v1/x: the master answered 422 Unprocessable Entity"),
    ],
)
def test_problem_message(body: bytes, message: str) -> None:
    assert problem_message("GET", "/v1/x", 422, body) == message
