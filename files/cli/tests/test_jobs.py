"""Tests of ffrtmp runs and ffrtmp jobs."""

import json
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ffrtmp_cli.connection import open_master
from ffrtmp_cli.job_log import follow_lines
from ffrtmp_cli.profiles import Profile, Profiles, write_profiles
from ffrtmp_client.errors import UnreachableError
from modules.farm import LOG, Agent, Farm
from polling import TIMEOUT_S

from .conftest import Document, Ffrtmp, working
from .suite_file import write_suite

pytestmark = pytest.mark.usefixtures("profile")


@pytest.fixture
def run(agent: Agent, document: Document, tmp_path: Path) -> dict[str, Any]:
    """A queued run of two jobs."""
    found: dict[str, Any] = document("run", str(write_suite(tmp_path)), "--detach")["run"]
    return found


@pytest.fixture
def job(run: dict[str, Any], document: Document) -> dict[str, Any]:
    """A queued job of the run."""
    found: dict[str, Any] = document("jobs", run["id"])["jobs"][0]
    return found


def test_runs_are_listed_newest_first(run: dict[str, Any], document: Document) -> None:
    listed = document("runs", "--limit", "1")["runs"]
    assert [entry["id"] for entry in listed] == [run["id"]]
    unfinished = document("runs", "list", "--unfinished")["runs"]
    assert run["id"] in [entry["id"] for entry in unfinished]


def test_a_run_is_selected_by_its_end_or_as_the_last(
    run: dict[str, Any], document: Document, ffrtmp: Ffrtmp
) -> None:
    for selection in (run["id"], run["id"][-8:], "last"):
        assert document("runs", "show", selection)["run"]["id"] == run["id"]
    assert ffrtmp("runs", "show", "0" * 12).code == 3
    assert ffrtmp("runs", "show", "No such run").code == 2
    unknown = ffrtmp("runs", "show", "00000000-0000-7000-8000-000000000000")
    assert unknown.code == 3


def test_a_run_is_canceled_and_retried(run: dict[str, Any], document: Document) -> None:
    canceled = document("runs", "cancel", run["id"])["run"]
    assert (canceled["state"], canceled["counts"]["canceled"]) == ("canceled", 2)
    retried = document("runs", "retry", run["id"])["run"]
    assert (retried["state"], retried["counts"]["queued"]) == ("queued", 2)


def test_jobs_show_why_they_wait(farm: Farm, job: dict[str, Any], document: Document) -> None:
    farm.drain("worker1")
    found = document("jobs", "show", job["id"])
    assert "draining" in found["job"]["waiting"]
    assert [step["after"] for step in found["transitions"]] == ["queued"]


def test_the_text_of_a_job_has_the_reason(farm: Farm, job: dict[str, Any], ffrtmp: Ffrtmp) -> None:
    farm.drain("worker1")
    outcome = ffrtmp("jobs", "show", job["id"])
    assert "waits" in outcome.out
    assert "draining" in outcome.out
    assert "draining" in ffrtmp("jobs").out


def test_jobs_are_listed_by_state(run: dict[str, Any], document: Document) -> None:
    assert len(document("jobs", run["id"], "--state", "queued")["jobs"]) == 2
    assert document("jobs", run["id"], "--state", "failed")["jobs"] == []


def test_a_job_is_canceled_and_retried(job: dict[str, Any], document: Document) -> None:
    assert document("jobs", "cancel", job["id"])["job"]["state"] == "canceled"
    retried = document("jobs", "retry", job["id"])["job"]
    assert retried["state"] == "queued"
    assert retried["id"] != job["id"]


@pytest.mark.slow
def test_a_failure_is_shown_with_the_log(
    farm: Farm, run: dict[str, Any], document: Document, ffrtmp: Ffrtmp
) -> None:
    with working(farm, Agent.fail):
        document("run", "--attach", run["id"], code=4)
    failed = document("jobs", run["id"], "--state", "failed")["jobs"][0]
    outcome = ffrtmp("jobs", "show", failed["id"])
    assert "Invalid option" in outcome.out


def test_logs_are_printed(
    agent: Agent, run: dict[str, Any], document: Document, ffrtmp: Ffrtmp
) -> None:
    claim = agent.claim()
    agent.client.append_log(claim.job.id, claim.attempt, 0, LOG)
    agent.succeed(claim)
    job_id = str(claim.job.id)
    assert ffrtmp("jobs", "logs", job_id).out == LOG.decode()
    found = document("jobs", "logs", job_id)
    assert (found["attempt"], found["text"]) == (1, LOG.decode())
    assert ffrtmp("jobs", "logs", job_id, "--attempt", "7").code == 3


def test_a_log_cannot_control_the_terminal(
    agent: Agent, run: dict[str, Any], ffrtmp: Ffrtmp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs contain texts of clips, such as their titles."""
    claim = agent.claim()
    agent.client.append_log(claim.job.id, claim.attempt, 0, b"title: \x1b]0;name\x07\tend\n")
    agent.succeed(claim)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    outcome = ffrtmp("jobs", "logs", str(claim.job.id))
    assert outcome.out == "title: \N{REPLACEMENT CHARACTER}]0;name\N{REPLACEMENT CHARACTER}\tend\n"


def test_a_job_without_an_attempt_has_no_log(job: dict[str, Any], document: Document) -> None:
    found = document("jobs", "logs", job["id"])
    assert (found["attempt"], found["text"]) == (0, "")


@pytest.mark.slow
def test_a_followed_log_is_json_lines(agent: Agent, run: dict[str, Any], ffrtmp: Ffrtmp) -> None:
    """The log is quiet for longer than the timeout, and no line is lost or repeated."""
    claim = agent.claim()
    first, second = "erste Zeile: läuft\n".encode(), b"second line\nthe end"
    agent.client.append_log(claim.job.id, claim.attempt, 0, first)

    def finish() -> None:
        agent.client.append_log(claim.job.id, claim.attempt, len(first), second)
        agent.succeed(claim)

    timer = threading.Timer(2.0, finish)
    timer.start()
    outcome = ffrtmp("jobs", "logs", str(claim.job.id), "--follow", "--timeout-s", "0.5", "--json")
    timer.join(TIMEOUT_S)
    assert outcome.code == 0, outcome.err
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    assert [line["text"] for line in lines] == ["erste Zeile: läuft", "second line", "the end"]
    assert {line["schema"] for line in lines} == {"ffrtmp/job-log/1"}


def test_following_fails_at_once_without_a_master(ffrtmp: Ffrtmp, profile: Profile) -> None:
    gone = msgspec.structs.replace(profile, url="https://localhost:1")
    write_profiles(Profiles(default="test", profiles={"test": gone}))
    job_id = "00000000-0000-7000-8000-000000000000"
    outcome = ffrtmp("jobs", "logs", job_id, "--follow", "--attempt", "1")
    assert outcome.code == 1
    assert "did not answer" in outcome.err


@pytest.mark.slow
def test_following_reports_an_outage_and_ends_after_it(
    farm: Farm, agent: Agent, run: dict[str, Any], profile: Profile
) -> None:
    claim = agent.claim()
    agent.client.append_log(claim.job.id, claim.attempt, 0, b"first\nsecond")
    messages: list[str] = []
    with open_master(profile, 0.5) as master:
        lines = follow_lines(master, str(claim.job.id), claim.attempt, messages.append, 2.0)
        assert next(lines) == "first"
        farm.stop()
        try:
            with pytest.raises(UnreachableError):
                list(lines)
        finally:
            farm.start()
            agent.succeed(claim)
    (message,) = messages
    assert "did not answer" in message
    assert "retrying for 2 s" in message


@pytest.mark.parametrize("command", ["show", "logs", "cancel", "retry"])
def test_an_invalid_or_unknown_job_is_reported(ffrtmp: Ffrtmp, command: str) -> None:
    assert ffrtmp("jobs", command, "../runs").code == 2
    assert ffrtmp("jobs", command, "00000000-0000-7000-8000-000000000000").code == 3
